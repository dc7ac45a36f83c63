"""The course in the terminal.

python -m tutorials              the lessons and exercises, and what is done
python -m tutorials 6            lesson 6 as a conversation, cell by cell
python -m tutorials 6 --auto     the same without questions
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from tutorials import conversation, percent


def state(own: dict, path: Path) -> str:
    """What is known of a lesson, in a few words."""
    if own.get("cell"):
        words = f"at cell {own['cell'] + 1} of {len(percent.cells(path))}"
    else:
        words = "done" if own.get("done") else "-"
    answers = list(own.get("answers", {}).values())
    return words + (f", {sum(answers)} of {len(answers)} right" if answers else "")


def left_to_do(path: Path) -> str:
    """How many functions of an exercise are still as they were handed out."""
    empty = path.read_text(encoding="utf-8", errors="replace").count("raise NotImplementedError")
    return f"{empty} to write" if empty else "written"


def overview() -> None:
    progress = conversation.Progress()
    print("Lessons: python -m tutorials N steps through lesson N here, in the terminal.\n")
    for number, path in percent.lessons().items():
        print(f"{number:>4}  {percent.title(path):34} {state(progress.lessons.get(path.stem, {}), path)}")
    print("\nExercises: python -m tutorials.exercises checks them; edit the files in")
    folder = percent.LESSONS / "exercises"
    print(f"{folder}.\n")
    for path in sorted(folder.glob("[0-9][0-9]_*.py")):
        name = path.stem[3:].replace("_", " ")
        print(f"{int(path.stem[:2]):>4}  {name:34} {left_to_do(path)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tutorials", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lesson", nargs="?", help="the number of a lesson")
    parser.add_argument("--auto", action="store_true", help="run all cells without asking")
    args = parser.parse_args()
    with contextlib.suppress(AttributeError):  # a replaced stdout
        sys.stdout.reconfigure(errors="backslashreplace")
    if args.lesson is None:
        overview()
        return 0
    path = percent.lessons().get(args.lesson.lstrip("0"))
    if path is None:
        parser.error(f"there is no lesson {args.lesson!r}; there are {', '.join(percent.lessons())}")
    return 0 if conversation.hold(path, args.auto) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # python -m tutorials | head
        sys.stderr.close()
        sys.exit(0)
