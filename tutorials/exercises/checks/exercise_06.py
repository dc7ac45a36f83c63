"""Exercise 6: ReLU, forward and backward."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, variant
from .slips import edit

SHAPES = (6,), (4, 3), (3, 3), (2, 3, 4)


def inputs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values of which at least one is negative, one is exactly 0, and two are positive, one of these above 1."""
    x = rng.normal(scale=2, size=shape)
    x.flat[:4] = rng.permuted([-rng.uniform(0.5, 2), 0.0, rng.uniform(0.1, 0.9), rng.uniform(1.5, 3)])
    x.flat[-1] = 0.0
    return x


def forward_cases(rng: np.random.Generator) -> list[tuple]:
    return [(inputs(rng, shape),) for shape in SHAPES]


def backward_cases(rng: np.random.Generator) -> list[tuple]:
    """(g, x); all of g is different from 0."""
    return [(rng.uniform(0.2, 2, shape) * rng.choice([-1, 1], shape), inputs(rng, shape)) for shape in SHAPES]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def relu_backward(g, x, at_zero=0.0, below=0.0, with_g=True, mask_of="x") -> np.ndarray:
    """g where x is positive; the settings are what the slope is elsewhere, and which array decides about it."""
    decides = {"x": x, "g": g, "both": np.where(g > 0, x, -1.0)}[mask_of]
    slope = np.where(decides > 0, 1.0, np.where(decides == 0, at_zero, below))
    return g * slope if with_g else slope


BOTH_SIDES = "ReLU is 0 for a negative number, however large it is"

RELU = [
    Mistake("the absolute value is taken", BOTH_SIDES, np.abs),
    Mistake(
        "negative numbers pass with a small slope (a leaky ReLU)", BOTH_SIDES, lambda x: np.where(x > 0, x, 0.01 * x)
    ),
    Mistake("the smaller one of x and 0 is taken", "for x = 2, is max(x, 0) 2 or 0?", lambda x: np.minimum(x, 0)),
    Mistake(
        "positive numbers become 1, so that it is the slope of ReLU, or a mask",
        "a positive number passes as it is: what is max(2, 0)?",
        lambda x: (x > 0).astype(float),
    ),
    Mistake(
        "np.max(x, 0) is called, which takes the largest number along axis 0",
        "NumPy has another function for the larger one of two numbers, entry by entry",
        lambda x: np.max(x, 0),
    ),
    Mistake(
        "the result is also cut off at 1, as by np.clip(x, 0, 1)",
        "a ReLU has no upper end",
        lambda x: np.clip(x, 0, 1),
    ),
    Mistake(
        "only the positive numbers are kept, as by x[x > 0]",
        "y has the shape of x: something has to stand in the place of each negative number",
        lambda x: x[x > 0],
    ),
    Mistake("x is returned as it is", "and what becomes of the negative numbers?", lambda x: x.copy()),
    Mistake(
        "the negative numbers pass, with their signs turned around",
        "which of the two numbers x and 0 is larger for x = 2?",
        edit(models.relu, ("np.maximum(x, 0)", "np.maximum(-x, 0)")),
    ),
    Mistake(
        "the larger one of x and 1 is taken",
        "where does the graph of ReLU bend?",
        edit(models.relu, ("np.maximum(x, 0)", "np.maximum(x, 1)")),
    ),
    Mistake(
        "the larger one of x and -1 is taken",
        "where does the graph of ReLU bend?",
        edit(models.relu, ("np.maximum(x, 0)", "np.maximum(x, -1)")),
    ),
    Mistake(
        "x is squared where it is positive",
        "a positive number passes as it is",
        edit(models.relu, ("np.maximum(x, 0)", "np.maximum(x, 0) * x")),
    ),
    Mistake(
        "negative numbers become -1",
        "what is max(x, 0) for x = -3?",
        edit(models.relu, ("np.maximum(x, 0)", "np.where(x > 0, x, -1)")),
    ),
    Mistake(
        "the result is in whole numbers",
        "which type has your array, `print(y.dtype)`?",
        edit(models.relu, ("np.maximum(x, 0)", "np.maximum(x, 0).astype(int)")),
    ),
    Mistake(
        "the largest number of all is returned",
        "NumPy has another function for the larger one of two numbers, entry by entry",
        edit(models.relu, ("np.maximum(x, 0)", "np.max(x)")),
    ),
]


def step(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(relu_backward, **settings))


AT_ZERO = "at exactly 0, the slope is taken to be 0 here: which of > and >= is it?"

RELU_BACKWARD = [
    step("the gradient passes where x is 0, too", AT_ZERO, at_zero=1.0),
    step("half of the gradient passes where x is 0", "the mean of both slopes is a choice, but not ours", at_zero=0.5),
    step(
        "the sign of g decides where the gradient passes, instead of the sign of x",
        "max(x, 0) chose by x; what arrives from above may well be negative",
        mask_of="g",
    ),
    step(
        "g is forgotten, so that the slope alone remains",
        "the chain rule multiplies: what has arrived, times the operation's own derivative",
        with_g=False,
    ),
    step(
        "a small part of the gradient passes where x is negative (a leaky ReLU)",
        "where x is negative, y is 0: by how much does it change when x does?",
        below=0.01,
    ),
    step(
        "the sign of the gradient is turned around where x is negative (the slope of abs)",
        "where x is negative, y is 0: by how much does it change when x does?",
        below=-1.0,
    ),
    Mistake(
        "g is multiplied by x itself where x is positive",
        "y = x for positive x: what is its derivative?",
        lambda g, x: g * np.maximum(x, 0),
    ),
    Mistake("g is multiplied by x itself", "y = x for positive x: what is its derivative?", lambda g, x: g * x),
    Mistake(
        "the gradient passes where x is negative",
        "on which side of 0 does y change when x does?",
        lambda g, x: g * (x < 0),
    ),
    Mistake("g passes everywhere", "where x is negative, y is 0: by how much does it change?", lambda g, x: g.copy()),
    step(
        "the gradient passes only where g is positive as well as x",
        "a negative gradient is as good as a positive one, and has to pass",
        mask_of="both",
    ),
    Mistake(
        "only those gradients are kept that pass, as by g[x > 0]",
        "d_x has the shape of x: something has to stand in the place of each negative number",
        lambda g, x: g[x > 0],
    ),
    Mistake(
        "parentheses are missing, so that g * x is compared with 0",
        "which comes first in `g * x > 0`: the product or the comparison?",
        edit(models.relu_backward, ("g * (x > 0)", "(g * x > 0).astype(float)")),
    ),
    Mistake(
        "only where x is exactly 0 is the gradient stopped",
        "where x is negative, y is 0: by how much does it change when x does?",
        edit(models.relu_backward, ("x > 0", "x != 0")),
    ),
    Mistake(
        "the kink is put at 1", "where does the graph of ReLU bend?", edit(models.relu_backward, ("x > 0", "x > 1"))
    ),
    Mistake(
        "negative gradients are cut off, too",
        "a negative gradient is as good as a positive one, and has to pass",
        edit(models.relu_backward, ("g * (x > 0)", "np.maximum(g, 0) * (x >= 0)")),
    ),
    Mistake(
        "the forward pass is returned, max(x, 0)",
        "what is asked for is the gradient: the slope, times what has arrived",
        edit(models.relu_backward, ("g * (x > 0)", "np.maximum(x, 0)")),
    ),
    Mistake(
        "the larger one of g and x is taken",
        "what decides whether the gradient passes?",
        edit(models.relu_backward, ("g * (x > 0)", "np.maximum(g, x)")),
    ),
]

EXERCISE = Exercise(
    6,
    "06_relu.py",
    "ReLU",
    [
        Task(
            "relu",
            forward_cases,
            relu,
            RELU,
            models=(
                models.relu,
                models.relu_by_mask,
            ),
        ),
        Task(
            "relu_backward",
            backward_cases,
            relu_backward,
            RELU_BACKWARD,
            models=(
                models.relu_backward,
                models.relu_backward_where,
            ),
        ),
    ],
)
