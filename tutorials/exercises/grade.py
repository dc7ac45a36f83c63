"""Grade a folder of submissions into a CSV file, one line for each function of each student.

python -m tutorials.exercises.grade submissions --csv grades.csv

Beside the CSV file, the folder ``grades-results`` holds a JSON file for each student: what was found and where, and the
verdict on each function with its full feedback. Interrupted, the same command goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import hashlib
import json
import multiprocessing
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import wait
from pathlib import Path, PurePosixPath
from typing import Any

from .checks import cage
from .checks.run import FOLDER, Checker, exercises, points
from .checks.sandbox import protection
from .platforms import outputs
from .platforms.words import plain
from .submissions import Finder, Submission

COLUMNS = ("student", "exercise", "function", "status", "points", "of", "diagnosis")
MEMORY = 4 * 2**30  # bytes that grading a submission may ask for, out of reach of the student's own processes
LONGEST = 1800  # seconds by the clock that grading one submission may take


def grade(submission: Submission, seed: int) -> dict[str, Any]:
    """All that is known of a submission, as plain data: see ``result`` for what is in it."""
    verdicts = []
    with Checker(submission.files, seed) as checker:
        for exercise in exercises():
            for verdict in checker.check(exercise):
                verdicts.append({"exercise": exercise.number, "title": exercise.title, **vars(verdict)})
        protected = checker.sandboxes[0].protection if checker.sandboxes else {}
    return result(submission, seed, verdicts, protected)


def result(submission: Submission, seed: int, verdicts: list[dict], protected: dict[str, bool]) -> dict[str, Any]:
    """What is kept of a submission.

    Its ``verdicts`` have exercise, title, function, status, share, text, mistake, printed and seconds; ``score`` adds
    points and of.
    """
    return {
        "student": submission.student, "seed": seed, "fingerprint": fingerprint(submission, seed),
        "found": submission.found, "notes": submission.notes, "protection": protected, "verdicts": verdicts,
    }  # fmt: skip


def score(graded: dict[str, Any], worth: dict[tuple[int, str], float]) -> dict[str, Any]:
    """The same with points."""
    for verdict in graded["verdicts"]:
        of = worth[verdict["exercise"], verdict["function"]]
        verdict |= {"points": of * verdict["share"], "of": of}
    totals = {name: sum(verdict[name] for verdict in graded["verdicts"]) for name in ("points", "of")}
    return graded | totals


def results_in(folder: Path) -> list[dict[str, Any]]:
    """All results of a folder that ``grade`` has written, with today's points, by the students' names."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    worth = points()
    return sorted((score(graded, worth) for graded in found), key=lambda graded: graded["student"])


def fingerprint(submission: Submission, seed: int) -> str:
    """Different if the student's files, the checks or the random inputs are."""
    return hashlib.sha256(f"{submission.fingerprint()} {checks()} {seed}".encode()).hexdigest()


@functools.cache
def checks() -> str:
    """Which version of the checks this is."""
    texts = [path.read_bytes() for path in sorted((FOLDER / "checks").glob("*.py"))]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


class Run:
    """Grades submissions, several at a time, each in a process of its own, and keeps the results.

    Args:
        submissions: what to grade.
        seed: of the random inputs.
        folder: where the results are kept.
        jobs: how many at a time.
    """

    def __init__(self, submissions: Iterable[Submission], seed: int, folder: Path, jobs: int) -> None:
        self.submissions, self.seed, self.folder, self.jobs = list(submissions), seed, folder, jobs
        forks = "fork" in multiprocessing.get_all_start_methods()  # with the checks that are in memory already
        self.context = multiprocessing.get_context("fork" if forks else None)
        self.running: dict[int, tuple[Any, Submission, float]] = {}

    def file(self, submission: Submission) -> Path:
        """Where the result is kept."""
        digest = hashlib.sha256(submission.student.encode("utf-8", "replace")).hexdigest()[:8]
        return self.folder / f"{re.sub('[^A-Za-z0-9._-]', '_', submission.student)[:60]}-{digest}.json"

    def known(self, submission: Submission) -> dict[str, Any] | None:
        """The result, if it was kept, and of the same files, checks and inputs."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.file(submission).read_text(encoding="utf-8"))
            if found["fingerprint"] == fingerprint(submission, self.seed):
                return found | {"found": submission.found, "notes": submission.notes}
        return None

    def results(self) -> Iterator[dict[str, Any]]:
        """Each as soon as it is there."""
        waiting = []
        for submission in self.submissions:
            if found := self.known(submission):
                yield found
            else:
                waiting.append(submission)
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.jobs:
                    self.start(waiting.pop(0))
                for sentinel in self.ended():
                    yield self.end(*self.running.pop(sentinel))
        finally:
            for process, *_ in self.running.values():
                process.terminate()
                process.join()

    def start(self, submission: Submission) -> None:
        """Begin to grade a submission."""
        process = self.context.Process(target=work, args=(submission, self.seed, self.file(submission)))
        process.start()
        self.running[process.sentinel] = process, submission, time.monotonic()

    def ended(self) -> list[int]:
        """Which processes have ended, or have taken too long."""
        late = [s for s, (_, _, since) in self.running.items() if time.monotonic() > since + LONGEST]
        return late or wait(list(self.running), timeout=10)

    def end(self, process: Any, submission: Submission, _: float) -> dict[str, Any]:
        """The result of a process; a bad one has lost no more than its own."""
        process.kill()
        process.join()
        if found := self.known(submission):
            return found
        text = f"Grading this ended early (exit code {process.exitcode}); grade it by itself, in a container."
        submission.notes.append(text)
        lost = {"status": "wrong", "share": 0.0, "text": text, "mistake": [], "printed": "", "seconds": 0.0}
        verdicts = [
            {"exercise": exercise.number, "title": exercise.title, "function": task.function, **lost}
            for exercise in exercises()
            for task in exercise.tasks
        ]
        return result(submission, self.seed, verdicts, {})


def work(submission: Submission, seed: int, path: Path) -> None:
    """Grade a submission, and write the result into a file."""
    cage.lower("AS", MEMORY)
    cage.close_to_others()
    write(path, json.dumps(grade(submission, seed), indent=1))


def write(path: Path, text: str) -> None:
    """All of it or nothing."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8", newline="")
    os.replace(beside, path)


# What an instructor sees.


def rows(graded: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row of the CSV file for each function."""
    for verdict in graded["verdicts"]:
        told = [line for line in verdict["text"].splitlines() if not line.endswith("this may come from there.")]
        diagnosis = "; ".join(verdict["mistake"]) or "".join(told[:1])[:1000]
        rounded = verdict | {name: round(verdict[name], 3) for name in ("points", "of")}
        values = [rounded[name] for name in COLUMNS[1:-1]]
        yield dict(zip(COLUMNS, [plain(graded["student"]), *values, plain(diagnosis)], strict=True))


def summary(graded: dict[str, Any]) -> str:
    """A line on a student, and one for each note."""
    places = sorted({PurePosixPath(where).parent.as_posix() for where in graded["found"].values()})
    files = f"{len(places) and len(graded['found'])} file{'s' * (len(graded['found']) != 1)}"
    if len(places) > 1:
        files += f" in {len(places)} folders"
    elif places and places[0] != ".":
        files += f" in {places[0]}"
    files = files if places else "no files of exercises found"
    line = f"{graded['student']:24} {graded['points']:6.4g} of {graded['of']:g} points   {files}"
    return "\n".join([line, *(f"    {note}" for note in graded["notes"])])


def safety(protected: dict[str, bool]) -> str:
    """What this system doesn't keep students' code from."""
    missing = {
        "apart": "use the network and see other processes",
        "hidden": "read your files",
        "disk": "fill the disk",
    }
    found = [text for name, text in missing.items() if not protected.get(name)]
    if not found:
        return "Students' code runs without network, and sees no files but its own and those of the system's programs."
    return f"On this system, students' code can {', '.join(found)}: see 'Strangers' code' in tutorials/INSTRUCTORS.md."


def say(text: str) -> None:
    """Print at once. If nobody reads any more, as behind ``| head``, the grades are wanted all the same."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress(done: int, of: int, begun: float, fresh: int) -> None:
    """A line that is written over, if somebody looks."""
    if sys.stderr.isatty():
        left = (time.monotonic() - begun) / fresh * (of - done) if fresh else 0
        end = f", about {left / 60:.0f} min left" if left > 90 else f", about {left:.0f} s left" if fresh else ""
        print(f"\r\033[K{done} of {of} graded{end}" if done < of else "\r\033[K", end="", file=sys.stderr, flush=True)


def chosen_seed(folder: Path, wanted: int | None) -> int:
    """The seed that was asked for, or that of the results so far, or a new one."""
    file = folder / "seed"
    with contextlib.suppress(OSError, ValueError):
        wanted = int(file.read_text()) if wanted is None else wanted
    seed = secrets.randbelow(2**31) if wanted is None else wanted
    write(file, f"{seed}\n")
    return seed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tutorials.exercises.grade", description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path, help="folder of folders, zip files, or files as platforms name them")
    parser.add_argument("--csv", type=Path, default=Path("grades.csv"), help="where to write")
    parser.add_argument("--seed", type=int, help="of the random inputs; without it, a new one for each set of results")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="submissions at a time (%(default)s)")
    outputs.add_options(parser)
    args = parser.parse_args()
    if not args.submissions.is_dir():
        parser.error(f"there is no folder {args.submissions}")
    try:
        exports = outputs.exports(args)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    handed_out = {exercise.file: (FOLDER / exercise.file).read_bytes() for exercise in exercises()}
    folder = args.csv.with_name(f"{args.csv.stem}-results")
    own = {folder.resolve(), args.csv.resolve()}
    entries = [entry for entry in os.scandir(args.submissions) if Path(entry).resolve() not in own]
    finder = Finder(handed_out)
    submissions = finder.submissions(entries)
    if not submissions:
        parser.error(
            f"{args.submissions} holds no submissions: for each student, a folder or a zip file is expected, or files "
            "with flat names that begin with the student's, such as doejohn_123_456_06_relu.py"
            + "".join(f"\nnot used: {name}" for name in finder.unused)
        )
    sys.stdout.reconfigure(errors="replace")
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(submissions, chosen_seed(folder, args.seed), folder, max(1, args.jobs))
    say(f"{len(submissions)} submissions, seed {run.seed}\n{safety(protection())}")
    with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as scratch:
        tempfile.tempdir = scratch  # nothing of what is ended early stays behind
        Path(scratch).chmod(0o755)
        graded = follow(run)
    table(args.csv, graded, [submission.student for submission in submissions])
    for name in finder.unused:
        say(f"not used: {name}")
    if len(graded) < len(submissions):
        say(f"Interrupted: {len(graded)} of {len(submissions)} are graded. The same command goes on from here.")
        sys.exit(130)
    for line in outputs.write(args, graded, exports):
        say(line)
    say(f"All of it: {args.csv}; with the full feedback: {folder}")


def follow(run: Run) -> list[dict[str, Any]]:
    """Print each result as it comes; Ctrl-C ends it."""
    worth, graded, begun, fresh = points(), [], time.monotonic(), 0
    try:
        for found in run.results():
            graded.append(score(found, worth))
            fresh += bool(run.running)
            progress(len(run.submissions), len(run.submissions), begun, 0)
            say(summary(graded[-1]))
            progress(len(graded), len(run.submissions), begun, fresh)
    except KeyboardInterrupt:
        say("")
    return graded


def table(path: Path, graded: list[dict[str, Any]], students: list[str]) -> None:
    """Write the CSV file, students in their order."""
    order = {student: place for place, student in enumerate(students)}
    beside = path.with_name(f"{path.name}.new")
    with open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for found in sorted(graded, key=lambda found: order[found["student"]]):
            writer.writerows(rows(found))
    os.replace(beside, path)


if __name__ == "__main__":
    main()
