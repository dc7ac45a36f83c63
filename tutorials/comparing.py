"""What lessons 10 and 11 share to compare networks fairly: seeds, validation images, any normalization, a plot."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from layers import BatchNorm1d, Module, Sequential
from minigrad import Tensor
from minigrad.optim import SGD, Adam
from tutorials.data import Dataset
from tutorials.lesson import accuracy, batches, mlp, parse, parser, readings, steps_to, table, train_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def arguments(description: str, lesson: str) -> argparse.Namespace:
    """The lesson's command line, with ``--seeds``, how many; ``args.seeds`` is their range, from ``--seed`` on."""
    options = parser(description)
    options.add_argument("--seeds", type=int, default=1, help="how many, from --seed on; prints means and ranges")
    args = parse(options, lesson)
    args.seeds = range(args.seed, args.seed + args.seeds)
    return args


def over(seeds: Sequence[int], measure: Callable, *arguments, **named) -> np.ndarray:
    """What ``measure(seed, ...)`` gives for each of the seeds; the seeds are the array's last axis."""
    return np.moveaxis(np.array([measure(seed, *arguments, **named) for seed in seeds], dtype=float), 0, -1)


def shown(values: np.ndarray, form: str = "{:.0f}") -> str:
    """The mean over the seeds, and, if there are several, the lowest and the highest."""
    mean, low, high = (form.format(f(values)).replace("inf", "never") for f in (np.mean, np.min, np.max))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def report(title: str, columns: Sequence, rows: dict, form: str = "{:.0f}") -> None:
    """Print a table: for each name in ``rows``, what was measured for each column, as ``shown``."""
    print()
    table([title, *columns], [[name, *(shown(values, form) for values in row)] for name, row in rows.items()])


class LpNorm(BatchNorm1d):
    """(x - mean) / size, times weight, plus bias, where size is the average l_p norm of a unit over the mini-batch.

    That is the mean of |x| for p = 1, the root of the mean of x**2 for p = 2, and the largest |x| for p = inf;
    ``running_var`` keeps it for evaluation.

    Args:
        offsets: with False, only divide: no mean is subtracted, no bias added.
    """

    def __init__(self, features: int, p: float, offsets: bool = True) -> None:
        super().__init__(features)
        self.p, self.offsets = p, offsets

    def forward(self, x: Tensor) -> Tensor:
        mean, size = Tensor(self.running_mean), Tensor(self.running_var)
        if self.training:
            mean, a = x.mean(axis=0), x.abs()
            size = a.max(axis=0) if self.p == math.inf else (a**self.p).mean(axis=0) ** (1 / self.p)
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean.numpy()
            self.running_var = 0.9 * self.running_var + 0.1 * size.numpy()
        if self.offsets:
            return (x - mean) / (size + self.eps) * self.weight + self.bias
        return x / (size + self.eps) * self.weight


def descend(optimizer: SGD | Adam, loss: Tensor) -> None:
    """One step of training."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def split(x: np.ndarray, y: np.ndarray, seed: int, held_out: int = 288) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two parts in random order, for training and for validation: ``[(x, y), (x, y)]``."""
    order = np.random.default_rng([seed, 1]).permutation(len(x))
    return [(x[rows], y[rows]) for rows in (order[held_out:], order[:held_out])]


def network(
    sizes: Sequence[int], norm: Callable[[int], Module] | None, before: Callable[[int], Module] | None = None, **how
) -> Sequential:
    """An ``mlp``, with ``norm(features)`` in the place of each BatchNorm1d, or without any.

    Args:
        before: if given, ``before(position)`` is put in front of each activation.
        how: what ``mlp`` takes: ``activation``, ``init_std`` and ``rng``.
    """
    layers: list[Module] = []
    for layer in mlp(sizes, batch_norm=norm is not None, **how):
        if before and isinstance(layer, how["activation"]):
            layers.append(before(len(layers)))
        layers.append(norm(layer.num_features) if norm and isinstance(layer, BatchNorm1d) else layer)
    return Sequential(*layers)


@np.errstate(all="ignore")  # at too high a rate, losses overflow
def steps_at_best_rate(build: Callable[[], Module], rates: Sequence[float], data: Dataset, seed: int) -> tuple:
    """The steps to 90 % of the test images (inf: more than 600) at the best of these rates, and that rate.

    Plain SGD with mini-batches of 60. The best rate is the one with the fewest steps to 90 % of 288 validation images,
    which are held out of the training images.
    """
    (training, validation), at, runs = split(data.x_train, data.y_train, seed), readings(600), []
    for rate in rates:
        model, scores = build(), []
        optimizer = SGD(model.parameters(), rate)
        for step, (x, y) in enumerate(batches(*training, 60, 600, seed), start=1):
            train_step(model, optimizer, x, y)
            if step in at:
                scores.append([accuracy(model, *validation), accuracy(model, data.x_test, data.y_test)])
                if min(scores[-1]) >= 0.9:
                    break
        runs.append([steps_to(0.9, at[: len(scores)], column) or math.inf for column in zip(*scores)] + [rate])
    return tuple(min(runs)[1:])


def points(ax: Axes, columns: Sequence, series: dict, styles: dict, form: str = "{:.2g}", **axis) -> None:
    """A point with its number for each series and column, and the range of several seeds; by default logarithmic.

    Args:
        series: for each name, an array of values over the seeds for each column.
        styles: for each name, marker and colour; a marker followed by "o" is hollow, one followed by "-" has a line.
        form: of the numbers; "" for none.
        axis: what ``ax.set`` takes.
    """
    for j, (name, values) in enumerate(series.items()):
        (marker, *more), colour = styles[name]
        at = np.arange(len(columns)) + (0 if "-" in more else (j - (len(series) - 1) / 2) * 0.8 / len(series))
        values = np.where(np.isfinite(values), values, np.nan)  # not finite: was never reached
        mean, low, high = values.mean(axis=1), values.min(axis=1), values.max(axis=1)
        line, face = ("-" if "-" in more else "", "white" if "o" in more else colour)
        ax.vlines(at, low, high, colour)
        ax.plot(at, mean, marker + line, color=colour, mfc=face, mew=2, ms=9, label=name or None)
        for x, y, top in zip(at, mean, high) if form else ():
            ax.annotate(form.format(y), (x, top), (0, 8), textcoords="offset points", ha="center", color=colour)
    ax.set_xticks(range(len(columns)), columns)
    ax.set(**{"xlim": (-0.6, len(columns) - 0.4), "yscale": "log", **axis})
    bottom, top = ax.get_ylim()
    if ax.get_yscale() == "log":
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")
        ax.set_ylim(bottom / 1.2, top * (top / bottom) ** 0.3)  # room for the numbers and the legend
    ax.grid(axis="y", alpha=0.3)
    if len(series) > 1:
        ax.legend(fontsize="small", ncols=2 if len(series) in (2, 4) else 1)
