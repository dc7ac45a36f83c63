"""Lessons 10 and 11 quote tables over five seeds; what they measure with one of these seeds lies in the ranges."""

import math
import re

import numpy as np
import pytest
from run_lesson import TUTORIALS

from layers import Linear, Module, ReLU
from minigrad import Tensor
from tutorials.comparing import LpNorm, network, over, shown, split

RANGE = re.compile(r"(\S+) \((\S+) to (\S+)\)")


def tables(text):
    """{title: {row: its cells}} of the tables in ``text``, whose columns are at least two spaces apart."""
    found = {}
    for block in filter(None, re.split(r"\n\s*\n", text.strip())):
        header, *rows = (
            [cell for cell in re.split(r"\s{2,}", line.strip()) if cell] or [""] for line in block.splitlines()
        )
        found[header[0]] = {name: cells for name, *cells in rows}
    return found


def quoted_by(lesson):
    """Where a range is quoted, (title, row, column), and the range, from tables and from sentences such as

    "Seeds 0 to 4 (`--seeds 5`), title, column 1: row 2 (1 to 3); row 5 (4 to 6)."
    """
    text = re.sub(r"^# ?", "", (TUTORIALS / f"{lesson}.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for title, rows in tables("\n\n".join(re.findall(r"^```\n(.*?)^```\n", text, re.MULTILINE | re.DOTALL))).items():
        for name, cells in rows.items():
            yield from (((title, name, column), cell) for column, cell in enumerate(cells))
    sentences = r"\(`--seeds 5`\), ([^:]+), column (\d): ([^:]*\))\."
    for title, column, items in re.findall(sentences, text.replace("\n", " ")):
        for item in items.split("; "):
            name, cell = re.fullmatch(r"(.+?) (\S+ \(.+\))", item).groups()
            yield (title, name, int(column) - 1), cell


@pytest.mark.slow
@pytest.mark.parametrize("lesson", ["10_is_it_covariate_shift", "11_when_batchnorm_hurts"])
def test_the_quoted_ranges_hold_what_the_lesson_measures(lessons, lesson):
    measured, quoted = tables(lessons[lesson][0].result().stdout), dict(quoted_by(lesson))
    assert len(quoted) > 10
    for (title, name, column), cell in quoted.items():
        mean, low, high = (float(number.rstrip("%")) for number in RANGE.fullmatch(cell).groups())
        slack = 2 + 0.1 * mean  # another machine rounds differently
        assert low <= mean <= high
        value = float(measured[title][name][column].rstrip("%"))
        assert low - slack <= value <= high + slack, (title, name, column, cell, value)


def test_what_is_shown_is_the_mean_and_with_several_seeds_the_range():
    assert shown(np.array([3.0])) == "3"
    assert shown(np.array([1.0, 2.0, 6.0])) == "3 (1 to 6)"
    assert shown(np.array([1.0, math.inf])) == "never (1 to never)"


def test_the_seeds_are_the_last_axis_of_what_was_measured():
    np.testing.assert_array_equal(over(range(3), lambda seed, more: [seed, seed + more], 10), [[0, 1, 2], [10, 11, 12]])


def test_validation_images_are_none_of_the_training_images():
    x = np.arange(50)
    (training, labels), (validation, _) = split(x, x, seed=0, held_out=20)
    assert len(validation) == 20
    np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), x)
    np.testing.assert_array_equal(training, labels)


@pytest.mark.parametrize(
    ("p", "size"),
    [(1, lambda x: np.abs(x).mean(0)), (2, lambda x: np.sqrt((x**2).mean(0))), (math.inf, lambda x: np.abs(x).max(0))],
)
@pytest.mark.parametrize("offsets", [True, False])
def test_the_lp_norm_divides_by_the_average_norm_of_the_values(p, size, offsets):
    x = np.random.default_rng(0).normal(1, 2, (7, 7))
    expected = (x - x.mean(0) * offsets) / size(x)
    np.testing.assert_allclose(LpNorm(7, p, offsets)(Tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_network_gets_the_normalization_and_what_comes_before_each_activation():
    layers = network([4, 3, 3, 2], lambda features: LpNorm(features, 1), Shifted, activation=ReLU, rng=0)
    assert [type(layer) for layer in layers] == [Linear, LpNorm, Shifted, ReLU] * 2 + [Linear]
    assert [type(layer) for layer in network([4, 3, 2], None, activation=ReLU, rng=0)] == [Linear, ReLU, Linear]


class Shifted(Module):
    def __init__(self, position):
        assert position in (2, 6)
