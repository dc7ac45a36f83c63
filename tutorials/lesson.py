"""What every lesson needs and none is about: options, colours, figures, training, and the claims at its end."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from layers import BatchNorm1d, Linear, Module, Sequential, Sigmoid, cross_entropy
from minigrad import no_grad
from minigrad.optim import SGD, Adam
from tutorials import ONE_THREAD
from tutorials.questions import check, predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["check", "predict"]  # of those that lessons import from here, the two that stand elsewhere

if not ONE_THREAD:
    print(
        "NumPy was imported before the course and uses several threads; lessons can then take many times as long: "
        "restart, and import tutorials first, or pip install threadpoolctl.",
        file=sys.stderr,
    )

# From the palette of M. Okabe and K. Ito, which stays distinct for colour-blind readers.
WITHOUT, WITH = "#D55E00", "#0072B2"  # vermilion: without batch normalization; blue: with it
GREEN, ORANGE, PINK, SKY, BLACK = "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000"


# The command line.

arguments: list[
    str
] = []  # the options of a lesson that isn't started as a script: ``tutorials.conversation`` sets some


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options of every lesson: ``--seed``, ``--out`` and ``--show``."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--seed", type=int, default=0, help="of everything random")
    options.add_argument("--out", type=Path, default=Path("figures"), help="folder for the figures")
    options.add_argument("--show", action="store_true", help="open the figures in windows, too")
    return options


def parse(options: argparse.ArgumentParser, lesson: str) -> argparse.Namespace:
    """The command line's options if the lesson runs as a script; ``arguments`` if it is stepped cell by cell.

    As a script, it also makes sure that the figures can be saved (if not, the command ends here, before anything is
    computed) and, with ``--show``, that there is a display to show them on.
    """
    if not runs_as_script(lesson):
        return options.parse_args(arguments)
    args = options.parse_args()
    with contextlib.suppress(AttributeError):  # a replaced stdout, as in some editors
        sys.stdout.reconfigure(errors="backslashreplace")  # folders may have names that a terminal can't print
    try:
        try_to_write(args.out, lesson)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        options.error(f"argument --out: can't save figures in {str(args.out)!r}: {error.strerror}{where}")
    if args.show and not has_display():
        print("--show: there is no display to open windows on, so the figures are only saved", file=sys.stderr)
        args.show = False
    if not args.show:
        matplotlib.use("Agg")  # draws to files, needs no display
    return args


def runs_as_script(lesson: str) -> bool:
    """Whether ``lesson`` was started as a script, and isn't stepped through in a notebook or an editor."""
    return Path(sys.argv[0]).stem == lesson


def try_to_write(folder: Path, lesson: str) -> None:
    """Make the folder if need be; raise OSError if no file of a figure's size fits in, or an old one is in the way."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(prefix="probe-", dir=folder) as probe:
        probe.write(bytes(2**20))
        probe.flush()
        os.fsync(probe.fileno())  # some file systems tell only now that they are full
    for old in folder.glob(f"{lesson}*"):
        open(old, "r+b").close()


def has_display() -> bool:
    """Whether matplotlib can open windows here."""
    import matplotlib.pyplot as plt
    from matplotlib.backends import BackendFilter, backend_registry

    try:
        plt.switch_backend(plt.get_backend())
    except ImportError:  # a backend was asked for that needs a display
        return False
    return plt.get_backend().lower() not in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)


# What a lesson prints.


def progress(step: int, steps: int, text: str, seconds: float) -> None:
    """A line that overwrites itself on a terminal; elsewhere, a line for every tenth of the way.

    Args:
        seconds: the time that the steps so far have taken, from which the time left is estimated.
    """
    left = f", {duration(seconds / step * (steps - step))} left" if step < steps else ""
    line = f"step {step:,} of {steps:,}{left}: {text}"
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1  # a longer line would wrap, and not be overwritten
        print(f"\r{line[:width]:<{width}}", end="\n" if step == steps else "", flush=True)
    elif step == steps or step * 10 % steps == 0:
        print(line, flush=True)


def duration(seconds: float) -> str:
    """A time that is only known roughly: ``40 s``, ``3 min`` or ``2.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of texts, the first column to the left and the others to the right, under a header."""
    lines = [list(map(str, row)) for row in (header, *rows)]
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    for line in lines:
        print(
            line[0].ljust(first), *(cell.rjust(width) for cell, width in zip(line[1:], others, strict=True)), sep="   "
        )


# Ctrl-C.


def until_ctrl_c(items: Iterable) -> Iterator:
    """The items, until Ctrl-C is pressed: the loop then ends after the step that it is at, with all its results whole.

    What comes after the loop can see by the number of steps that it ended early, and says so with ``ended_early``.
    Pressing it again during that step interrupts as always.
    """
    # Only the main thread may change what Ctrl-C does, and where it does something else than usual, that stays.
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield from items
        return
    pressed = False

    def note(number, frame) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        for item in items:
            yield item
            if pressed:
                return
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ended_early(lesson: str, step: int, steps: int) -> None:
    """Say that Ctrl-C ended the training, in place of ``check``; a script ends with the exit code for that, 130."""
    print(f"\nStopped by Ctrl-C after step {step:,} of {steps:,}: the figure and the table show the way up to there.")
    print("The claims are about the whole way, so they are not checked.", flush=True)
    if runs_as_script(lesson):
        sys.exit(130)


# Figures.


def save(figure: Figure, args: argparse.Namespace, name: str) -> Path:
    """Write ``figure`` to ``--out`` as a PNG, and open a window if ``--show`` asks for one; returns the path."""
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{name}.png"
    figure.savefig(path, dpi=120)
    if args.show:
        import matplotlib.pyplot as plt

        plt.show()
    return path


def thousands(axis: Axis) -> None:
    """Label an axis of training steps 0, 2k, 4k, ..."""
    axis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")


def heat_map(ax: Axes, values: np.ndarray, rows: Sequence, columns: Sequence, form: str, **style) -> AxesImage:
    """Draw a matrix as coloured cells with their numbers in them; ``rows`` and ``columns`` label the ticks."""
    image = ax.imshow(values, aspect="auto", **{"cmap": "cividis", **style})
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    for (i, j), value in np.ndenumerate(values):
        dark = image.norm(value) < 0.55
        ax.text(j, i, form.format(value), ha="center", va="center", color="white" if dark else "black")
    return image


# Training.


def mlp(sizes: Sequence[int], *, batch_norm: bool, activation=Sigmoid, init_std: float | None = None, rng=None):
    """Linear layers of these sizes with activations between, and BatchNorm before each activation if asked for.

    A Linear before a BatchNorm has no bias: the mean that is subtracted would cancel it.

    Args:
        init_std: standard deviation of normal initial weights, with biases 0; None for Linear's own.
        rng: None, a seed or a Generator. The weights are the same with and without BatchNorm.
    """
    rng, layers = np.random.default_rng(rng), []
    for position, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=2):
        hidden = position < len(sizes)
        linear = Linear(fan_in, fan_out, rng=rng if init_std is None else 0)
        if init_std is not None:
            linear.weight.data = rng.normal(0, init_std, (fan_out, fan_in))
            linear.bias.data = np.zeros(fan_out)
        if hidden and batch_norm:
            linear.bias = None
        layers.append(linear)
        if hidden:
            layers += [BatchNorm1d(fan_out), activation()] if batch_norm else [activation()]
    return Sequential(*layers)


def batches(x: np.ndarray, y: np.ndarray, size: int, steps: int, rng=None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``steps`` mini-batches (x, y), from one random order of all the data after another."""
    rng, order = np.random.default_rng(rng), np.empty(0, dtype=int)
    for _ in range(steps):
        while len(order) < size:
            order = np.concatenate([order, rng.permutation(len(x))])
        chosen, order = order[:size], order[size:]
        yield x[chosen], y[chosen]


def train_step(network: Module, optimizer: SGD | Adam, x: np.ndarray, y: np.ndarray) -> float:
    """One step on the cross-entropy of a mini-batch; returns the loss before the step."""
    loss = cross_entropy(network(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@no_grad()
def accuracy(network: Module, x: np.ndarray, y: np.ndarray) -> float:
    """The share of right answers in evaluation mode; the network is back in training mode afterwards."""
    predicted = network.eval()(x).numpy().argmax(axis=1)
    network.train()
    return float((predicted == y).mean())


def readings(steps: int) -> np.ndarray:
    """The steps after which a lesson reads the accuracy: each of the first few dozen, then every 4 % of the way.

    So the number of steps that a training needs is known to 4 %, whether it is 30 or 3,000.
    """
    growth = np.geomspace(1, steps, 1 + int(np.ceil(np.log(steps) / np.log(1.04))))
    return np.unique(np.round(growth).astype(int))


def steps_to(level: float, at: Sequence[int], accuracies: Sequence[float]) -> int | None:
    """The first of the steps ``at`` after which the accuracy was ``level`` or more; None if it never was.

    All lessons count so. What is reached can be lost again: where it matters, look at the curve.
    """
    return next((int(step) for step, value in zip(at, accuracies, strict=True) if value >= level), None)
