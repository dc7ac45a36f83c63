"""Tables over five seeds that a lesson quotes, held to what it computes with ``--seeds 5``."""

import re

import pytest
from run_lesson import TUTORIALS, run

pytestmark = pytest.mark.slow


def numbers(line):
    return [float(number) for number in re.findall(r"[\d.]*\d", line)]


@pytest.mark.parametrize("lesson", ["12_relatives", "13_residual_networks"])
def test_the_quoted_numbers_are_those_of_five_seeds(tmp_path, lesson):
    finished = run(lesson, "--seeds", "5", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    text = (TUTORIALS / f"{lesson}.py").read_text(encoding="utf-8")
    quoted = re.findall(r"^# \| (\w[\w ]*) \| (.* to .*) \|$", text, re.MULTILINE)
    assert len(quoted) >= 3
    for name, cells in quoted:
        (printed,) = re.findall(rf"^{name}   +(.* to .*)$", finished.stdout, re.MULTILINE)
        # Another machine rounds otherwise, and hundreds of steps make much of it, above all with batches of 2.
        assert numbers(cells) == pytest.approx(numbers(printed), rel=0.2, abs=6)
