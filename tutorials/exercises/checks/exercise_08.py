"""Exercise 8: batch normalization in training, with running statistics."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Parts, Task, fixed_eps, variant
from .slips import edit

EPS = 1e-2  # so large that it matters where it is put
SHAPES = (4, 3), (3, 5), (7, 2), (2, 3), (6, 4), (4, 4)  # the square one can also be averaged over the wrong axis
MOMENTA = 0.1, 0.3, 0.1, 0.4, 0.2, 0.25


def cases(rng: np.random.Generator) -> list[tuple]:
    """(x, gamma, beta, running_mean, running_var, momentum, eps); running statistics unlike the batch's."""
    return [
        (
            rng.normal(rng.normal(scale=2, size=channels), rng.uniform(0.3, 2, channels), (m, channels)),
            rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels),
            rng.normal(size=channels),
            rng.normal(size=channels),
            rng.uniform(0.5, 3, channels),
            momentum,
            EPS,
        )
        for (m, channels), momentum in zip(SHAPES, MOMENTA, strict=True)
    ]


SPREADS = {
    "biased": lambda x, mean, axes: x.var(**axes),
    "unbiased_var": lambda x, mean, axes: x.var(ddof=1, **axes),
    "standard deviation": lambda x, mean, axes: x.std(**axes),
    "sum": lambda x, mean, axes: ((x - mean) ** 2).sum(**axes),
    "mean square": lambda x, mean, axes: (x**2).mean(**axes),
    "absolute": lambda x, mean, axes: np.abs(x - mean).mean(**axes),
}
DIVISORS = {
    "right": lambda var, eps: np.sqrt(var + eps),
    "eps outside": lambda var, eps: np.sqrt(var) + eps,
    "no eps": lambda var, eps: np.sqrt(var),
    "no root": lambda var, eps: var + eps,
    "unbiased_var": lambda var, eps: np.sqrt(var + eps),
    "none": lambda var, eps: 1.0,
    "inverse": lambda var, eps: 1 / np.sqrt(var + eps),
}
AFFINE = {
    "right": lambda x_hat, gamma, beta: gamma * x_hat + beta,
    "no gamma": lambda x_hat, gamma, beta: x_hat + beta,
    "no beta": lambda x_hat, gamma, beta: gamma * x_hat,
    "neither": lambda x_hat, gamma, beta: x_hat.copy(),
    "swapped": lambda x_hat, gamma, beta: beta * x_hat + gamma,
    "beta first": lambda x_hat, gamma, beta: gamma * (x_hat + beta),
    "beta subtracted": lambda x_hat, gamma, beta: gamma * x_hat - beta,
}
CORRECTIONS = {
    "right": lambda m: m / (m - 1),
    "none": lambda m: 1.0,
    "upside down": lambda m: (m - 1) / m,
    "m + 1": lambda m: m / (m + 1),
    "twice": lambda m: (m / (m - 1)) ** 2,
}
UPDATES = {
    "right": lambda old, batch, momentum: (1 - momentum) * old + momentum * batch,
    "reversed": lambda old, batch, momentum: momentum * old + (1 - momentum) * batch,
    "old kept whole": lambda old, batch, momentum: old + momentum * batch,
    "batch added whole": lambda old, batch, momentum: (1 - momentum) * old + batch,
    "only batch": lambda old, batch, momentum: batch + 0 * old,
    "only share of batch": lambda old, batch, momentum: momentum * batch + 0 * old,
    "1 + momentum": lambda old, batch, momentum: (1 + momentum) * old + momentum * batch,
    "unchanged": lambda old, batch, momentum: old + 0 * batch,
    "wrong way": lambda old, batch, momentum: old + momentum * (old - batch),
    "always 0.1": lambda old, batch, momentum: 0.9 * old + 0.1 * batch,
    "mean of both": lambda old, batch, momentum: (old + batch) / 2,
}


def batch_norm_forward(
    x, gamma, beta, running_mean, running_var, momentum, eps,
    axis=0, keepdims=False, spread="biased", divide_by="right", centre="batch", affine="right", correction="right",
    update="right", update_var=None, correct_by="examples",
) -> dict[str, np.ndarray]:  # fmt: skip
    """Algorithm 1 and the running statistics, with a setting for everything that can go wrong in them."""
    m = len(x)
    axes = {"axis": axis, "keepdims": keepdims}
    mean = x.mean(**axes)
    var = SPREADS[spread](x, mean, axes)
    divisor = DIVISORS[divide_by](var * m / (m - 1) if divide_by == "unbiased_var" else var, eps)
    x_hat = {
        "batch": lambda: (x - mean) / divisor,
        "nothing": lambda: x / divisor,
        "running": lambda: (x - running_mean) / np.sqrt(running_var + eps),
        "no parentheses": lambda: x - mean / divisor,
    }[centre]()
    count = {"examples": m, "channels": x.shape[1], "values": x.size}[correct_by]
    batch_var = var if spread == "unbiased_var" else var * CORRECTIONS[correction](count)  # once is enough
    return {
        "mean": mean,
        "var": var,
        "x_hat": x_hat,
        "y": gamma * x + beta if affine == "of x" else AFFINE[affine](x_hat, gamma, beta),
        "running_mean": UPDATES[update](running_mean, mean, momentum),
        "running_var": UPDATES[update_var or update](running_var, batch_var, momentum),
    }


def parts(x, gamma, beta, running_mean, running_var, momentum, eps) -> Parts:
    m, mean, var = len(x), x.mean(0), x.var(0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    terms = {
        "y": {"gamma * x_hat": gamma * x_hat, "beta": beta + 0 * x},
        "running_mean": {
            "(1 - momentum) * running_mean": (1 - momentum) * running_mean,
            "momentum * mean": momentum * mean,
        },
        "running_var": {
            "(1 - momentum) * running_var": (1 - momentum) * running_var,
            "momentum * var * m / (m - 1)": momentum * var * m / (m - 1),
        },
    }
    others = {
        "mean": {"the sum of x": x.sum(0)},
        "var": {"sum((x - mean)**2)": m * var, "mean(x)**2": mean**2},
        "x_hat": {"x - mean": x - mean, "x": x},
        "y": {"x": x, "gamma * x": gamma * x},
    }
    return Parts({"m": m, "(m - 1)": m - 1, "momentum": momentum, "(1 - momentum)": 1 - momentum}, terms, others)


def forward(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(batch_norm_forward, **settings))


ONE_PER_CHANNEL = "there is one mean and one variance for each channel: which axis has to disappear?"
ROOT = "look at the formula of x_hat: where does eps stand, and what is the root taken of?"
UPDATE = "new = (1 - momentum) * old + momentum * batch: the two weights add up to 1, so it is an average"
TWO_VARIANCES = "there are two variances: one to divide this batch by, and one to remember; which is which?"

MISTAKES = [
    fixed_eps(batch_norm_forward),
    forward("mean and variance go over the channels instead of the batch", ONE_PER_CHANNEL, axis=1),
    forward(
        "each example is normalized over its own channels (that exists, and is called layer normalization)",
        ONE_PER_CHANNEL,
        axis=1,
        keepdims=True,
    ),
    forward("one mean and one variance are taken of the whole batch, over both axes", ONE_PER_CHANNEL, axis=None),
    forward(
        "the axis that was averaged over is kept, as in (1, C)",
        "NumPy broadcasts shape (C,) against (m, C) without keepdims",
        keepdims=True,
    ),
    forward("var is the unbiased variance, divided by m - 1", TWO_VARIANCES, spread="unbiased_var"),
    forward("var is the standard deviation", "has the root been taken twice?", spread="standard deviation"),
    forward("var is the sum of the squares, not divided by m", "a variance is a mean: of what?", spread="sum"),
    forward(
        "var is the mean of x**2",
        "a variance is the mean square of the distances: of the distances from what?",
        spread="mean square",
    ),
    forward(
        "var is the mean of the absolute distances",
        "what keeps negative distances from cancelling in a variance?",
        spread="absolute",
    ),
    forward("x_hat is divided by the root of the unbiased variance", TWO_VARIANCES, divide_by="unbiased_var"),
    forward("eps is added after the root", ROOT, divide_by="eps outside"),
    forward("eps is forgotten", ROOT, divide_by="no eps"),
    forward("x - mean is divided by var + eps, without the root", ROOT, divide_by="no root"),
    forward("x - mean is multiplied by the root instead of divided", ROOT, divide_by="inverse"),
    forward("x - mean isn't divided at all", "which width should a normalized channel have?", divide_by="none"),
    forward(
        "the mean isn't subtracted in x_hat", "around which number should a normalized channel lie?", centre="nothing"
    ),
    forward(
        "only the mean is divided by the root, as by x - mean / root",
        "division goes before subtraction: what should be divided?",
        centre="no parentheses",
    ),
    forward(
        "the running statistics are used to normalize",
        "they are for evaluation; which statistics does algorithm 1 use, in training?",
        centre="running",
    ),
    forward("gamma is forgotten", "y has a scale and a shift: which of them is gamma?", affine="no gamma"),
    forward("beta is forgotten", "y has a scale and a shift: which of them is beta?", affine="no beta"),
    forward("gamma and beta are both forgotten", "x_hat isn't the output yet", affine="neither"),
    forward("gamma and beta have changed places", "which of them scales, and which of them shifts?", affine="swapped"),
    forward("beta is added before gamma is multiplied", "in which order does y come from x_hat?", affine="beta first"),
    forward("x is scaled and shifted instead of x_hat", "what was x_hat computed for?", affine="of x"),
    forward("beta is subtracted", "with which sign does the formula for y shift?", affine="beta subtracted"),
    forward("the biased variance goes into running_var", TWO_VARIANCES, correction="none"),
    forward(
        "the factor of the unbiased variance is upside down",
        "the batch's variance is too small: does your factor make it larger?",
        correction="upside down",
    ),
    forward(
        "the factor of the unbiased variance is m/(m + 1)",
        "the batch's variance is too small: does your factor make it larger?",
        correction="m + 1",
    ),
    forward(
        "the factor of the unbiased variance is made of the number of channels",
        "m is how many values a channel's variance is taken of",
        correct_by="channels",
    ),
    forward(
        "the factor of the unbiased variance is made of the number of all values, m * C",
        "m is how many values a channel's variance is taken of",
        correct_by="values",
    ),
    forward(
        "the factor m/(m - 1) is applied twice in running_var",
        "is the variance that you multiply unbiased already?",
        correction="twice",
    ),
    forward(
        "momentum is the weight of the old value instead of the new batch's",
        "with momentum=0.1, should a new batch count a tenth or nine tenths?",
        update="reversed",
    ),
    forward(
        "running_var alone has its momentum the other way round",
        "compare the two updates: they have the same form",
        update_var="reversed",
    ),
    forward("the old running statistics aren't multiplied by 1 - momentum", UPDATE, update="old kept whole"),
    forward(
        "the running statistics move away from the batch's, by momentum * (old - batch)",
        "if the batch's mean is larger than the running one, which way should the running one go?",
        update="wrong way",
    ),
    forward(
        "momentum is taken for 0.1, whatever it is", "the caller says how large the momentum is", update="always 0.1"
    ),
    forward("the old running statistics are multiplied by 1 + momentum", UPDATE, update="1 + momentum"),
    forward("the batch's statistics aren't multiplied by momentum", UPDATE, update="batch added whole"),
    forward("the old running statistics are lost: the batch's replace them", UPDATE, update="only batch"),
    forward("the old running statistics are lost: only momentum * batch remains", UPDATE, update="only share of batch"),
    forward("the running statistics are returned as they came", UPDATE, update="unchanged"),
    forward("running_var is returned as it came", UPDATE, update_var="unchanged"),
    forward("old and batch are averaged half and half, whatever the momentum", UPDATE, update="mean of both"),
    Mistake(
        "running_var is moved towards the standard deviation",
        "look at what running_var is divided by in evaluation: is it a variance, or its root?",
        edit(models.batch_norm_forward, ("+ momentum * unbiased_var", "+ momentum * np.sqrt(unbiased_var)")),
    ),
    Mistake(
        "running_var is moved towards the root of the variance, times m/(m - 1)",
        "look at what running_var is divided by in evaluation: is it a variance, or its root?",
        edit(models.batch_norm_forward, ("momentum * unbiased_var", "momentum * np.sqrt(var) * m / (m - 1)")),
    ),
    Mistake(
        "running_var is moved towards the root of the biased variance",
        "look at what running_var is divided by in evaluation: is it a variance, or its root?",
        edit(models.batch_norm_forward, ("momentum * unbiased_var", "momentum * np.sqrt(var)")),
    ),
    Mistake(
        "running_var contains eps",
        "where does the formula have eps?",
        edit(models.batch_norm_forward, ("unbiased_var = var *", "unbiased_var = (var + eps) *")),
    ),
    Mistake(
        "x_hat is normalized twice",
        "what are the mean and the variance of x_hat already?",
        edit(
            models.batch_norm_forward,
            (
                "    unbiased_var =",
                "    x_hat = (x_hat - x_hat.mean(axis=0)) / np.sqrt(x_hat.var(axis=0) + eps)\n    unbiased_var =",
            ),
        ),
    ),
    Mistake(
        "mean and variance go over the channels, each by itself",
        "there is one mean and one variance for each channel: which axis has to disappear?",
        edit(
            models.batch_norm_forward,
            ("mean = x.mean(axis=0)", "mean = x.mean(axis=1)"),
            ("var = x.var(axis=0)", "var = ((x - mean) ** 2).mean(axis=1)"),
        ),
    ),
    Mistake(
        "var already contains eps",
        ROOT,
        edit(models.batch_norm_forward, ("x.var(axis=0)", "x.var(axis=0) + eps"), ("var + eps)", "var)")),
    ),
    Mistake("eps is added twice", ROOT, edit(models.batch_norm_forward, ("var + eps", "var + 2 * eps"))),
    Mistake("eps is subtracted", ROOT, edit(models.batch_norm_forward, ("var + eps", "var - eps"))),
    Mistake(
        "eps is added to x_hat instead of under the root",
        ROOT,
        edit(models.batch_norm_forward, ("/ np.sqrt(var + eps)", "/ np.sqrt(var) + eps")),
    ),
    Mistake(
        "running_mean and running_var have changed places",
        "which of them moves towards the batch's mean?",
        edit(
            models.batch_norm_forward,
            ('"running_mean": (', '"a": ('),
            ('"running_var": (', '"running_mean": ('),
            ('"a": (', '"running_var": ('),
        ),
    ),
    Mistake(
        "mean and var have changed places",
        "which of the two is never negative?",
        edit(models.batch_norm_forward, ('"mean": mean,', '"mean": var,'), ('"var": var,', '"var": mean,')),
    ),
    Mistake(
        "the running statistics are updated before they are due, and normalize the batch",
        "they are for evaluation; which statistics does algorithm 1 use, in training?",
        edit(
            models.batch_norm_forward,
            (
                "    x_hat =",
                "    rm = (1 - momentum) * running_mean + momentum * mean\n    rv = (1 - momentum) * "
                "running_var + momentum * var * m / (m - 1)\n    x_hat =",
            ),
            ("(x - mean)", "(x - rm)"),
            ("var + eps", "rv + eps"),
        ),
    ),
    Mistake(
        "the running mean is subtracted from x, and the batch's variance divides",
        "they are for evaluation; which statistics does algorithm 1 use, in training?",
        edit(models.batch_norm_forward, ("(x - mean)", "(x - running_mean)")),
    ),
    Mistake(
        "the running variance divides, and the batch's mean is subtracted",
        "they are for evaluation; which statistics does algorithm 1 use, in training?",
        edit(models.batch_norm_forward, ("var + eps", "running_var + eps")),
    ),
    Mistake(
        "running_mean alone has its momentum the other way round",
        "compare the two updates: they have the same form",
        edit(
            models.batch_norm_forward,
            ("(1 - momentum) * running_mean + momentum * mean", "momentum * running_mean + (1 - momentum) * mean"),
        ),
    ),
    Mistake(
        "running_mean is returned as it came",
        UPDATE,
        edit(models.batch_norm_forward, ("(1 - momentum) * running_mean + momentum * mean", "running_mean + 0")),
    ),
    Mistake(
        "the correction is applied to the old running variance, too",
        TWO_VARIANCES,
        edit(
            models.batch_norm_forward,
            (
                "(1 - momentum) * running_var + momentum * unbiased_var",
                "((1 - momentum) * running_var + momentum * var) * m / (m - 1)",
            ),
        ),
    ),
    Mistake(
        "running_mean gets the factor m/(m - 1), too",
        TWO_VARIANCES,
        edit(models.batch_norm_forward, ("+ momentum * mean", "+ momentum * mean * m / (m - 1)")),
    ),
]

EXERCISE = Exercise(
    8,
    "08_batchnorm_forward.py",
    "BatchNorm forward, with running statistics",
    [
        Task(
            "batch_norm_forward",
            cases,
            batch_norm_forward,
            MISTAKES,
            parts=parts,
            models=(
                models.batch_norm_forward,
                models.batch_norm_forward_squares,
            ),
        )
    ],
)
