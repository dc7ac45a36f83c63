"""The small functions that lessons share."""

import numpy as np
import pytest

from tutorials.lesson import readings, steps_to


@pytest.mark.parametrize("steps", [1, 2, 30, 1_000, 50_000])
def test_readings_go_from_the_first_step_to_the_last_without_wide_gaps(steps):
    at = readings(steps)
    assert at[0] == 1
    assert at[-1] == steps
    assert np.all(np.diff(at) <= 1 + 0.041 * at[:-1])
    assert len(np.unique(at)) == len(at)


@pytest.mark.parametrize(
    ("accuracies", "needed"), [([0.5, 0.9, 0.8], 20), ([0.9, 0.1, 0.1], 10), ([0.1, 0.2, 0.95], 30), ([0.8] * 3, None)]
)
def test_steps_are_counted_to_the_first_reading_at_the_level(accuracies, needed):
    assert steps_to(0.9, [10, 20, 30], accuracies) == needed


def test_steps_and_accuracies_must_belong_together():
    with pytest.raises(ValueError, match="argument"):
        steps_to(0.9, [10, 20], [0.5])
