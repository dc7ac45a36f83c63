"""Check one exercise in a process of its own, so that nothing a student writes can hang or crash the board.

    python -m tutorials.exercises.checks.run FOLDER NUMBER SEED SECONDS ANSWERS START [FUNCTION ...]

writes the verdicts as JSON to the file ANSWERS, from the function numbered START on, FUNCTIONs before it being right.
``check_file`` starts that, and never raises on account of the student's code.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

from .framework import Exercise, Verdict, check

FOLDER = Path(__file__).parents[1]  # of the hand-out
GIGABYTES = 4  # what an exercise may take of memory, where the system can limit it
OUT_OF_TIME = -getattr(signal, "SIGXCPU", 1000)  # exit code of a process that has used up its processor time
PATIENCE = 10 if hasattr(signal, "SIGXCPU") else 1  # times its seconds by the clock: for what waits, and for Windows


def exercises() -> list[Exercise]:
    """All exercises in order."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("exercise_*.py"))
    return [importlib.import_module(f".{module}", __package__).EXERCISE for module in modules]


def points() -> dict[tuple[int, str], float]:
    """What each function is worth, from ``points.csv``, which instructors may change; 0 if it isn't listed."""
    text = (FOLDER / "points.csv").read_text(encoding="utf-8-sig")  # as spreadsheets write it
    table = csv.DictReader(text.splitlines(), dialect=csv.Sniffer().sniff(text, ",;\t"))
    listed = {(int(row["exercise"]), row["function"]): float(row["points"]) for row in table}
    return {(e.number, t.function): listed.get((e.number, t.function), 0.0) for e in exercises() for t in e.tasks}


def check_file(exercise: Exercise, folder: Path, seed: int = 0) -> list[Verdict]:
    """The verdicts on the student's file of an exercise in ``folder``."""
    found: list[Verdict] = []
    ended_at_once = 0
    while len(found) < len(exercise.tasks):  # again from the next function on, if one brought the process down
        new, end = in_a_process(exercise, folder, seed, found)
        found += new
        ended_at_once = 0 if new else ended_at_once + 1
        left = exercise.tasks[len(found) :]
        lost = left if ended_at_once == 2 else left[:1]  # the second time, it is the file itself that doesn't load
        found += [Verdict(task.function, "wrong", text=end) for task in lost]
    return found


def in_a_process(exercise: Exercise, folder: Path, seed: int, found: list[Verdict]) -> tuple[list[Verdict], str]:
    """The verdicts that a new process came to, of the functions after those ``found``, and how it ended."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MPLBACKEND": "Agg"}
    right = [verdict.function for verdict in found if verdict.status == "right"]
    with tempfile.TemporaryDirectory() as scratch:
        answers, messages = Path(scratch, "answers"), Path(scratch, "messages")
        answers.touch()
        arguments = map(str, (folder, exercise.number, seed, exercise.seconds, answers, len(found), *right))
        with open(messages, "wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, *arguments], env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=stderr,
            )  # fmt: skip
            try:
                code = process.wait(PATIENCE * exercise.seconds)
            except subprocess.TimeoutExpired:
                code = OUT_OF_TIME
            finally:
                process.kill()
                process.wait()
        lines = answers.read_text("utf-8").splitlines()
        last = (messages.read_text("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
    end = f"The process ended early (exit code {code}): {last}"
    if code == OUT_OF_TIME:
        end = f"No answer after {exercise.seconds:g} seconds. Is there a loop that doesn't end, or one over "
        end += "entries where NumPy could take whole arrays?"
    return [Verdict(**json.loads(line)) for line in lines], end


def load(path: Path):
    """A student's file as a module. It is compiled here each time: a cached one may be older than a quick save."""
    module = types.ModuleType("student")
    module.__file__ = str(path)
    sys.modules["student"] = module  # dataclasses look there
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    return module


def verdicts(exercise: Exercise, path: Path, seed: int, start: int = 0, right: Iterable[str] = ()) -> Iterator[Verdict]:
    """Load a student's file and check its functions one after the other, in this process."""
    tasks, text, right, started = exercise.tasks[start:], "", set(right), bool(start)
    if not path.exists():
        yield from (Verdict(task.function, "not started") for task in tasks)
        return
    try:
        module = load(path)
    except SyntaxError as error:
        text = (
            f"{type(error).__name__} in line {error.lineno} of {path.name}: {error.msg}\n  {(error.text or '').strip()}"
        )
    except BaseException as error:
        lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        where = f" in line {lines[-1].lineno}: {lines[-1].line}" if lines else ""
        text = f"{path.name} can't be run: {type(error).__name__}: {error}{where}"
    for task in tasks:
        function = None if text else getattr(module, task.function, None)
        if callable(function):
            verdict = check(task, function, seed)
        else:
            missing = f"{path.name} has no function {task.function}. Was it renamed? It has to keep its name."
            verdict = Verdict(task.function, "wrong", text=text or missing)
        started |= verdict.status != "not started"
        if not started:
            verdict.text = ""
        if verdict.status == "right":
            right.add(task.function)
        elif verdict.status == "wrong" and (first := [name for name in task.after if name not in right]):
            verdict.text = f"{first[0]} isn't right yet. Finish it first: this may come from there.\n{verdict.text}"
        yield verdict


def limit(seconds: float) -> None:
    """Limit this process's memory and processor time, after which the system ends it."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows, and not everywhere else
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30, GIGABYTES * 2**30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the file that running out of time would leave
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))


def main() -> None:
    folder, number, seed, seconds, answers, start, *right = sys.argv[1:]
    (exercise,) = (e for e in exercises() if e.number == int(number))
    limit(float(seconds))
    path = Path(folder) / exercise.file
    with (
        open(answers, "a", encoding="utf-8") as file,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        for verdict in verdicts(exercise, path, int(seed), int(start), right):
            print(json.dumps(vars(verdict)), file=file, flush=True)
    os._exit(0)  # whatever threads the student's code has left running


if __name__ == "__main__":
    main()
