"""Exercise 11: batch normalization backward, the six lines put into one."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Parts, Task, variant
from .slips import edit

EPS = 1e-3  # so large that the mean of x_hat**2 isn't 1


def cases(rng: np.random.Generator) -> list[tuple]:
    found = []
    for m, channels in ((4, 3), (3, 5), (7, 2), (4, 4), (6, 1)):
        x = rng.normal(rng.normal(size=channels), rng.uniform(0.1, 2, channels), (m, channels))
        std = np.sqrt(x.var(0) + EPS)
        gamma = rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels)
        found.append((rng.normal(size=(m, channels)), (x - x.mean(0)) / std, gamma, std))
    return found


def d_x(
    d_y, x_hat, gamma, std,
    by_mean=-1, by_var=-1, m_mean=0, m_var=0, m_own=0, axis=0, gamma_power=1, std_power=-1, x_hat_in=True,
) -> np.ndarray:  # fmt: skip
    """The closed form, with a setting for everything that can go wrong in it."""
    m = len(d_y)
    average_d_y = d_y.mean(axis, keepdims=True)
    average_product = (d_y * x_hat).mean(axis, keepdims=True)
    through_mean = by_mean * m**m_mean * average_d_y
    through_var = by_var * m**m_var * average_product * (x_hat if x_hat_in else 1)
    return gamma**gamma_power * std**std_power * (d_y * float(m) ** m_own + through_mean + through_var)


def parts(d_y, x_hat, gamma, std) -> Parts:
    scale = gamma / std
    terms = {
        "with d_y itself": scale * d_y,
        "from the mean": -scale * d_y.mean(0) + 0 * d_y,
        "from the variance": -scale * x_hat * (d_y * x_hat).mean(0),
    }
    return Parts({"m": len(d_y), "|gamma|": np.abs(gamma), "std": std}, {"result": terms})


def wrong(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(d_x, **settings))


SUM_OR_MEAN = "each of the two sums meets a 1/m on its way into the fourth line: what do they make together?"
SIGNS = "follow the minus signs of d_var and d_mean into the fourth line; is any of them cancelled by another?"

MISTAKES = [
    wrong(
        "the term from the mean is missing",
        "d_mean / m is in the fourth line: what becomes of it? And does your d_x sum to 0 over the batch?",
        by_mean=0,
    ),
    wrong(
        "the term from the variance is missing, or comes out as 0",
        "d_var * 2 (x - mean) / m is in the fourth line, too; and the mean of a product isn't the product of means",
        by_var=0,
    ),
    Mistake(
        "the terms from the mean and from the variance are both missing",
        "this takes mean and variance for constants; x reaches y through them, too",
        lambda d_y, x_hat, gamma, std: gamma / std * d_y,
    ),
    Mistake(
        "both means are sums",
        SUM_OR_MEAN,
        lambda d_y, x_hat, gamma, std: d_x(d_y, x_hat, gamma, std, m_mean=1, m_var=1),
    ),
    wrong("in the term from the mean there is a sum in place of a mean", SUM_OR_MEAN, m_mean=1),
    wrong("in the term from the variance there is a sum in place of a mean", SUM_OR_MEAN, m_var=1),
    wrong(
        "d_y itself is divided by m, too",
        "does the first term of the fourth line have a 1/m? If you take 1/m out of the bracket, by what do you have to "
        "multiply d_y?",
        m_own=-1,
    ),
    wrong(
        "gamma is missing",
        "d_x_hat has a factor, and d_x_hat is in all three terms",
        gamma_power=0,
    ),
    Mistake(
        "gamma multiplies only the first of the three terms",
        "d_x_hat = d_y * gamma is also inside the sums of d_var and d_mean",
        lambda d_y, x_hat, gamma, std: (gamma * d_y - d_y.mean(0) - x_hat * (d_y * x_hat).mean(0)) / std,
    ),
    wrong("gamma comes in twice", "is it in front of the bracket and also inside?", gamma_power=2),
    wrong(
        "it is divided by the variance instead of its root",
        "count the powers of std in each term, after x - mean = std * x_hat: all three have the same",
        std_power=-2,
    ),
    wrong("it is multiplied by std", "if x is stretched by 10, does d_x become larger or smaller?", std_power=1),
    wrong("the division by std is missing", "if x is stretched by 10, does d_x become larger or smaller?", std_power=0),
    wrong("the sign of the term from the mean is wrong", SIGNS, by_mean=1),
    wrong("the sign of the term from the variance is wrong", SIGNS, by_var=1),
    wrong(
        "the means go over the channels instead of the batch",
        "each channel is normalized by itself, over the m examples: which axis has to disappear?",
        axis=1,
    ),
    wrong(
        "the means go over all axes",
        "mean() without an axis gives one number for all channels; there should be C",
        axis=None,
    ),
    wrong(
        "x_hat is missing in front of the last mean",
        "the way through the variance ends with 2 (x_i - mean) / m: is that the same for all examples?",
        x_hat_in=False,
    ),
    Mistake(
        "parentheses are missing: gamma / std multiplies d_y alone",
        "d_x_hat is in all three terms, so its factor stands before a bracket",
        edit(
            models.batch_norm_d_x,
            (
                "(d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0))",
                "d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0)",
            ),
        ),
    ),
    Mistake(
        "parentheses are missing: gamma multiplies d_y alone, and std divides only the last term",
        "d_x_hat is in all three terms, so its factor stands before a bracket",
        edit(
            models.batch_norm_d_x,
            (
                "gamma / std * (d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0))",
                "gamma * d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0) / std",
            ),
        ),
    ),
    Mistake(
        "std divides only the last of the three terms",
        "d_x_hat is in all three terms, so its factor stands before a bracket",
        edit(
            models.batch_norm_d_x,
            (
                "gamma / std * (d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0))",
                "gamma * (d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0) / std)",
            ),
        ),
    ),
    Mistake(
        "std divides only the first of the three terms",
        "d_x_hat is in all three terms, so its factor stands before a bracket",
        edit(models.batch_norm_d_x, ("gamma / std * (d_y -", "gamma * (d_y / std -")),
    ),
    Mistake(
        "m - 1 stands where m is due, in both means",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(
            models.batch_norm_d_x,
            (
                "(d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0))",
                "(d_y - (d_y.sum(axis=0) + x_hat * (d_y * x_hat).sum(axis=0)) / (len(d_y) - 1))",
            ),
        ),
    ),
    Mistake(
        "m - 1 stands where m is due, in the term from the variance",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.batch_norm_d_x, ("(d_y * x_hat).mean(axis=0)", "(d_y * x_hat).sum(axis=0) / (len(d_y) - 1)")),
    ),
    Mistake(
        "m - 1 stands where m is due, in the term from the mean",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.batch_norm_d_x, ("d_y.mean(axis=0)", "d_y.sum(axis=0) / (len(d_y) - 1)")),
    ),
    Mistake(
        "m is the number of channels",
        "mean and variance are taken over the m examples: how many are these?",
        edit(
            models.batch_norm_d_x,
            ("d_y.mean(axis=0)", "d_y.sum(axis=0) / d_y.shape[1]"),
            ("(d_y * x_hat).mean(axis=0)", "(d_y * x_hat).sum(axis=0) / d_y.shape[1]"),
        ),
    ),
    Mistake(
        "m is the number of all values, m * C",
        "mean and variance are taken over the m examples: how many are these?",
        edit(
            models.batch_norm_d_x,
            ("d_y.mean(axis=0)", "d_y.sum(axis=0) / d_y.size"),
            ("(d_y * x_hat).mean(axis=0)", "(d_y * x_hat).sum(axis=0) / d_y.size"),
        ),
    ),
    Mistake(
        "both signs in the bracket are wrong",
        SIGNS,
        edit(models.batch_norm_d_x, ("- d_y.mean(axis=0) - x_hat", "+ d_y.mean(axis=0) + x_hat")),
    ),
    Mistake(
        "the whole is divided by m once more",
        SUM_OR_MEAN,
        edit(models.batch_norm_d_x, ("gamma / std", "gamma / std / len(d_y)")),
    ),
    Mistake(
        "x_hat is inside of the last mean",
        "the way through the variance ends with 2 (x_i - mean) / m, of the example itself",
        edit(models.batch_norm_d_x, ("x_hat * (d_y * x_hat).mean(axis=0)", "(x_hat * d_y * x_hat).mean(axis=0)")),
    ),
    Mistake(
        "the last mean is that of d_y alone",
        "which sum is in d_var?",
        edit(models.batch_norm_d_x, ("(d_y * x_hat).mean(axis=0)", "d_y.mean(axis=0)")),
    ),
    Mistake(
        "d_y stands where x_hat is due: d_y * mean(x_hat**2)",
        "the way through the variance ends with 2 (x_i - mean) / m",
        edit(models.batch_norm_d_x, ("x_hat * (d_y * x_hat).mean(axis=0)", "d_y * (x_hat * x_hat).mean(axis=0)")),
    ),
    Mistake(
        "the term from the variance has x_hat squared",
        "the way through the variance ends with 2 (x_i - mean) / m",
        edit(models.batch_norm_d_x, ("x_hat * (d_y", "x_hat**2 * (d_y")),
    ),
    Mistake(
        "the term from the variance is twice what it should be",
        "the square's 2 and the root's 1/2: what do they make together?",
        edit(models.batch_norm_d_x, ("x_hat * (d_y", "2 * x_hat * (d_y")),
    ),
    Mistake(
        "the term from the variance is half of what it should be",
        "the square's 2 and the root's 1/2: what do they make together?",
        edit(models.batch_norm_d_x, ("x_hat * (d_y", "x_hat / 2 * (d_y")),
    ),
    Mistake(
        "the term from the variance is divided by std once more",
        "count the powers of std in each term, after x - mean = std * x_hat: all three have the same",
        edit(models.batch_norm_d_x, ("x_hat * (d_y", "x_hat / std * (d_y")),
    ),
    Mistake(
        "the term from the variance has x - mean where x_hat is due",
        "count the powers of std in each term, after x - mean = std * x_hat: all three have the same",
        edit(models.batch_norm_d_x, ("x_hat * (d_y", "x_hat * std * (d_y")),
    ),
    Mistake(
        "the root is taken of std once more",
        "std is a root already",
        edit(models.batch_norm_d_x, ("/ std", "/ np.sqrt(std)")),
    ),
]

EXERCISE = Exercise(
    11,
    "11_batchnorm_backward_in_one_line.py",
    "BatchNorm backward in one line",
    [
        Task(
            "batch_norm_d_x",
            cases,
            d_x,
            MISTAKES,
            parts=parts,
            models=(
                models.batch_norm_d_x,
                models.batch_norm_d_x_with_sums,
            ),
        )
    ],
)
