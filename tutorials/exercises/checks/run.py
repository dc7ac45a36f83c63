"""Check a student's files, each in a process that knows nothing else, and compare out of its reach.

The student's functions are called here and run there (``sandbox.py``, ``worker.py``): arguments go there, arrays come
back, and the right values stay here.
"""

from __future__ import annotations

import csv
import importlib
import sys
import threading
import time
import types
import warnings
from pathlib import Path

import numpy as np

from .framework import Exercise, Task, Verdict, check
from .sandbox import OUT_OF_TIME, Ended, Sandbox, Student
from .wire import CHARACTERS

FOLDER = Path(__file__).parents[1]  # of the hand-out
LOADING = 5  # seconds of processor time for what a file does outside of functions
BUDGET = 40  # seconds that functions without an end may take of all that a student has written; the more of them are
# gone, the less is left to each


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
    with Checker(files_in(folder), seed) as checker:
        return checker.check(exercise)


def files_in(folder: Path) -> dict[str, bytes]:
    """The numbered files of a folder."""
    paths = (Path(folder, exercise.file) for exercise in exercises())
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


class Checker:
    """Checks the exercises of one student, each once; several threads may ask.

    Args:
        files: the student's files by name.
        seed: of the random inputs.
    """

    def __init__(self, files: dict[str, bytes], seed: int = 0) -> None:
        self.files, self.seed, self.left = files, seed, float(BUDGET)
        self.known = {exercise.number: exercise for exercise in exercises()}
        self.found: dict[int, list[Verdict]] = {}
        self.locks = {number: threading.Lock() for number in self.known}
        self.here = threading.local()
        self.sandboxes: list[Sandbox] = []

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        for sandbox in self.sandboxes:
            sandbox.close()

    def sandbox(self) -> Sandbox:
        """The one of this thread."""
        if not hasattr(self.here, "sandbox"):
            self.here.sandbox = Sandbox(self.files)
            self.sandboxes.append(self.here.sandbox)
        return self.here.sandbox

    def check(self, exercise: Exercise) -> list[Verdict]:
        """The verdicts on the functions of an exercise."""
        with self.locks[exercise.number]:
            if exercise.number not in self.found:
                found = self.verdicts(exercise) if exercise.file in self.files else unwritten(exercise)
                self.found[exercise.number] = found
            return self.found[exercise.number]

    def verdicts(self, exercise: Exercise) -> list[Verdict]:
        found: list[Verdict] = []
        pieces, instead = self.pieces(exercise)
        while len(found) < len(exercise.tasks):  # again from the next function on, if one brought the process down
            found += self.in_a_process(exercise, exercise.tasks[len(found) :], pieces)
        right = {verdict.function for verdict in found if verdict.status == "right"}
        started = False
        for task, verdict in zip(exercise.tasks, found, strict=True):
            started |= verdict.status != "not started"
            if not started:
                verdict.text = ""
            first = [name for name in task.after if name not in right]
            if verdict.status == "wrong" and first and verdict.text != found[0].text:
                before = f"{first[0]} isn't right yet. Finish it first: this may come from there."
                verdict.text = f"{before}\n{verdict.text}"
            if verdict.status in ("right", "wrong") and instead:
                verdict.text = f"{verdict.text}\n{instead}".lstrip()
        return found

    def pieces(self, exercise: Exercise) -> tuple[dict, str]:
        """The functions of earlier exercises that this one is made of, and what is said of those that are replaced."""
        pieces = {}
        for earlier in self.known.values() if exercise.pieces else ():
            if earlier.number < exercise.number:
                right = [verdict.function for verdict in self.check(earlier) if verdict.status == "right"]
                pieces[earlier.number] = {"file": earlier.file, "right": right, "given": {}}
        for (number, name), given in exercise.pieces.items():
            if name not in pieces[number]["right"]:
                pieces[number]["given"][name] = given
        instead = [f"{name} (exercise {number})" for number, piece in pieces.items() for name in piece["given"]]
        said = f"In place of what isn't right yet, the right one was used here: {', '.join(instead)}."
        return pieces, said if instead else ""

    def in_a_process(self, exercise: Exercise, tasks: list[Task], pieces: dict) -> list[Verdict]:
        """Verdicts on these functions, from one process, as far as that comes."""
        seconds = max(1.0, exercise.seconds * self.left / BUDGET)
        allowed = min(seconds, LOADING)
        verdicts: list[Verdict] = []
        loaded, begun = False, time.monotonic()
        try:
            student = self.sandbox().open(seconds * (len(tasks) + 1))
            fault, present = student.load(exercise.file, [task.function for task in tasks], allowed, pieces)
            loaded, allowed = True, seconds
            for task in tasks:
                begun = time.monotonic()
                missing = f"{exercise.file} has no function {task.function}. Was it renamed? It has to keep its name."
                if fault or task.function not in present:
                    verdicts.append(Verdict(task.function, "wrong", text=fault or missing))
                else:
                    verdicts.append(self.judge(task, student, seconds))
                verdicts[-1].seconds = round(time.monotonic() - begun, 3)
            student.close()
        except Ended as end:
            if end.code == OUT_OF_TIME:
                self.left = max(0.0, self.left - allowed)
            lost = tasks[len(verdicts) :][: 1 if loaded else None]
            took = round(time.monotonic() - begun, 3)
            verdicts += [Verdict(task.function, "wrong", text=ending(end, allowed), seconds=took) for task in lost]
        return verdicts

    def judge(self, task: Task, student: Student, seconds: float) -> Verdict:
        """The verdict on one function."""
        student.begin(seconds)
        function = task.through(student.function) if task.through else student.function(task.function)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                verdict = check(task, function, self.seed)
        except Ended:
            raise
        except Exception as error:  # whatever a student may have thought of
            text = f"Your function returns what can't be compared: {type(error).__name__}: {error}"
            verdict = Verdict(task.function, "wrong", text=text)
        verdict.printed, verdict.text = student.printed, verdict.text[:CHARACTERS]
        return verdict


def unwritten(exercise: Exercise) -> list[Verdict]:
    return [Verdict(task.function, "not started") for task in exercise.tasks]


def ending(end: Ended, seconds: float) -> str:
    """What is said of a function that didn't come to its end."""
    if end.code == OUT_OF_TIME:
        text = f"No answer after {seconds:.2g} seconds. Is there a loop that doesn't end, or one over "
        return text + "entries where NumPy could take whole arrays?"
    if end.why:
        return f"The process was ended: {end.why}."
    code = "unknown" if end.code is None else end.code
    return f"The process ended early (exit code {code})."


# For exercise 15, which fetches the student's earlier functions when it is run as a script.


def verdicts(exercise: Exercise, path: Path, seed: int = 0) -> list[Verdict]:
    """The verdicts on a student's file."""
    return check_file(exercise, Path(path).parent, seed)


def load(path: Path) -> types.ModuleType:
    """A student's file as a module. It is compiled here each time: a cached one may be older than a quick save."""
    module = types.ModuleType("student")
    module.__file__ = str(path)
    sys.modules["student"] = module  # dataclasses look there
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    return module
