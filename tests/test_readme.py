"""The README's promises: its two set-up commands, and its example, run as printed."""

import re
import subprocess
import sys
from pathlib import Path

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


def test_every_file_and_folder_that_the_readme_names_exists():
    named = re.findall(r"`((?:minigrad|layers|tutorials|tests)/[\w./]*)`|\]\(((?!http)[^)]+)\)", README)
    assert named
    for path in filter(None, (path for pair in named for path in pair)):
        assert (ROOT / path).exists(), path
