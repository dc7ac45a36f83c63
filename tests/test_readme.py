"""The README's promises: its two set-up commands, and its examples, run as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_lesson import TIMEOUT

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


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(examples, folder, *options):
    """Run examples one after the other in one namespace, as a reader would."""
    return subprocess.run(
        [sys.executable, *options, "-c", "\n".join(examples)],
        cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=TIMEOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """What running all examples in order does, but for the one that needs PyTorch: the process, and its folder."""
    folder = tmp_path_factory.mktemp("reader")
    finished = run([code for code in EXAMPLES if "torch" not in code], folder, "-W", "error")
    assert finished.returncode == 0, finished.stderr
    return finished, folder


def test_the_first_example_prints_what_the_readme_says(reader):
    code, printed = re.search(r"```python\n(.*?)```\n\nIt prints\n\n```text\n(.*?)```", README, re.DOTALL).groups()
    assert code == EXAMPLES[0]
    assert len([line for line in code.splitlines() if line]) <= 20
    # The first line is a test accuracy, whose last digits may depend on the machine's matrix product.
    first, *rest = reader[0].stdout.splitlines()
    assert float(first.split()[-1]) > 0.95
    expected = printed.splitlines()[1:]
    assert rest[: len(expected)] == expected


def test_the_tape_examples_write_a_page_and_step_through_it(reader):
    finished, folder = reader
    assert "x_hat" in (folder / "tape.html").read_text(encoding="utf-8")
    assert "7: x_hat = divide(" in finished.stdout


@pytest.mark.slow
def test_the_example_with_pytorch_runs_after_the_others(tmp_path):
    pytest.importorskip("torch")
    finished = run(EXAMPLES, tmp_path)
    assert finished.returncode == 0, finished.stderr


DOCUMENTS = sorted(path for path in ROOT.glob("**/*.md") if not {".venv", "build", "book"} & set(path.parts))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_folder_that_a_document_names_exists(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for path in re.findall(r"`((?:minigrad|layers|tutorials|tests)/[\w./]*)`(?!, a new file)", text):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", text):
        assert (document.parent / link).exists(), link


def test_the_course_shows_every_lesson_with_its_picture():
    course = (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")
    lessons = sorted(path.name for path in (ROOT / "tutorials").glob("[0-9]*.py"))
    assert len(lessons) >= 11
    for lesson in lessons:
        assert re.search(
            rf"\| !\[\]\(images/{lesson[:2]}\.png\) \| \[{int(lesson[:2])}\. [^]]+\]\({lesson}\) ", course
        ), lesson


def test_no_number_is_left_to_be_filled_in():
    assert not re.findall(r"\{[A-Z]+\}", README)
