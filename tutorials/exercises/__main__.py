"""The board: which exercises are done, and what is wrong with the first that is not.

python -m tutorials.exercises               the board
python -m tutorials.exercises 10            everything about exercise 10
python -m tutorials.exercises 10 --watch    again, whenever you save
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .checks.framework import Exercise, Verdict
from .checks.run import FOLDER, check_file, exercises, points

WORDS = {"right": "done", "wrong": "wrong", "not started": "not started", "library": "library's own"}


def status(found: list[Verdict]) -> str:
    """One word or two for an exercise of several functions."""
    kinds = {word(verdict) for verdict in found}
    if len(kinds) == 1:
        return kinds.pop()
    done = sum(verdict.status == "right" for verdict in found)
    return f"{done} of {len(found)} done" if done or "wrong" not in kinds else "wrong"


def word(verdict: Verdict) -> str:
    return "partly right" if verdict.status == "wrong" and verdict.share else WORDS[verdict.status]


def feedback(exercise: Exercise, found: list[Verdict]) -> str:
    """What is said of each function of an exercise."""
    lines = [f"Exercise {exercise.number}: {exercise.title} ({exercise.file})"]
    for verdict in found:
        lines.append(f"\n{verdict.function}: {word(verdict)}")
        lines += [f"  {line}" for line in verdict.text.splitlines()]
        if verdict.printed:
            lines += ["  It printed:", *(f"    {line}" for line in verdict.printed.splitlines())]
    return "\n".join(lines)


def show(chosen: list[Exercise], folder: Path, seed: int) -> None:
    """Check and print: one exercise in full, or the board and the first exercise that is not done."""
    worth, earned, total, open_ones = points(), 0.0, 0.0, []
    with ThreadPoolExecutor(2) as pool:
        checked = pool.map(lambda exercise: check_file(exercise, folder, seed), chosen)
        for exercise, found in zip(chosen, checked, strict=True):
            if len(chosen) == 1:
                print(feedback(exercise, found))
                return
            of = sum(worth[exercise.number, verdict.function] for verdict in found)
            got = sum(worth[exercise.number, verdict.function] * verdict.share for verdict in found)
            row(str(exercise.number), exercise.title, status(found), got, of)
            earned, total = earned + got, total + of
            if any(verdict.status != "right" for verdict in found):
                open_ones.append((exercise, found))
    row("", "", "", earned, total)
    print("\n" + (feedback(*open_ones[0]) if open_ones else "All done."))


def row(number: str, title: str, what: str, got: float, of: float) -> None:
    print(f"{number:>2}  {title:<48}  {what:<14}  {got:>5.4g} of {of:>2g} points", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tutorials.exercises", description="The board of the exercises.")
    parser.add_argument("number", nargs="?", type=int, help="of one exercise; without it, the board")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where your files are")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    parser.add_argument("--watch", action="store_true", help="check again whenever a file is saved, until Ctrl-C")
    args = parser.parse_args()
    chosen = [exercise for exercise in exercises() if args.number in (None, exercise.number)]
    if not chosen:
        parser.error(f"there is no exercise {args.number}")
    if not args.folder.is_dir():
        parser.error(f"there is no folder {args.folder}")
    sys.stdout.reconfigure(errors="replace")  # students write in all languages, terminals don't read them all
    before = saved(args.folder)
    show(chosen, args.folder, args.seed)
    while args.watch:
        try:
            time.sleep(0.3)
        except KeyboardInterrupt:
            print()
            return
        if (now := saved(args.folder)) != before:
            before = now
            print(f"\n--- {time.strftime('%H:%M:%S')} ---\n", flush=True)
            show(chosen, args.folder, args.seed)


def saved(folder: Path) -> dict[Path, int]:
    """When each file was saved last; an exercise may use files of earlier ones."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.py")}


if __name__ == "__main__":
    main()
