"""The board: which exercises are done, and what is wrong with the first that is not.

python -m tutorials.exercises               the board
python -m tutorials.exercises 10            everything about exercise 10
python -m tutorials.exercises 10 --watch    again, whenever you save

It ends with exit code 1 if anything that was tried is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .checks.framework import Exercise, Verdict
from .checks.run import FOLDER, Checker, exercises, files_in, points

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
    """What is said of each function of an exercise, or once of all of them, as of a file that isn't Python."""
    lines = [f"Exercise {exercise.number}: {exercise.title} ({exercise.file})"]
    if len(found) > 1 and found[0].text and len({verdict.text for verdict in found}) == 1:
        return "\n".join([*lines, f"\nall {len(found)} functions: {word(found[0])}", *indented(found[0].text, 2)])
    for verdict in found:
        lines += [f"\n{verdict.function}: {word(verdict)}", *indented(verdict.text, 2)]
        if verdict.printed:
            lines += ["  It printed:", *indented(verdict.printed, 4)]
    return "\n".join(lines)


def indented(text: str, by: int) -> list[str]:
    return [f"{' ' * by}{line}" for line in text.splitlines()]


def show(chosen: list[Exercise], folder: Path, seed: int) -> bool:
    """Check and print: one exercise in full, or the board and the first exercise that is not done.

    Returns:
        Whether nothing that was tried is wrong.
    """
    worth, earned, total, open_ones, good = points(), 0.0, 0.0, [], True
    with Checker(files_in(folder), seed) as checker:
        for exercise, found in zip(chosen, in_parallel(checker, chosen), strict=True):
            good &= all(verdict.status in ("right", "not started") for verdict in found)
            if len(chosen) == 1:
                print(feedback(exercise, found), flush=True)
                return good
            of = sum(worth[exercise.number, verdict.function] for verdict in found)
            got = sum(worth[exercise.number, verdict.function] * verdict.share for verdict in found)
            row(str(exercise.number), exercise.title, status(found), got, of)
            earned, total = earned + got, total + of
            if any(verdict.status != "right" for verdict in found):
                open_ones.append((exercise, found))
    row("", "", "", earned, total)
    print("\n" + (feedback(*open_ones[0]) if open_ones else "All done."), flush=True)
    return good


def in_parallel(checker: Checker, chosen: list[Exercise]) -> Iterator[list[Verdict]]:
    """The verdicts on each exercise, in order; whoever stops asking waits for nothing."""
    with ThreadPoolExecutor(2) as pool:
        try:
            yield from pool.map(checker.check, chosen)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            checker.close()
            raise


def row(number: str, title: str, what: str, got: float, of: float) -> None:
    print(f"{number:>2}  {title:<48}  {what:<14}  {got:>5.4g} of {of:>2g} points", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tutorials.exercises", description="The board of the exercises.")
    parser.add_argument("number", nargs="?", type=int, help="of one exercise; without it, the board")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where your files are")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    parser.add_argument("--watch", action="store_true", help="check again whenever a file is saved, until Ctrl-C")
    parser.add_argument("--no-fail", action="store_true", help="exit code 0 also if something is wrong")
    args = parser.parse_args()
    chosen = [exercise for exercise in exercises() if args.number in (None, exercise.number)]
    if not chosen:
        parser.error(f"there is no exercise {args.number}")
    if not args.folder.is_dir():
        parser.error(f"there is no folder {args.folder}")
    sys.stdout.reconfigure(errors="replace")  # students write in all languages, terminals don't read them all
    try:
        good = watch(chosen, args.folder, args.seed) if args.watch else show(chosen, args.folder, args.seed)
    except KeyboardInterrupt:
        print()
        sys.exit(0 if args.watch else 130)
    except BrokenPipeError:  # whoever reads has read enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    sys.exit(0 if good or args.no_fail else 1)


def watch(chosen: list[Exercise], folder: Path, seed: int) -> bool:
    """Show, and show again whenever a file is saved, until Ctrl-C."""
    before = None
    while True:
        if (now := saved(folder)) != before:
            if sys.stdout.isatty():
                print("\033[2J\033[3J\033[H", end="")  # an empty screen
            if before is not None:
                print(f"--- {time.strftime('%H:%M:%S')} ---\n", flush=True)
            before = now
            show(chosen, folder, seed)
        time.sleep(0.3)


def saved(folder: Path) -> dict[Path, int]:
    """When each file was saved last; an exercise may use files of earlier ones."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.py")}


if __name__ == "__main__":
    main()
