"""The README's promises: its two set-up commands, and its example, run as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_there_are_exactly_two_set_up_commands_of_one_line_each():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    main_job, tests = (command.strip() for command in commands)
    for command in (main_job, tests):
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/python -m pip install ")
    assert main_job.endswith("tutorials/07_internal_covariate_shift.py")
    assert tests.endswith("-m pytest")


def test_the_example_prints_what_the_readme_says(tmp_path):
    code, printed = re.search(r"```python\n(.*?)```\n\nIt prints\n\n```text\n(.*?)```", README, re.DOTALL).groups()
    assert len(code.splitlines()) == 20
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 0, finished.stderr
    # The first line is a test accuracy, whose last digits may depend on the machine's matrix product.
    first, *rest = finished.stdout.splitlines()
    assert float(first.split()[-1]) > 0.95
    assert rest == printed.splitlines()[1:]


def test_the_tape_example_writes_its_page(tmp_path):
    (code,) = re.findall(r"```python\n(x = Tensor.*?)```", README, re.DOTALL)
    code = "from minigrad import Tensor\n" + code + "assert loss.tape()[6].op == 'divide'"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert "x_hat" in (tmp_path / "tape.html").read_text(encoding="utf-8")


DOCUMENTS = sorted(path for path in ROOT.glob("**/*.md") if ".venv" not in path.parts and "build" not in path.parts)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_folder_that_a_document_names_exists(document):
    text = document.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:minigrad|layers|tutorials|tests)/[\w./]*)`", text):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", text):
        assert (document.parent / link).exists(), link


def test_the_course_shows_every_lesson_with_its_picture():
    course = (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")
    lessons = sorted(path.name for path in (ROOT / "tutorials").glob("[0-9]*.py"))
    assert len(lessons) == 11
    for lesson in lessons:
        assert re.search(
            rf"\| !\[\]\(images/{lesson[:2]}\.png\) \| \[{int(lesson[:2])}\. [^]]+\]\({lesson}\) ", course
        ), lesson
