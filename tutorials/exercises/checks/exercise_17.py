"""Exercise 17: which axes a convolution shares."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task
from .slips import edit


def images(rng: np.random.Generator) -> list[tuple]:
    """Images of which each has a mean of its own; lengths agree in turn, so that a wrong axis need not show."""
    shapes = (2, 3, 4, 5), (4, 3, 2, 3), (3, 2, 2, 4), (3, 3, 3, 3)
    return [(rng.normal(rng.normal(scale=2, size=(n, c, 1, 1)), 1, (n, c, h, w)),) for n, c, h, w in shapes]


def convolutions(rng: np.random.Generator) -> list[tuple]:
    """(g, x): images with N, C, H, W, and O and K of the weight; in one, O is C."""
    shapes = (2, 3, 5, 6, 4, 3), (3, 2, 4, 4, 5, 2), (4, 3, 3, 5, 3, 2), (5, 2, 3, 4, 3, 1)
    return [
        (rng.normal(size=(n, o, h - k + 1, w - k + 1)), rng.normal(size=(n, c, h, w))) for n, c, h, w, o, k in shapes
    ]


def statistics(says: str, hint: str, *changes: tuple[str, str]) -> Mistake:
    return Mistake(says, hint, edit(models.channel_statistics, *changes))


def gradient(says: str, hint: str, *changes: tuple[str, str]) -> Mistake:
    return Mistake(says, hint, edit(models.convolution_backward, *changes))


WHICH = "a channel has one mean and one variance: which of the four axes is C, and has to stay?"
COUNT = "m is the number of values that a channel's mean is taken of: those of all positions of all images"
TWO = "there are two variances: one to divide this batch by, and one to remember; which is which?"
ALL = "axis=(0, 2, 3)"

STATISTICS = [
    statistics("everything goes over the images alone", WHICH, (ALL, "axis=0")),
    statistics("everything goes over height and width alone, in each image by itself", WHICH, (ALL, "axis=(2, 3)")),
    statistics("everything goes over all four axes", WHICH, (ALL, "axis=None")),
    statistics(
        "the channels are taken to be the last axis, so that everything goes over the axes 0, 1 and 2",
        WHICH,
        (ALL, "axis=(0, 1, 2)"),
    ),
    statistics("everything goes over channels and positions, in each image by itself", WHICH, (ALL, "axis=(1, 2, 3)")),
    statistics(
        "the variance is taken of each image, and averaged over the images",
        "do the images' means differ? What becomes of these differences?",
        ("x.var(axis=(0, 2, 3))", "x.var(axis=(2, 3)).mean(axis=0)"),
    ),
    statistics(
        "the variance is that of the images' means",
        "do the positions of an image differ? What becomes of these differences?",
        ("x.var(axis=(0, 2, 3))", "x.mean(axis=(2, 3)).var(axis=0)"),
    ),
    statistics(
        "the variance is taken of each position over the images, and averaged",
        "do the positions' means differ? What becomes of these differences?",
        ("x.var(axis=(0, 2, 3))", "x.var(axis=0).mean(axis=(1, 2))"),
    ),
    statistics("m counts the images only", COUNT, ("x.shape[0] * x.shape[2] * x.shape[3]", "x.shape[0]")),
    statistics(
        "m counts the positions of one image only",
        COUNT,
        ("x.shape[0] * x.shape[2] * x.shape[3]", "x.shape[2] * x.shape[3]"),
    ),
    statistics(
        "m counts all values, those of the other channels, too",
        COUNT,
        ("x.shape[0] * x.shape[2] * x.shape[3]", "x.size"),
    ),
    statistics("m counts the channels", COUNT, ("x.shape[0] * x.shape[2] * x.shape[3]", "x.shape[1]")),
    statistics("the two variances have changed places", TWO, ('"var": var', '"var": var * m / (m - 1)'),
               ('"unbiased_var": var * m / (m - 1)', '"unbiased_var": var')),
    statistics("both variances are the biased one", TWO, ("var * m / (m - 1)", "var")),
    statistics("both variances are the unbiased one", TWO, ('"var": var', '"var": var * m / (m - 1)')),
    statistics(
        "the unbiased variance is taken, and gets the factor m/(m - 1) once more",
        TWO,
        ("x.var(axis=(0, 2, 3))", "x.var(axis=(0, 2, 3), ddof=1)"),
    ),
    statistics(
        "the factor of the unbiased variance is upside down",
        "the batch's variance is too small: does your factor make it larger?",
        ("m / (m - 1)", "(m - 1) / m"),
    ),
    statistics("the standard deviation is returned instead of the variance", "a variance is a mean of squares",
               ("x.var(", "x.std(")),
    statistics("the sums are returned, not divided by m", "how many values does a channel have?",
               ("x.mean(axis", "x.sum(axis")),
    statistics(
        "the variance is the mean of x**2",
        "a variance is the mean square of the distances: of the distances from what?",
        ("x.var(axis=(0, 2, 3))", "(x**2).mean(axis=(0, 2, 3))"),
    ),
    statistics(
        "the axes that were averaged over are kept, with length 1",
        "each has one value for a channel: shape (C,)",
        (ALL, "axis=(0, 2, 3), keepdims=True"),
    ),
    statistics(
        "x is reshaped to (-1, C) with the channel still in second place",
        "reshape doesn't move values: print x.reshape(-1, C)[:, 0] and look which channels its values come from",
        ("x.mean(axis=(0, 2, 3))", "x.reshape(-1, x.shape[1]).mean(axis=0)"),
        ("x.var(axis=(0, 2, 3))", "x.reshape(-1, x.shape[1]).var(axis=0)"),
    ),
    statistics(
        "x is reshaped to (C, -1) with the channel still in second place",
        "reshape doesn't move values: print x.reshape(C, -1)[0] and look which channels its values come from",
        ("x.mean(axis=(0, 2, 3))", "x.reshape(x.shape[1], -1).mean(axis=1)"),
        ("x.var(axis=(0, 2, 3))", "x.reshape(x.shape[1], -1).var(axis=1)"),
    ),
]  # fmt: skip

SHARED = "one b_o is added at every position of every image: what do gradients do that meet at one number?"
STAY = "which indices does w_ocij have? All the others are summed over"
WINDOW = "y at (h, w) sees x at (h + i, w + j): where does the piece of x for the offset (i, j) begin?"
USES = "each weight is used at every position of every image"
SUM = '"nohw,nchw->oc", g, seen'

CONVOLUTION = [
    gradient("d_bias is summed over the images only", SHARED, ("g.sum(axis=(0, 2, 3))", "g.sum(axis=0)")),
    gradient("d_bias is summed over height and width only", SHARED, ("g.sum(axis=(0, 2, 3))", "g.sum(axis=(2, 3))")),
    gradient("d_bias is summed over all axes", SHARED, ("g.sum(axis=(0, 2, 3))", "g.sum()")),
    gradient("d_bias is summed over axis 1, the channels, too", SHARED,
             ("g.sum(axis=(0, 2, 3))", "g.sum(axis=(1, 2, 3))")),
    gradient("d_bias is an average", SHARED, ("g.sum(axis=(0, 2, 3))", "g.mean(axis=(0, 2, 3))")),
    gradient("d_bias is summed over positions, and averaged over the images", SHARED,
             ("g.sum(axis=(0, 2, 3))", "g.sum(axis=(2, 3)).mean(axis=0)")),
    gradient("d_bias is summed over the images, and averaged over positions", SHARED,
             ("g.sum(axis=(0, 2, 3))", "g.mean(axis=(2, 3)).sum(axis=0)")),
    gradient("d_bias keeps the axes that were summed over", "a gradient has the shape of what it is the gradient of",
             ("g.sum(axis=(0, 2, 3))", "g.sum(axis=(0, 2, 3), keepdims=True)")),
    gradient("d_weight is averaged over the images", USES, (SUM, SUM + ") / (len(x)")),
    gradient("d_weight is averaged over the positions", USES, (SUM, SUM + ") / (height * width")),
    gradient("d_weight is averaged over images and positions", USES, (SUM, SUM + ") / (len(x) * height * width")),
    gradient("d_weight takes the first image alone", USES, (SUM, '"ohw,chw->oc", g[0], seen[0]')),
    gradient("d_weight takes the last image alone, as if each image replaced the one before", USES,
             (SUM, '"ohw,chw->oc", g[-1], seen[-1]')),
    gradient("d_weight takes the first position alone", USES, (SUM, '"no,nc->oc", g[:, :, 0, 0], seen[:, :, 0, 0]')),
    gradient("d_weight takes the last position alone, as if each position replaced the one before", USES,
             (SUM, '"no,nc->oc", g[:, :, -1, -1], seen[:, :, -1, -1]')),
    gradient("d_weight is turned around, as if the window were", "y at (h, w) sees x at (h + i, w + j), with a plus",
             ("d_weight[:, :, i, j]", "d_weight[:, :, size - 1 - i, size - 1 - j]")),
    gradient("the offsets i and j have changed places in d_weight", WINDOW,
             ("d_weight[:, :, i, j]", "d_weight[:, :, j, i]")),
    gradient("the piece of x begins at (0, 0) for all offsets", WINDOW,
             ("i : i + height, j : j + width", ":height, :width")),
    gradient("O and C have changed places in d_weight", "the weight has the shape (O, C, K, K)",
             ("(g.shape[1], x.shape[1], size", "(x.shape[1], g.shape[1], size"), ("->oc", "->co")),
    gradient("g is forgotten in d_weight, as if it were 1 everywhere", STAY,
             (SUM, '"nohw,nchw->oc", np.ones_like(g), seen')),
    gradient("x is forgotten in d_weight, as if it were 1 everywhere", STAY,
             (SUM, '"nohw,nchw->oc", g, np.ones_like(seen)')),
    gradient("g and x are summed before they are multiplied", "which values of g and x are multiplied with each other?",
             (SUM, '"nohw,kcij->oc", g, seen')),
    gradient("g and x are each summed over the positions before they are multiplied",
             "which values of g and x are multiplied with each other?", (SUM, '"nohw,ncij->oc", g, seen')),
    gradient("the `return` stands inside of the loops, so that only the first offset is computed",
             "after which line should the function end?", ("    return", "            return")),
]  # fmt: skip

EXERCISE = Exercise(
    17,
    "17_convolution_axes.py",
    "The axes of a convolution",
    [
        Task("channel_statistics", images, models.channel_statistics, STATISTICS, models=(models.channel_statistics,)),
        Task(
            "convolution_backward",
            convolutions,
            models.convolution_backward,
            CONVOLUTION,
            models=(models.convolution_backward,),
        ),
    ],
)
