"""Gradescope: the autograder's zip file, and the results of a submission.

python -m tutorials.exercises.platforms.gradescope zip --out autograder.zip

The format is that of https://gradescope-autograders.readthedocs.io/en/latest/specs/: ``setup.sh`` and
``run_autograder`` at the root of the zip file, which is unpacked to /autograder/source; the submission in
/autograder/submission; a test for each function in /autograder/results/results.json.
"""

from __future__ import annotations

import argparse
import configparser
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..checks.run import FOLDER
from ..grade import safety
from .one import grade_one, write
from .words import clean, name, told

ROOT = FOLDER.parents[1]
SUFFIXES = {".py", ".csv", ".npz", ".cfg"}
SETUP = """#!/usr/bin/env bash
set -e
apt-get update
apt-get install -y python3 python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install {packages}
"""
RUN = """#!/usr/bin/env bash
at="${AUTOGRADER:-/autograder}"
cd "$at/source"
"$at/venv/bin/python" -m tutorials.exercises.platforms.gradescope grade "$at/submission" \\
    --results "$at/results/results.json"
"""


def results(graded: dict[str, Any]) -> dict[str, Any]:
    """A test for each function, with its points and what the board would say."""
    return {
        "output": clean("\n".join(graded["notes"])),
        "output_format": "text",
        "tests": [
            {
                "name": name(verdict),
                "score": round(verdict["points"], 2),
                "max_score": verdict["of"],
                "status": "passed" if verdict["status"] == "right" else "failed",
                "output": told(verdict),
                "output_format": "text",
                "visibility": "visible",
            }
            for verdict in graded["verdicts"]
        ],
    }


def files() -> Iterator[tuple[str, bytes]]:
    """What the zip file holds of the course: where, and the content."""
    for folder in ("minigrad", "layers", "tutorials"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and "__pycache__" not in path.parts and path.is_file():
                yield path.relative_to(ROOT).as_posix(), path.read_bytes()


def packages() -> str:
    """What the course needs, for the shell, as its ``setup.cfg`` says."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return " ".join(f'"{package}"' for package in config["options"]["install_requires"].split())


def make_zip(path: Path) -> None:
    """Write the zip file, to be uploaded as the autograder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for script, text in (("setup.sh", SETUP.format(packages=packages())), ("run_autograder", RUN)):
            info = zipfile.ZipInfo(script)
            info.create_system, info.external_attr = 3, 0o100755 << 16  # Unix, executable
            archive.writestr(info, text)
        for where, content in files():
            archive.writestr(where, content)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.exercises.platforms.gradescope", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("zip", help="make the autograder's zip file")
    command.add_argument("--out", type=Path, default=Path("autograder.zip"), help="where (%(default)s)")
    command = commands.add_parser("grade", help="what run_autograder does")
    command.add_argument("folder", type=Path, help="with the student's files")
    command.add_argument("--results", type=Path, default=Path("results.json"), help="where to write (%(default)s)")
    args = parser.parse_args()
    if args.command == "zip":
        make_zip(args.out)
        print(f"The autograder: {args.out}")
    else:
        graded = grade_one(args.folder)
        write(args.results, json.dumps(results(graded), indent=1))
        print(safety(graded["protection"]))  # for instructors: Gradescope doesn't show it to students


if __name__ == "__main__":
    main()
