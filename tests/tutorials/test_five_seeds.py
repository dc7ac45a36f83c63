"""Tables over five seeds that a lesson quotes, held to what it measures with one of them.

``--seeds 5`` computes them anew, which would take the tests some minutes.
"""

import re

import pytest
from run_lesson import TUTORIALS

RANGE = re.compile(r"([\d.]+)%? \(([\d.]+)%? to ([\d.]+)%?\)")


@pytest.mark.slow
@pytest.mark.parametrize("lesson", ["12_relatives", "13_residual_networks"])
def test_the_quoted_ranges_hold_what_the_lesson_measures(lessons, lesson):
    text = (TUTORIALS / f"{lesson}.py").read_text(encoding="utf-8")
    quoted = re.findall(r"^# \| (\w[\w ]*) \| (.* to .*) \|$", text, re.MULTILINE)
    printed = lessons[lesson][0].result().stdout
    assert len(quoted) >= 3
    for name, cells in quoted:
        (row,) = re.findall(rf"^{name}   +([\d.]+%   .*)$", printed, re.MULTILINE)
        for cell, value in zip(cells.split(" | "), row.split(), strict=True):
            if cell == "never":
                assert value == "never", (name, cells, row)
                continue
            mean, low, high = map(float, RANGE.fullmatch(cell).groups())
            slack = 2 + 0.1 * mean  # another machine rounds differently, and hundreds of steps make much of it
            assert low <= mean <= high
            assert low - slack <= float(value.rstrip("%")) <= high + slack, (name, cell, value)
