"""Grade one submission, as services do that run each in a container of its own."""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from ..checks.run import FOLDER, exercises, points
from ..grade import Run, score
from ..submissions import Finder, in_folder


def grade_one(folder: Path, exercise: int | None = None) -> dict[str, Any]:
    """The result of a folder, with points; of one exercise alone if that is given.

    The random inputs are new each time. Whatever happens to the submission, there is a result.
    """
    finder = Finder({exercise.file: (FOLDER / exercise.file).read_bytes() for exercise in exercises()})
    submission = finder.choose("submission", in_folder(folder, finder.of_interest))
    with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as kept:
        (found,) = Run([submission], secrets.randbelow(2**31), Path(kept), 1).results()
    wanted = {e.file for e in exercises() if exercise in (None, e.number)}
    found["verdicts"] = [v for v in found["verdicts"] if exercise in (None, v["exercise"])]
    found["found"] = {file: where for file, where in found["found"].items() if file in wanted}
    if not found["found"]:
        found["notes"].insert(0, "No files of exercises found: they must have the names that they had when handed out.")
    return score(found, points())


def parser(module: str, about: str) -> argparse.ArgumentParser:
    """What the services' commands have in common."""
    found = argparse.ArgumentParser(
        prog=f"python -m tutorials.exercises.platforms.{module}", description=about.splitlines()[0]
    )
    found.add_argument("folder", type=Path, help="with the student's files")
    return found


def about_one(found: argparse.ArgumentParser) -> None:
    """Where a question is one exercise."""
    numbers = [exercise.number for exercise in exercises()]
    found.add_argument("--exercise", type=int, choices=numbers, metavar="N", help="grade this one alone")


def write(path: Path, text: str) -> None:
    """All of it or nothing, in a folder that may be new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8", newline="")
    os.replace(beside, path)
