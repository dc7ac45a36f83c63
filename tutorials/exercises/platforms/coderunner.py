"""CodeRunner (Moodle's question type): what a combinator template grader prints.

python -m tutorials.exercises.platforms.coderunner FOLDER --exercise 10

The format is that of https://github.com/trampgeek/moodle-qtype_coderunner, ``docs/index.md``, "Combinator-template
grading": a ``fraction`` from 0 to 1, and a table whose cells the renderer sanitizes, as no ``columnformats`` are given.
"""

from __future__ import annotations

import json
from typing import Any

from .one import about_one, grade_one, parser
from .words import number, told


def results(graded: dict[str, Any]) -> dict[str, Any]:
    """A row for each function, with its points and what the board would say."""
    rows = [
        [
            int(verdict["status"] == "right"),
            verdict["function"],
            f"{number(verdict['points'])} of {number(verdict['of'])}",
            told(verdict, 4000),
        ]
        for verdict in graded["verdicts"]
    ]
    share = graded["points"] / graded["of"] if graded["of"] else 0.0
    return {"fraction": min(1.0, share), "testresults": [["iscorrect", "Function", "Points", "Feedback"], *rows]}


def main() -> None:
    args_of = parser("coderunner", __doc__)
    about_one(args_of)
    args = args_of.parse_args()
    print(json.dumps(results(grade_one(args.folder, args.exercise))))


if __name__ == "__main__":
    main()
