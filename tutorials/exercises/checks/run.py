"""Check one exercise in a process of its own, so that nothing a student writes can hang or crash the board.

    python -m tutorials.exercises.checks.run FOLDER NUMBER SEED

prints the verdicts as JSON. ``check_file`` starts that, and never raises on account of the student's code.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

from .framework import Exercise, Verdict, check

FOLDER = Path(__file__).parents[1]  # of the hand-out
GIGABYTES = 4  # what an exercise may take of memory, where the system can limit it


def exercises() -> list[Exercise]:
    """All exercises in order, with the points of ``points.csv``."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("exercise_*.py"))
    return [importlib.import_module(f".{module}", __package__).EXERCISE for module in modules]


def points() -> dict[tuple[int, str], int]:
    """What each function is worth, from ``points.csv``, which instructors may change."""
    with open(FOLDER / "points.csv", newline="", encoding="utf-8") as file:
        return {(int(row["exercise"]), row["function"]): int(row["points"]) for row in csv.DictReader(file)}


def check_file(exercise: Exercise, folder: Path, seed: int = 0) -> list[Verdict]:
    """The verdicts on the student's file of an exercise in ``folder``."""
    command = [sys.executable, "-m", __spec__.name, str(folder), str(exercise.number), str(seed)]

    def all_wrong(text: str) -> list[Verdict]:
        return [Verdict(task.function, "wrong", text=text) for task in exercise.tasks]

    try:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MPLBACKEND": "Agg"}
        finished = subprocess.run(
            command, capture_output=True, text=True, timeout=exercise.seconds, env=environment, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return all_wrong(f"No answer after {exercise.seconds:g} seconds. Is there a loop that doesn't end?")
    try:
        return [Verdict(**verdict) for verdict in json.loads(finished.stdout.splitlines()[-1])]
    except (IndexError, ValueError, TypeError):
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        return all_wrong(f"The process ended early (exit code {finished.returncode}): {last}")


def verdicts(exercise: Exercise, path: Path, seed: int) -> list[Verdict]:
    """Load a student's file and check each of its functions, in this process."""
    if not path.exists():
        return [Verdict(task.function, "not started") for task in exercise.tasks]
    try:
        spec = importlib.util.spec_from_file_location("student", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except SyntaxError as error:
        text = (
            f"{type(error).__name__} in line {error.lineno} of {path.name}: {error.msg}\n  {(error.text or '').strip()}"
        )
        return [Verdict(task.function, "wrong", text=text) for task in exercise.tasks]
    except BaseException as error:
        lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        where = f" in line {lines[-1].lineno}: {lines[-1].line}" if lines else ""
        text = f"{path.name} can't be run: {type(error).__name__}: {error}{where}"
        return [Verdict(task.function, "wrong", text=text) for task in exercise.tasks]
    found = []
    for task in exercise.tasks:
        function = getattr(module, task.function, None)
        if callable(function):
            found.append(check(task, function, seed))
        else:
            text = f"{path.name} has no function {task.function}. Was it renamed? It has to keep its name."
            found.append(Verdict(task.function, "wrong", text=text))
    right = {verdict.function for verdict in found if verdict.status == "right"}
    for task, verdict in zip(exercise.tasks, found, strict=True):
        if verdict.status == "wrong" and (first := [name for name in task.after if name not in right]):
            verdict.text = f"{first[0]} isn't right yet. Finish it first: this may come from there.\n{verdict.text}"
    return found


def limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows, and not everywhere else
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30, GIGABYTES * 2**30))


def main() -> None:
    folder, number, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (exercise,) = (e for e in exercises() if e.number == number)
    limit_memory()
    with contextlib.redirect_stdout(io.StringIO()):  # what the student's code prints is not the answer
        found = verdicts(exercise, folder / exercise.file, seed)
    print()
    print(json.dumps([vars(verdict) for verdict in found]))


if __name__ == "__main__":
    main()
