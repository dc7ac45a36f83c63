"""Lessons 5, 6, 8 and 9: they ask before they answer, and the table that lesson 9 quotes is what it measures."""

import re

import pytest
from run_lesson import run

pytestmark = pytest.mark.slow

ASKING = ["05_batchnorm_forward", "06_batchnorm_backward", "08_train_and_eval", "09_learning_rate_and_initialization"]


@pytest.mark.parametrize("lesson", ASKING)
def test_a_lesson_asks_four_to_eight_questions(lessons, lesson):
    process, _ = lessons[lesson]
    assert 4 <= process.result().stdout.count("Predict: ") <= 8


def test_the_table_that_lesson_9_quotes_is_what_one_seed_gives_up_to_300_steps(tmp_path):
    finished = run("09_learning_rate_and_initialization", "--steps", "300", "--seed", "1", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    rows = [line for line in finished.stdout.splitlines() if re.match(r"within (150|300) steps", line)]
    assert len(rows) == 2
    for row in rows:
        ranges = [tuple(map(int, found)) for found in re.findall(r"\((\d+) to (\d+)\)", row)]
        assert len(ranges) == 4  # measured without and with batch normalization, then the same quoted
        for (low, high), (lowest, highest) in zip(ranges[:2], ranges[2:], strict=True):
            # one of 81 settings may be on the edge: another NumPy rounds otherwise
            assert lowest - 1 <= low <= high <= highest + 1
