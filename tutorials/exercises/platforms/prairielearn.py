"""PrairieLearn: the results of an externally graded question.

python -m tutorials.exercises.platforms.prairielearn /grade/student --results /grade/results/results.json

The format is that of https://prairielearn.readthedocs.io/en/latest/externalGrading/#grading-results: a ``score`` from 0
to 1, a test for each function, at most a megabyte; what can't be graded costs no attempt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .one import about_one, grade_one, parser, write
from .words import clean, name, told

LONGEST = 4000  # characters of a text: 32 of them, in JSON with six bytes for one, are less than a megabyte


def results(graded: dict[str, Any]) -> dict[str, Any]:
    """A test for each function, with its points and what the board would say."""
    notes = [clean(note) for note in graded["notes"]]
    if not graded["found"]:
        return {"gradable": False, "format_errors": notes}
    tests = [
        {
            "name": name(verdict),
            "points": round(verdict["points"], 2),
            "max_points": verdict["of"],
            "message": told(verdict, LONGEST),
        }
        for verdict in graded["verdicts"]
    ]
    share = graded["points"] / graded["of"] if graded["of"] else 0.0
    return {"gradable": True, "score": min(1.0, share), "message": "\n".join(notes)[:LONGEST], "tests": tests}


def main() -> None:
    args_of = parser("prairielearn", __doc__)
    args_of.add_argument("--results", type=Path, default=Path("/grade/results/results.json"), help="(%(default)s)")
    about_one(args_of)
    args = args_of.parse_args()
    write(args.results, json.dumps(results(grade_one(args.folder, args.exercise))))


if __name__ == "__main__":
    main()
