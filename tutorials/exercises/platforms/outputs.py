"""What ``python -m tutorials.exercises.grade`` writes besides its CSV file, if asked to."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import feedback, mistakes, totals
from .gradebooks import Gradebook


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--totals", type=Path, metavar="FILE", help="CSV with a row for each student")
    parser.add_argument("--feedback", type=Path, metavar="FOLDER", help="for a page of feedback for each student")
    parser.add_argument("--summary", type=Path, metavar="FOLDER", help="for a table and a figure of the mistakes")
    parser.add_argument("--canvas", type=Path, metavar="EXPORT", help="of Canvas's gradebook; a copy is filled")
    parser.add_argument("--moodle", type=Path, metavar="EXPORT", help="a Moodle worksheet or export; a copy is filled")
    parser.add_argument("--column", metavar="TITLE", help="the column of the export that is filled, or a part of it")


def exports(args: argparse.Namespace) -> list[tuple[Path, Gradebook]]:
    """The exports that are to be filled, and the files for that; ``ValueError`` if one can't be."""
    found = []
    for platform in ("canvas", "moodle"):
        if export := getattr(args, platform):
            path = args.csv.with_name(f"{args.csv.stem}-{platform}.csv")
            if export.resolve() in {other.resolve() for other in (path, args.csv, args.totals) if other}:
                raise ValueError(f"{export} is where a result goes: rename the export, which isn't written over")
            found.append((path, Gradebook(export, platform, args.column)))
    return found


def write(
    args: argparse.Namespace, graded: list[dict[str, Any]], filled: list[tuple[Path, Gradebook]]
) -> Iterator[str]:
    """Write what was asked for, and say what."""
    graded = sorted(graded, key=lambda student: student["student"])
    for path in (args.totals, args.feedback, args.summary):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
    if args.totals:
        totals.write(args.totals, graded)
        yield f"A row for each student: {args.totals}"
    if args.feedback:
        removed = feedback.write(args.feedback, graded, moodle=bool(args.moodle))
        yield f"A page for each student: {args.feedback}"
        if removed:
            yield "    removed, from earlier: " + ", ".join(removed)
    if args.summary:
        mistakes.write(args.summary, graded)
        yield f"The mistakes: {args.summary / 'summary.md'}"
    for path, gradebook in filled:
        content, said = gradebook.fill(graded)
        path.write_bytes(content)
        yield f"{path}: " + "\n    ".join(said)
