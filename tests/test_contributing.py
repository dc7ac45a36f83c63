"""CONTRIBUTING.md, followed to the letter: its examples in a copy of the project, and its commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_lesson import TIMEOUT

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
WORKED = [number for number, section in enumerate(SECTIONS) if "```sh\n" in section]
STEP = re.compile(
    r"`(?P<path>[^`\n]+)`, (?P<how>a new file|at its end|(?:before|after|in place of) `(?P<text>[^`\n]+)`):\n\n"
    r"```\w+\n(?P<code>.*?)```",
    re.DOTALL,
)
COMMAND = re.compile(r"^\|.*\| `([^`]+)` \|$", re.MULTILINE)


def apply(step, folder):
    """Do what a step of the page says."""
    path, how, text, code = folder / step["path"], step["how"], step["text"], step["code"]
    if how == "a new file":
        assert not path.exists(), path
        path.write_text(code, encoding="utf-8")
        return
    old = path.read_text(encoding="utf-8")
    if how == "at its end":
        path.write_text(old + code, encoding="utf-8")
        return
    assert old.count(text) == 1, f"{path} has {text!r} {old.count(text)} times"
    start, end = old.rindex("\n", 0, old.index(text)) + 1, old.index("\n", old.index(text)) + 1
    if how.startswith("in place of"):
        new = old.replace(text, code.rstrip("\n"))
    else:
        place = start if how.startswith("before") else end
        new = old[:place] + code + old[place:]
    path.write_text(new, encoding="utf-8")


def run(command, folder):
    """Run a line of the page in a copy of the project."""
    environment = os.environ | {"PYTHONPATH": str(folder), "MPLBACKEND": "Agg"}
    command = re.sub(r"^python ", lambda match: f'"{sys.executable}" ', command)
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )


def copy_of_the_project(folder):
    folders = ["minigrad", "layers", "tutorials", "tests"]
    for name in folders:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "figures"))
    for path in (path for path in ROOT.iterdir() if path.suffix in (".md", ".cfg", ".toml")):
        shutil.copy(path, folder)


@pytest.mark.parametrize("number", WORKED, ids=lambda number: SECTIONS[number].splitlines()[0])
def test_a_worked_example_passes_the_tests_that_the_page_says_to_run(tmp_path, number):
    copy_of_the_project(tmp_path)
    for section in SECTIONS[: number + 1]:
        for step in STEP.finditer(section):
            apply(step, tmp_path)
    for command in re.search(r"```sh\n(.*?)```", SECTIONS[number], re.DOTALL)[1].splitlines():
        finished = run(command, tmp_path)
        assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"


def test_every_piece_of_code_on_the_page_says_where_it_belongs():
    code = [block for block in re.findall(r"^```(\w*)\n", PAGE, re.MULTILINE) if block not in ("", "sh")]
    assert len(code) == len(STEP.findall(PAGE)) > 20


@pytest.mark.parametrize("command", [command for command in COMMAND.findall(PAGE) if "tests/" in command])
def test_a_command_of_the_page_starts_what_is_there(command):
    words = command.split()
    if "test_browser" in command:
        pytest.importorskip("selenium")
    if "pytest" in words:
        finished = run(f"{command} --collect-only -p no:cacheprovider", ROOT)
    else:
        finished = run(f"{words[0]} {words[1]} --help", ROOT)
        assert set(words[2::2]) <= set(finished.stdout.split())
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_fast_tests_leave_the_lessons_out():
    finished = run("python -m pytest -q -m 'not slow' --collect-only -p no:cacheprovider tests/tutorials", ROOT)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "test_data.py" in finished.stdout
    assert "test_lessons.py" not in finished.stdout
