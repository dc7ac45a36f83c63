"""Options and markers of ``pytest tutorials/exercises``."""

from pathlib import Path

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("exercises")
    group.addoption("--submission", type=Path, default=Path(__file__).parent, help="folder with a student's files")
    group.addoption("--seed", type=int, default=0, help="of the random inputs")


def pytest_configure(config):
    if not config.option.submission.is_dir():
        raise pytest.UsageError(f"there is no folder {config.option.submission}")
    config.addinivalue_line("markers", "points(n): what the function is worth")
