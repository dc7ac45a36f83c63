"""Comparing networks at their best learning rates: what is chosen by which images, and what is told of it."""

import math

import numpy as np
import pytest

from layers import Linear
from tutorials.data import load_digits
from tutorials.lesson import batches
from tutorials.trials import hold_out, text, try_out

DATA = load_digits()
FIT, VALID = hold_out(DATA)


def stream(steps, seed):
    return batches(*FIT, 60, steps, seed)


def try_one_layer(data=DATA, rates=(1e-6, 0.5), seeds=(0,), steps=40):
    return try_out(lambda seed: Linear(64, 10, rng=seed), stream, rates, steps, seeds, data)


def test_every_fifth_training_image_is_held_out_and_none_is_lost():
    assert len(VALID[0]) == len(DATA.x_train) // 5
    both = np.concatenate([FIT[0], VALID[0]])
    assert sorted(map(bytes, both)) == sorted(map(bytes, DATA.x_train))


def test_no_test_image_is_among_the_validation_images():
    assert not set(map(bytes, VALID[0])) & set(map(bytes, DATA.x_test))


def test_the_rate_that_learns_is_chosen_wherever_it_stands():
    assert try_one_layer(rates=(1e-6, 0.5)).rate == try_one_layer(rates=(0.5, 1e-6)).rate == 0.5


def test_test_images_play_no_part_in_the_choice():
    wrong = DATA._replace(y_test=(DATA.y_test + 1) % 10)
    trial = try_one_layer(wrong)
    assert trial.rate == 0.5
    assert trial.accuracy[0] < 0.1


def test_a_network_that_never_gets_90_percent_needs_infinitely_many_steps():
    (steps,) = try_one_layer(steps=2).steps
    assert steps == math.inf


def test_each_seed_has_its_network_and_results_and_the_same_again():
    trial, again = try_one_layer(seeds=(3, 4)), try_one_layer(seeds=(3, 4))
    assert len(trial.networks) == len(trial.steps) == len(trial.accuracy) == 2
    assert trial[2:] == again[2:]
    assert not np.array_equal(trial.networks[0].weight.data, trial.networks[1].weight.data)


@pytest.mark.parametrize(("values", "told"), [([0.5], "50.0%"), ([0.5, 0.25, 0.75], "50.0% (25.0% to 75.0%)")])
def test_several_values_are_told_as_their_mean_and_range(values, told):
    assert text(values) == told
