"""Exercise 16: layer normalization backward."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, fixed_eps
from .slips import edit

EPS = 1e-3  # so large that it matters where it is put


def cases(rng: np.random.Generator) -> list[tuple]:
    """A square batch, in which a wrong axis is no error, and a batch of one."""
    found = []
    for n, units in ((4, 3), (3, 5), (4, 4), (6, 2), (1, 5)):
        x = rng.normal(rng.normal(size=(n, 1)), rng.uniform(0.1, 2, (n, 1)), (n, units))
        gamma = rng.uniform(0.5, 2, units) * rng.choice([-1, 1], units)
        found.append((rng.normal(size=(n, units)), x, gamma, EPS))
    return found


def wrong(says: str, hint: str, *changes: tuple[str, str]) -> Mistake:
    return Mistake(says, hint, edit(models.layer_norm_backward, *changes))


OWN = "each example is normalized by itself, over its units: which axis has to disappear?"
SHARED = "gamma and beta have one value for each unit, and all N examples use it"
GAMMA = "the sums go over the units now: is gamma the same in all of their terms?"
THREE_WAYS = "x reaches x_hat itself, and also through the mean and the variance of its example"
ROOT = "the forward pass takes sqrt(var + eps)"
SUM_OR_MEAN = "each of the two sums meets a 1/C on its way: what do they make together?"
BESSEL = "layer normalization takes the biased variance: it is divided by C"
SIGNS = "does x_hat grow or shrink when the mean or the variance of its example grows?"
MEAN, VAR = "x.mean(axis=1, keepdims=True)", "x.var(axis=1, keepdims=True)"
FROM_MEAN, FROM_VAR = "d_x_hat.mean(axis=1, keepdims=True)", "(d_x_hat * x_hat).mean(axis=1, keepdims=True)"
D_GAMMA, D_BETA = "(d_y * x_hat).sum(axis=0)", "d_y.sum(axis=0)"

MISTAKES = [
    fixed_eps(models.layer_norm_backward),
    wrong("everything is normalized over the batch, as in batch normalization", OWN, ("axis=1", "axis=0")),
    wrong(
        "the means of the backward go over the batch, as in batch normalization",
        OWN,
        (FROM_MEAN, FROM_MEAN.replace("1", "0")),
        (FROM_VAR, FROM_VAR.replace("1", "0")),
    ),
    wrong(
        "the statistics are the batch's, and the means of the backward the examples'",
        OWN,
        (MEAN, MEAN.replace("1", "0")),
        (VAR, VAR.replace("1", "0")),
    ),
    wrong("means and variances go over both axes", OWN, ("axis=1", "axis=None")),
    wrong(
        "keepdims is missing in mean and variance, and (N,) is lined up with the units",
        "which shape must the examples' means have to stand beside (N, C)?",
        (MEAN, "x.mean(axis=1)"),
        (VAR, "x.var(axis=1)"),
    ),
    wrong(
        "gamma is moved to the front of the bracket, as in batch normalization",
        GAMMA,
        (FROM_MEAN, "d_y.mean(axis=1, keepdims=True)"),
        (FROM_VAR, "(d_y * x_hat).mean(axis=1, keepdims=True)"),
        ("(d_x_hat - from_mean - from_var) / std", "gamma * (d_y - from_mean - from_var) / std"),
    ),
    wrong(
        "gamma multiplies only the first of the three terms",
        GAMMA,
        (FROM_MEAN, "d_y.mean(axis=1, keepdims=True)"),
        (FROM_VAR, "(d_y * x_hat).mean(axis=1, keepdims=True)"),
    ),
    wrong("gamma is missing in the term from the mean", GAMMA, (FROM_MEAN, "d_y.mean(axis=1, keepdims=True)")),
    wrong("gamma is missing in the term from the variance", GAMMA, (FROM_VAR, FROM_VAR.replace("d_x_hat", "d_y"))),
    wrong("gamma is forgotten", "y = gamma * x_hat + beta: what arrives at x_hat?", ("d_y * gamma", "d_y * 1")),
    wrong("gamma comes in twice", GAMMA, ("(d_x_hat - from_mean", "gamma * (d_x_hat - from_mean")),
    wrong("the mean is treated as a constant", THREE_WAYS, (" - from_mean", "")),
    wrong("the variance is treated as a constant", THREE_WAYS, (" - from_var", "")),
    wrong("mean and variance are both treated as constants", THREE_WAYS, (" - from_mean - from_var", "")),
    wrong("the sign of the term from the mean is wrong", SIGNS, ("- from_mean", "+ from_mean")),
    wrong("the sign of the term from the variance is wrong", SIGNS, ("- from_var", "+ from_var")),
    wrong(
        "both means are sums",
        SUM_OR_MEAN,
        (FROM_MEAN, FROM_MEAN.replace("mean", "sum")),
        (FROM_VAR, FROM_VAR.replace("mean", "sum")),
    ),
    wrong(
        "in the term from the mean there is a sum in place of a mean",
        SUM_OR_MEAN,
        (FROM_MEAN, FROM_MEAN.replace("mean", "sum")),
    ),
    wrong(
        "in the term from the variance there is a sum in place of a mean",
        SUM_OR_MEAN,
        (FROM_VAR, FROM_VAR.replace("mean", "sum")),
    ),
    wrong(
        "the sums are divided by N instead of C",
        "of how many values is an example's mean taken?",
        ("- from_mean - from_var", "- (from_mean + from_var) * x.shape[1] / len(x)"),
    ),
    wrong(
        "x_hat is missing in front of the last mean",
        "the way through the variance ends with 2 (x - mean) / C, of the value itself",
        ("x_hat * (d_x_hat * x_hat)", "(d_x_hat * x_hat)"),
    ),
    wrong(
        "the variance is divided by C - 1", BESSEL, (VAR, "x.var(axis=1, keepdims=True, ddof=min(1, x.shape[1] - 1))")
    ),
    wrong("eps is forgotten", ROOT, ("var + eps", "var")),
    wrong("eps is added after the root", ROOT, ("np.sqrt(var + eps)", "np.sqrt(var) + eps")),
    wrong("it is divided by the variance instead of its root", ROOT, ("np.sqrt(var + eps)", "(var + eps)")),
    wrong("the standard deviation stands in the place of the variance", ROOT, ("x.var(", "x.std(")),
    wrong("the division of d_x by the root is missing", ROOT, ("- from_var) / std", "- from_var) * 1")),
    wrong("d_x is multiplied by the root instead of divided", ROOT, ("- from_var) / std", "- from_var) * std")),
    wrong(
        "parentheses are missing: only the last of the three terms is divided by the root",
        "what does Python divide in a - b - c / std?",
        ("(d_x_hat - from_mean - from_var) / std", "d_x_hat - from_mean - from_var / std"),
    ),
    wrong(
        "d_gamma and d_beta are summed over the units instead of the batch",
        SHARED,
        (D_GAMMA, "(d_y * x_hat).sum(axis=1)"),
        (D_BETA, "d_y.sum(axis=1)"),
    ),
    wrong("d_gamma is summed over the units instead of the batch", SHARED, (D_GAMMA, "(d_y * x_hat).sum(axis=1)")),
    wrong("d_beta is summed over the units instead of the batch", SHARED, (D_BETA, "d_y.sum(axis=1)")),
    wrong(
        "d_gamma and d_beta are averages",
        SHARED,
        (D_GAMMA, "(d_y * x_hat).mean(axis=0)"),
        (D_BETA, "d_y.mean(axis=0)"),
    ),
    wrong("d_gamma is an average", SHARED, (D_GAMMA, "(d_y * x_hat).mean(axis=0)")),
    wrong("d_beta is an average", SHARED, (D_BETA, "d_y.mean(axis=0)")),
    wrong(
        "d_gamma and d_beta aren't summed, but one for each example",
        SHARED,
        (D_GAMMA, "d_y * x_hat"),
        (D_BETA, "d_y * 1"),
    ),
    wrong(
        "d_gamma and d_beta keep the axis that was summed over, as in (1, C)",
        "a gradient has the shape of what it is the gradient of",
        (D_GAMMA, "(d_y * x_hat).sum(axis=0, keepdims=True)"),
        (D_BETA, "d_y.sum(axis=0, keepdims=True)"),
    ),
    wrong(
        "d_gamma is taken against x instead of x_hat",
        "what is it that gamma multiplies?",
        (D_GAMMA, "(d_y * x).sum(axis=0)"),
    ),
    wrong(
        "d_gamma is computed from d_x_hat instead of d_y",
        "y = gamma * x_hat + beta: what is its derivative with respect to gamma?",
        (D_GAMMA, "(d_x_hat * x_hat).sum(axis=0)"),
    ),
    wrong(
        "d_gamma is the sum of d_y, as d_beta is", "what is it that gamma multiplies?", (D_GAMMA, "d_y.sum(axis=0) * 1")
    ),
]

EXERCISE = Exercise(
    16,
    "16_layernorm_backward.py",
    "LayerNorm backward",
    [
        Task(
            "layer_norm_backward",
            cases,
            models.layer_norm_backward,
            MISTAKES,
            models=(models.layer_norm_backward,),
        )
    ],
)
