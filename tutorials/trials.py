"""Comparing networks fairly: each at its best learning rate, chosen on validation images, and over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from layers import Module
from minigrad.optim import SGD
from tutorials.data import Dataset
from tutorials.lesson import accuracy, readings, steps_to, train_step

Images = tuple[np.ndarray, np.ndarray]  # images, and their classes


class Trial(NamedTuple):
    """What became of a network: an item for each seed."""

    rate: float
    networks: tuple[Module, ...]
    steps: tuple[float, ...]  # to 90 % of the test images; inf where it never got there
    accuracy: tuple[float, ...]  # on the test images, at the end


def hold_out(data: Dataset) -> tuple[Images, Images]:
    """The training images without every fifth, to train on, and every fifth of them, to choose settings with."""
    held_out = np.arange(len(data.x_train)) % 5 == 4
    return (data.x_train[~held_out], data.y_train[~held_out]), (data.x_train[held_out], data.y_train[held_out])


def try_out(
    make: Callable[[int], Module],
    stream: Callable[[int, int], Iterable[Images]],
    rates: Sequence[float],
    steps: int,
    seeds: Sequence[int],
    data: Dataset,
) -> Trial:
    """Train with SGD at the best of some learning rates, with each seed.

    The best one is that with which the network of the first seed is the first to reach 90 % of the validation images,
    or, if none does, gets most of them right at the end. Test images play no part in it.

    Args:
        make: a network for a seed.
        stream: mini-batches for a number of steps and a seed.
    """

    def train(rate: float, seed: int, x: np.ndarray, y: np.ndarray) -> tuple[Module, float, float]:
        network, at, found = make(seed), readings(steps), []
        optimizer = SGD(network.parameters(), rate)
        for step, batch in enumerate(stream(steps, seed), start=1):
            train_step(network, optimizer, *batch)
            if step in at:
                found.append(accuracy(network, x, y))
        return network, steps_to(0.9, at, found) or np.inf, found[-1]

    def rank(rate: float) -> tuple[float, float]:
        _, needed, right = train(rate, seeds[0], *hold_out(data)[1])
        return needed, -right

    with np.errstate(all="ignore"):  # at too high a rate, weights overflow
        rate = min(rates, key=rank)
        return Trial(rate, *zip(*(train(rate, seed, data.x_test, data.y_test) for seed in seeds)))


def text(values: Sequence[float], form: str = "{:.1%}") -> str:
    """The mean, and the range if there are several values."""
    mean, *ends = (form.format(value) for value in (np.mean(values), np.min(values), np.max(values)))
    return f"{mean} ({' to '.join(ends)})" if len(values) > 1 else mean
