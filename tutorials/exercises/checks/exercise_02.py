"""Exercise 2: undoing broadcasting."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, variant
from .slips import edit

SHAPES = (  # of d, and of what was broadcast; square ones, too, in which a wrong axis is no error
    ((4, 3), (3,)),
    ((4, 3), (4, 1)),
    ((3, 3), (3,)),
    ((3, 3), (3, 1)),
    ((3, 3), (1, 3)),
    ((5, 4, 3), (4, 1)),
    ((2, 3, 4), (1, 3, 1)),
    ((2, 5), (2, 5)),
    ((4, 2), ()),
    ((2, 3, 2), (1,)),
)


def cases(rng: np.random.Generator) -> list[tuple]:
    return [(rng.normal(size=stretched), shape) for stretched, shape in SHAPES]


def unbroadcast(d, shape, total=np.sum, in_front=True, ones=True, keep="shape"):
    """The sum over the axes that were stretched; the settings are which of them, and what becomes of these axes."""
    extra = d.ndim - len(shape)
    front = tuple(range(extra)) if in_front else ()
    stretched = tuple(axis + extra for axis, length in enumerate(shape) if length == 1) if ones else ()
    summed = total(d, axis=front + stretched, keepdims=keep != "none")
    return summed[(0,) * len(front)] if keep == "shape" else summed


def ones_first(d, shape):
    """Counts the axes of length 1 while those in front are still there."""
    for axis, length in enumerate(shape):
        if length == 1:
            d = d.sum(axis, keepdims=True)
    return d.sum(tuple(range(d.ndim - len(shape))))


def one_by_one(d, shape):
    d = d.sum(tuple(range(d.ndim - len(shape))))
    for axis, length in enumerate(shape):
        if length == 1:
            d = d.sum(axis)
    return d


def last_axes(d, shape):
    while d.ndim > len(shape):
        d = d.sum(-1)
    return unbroadcast(d, shape)


def setting(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(unbroadcast, **settings))


COPIES = "each copy reaches the loss on its own: are gradients that meet at one value averaged, chosen from, or added?"
SHAPE = "a gradient has the shape of what it is the gradient of: (4, 1) is neither (4,) nor (1, 4, 1)"

MISTAKES = [
    setting("the gradients of the copies are averaged", COPIES, total=np.mean),
    setting("the largest one of the copies' gradients is taken", COPIES, total=np.max),
    setting(
        "the first one of the copies' gradients is taken",
        COPIES,
        total=lambda d, axis, keepdims: d[
            tuple((slice(1) if keepdims else 0) if a in axis else slice(None) for a in range(d.ndim))
        ],
    ),
    setting(
        "axes of length 1 are not summed over",
        "broadcasting stretches in two ways: it adds axes in front, and what else?",
        ones=False,
    ),
    setting(
        "the axes that were added in front are not summed over",
        "broadcasting stretches in two ways: it stretches axes of length 1, and what else?",
        in_front=False,
    ),
    setting("the axes of length 1 are lost", SHAPE, keep="none"),
    setting("the axes that were added in front are kept, with length 1", SHAPE, keep="all"),
    Mistake(
        "the axes of length 1 are lost one after the other, and those behind them move up",
        "after a sum over axis 0, what is the number of the axis that was axis 2?",
        one_by_one,
    ),
    Mistake(
        "the axes of length 1 are counted from the front of d, while the added axes are still there",
        "with shape (4, 1) and d of shape (5, 4, 3), what number has the axis of length 1 in d?",
        ones_first,
    ),
    Mistake(
        "the superfluous axes are taken from the end of d instead of from its front",
        "NumPy compares shapes from the last axis backwards: on which side does it put the axes that are missing?",
        last_axes,
    ),
    Mistake(
        "d is reshaped to (-1, *shape) and summed over axis 0",
        "reshape deals out the values in the order in memory: do the copies of one value get the same place in it?",
        lambda d, shape: d.reshape(-1, *shape).sum(0),
    ),
    Mistake(
        "the first values of d are cut out and reshaped, as by np.resize",
        "each value of x has several copies, and so several values of d belong to it: what becomes of the others?",
        np.resize,
    ),
    Mistake(
        "everything is summed, and each place gets the same number",
        "on which axes do the copies of one value lie, and on which the other values of x?",
        lambda d, shape: np.full(shape, d.sum()),
    ),
    Mistake(
        "the `return` stands inside the first loop, so that only one axis is summed over",
        "after which line should the function end?",
        edit(models.unbroadcast, ("        d = d.sum(axis=0)", "        return d.sum(axis=0)")),
    ),
    Mistake(
        "of the axes in front, only one is summed over",
        "d may have more than one axis more than `shape`",
        edit(models.unbroadcast, ("for _ in range(d.ndim - len(shape)):", "if d.ndim > len(shape):")),
    ),
    Mistake(
        "the gradients are averaged over the axes in front, and summed over those of length 1",
        COPIES,
        edit(models.unbroadcast, ("d.sum(axis=0)", "d.mean(axis=0)")),
    ),
    Mistake(
        "the gradients are averaged over the axes of length 1, and summed over those in front",
        COPIES,
        edit(models.unbroadcast, ("d.sum(axis=axis", "d.mean(axis=axis")),
    ),
    Mistake(
        "along the axes in front, the first of the copies' gradients is taken",
        COPIES,
        edit(models.unbroadcast, ("d.sum(axis=0)", "d[0]")),
    ),
    Mistake(
        "along the axes in front, the last of the copies' gradients is taken",
        COPIES,
        edit(models.unbroadcast, ("d.sum(axis=0)", "d[-1]")),
    ),
    Mistake(
        "the axes that are summed over are those that don't have length 1",
        "which axes does broadcasting stretch?",
        edit(models.unbroadcast, ("length == 1", "length != 1")),
    ),
]

EXERCISE = Exercise(
    2,
    "02_unbroadcast.py",
    "Undoing broadcasting",
    [Task("unbroadcast", cases, unbroadcast, MISTAKES, models=(models.unbroadcast,))],
)
