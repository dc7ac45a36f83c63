"""Exercise 9: batch normalization in evaluation, and as one multiply-add."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Parts, Task, fixed_eps, variant
from .slips import edit

EPS = 1e-2  # so large that it matters where it is put


def channels_of(rng: np.random.Generator, channels: int) -> tuple[np.ndarray, ...]:
    """gamma, beta, running_mean, running_var."""
    return (
        rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels),
        rng.normal(size=channels),
        rng.normal(scale=2, size=channels),
        rng.uniform(0.1, 3, channels),
    )


def eval_cases(rng: np.random.Generator) -> list[tuple]:
    """(x, gamma, beta, running_mean, running_var, eps): batches unlike the running statistics, also of one."""
    return [
        (rng.normal(1, 1.5, (n, channels)), *channels_of(rng, channels), EPS)
        for n, channels in ((4, 3), (3, 5), (7, 2), (6, 1), (1, 4))
    ]


def line_cases(rng: np.random.Generator) -> list[tuple]:
    """(gamma, beta, running_mean, running_var, eps)."""
    return [(*channels_of(rng, channels), EPS) for channels in (3, 5, 2, 1)]


DIVISORS = {
    "right": lambda var, eps: np.sqrt(var + eps),
    "eps outside": lambda var, eps: np.sqrt(var) + eps,
    "no eps": lambda var, eps: np.sqrt(var),
    "no root": lambda var, eps: var + eps,
    "no root, no eps": lambda var, eps: var,
    "none": lambda var, eps: 1.0,
    "inverse": lambda var, eps: 1 / np.sqrt(var + eps),
}


def batch_norm_eval(
    x, gamma, beta, running_mean, running_var, eps,
    mean="running", var="running", divide_by="right", with_gamma=True, with_beta=1, swapped=False, beta_first=False,
    sign=-1, parentheses=True,
) -> np.ndarray:  # fmt: skip
    """The formula, with a setting for everything that can go wrong in it."""
    mean = {"running": running_mean, "batch": x.mean(0), "none": 0.0}[mean]
    with np.errstate(divide="ignore"):  # of a batch of one
        corrected = running_var * len(x) / (len(x) - 1)
    var = {"running": running_var, "batch": x.var(0), "corrected": corrected}[var]
    divisor = DIVISORS[divide_by](var, eps)
    x_hat = (x + sign * mean) / divisor if parentheses else x + sign * mean / divisor
    if swapped:
        return beta * x_hat + gamma
    if beta_first:
        return gamma * (x_hat + beta)
    return (gamma if with_gamma else 1) * x_hat + with_beta * beta


SHIFTS = {
    "right": lambda gamma, beta, mean, scale, divisor: beta - mean * scale,
    "plus": lambda gamma, beta, mean, scale, divisor: beta + mean * scale,
    "reversed": lambda gamma, beta, mean, scale, divisor: mean * scale - beta,
    "no scale": lambda gamma, beta, mean, scale, divisor: beta - mean,
    "no beta": lambda gamma, beta, mean, scale, divisor: -mean * scale,
    "only beta": lambda gamma, beta, mean, scale, divisor: beta.copy(),
    "no gamma": lambda gamma, beta, mean, scale, divisor: beta - mean / divisor,
    "no root": lambda gamma, beta, mean, scale, divisor: beta - mean * gamma,
    "beta scaled": lambda gamma, beta, mean, scale, divisor: (beta - mean) * scale,
    "beta by gamma": lambda gamma, beta, mean, scale, divisor: gamma * beta - mean * scale,
    "divided": lambda gamma, beta, mean, scale, divisor: beta - mean / scale,
}


def scale_and_shift(
    gamma, beta, running_mean, running_var, eps, divide_by="right", with_gamma=True, shift="right"
) -> dict[str, np.ndarray]:
    divisor = DIVISORS[divide_by](running_var, eps)
    scale = (gamma if with_gamma else 1) / divisor
    return {"scale": scale, "shift": SHIFTS[shift](gamma, beta, running_mean, scale, divisor)}


def eval_parts(x, gamma, beta, running_mean, running_var, eps) -> Parts:
    std = np.sqrt(running_var + eps)
    terms = {
        "with x": gamma * x / std,
        "with the running mean": -gamma * running_mean / std + 0 * x,
        "beta": beta + 0 * x,
    }
    factors = {"(running_var + eps)": running_var + eps, "|gamma|": np.abs(gamma)}
    return Parts(factors, {"result": terms}, {"result": {"x": x, "x - running_mean": x - running_mean}})


def line_parts(gamma, beta, running_mean, running_var, eps) -> Parts:
    scale = gamma / np.sqrt(running_var + eps)
    terms = {"shift": {"beta": beta, "with the running mean": -running_mean * scale}}
    factors = {"(running_var + eps)": running_var + eps, "|gamma|": np.abs(gamma)}
    return Parts(factors, terms, {"scale": {"beta": beta}, "shift": {"scale": scale, "gamma": gamma}})


def evaluation(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(batch_norm_eval, **settings))


def line(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(scale_and_shift, **settings))


COMPANY = "an example alone must get the same answer as in company: may anything depend on the rest of x?"
ROOT = "look under the root of the formula: what stands there, and what is divided by it?"
SIGN = "what must y be for x = running_mean?"
COLLECT = "multiply the whole formula out, and collect what doesn't stand with x"

EVAL = [
    fixed_eps(batch_norm_eval),
    evaluation("the batch's mean and variance are used", COMPANY, mean="batch", var="batch"),
    evaluation("the batch's mean is used", COMPANY, mean="batch"),
    evaluation("the batch's variance is used", COMPANY, var="batch"),
    evaluation(
        "running_var gets the factor m/(m - 1)",
        "it got its factor when it was updated, and the batch's size shouldn't matter any more",
        var="corrected",
    ),
    evaluation(
        "only the running mean is divided by the root, as by x - running_mean / root",
        "division goes before subtraction: what should be divided?",
        parentheses=False,
    ),
    Mistake(
        "gamma multiplies x alone, and only the running mean is divided by the root",
        "in gamma * x - running_mean / root, which operation comes first? What should?",
        lambda x, gamma, beta, running_mean, running_var, eps: (
            gamma * x - running_mean / np.sqrt(running_var + eps) + beta
        ),
    ),
    evaluation("the running mean isn't subtracted", SIGN, mean="none"),
    evaluation("the running mean is added", SIGN, sign=1),
    evaluation("eps is forgotten", ROOT, divide_by="no eps"),
    evaluation("eps is added after the root", ROOT, divide_by="eps outside"),
    evaluation("the root is forgotten", "running_var is a variance, not a standard deviation", divide_by="no root"),
    evaluation(
        "running_var is taken for the standard deviation, without eps",
        "what has to be done to a variance to get a width?",
        divide_by="no root, no eps",
    ),
    evaluation("x - running_mean isn't divided at all", ROOT, divide_by="none"),
    evaluation("it is multiplied by the root instead of divided", ROOT, divide_by="inverse"),
    evaluation("gamma is forgotten", "y has a scale and a shift: which of them is gamma?", with_gamma=False),
    evaluation("beta is forgotten", SIGN, with_beta=0),
    evaluation("beta is subtracted", SIGN, with_beta=-1),
    evaluation("gamma and beta have changed places", "which of them scales, and which of them shifts?", swapped=True),
    evaluation("beta is added before gamma is multiplied", SIGN, beta_first=True),
    Mistake(
        "each example's own mean, over its channels, is subtracted",
        COMPANY,
        edit(models.batch_norm_eval, ("running_mean)", "x.mean(axis=1, keepdims=True))")),
    ),
    Mistake(
        "each example is normalized by its own mean and variance",
        "which statistics are collected for evaluation?",
        edit(
            models.batch_norm_eval,
            ("running_mean)", "x.mean(axis=1, keepdims=True))"),
            ("running_var +", "x.var(axis=1, keepdims=True) +"),
        ),
    ),
    Mistake(
        "running_mean and running_var have changed places",
        "which of them is subtracted, and which is under the root?",
        edit(
            models.batch_norm_eval,
            ("running_mean)", "running_V)"),
            ("running_var +", "running_mean +"),
            ("running_V)", "running_var)"),
        ),
    ),
    Mistake(
        "it is normalized twice, with the running statistics",
        "the formula is applied once",
        edit(
            models.batch_norm_eval,
            ("    return", "    x_hat = (x_hat - running_mean) / np.sqrt(running_var + eps)\n    return"),
        ),
    ),
    Mistake(
        "eps is added to x_hat instead of under the root",
        ROOT,
        edit(models.batch_norm_eval, ("/ np.sqrt(running_var + eps)", "/ np.sqrt(running_var) + eps")),
    ),
    Mistake(
        "x_hat and gamma are added",
        "which of gamma and beta multiplies?",
        edit(models.batch_norm_eval, ("gamma * x_hat", "gamma + x_hat")),
    ),
]
LINE = [
    fixed_eps(scale_and_shift),
    line("eps is forgotten", ROOT, divide_by="no eps"),
    line("eps is added after the root", ROOT, divide_by="eps outside"),
    line("the root is forgotten", "running_var is a variance, not a standard deviation", divide_by="no root"),
    line(
        "running_var is taken for the standard deviation, without eps",
        "what has to be done to a variance to get a width?",
        divide_by="no root, no eps",
    ),
    line("nothing is divided by the root", ROOT, divide_by="none"),
    line("the scale is multiplied by the root instead of divided", ROOT, divide_by="inverse"),
    line("gamma is forgotten in the scale", "what stands with x in the formula?", with_gamma=False),
    line("the sign of running_mean is wrong in the shift", SIGN, shift="plus"),
    line("both signs are wrong in the shift", SIGN, shift="reversed"),
    line("running_mean isn't scaled in the shift", COLLECT, shift="no scale"),
    line("beta is forgotten in the shift", COLLECT, shift="no beta"),
    line("the shift is beta alone", COLLECT, shift="only beta"),
    line("gamma is forgotten in the shift", COLLECT, shift="no gamma"),
    line("the division by the root is forgotten in the shift", COLLECT, shift="no root"),
    line("beta is scaled together with running_mean", "does gamma or the root apply to beta?", shift="beta scaled"),
    line("beta is multiplied by gamma in the shift", "does gamma apply to beta?", shift="beta by gamma"),
    line("running_mean is divided by the scale", COLLECT, shift="divided"),
    Mistake(
        "scale and shift have changed places",
        "which of them multiplies x?",
        edit(
            models.scale_and_shift,
            (
                '"scale": scale, "shift": beta - running_mean * scale',
                '"scale": beta - running_mean * scale, "shift": scale',
            ),
        ),
    ),
    Mistake(
        "running_var stands where running_mean is due in the shift",
        COLLECT,
        edit(models.scale_and_shift, ("running_mean * scale", "running_var * scale")),
    ),
    Mistake(
        "beta is divided by the root, too",
        COLLECT,
        edit(models.scale_and_shift, ("beta - running", "beta / np.sqrt(running_var + eps) - running")),
    ),
    Mistake(
        "beta and running_mean are both multiplied by gamma alone in the shift",
        COLLECT,
        edit(models.scale_and_shift, ("beta - running_mean * scale", "gamma * (beta - running_mean)")),
    ),
]

EXERCISE = Exercise(
    9,
    "09_batchnorm_eval.py",
    "BatchNorm in evaluation, as one multiply-add",
    [
        Task(
            "batch_norm_eval",
            eval_cases,
            batch_norm_eval,
            EVAL,
            parts=eval_parts,
            models=(
                models.batch_norm_eval,
                models.batch_norm_eval_in_one,
            ),
        ),
        Task(
            "scale_and_shift",
            line_cases,
            scale_and_shift,
            LINE,
            parts=line_parts,
            models=(
                models.scale_and_shift,
                models.scale_and_shift_apart,
            ),
        ),
    ],
)
