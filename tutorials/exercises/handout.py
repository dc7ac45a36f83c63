"""Make what students get: the course without tests, reference solutions, grading and the instructor's page.

python -m tutorials.exercises.handout --out handout.zip
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .checks.run import FOLDER, Checker, exercises, files_in

ROOT = FOLDER.parents[1]
GIVEN = ("README.md", "pyproject.toml", "setup.cfg", "layers", "minigrad", "tutorials")
KEPT_BACK = {FOLDER.parent / "INSTRUCTORS.md", *(FOLDER / f"{name}.py" for name in ("grade", "handout", "submissions"))}
KEPT_BACK |= {*(FOLDER / "platforms").glob("[!_]*")}  # the package itself stays, because setup.cfg names it
# What the pages say of tests, which students don't get: a passage, and what takes its place.
ON_TESTS = {
    rb"## Two commands": b"## One command",
    rb"#two-commands\)": b"#one-command)",
    rb"The first runs (?=the experiment)": b"The command runs ",
    rb"The second, [^\n]*runs the tests.*?\n```\n\n": b"",
    rb"The tests of the pages for the browser.*?\n\n": b"",
    rb"\| `tests/` \|[^\n]*\n": b"",
    rb"- \*\*Numbers\*\* are compared, in the tests,.*?\n(?=\n|- )": b"",
    rb"; the whole table and how it was made are in\s\[tests/benchmarks\]\([^)]*\)": b"",
    rb" How to get [^.]* is in `tests/[^`]*`\.": b"",
}
SUFFIXES = {".py", ".md", ".html", ".css", ".npz", ".csv", ".cfg", ".toml", ".png", ".gif", ".yml", ".typed"}


def files() -> Iterator[tuple[str, bytes]]:
    """What is handed out: where, and the content."""
    for name in GIVEN:
        for path in [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*")):
            inside = path.relative_to(ROOT)
            hidden = any(part.startswith((".", "__pycache__", "figures")) for part in inside.parts)
            if path.suffix in SUFFIXES and path.is_file() and path not in KEPT_BACK and not hidden:
                content = path.read_bytes()
                yield inside.as_posix(), for_students(content) if path.suffix == ".md" else content


def for_students(page: bytes) -> bytes:
    """The page without what it says of tests, and with the words alone of links to what students don't get."""
    for passage, instead in ON_TESTS.items():
        page = re.sub(passage, instead, page, flags=re.DOTALL)
    page = re.sub(rb"\[([^]]*)\]\([^)]*(INSTRUCTORS|CONTRIBUTING|CHANGELOG)\.md[^)]*\)", rb"\1", page)
    return re.sub(rb"\[([^]]*)\]\((\.\./)*tests/[^)]*\)", rb"\1", page)


def worked_on() -> list[str]:
    """Functions in this folder that somebody has begun to write."""
    with Checker(files_in(FOLDER)) as checker:
        found = [(exercise, verdict) for exercise in exercises() for verdict in checker.check(exercise)]
    return [f"{exercise.file}, {verdict.function}" for exercise, verdict in found if verdict.status != "not started"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tutorials.exercises.handout", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("handout.zip"), help="a zip file, or a folder (%(default)s)")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists: delete it, or choose another name with --out")
    if begun := worked_on():
        parser.error(f"the exercises must be as they are handed out, and somebody has worked on {'; '.join(begun)}")
    if args.out.suffix == ".zip":
        with zipfile.ZipFile(args.out, "w", zipfile.ZIP_DEFLATED) as archive:
            for where, content in files():
                archive.writestr(f"{args.out.stem}/{where}", content)
    else:
        for where, content in files():
            path = args.out / where
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    print(f"The hand-out: {args.out}")


if __name__ == "__main__":
    main()
