"""What every lesson needs and none is about: options, colours, saving a figure, a progress line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From the palette of M. Okabe and K. Ito, which stays distinct for colour-blind readers.
WITHOUT, WITH = "#D55E00", "#0072B2"  # vermilion: without batch normalization; blue: with it


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the two options of every lesson, ``--out`` and ``--show``."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("figures"), help="folder for the figures")
    options.add_argument("--show", action="store_true", help="open the figures in windows, too")
    return options


def parse(options: argparse.ArgumentParser, lesson: str) -> argparse.Namespace:
    """The command line's options if the lesson runs as a script; the defaults if it is stepped cell by cell."""
    as_script = Path(sys.argv[0]).stem == lesson
    args = options.parse_args(None if as_script else [])
    if as_script and not args.show:
        matplotlib.use("Agg")  # draws to files, needs no display
    return args


def save(figure: Figure, args: argparse.Namespace, name: str) -> Path:
    """Write ``figure`` to ``--out`` as a PNG, and open a window if ``--show`` asks for one; returns the path."""
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{name}.png"
    figure.savefig(path, dpi=120)
    if args.show:
        import matplotlib.pyplot as plt

        plt.show()
    return path


def progress(step: int, steps: int, text: str) -> None:
    """A line that overwrites itself on a terminal; elsewhere, a line for every tenth of the way."""
    line = f"step {step:,} of {steps:,}: {text}"
    if sys.stdout.isatty():
        print(f"\r{line:<78}", end="\n" if step == steps else "", flush=True)
    elif step == steps or step * 10 % steps == 0:
        print(line, flush=True)
