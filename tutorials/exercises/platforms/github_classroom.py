"""GitHub Classroom: the workflow of the students' repositories, and the result that its reporter reads.

python -m tutorials.exercises.platforms.github_classroom workflow OWNER/REPOSITORY

The result is what the runners of https://github.com/education/autograding-command-grader put out (``src/main.js``):
JSON in base64 in the step's output ``result``, which https://github.com/education/autograding-grading-reporter takes
from the environment variable of the runner's name and ``_RESULTS``. It adds up the ``score`` of the tests
(``src/notify-classroom.js``), in a job that must be called ``run-autograding-tests``; the table that it prints counts
tests that pass instead.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from .gradescope import packages
from .one import grade_one
from .words import clean, name, number, told, word

LARGEST = 100_000  # characters; Linux allows 131,072 bytes of an environment variable
WORKFLOW = """name: Autograding Tests
on: [push, workflow_dispatch]
permissions:
  checks: write
  actions: read
  contents: read
jobs:
  run-autograding-tests:
    if: github.actor != 'github-classroom[bot]'
    runs-on: ubuntu-latest
    timeout-minutes: 20
    steps:
      - name: The student's files
        uses: actions/checkout@v4
        with:
          path: submission
          persist-credentials: false
      - name: The course
        uses: actions/checkout@v4
        with:
          repository: {course}
          path: course
          persist-credentials: false
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install {packages}
      - name: Grade
        id: exercises
        working-directory: course
        run: python -m tutorials.exercises.platforms.github_classroom grade ../submission
      - name: Report
        uses: education/autograding-grading-reporter@v1
        env:
          EXERCISES_RESULTS: ${{{{ steps.exercises.outputs.result }}}}
        with:
          runners: exercises
"""


def results(graded: dict[str, Any], longest: int = 4000) -> dict[str, Any]:
    """A test for each function, with its points; of each text so many characters."""
    tests = [
        {
            "name": name(verdict),
            "status": "pass" if verdict["status"] == "right" else "fail",
            "score": round(verdict["points"], 2),
            "message": told(verdict, longest),
            "test_code": "",
            "filename": "",
            "line_no": 0,
            "duration": round(1000 * verdict["seconds"]),
        }
        for verdict in graded["verdicts"]
    ]
    status = "pass" if all(test["status"] == "pass" for test in tests) else "fail"
    return {"version": 1, "status": status, "max_score": graded["of"], "tests": tests}


def encoded(graded: dict[str, Any]) -> str:
    """The result in base64, with texts as long as there is room for."""
    for longest in (4000, 1000, 300, 0):
        text = json.dumps(results(graded, longest))
        found = base64.b64encode(text.encode("ascii")).decode("ascii")
        if len(found) <= LARGEST:
            break
    return found


def log(graded: dict[str, Any]) -> str:
    """What students read in the log of the step, where lines that look like commands to the runner are none.

    (https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#stopping-and-starting-workflow-commands)
    """
    token = secrets.token_hex(16)
    points = f"{number(graded['points'])} of {number(graded['of'])} points"
    lines = [f"::stop-commands::{token}", f"{points} (the table of the report counts only what is right in full)"]
    lines += graded["notes"]
    for verdict in graded["verdicts"]:
        points = f"{number(verdict['points'])} of {number(verdict['of'])} points"
        lines += [f"\n{name(verdict)}: {word(verdict)}, {points}"]
        lines += [f"    {line}" for line in told(verdict, 4000).splitlines()]
    return clean("\n".join([*lines, f"::{token}::"]))


def repository(text: str) -> str:
    """An owner and a name, as GitHub writes them."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} isn't of the form OWNER/REPOSITORY")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.exercises.platforms.github_classroom", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("workflow", help="print the workflow of the students' repositories")
    command.add_argument("course", type=repository, metavar="OWNER/REPOSITORY", help="where the course is on GitHub")
    command = commands.add_parser("grade", help="what the workflow does")
    command.add_argument("folder", type=Path, help="with the student's files")
    args = parser.parse_args()
    if args.command == "workflow":
        print(WORKFLOW.format(course=args.course, packages=packages()), end="")
        return
    graded = grade_one(args.folder)
    print(log(graded), flush=True)
    with open(os.environ.get("GITHUB_OUTPUT", os.devnull), "a", encoding="utf-8") as file:
        print(f"result={encoded(graded)}", file=file)


if __name__ == "__main__":
    main()
