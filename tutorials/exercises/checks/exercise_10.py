"""Exercise 10: batch normalization backward, step by step and as a whole."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Parts, Task, fixed_eps, variant
from .slips import edit

EPS = 1e-3  # so large that it matters where it is put


def batch(rng: np.random.Generator, m: int, channels: int) -> dict[str, np.ndarray]:
    """All quantities of one mini-batch, right."""
    x = rng.normal(rng.normal(size=channels), rng.uniform(0.1, 2, channels), (m, channels))
    gamma, d_y = rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels), rng.normal(size=(m, channels))
    mean, var = x.mean(0), x.var(0)
    x_hat = (x - mean) / np.sqrt(var + EPS)
    return {
        "x": x,
        "gamma": gamma,
        "d_y": d_y,
        "mean": mean,
        "var": var,
        "x_hat": x_hat,
        **backward(d_y, x, gamma, EPS),
    }


def arguments(*names: str):
    """Cases of these quantities, on batches of several shapes; in a square one a wrong axis is no error."""

    def cases(rng: np.random.Generator) -> list[tuple]:
        batches = [batch(rng, m, channels) for m, channels in ((4, 3), (3, 5), (7, 2), (4, 4), (6, 1))]
        return [tuple(EPS if name == "eps" else values[name] for name in names) for values in batches]

    return cases


def backward(
    d_y, x, gamma, eps,
    through_mean=True, through_var=True, m_power=1, axis=0, ddof=0, eps_outside=False, eps_in=True, half=0.5,
    var_power=-1.5, mean_sign=-1, var_sign=-1, gamma_in=True, gamma_from="x_hat", average_beta=False,
    average_gamma=False, keep=False, statistics_averaged=False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The six lines, with a setting for everything that can go wrong in them."""
    m = len(x)
    mean, var = x.mean(0), x.var(0, ddof=ddof)
    std = np.sqrt(var) + eps if eps_outside else np.sqrt(var + eps if eps_in else var)
    centered = x - mean
    power = std ** (2 * var_power)

    def total(values):
        summed = values.sum(axis, keepdims=axis is not None)
        return summed / m if statistics_averaged else summed

    d_x_hat = d_y * gamma if gamma_in else d_y.copy()
    d_var = total(d_x_hat * centered) * var_sign * half * power
    d_mean = total(d_x_hat) * mean_sign / std + d_var * total(-2 * centered) / m
    d_x = d_x_hat / std
    if through_var:
        d_x = d_x + d_var * 2 * centered / m**m_power
    if through_mean:
        d_x = d_x + d_mean / m**m_power
    d_gamma = (d_y * (x if gamma_from == "x" else centered / std)).sum(axis, keepdims=axis is not None)
    d_beta = d_y.sum(axis, keepdims=axis is not None)
    d_gamma, d_beta = d_gamma / (m if average_gamma else 1), d_beta / (m if average_beta else 1)
    columns = {"d_var": d_var, "d_mean": d_mean, "d_gamma": d_gamma, "d_beta": d_beta}
    if not keep:
        columns = {name: np.squeeze(value, axis) if axis is not None else value for name, value in columns.items()}
    result = {"d_x_hat": d_x_hat, **columns, "d_x": d_x}
    return {name: result[name] for name in ("d_x_hat", "d_var", "d_mean", "d_x", "d_gamma", "d_beta")}


def whole(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(backward, **settings))


NO_MEAN = ("the mean is treated as a constant", "x also reaches the output through mean: where does d_mean go?")
NO_VAR = ("the variance is treated as a constant", "x also reaches the output through var: where does d_var go?")
NO_M = ("the 1/m of mean and variance is missing", "mean = sum(x) / m: by how much does it change when one x does?")
M_TWICE = ("the 1/m of mean and variance is applied twice", "is it in d_mean or d_var already, and again in d_x?")
AXIS = (
    "the sums go over the channels instead of the batch",
    "one variance, mean, gamma and beta for each channel: which axis has to disappear?",
)
NO_AXIS = ("the sums go over all axes", "sum() without an axis gives one number for all channels; there should be C")
BESSEL = (
    "the variance is divided by m - 1",
    "batch normalization normalizes with the biased variance; m - 1 is for the running variance",
)
EPS_OUTSIDE = ("eps is added after the root", "the forward pass takes sqrt(var + eps), not sqrt(var) + eps")
NO_EPS = ("eps is forgotten", "the forward pass has sqrt(var + eps)")
NO_HALF = ("the factor 1/2 of the root's derivative is missing", "what is the derivative of v**(-1/2)?")
POWER = ("the root's derivative has the power -1/2 instead of -3/2", "v**(-1/2) loses one from its exponent")
VAR_SIGN = ("the sign of d_var is wrong", "does x_hat grow or shrink when the variance grows?")
MEAN_SIGN = ("the sign of d_mean's first term is wrong", "does x_hat grow or shrink when the mean grows?")
NO_GAMMA = ("gamma is forgotten in d_x_hat", "y = gamma * x_hat + beta: what is the derivative with respect to x_hat?")
GAMMA_X = ("d_gamma is taken against x instead of x_hat", "which of the two is it that gamma multiplies?")
BETA_MEAN = (
    "d_beta is averaged over the batch",
    "beta is added to all m examples: are their gradients summed or averaged?",
)
GAMMA_MEAN = ("d_gamma is averaged over the batch", "all m examples use gamma: are their gradients summed or averaged?")
SHAPE = (
    "the axis that was summed over is kept, as in (1, C)",
    "a gradient has the shape of what it is the gradient of; keepdims=True is for intermediate steps",
)
AVERAGED = (
    "d_var and d_mean are averaged over the batch instead of summed",
    "all m examples use the mean and the variance: their gradients add up",
)

WHOLE = [
    fixed_eps(backward),
    whole(*NO_MEAN, through_mean=False),
    whole(*NO_VAR, through_var=False),
    whole(*NO_M, m_power=0),
    whole(*M_TWICE, m_power=2),
    whole(*NO_AXIS, axis=None),
    whole(*BESSEL, ddof=1),
    whole(*EPS_OUTSIDE, eps_outside=True),
    whole(*NO_EPS, eps_in=False),
    whole(*NO_HALF, half=1),
    whole(*POWER, var_power=-0.5),
    whole(*VAR_SIGN, var_sign=1),
    whole(*MEAN_SIGN, mean_sign=1),
    whole(*NO_GAMMA, gamma_in=False),
    whole(*GAMMA_X, gamma_from="x"),
    whole(*GAMMA_MEAN, average_gamma=True),
    whole(*BETA_MEAN, average_beta=True),
    whole(*SHAPE, keep=True),
    whole(*AVERAGED, statistics_averaged=True),
    Mistake(
        "mean and variance are both treated as constants",
        "x also reaches the output through mean and through var, on three ways in all",
        lambda d_y, x, gamma, eps: backward(d_y, x, gamma, eps, through_mean=False, through_var=False),
    ),
    Mistake(*AXIS, lambda d_y, x, gamma, eps: backward(d_y, x, gamma, eps, axis=1)),
    Mistake(
        "m is the number of channels",
        "mean and variance are taken over the m examples: how many are these?",
        edit(models.batch_norm_backward, ("len(x)", "x.shape[1]")),
    ),
    Mistake(
        "m is the number of all values, m * C",
        "mean and variance are taken over the m examples: how many are these?",
        edit(models.batch_norm_backward, ("len(x)", "x.size")),
    ),
    Mistake(
        "m - 1 stands where m is due (and the variance is divided by m)",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.batch_norm_backward, ("m = len(x)", "m = len(x) - 1")),
    ),
    Mistake(
        "m - 1 stands where m is due, in the variance and on the way back through it",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(
            models.batch_norm_backward,
            ("x.var(axis=0)", "x.var(axis=0, ddof=1)"),
            ("(x - mean) / m", "(x - mean) / (m - 1)"),
        ),
    ),
    Mistake(
        "m - 1 stands where m is due, in the variance and in d_x",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.batch_norm_backward, ("x.var(axis=0)", "x.var(axis=0, ddof=1)"), ("m = len(x)", "m = len(x) - 1")),
    ),
    Mistake(
        "m - 1 stands where m is due, on the way back through the variance",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.batch_norm_backward, ("(x - mean) / m +", "(x - mean) / (m - 1) +")),
    ),
    Mistake(
        "the standard deviation stands in the place of the variance",
        "has the root been taken twice?",
        edit(models.batch_norm_backward, ("x.var(axis=0)", "x.std(axis=0)")),
    ),
    Mistake(
        "the variance already contains eps, and gets it once more",
        "the forward pass has sqrt(var + eps)",
        edit(models.batch_norm_backward, ("x.var(axis=0)", "x.var(axis=0) + eps")),
    ),
    Mistake(
        "eps is added after the root in d_var",
        "the forward pass takes sqrt(var + eps), not sqrt(var) + eps",
        edit(models.batch_norm_backward, ("(var + eps) ** (-3 / 2)", "(np.sqrt(var) + eps) ** -3")),
    ),
    Mistake(
        "mean and variance go over the channels, x.mean(axis=1) and x.var(axis=1)",
        "one mean and one variance for each channel: which axis has to disappear?",
        edit(models.batch_norm_backward, ("x.mean(axis=0)", "x.mean(axis=1)"), ("x.var(axis=0)", "x.var(axis=1)")),
    ),
    Mistake(
        "mean and variance go over the channels, x.mean(axis=1) and x.var(axis=1), with keepdims",
        "one mean and one variance for each channel: which axis has to disappear?",
        edit(
            models.batch_norm_backward,
            ("x.mean(axis=0)", "x.mean(axis=1, keepdims=True)"),
            ("x.var(axis=0)", "x.var(axis=1, keepdims=True)"),
        ),
    ),
    Mistake(
        "everything goes over the channels instead of the batch",
        "one mean and one variance for each channel: which axis has to disappear?",
        edit(models.batch_norm_backward, ("axis=0", "axis=1")),
    ),
    Mistake(
        "d_mean is computed from d_y instead of d_x_hat",
        "what arrives at the mean has gone through gamma",
        edit(models.batch_norm_backward, ("d_mean = np.sum(d_x_hat", "d_mean = np.sum(d_y")),
    ),
    Mistake(
        "d_var is computed from d_y instead of d_x_hat",
        "what arrives at the variance has gone through gamma",
        edit(models.batch_norm_backward, ("d_var = np.sum(d_x_hat", "d_var = np.sum(d_y")),
    ),
    Mistake(
        "d_gamma and d_beta have changed places",
        "which of them is the sum of d_y alone?",
        edit(
            models.batch_norm_backward, ('"d_gamma": d_gamma, "d_beta": d_beta', '"d_gamma": d_beta, "d_beta": d_gamma')
        ),
    ),
    Mistake(
        "d_mean and d_var have changed places",
        "which of them goes through a square?",
        edit(models.batch_norm_backward, ('"d_var": d_var, "d_mean": d_mean', '"d_var": d_mean, "d_mean": d_var')),
    ),
    Mistake(
        "d_gamma and d_beta are averaged over the batch",
        "all m examples use gamma and beta: are their gradients summed or averaged?",
        edit(
            models.batch_norm_backward,
            ("d_gamma = np.sum", "d_gamma = np.mean"),
            ("d_beta = np.sum", "d_beta = np.mean"),
        ),
    ),
]


# The steps.


def d_x_hat(d_y, gamma):
    return d_y * gamma


def d_var(d_x_hat, x, mean, var, eps, axis=0, half=0.5, power=-1.5, sign=-1, eps_in=True, average=False, centre=True):
    total = np.mean if average else np.sum
    values = d_x_hat * (x - mean if centre else x)
    return total(values, axis=axis) * sign * half * (var + eps if eps_in else var) ** power


def d_mean(
    d_x_hat, d_var, x, mean, var, eps, axis=0, sign=-1, power=-0.5, average=False, first=True, eps_in=True
):  # fmt: skip
    # The second term is 0: the values' distances from their mean sum to 0.
    total = np.mean if average else np.sum
    return (total(d_x_hat, axis=axis) if first else 0 * d_x_hat.sum(0)) * sign * (var + eps if eps_in else var) ** power


def d_x(
    d_x_hat, d_var, d_mean, x, mean, var, eps, own=1, by_var=2, by_mean=1, m_var=1, m_mean=1, power=-0.5, eps_in=True
):  # fmt: skip
    m = len(x)
    through_var = d_var * by_var * (x - mean) / m**m_var
    return own * d_x_hat * (var + eps if eps_in else var) ** power + through_var + by_mean * d_mean / m**m_mean


def d_gamma(d_y, x_hat, axis=0, average=False, keepdims=False):
    return (np.mean if average else np.sum)(d_y * x_hat, axis=axis, keepdims=keepdims)


def d_beta(d_y, axis=0, average=False, keepdims=False):
    return (np.mean if average else np.sum)(d_y, axis=axis, keepdims=keepdims)


def step(function, says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(function, **settings))


STEP_1 = [
    Mistake(*NO_GAMMA, lambda d_y, gamma: d_y.copy()),
    Mistake("d_y is divided by gamma", NO_GAMMA[1], lambda d_y, gamma: d_y / gamma),
    Mistake(
        "d_y * gamma is summed over the batch",
        "x_hat has one value for each example and channel, and so has its gradient",
        lambda d_y, gamma: (d_y * gamma).sum(0),
    ),
    Mistake(
        "d_y and gamma are added",
        "y = gamma * x_hat + beta: what is the derivative with respect to x_hat?",
        edit(models.d_x_hat, ("d_y * gamma", "d_y + gamma")),
    ),
    Mistake(
        "gamma is multiplied over all channels, as in a matrix product",
        "each channel has a gamma of its own",
        edit(models.d_x_hat, ("d_y * gamma", "d_y @ gamma")),
    ),
]
STEP_2 = [
    step(d_var, *AXIS, axis=1),
    step(d_var, *NO_AXIS, axis=None),
    step(d_var, *NO_HALF, half=1),
    step(d_var, *POWER, power=-0.5),
    step(d_var, "the root's derivative has the power -1 instead of -3/2", POWER[1], power=-1),
    step(d_var, *VAR_SIGN, sign=1),
    step(d_var, *NO_EPS, eps_in=False),
    step(d_var, "the sum over the batch is an average", AVERAGED[1], average=True),
    step(d_var, "x is used where x - mean is due", "what is it that the root divides in x_hat?", centre=False),
    Mistake(
        "eps is added after the root",
        "the forward pass takes sqrt(var + eps), not sqrt(var) + eps",
        edit(models.d_var, ("(var + eps) ** (-3 / 2)", "(np.sqrt(var) + eps) ** -3")),
    ),
    Mistake(
        "parentheses are missing, as in d_x_hat * x - mean",
        "what does Python multiply by d_x_hat?",
        edit(models.d_var, ("(x - mean)", "x - mean")),
    ),
    Mistake(
        "parentheses are missing in the exponent, as in ** -3 / 2",
        "Python takes powers before it divides",
        edit(models.d_var, ("** (-3 / 2)", "** -3 / 2")),
    ),
    Mistake(
        "the root's derivative has the power 3/2 instead of -3/2",
        "v**(-1/2) loses one from its exponent",
        edit(models.d_var, ("-3 / 2", "3 / 2")),
    ),
    Mistake(
        "the root's derivative has the power -5/2 instead of -3/2",
        "v**(-1/2) loses one from its exponent",
        edit(models.d_var, ("-3 / 2", "-5 / 2")),
    ),
    Mistake(
        "the root's derivative has the power -3 instead of -3/2, as if var were the standard deviation",
        "v**(-1/2) loses one from its exponent",
        edit(models.d_var, ("(-3 / 2)", "-3.0")),
    ),
    Mistake(
        "the sum is missing",
        "the variance is one number that all m examples use",
        edit(models.d_var, ("np.sum(d_x_hat * (x - mean), axis=0)", "(d_x_hat * (x - mean))")),
    ),
    Mistake(
        "the distances from the mean are squared",
        "x_hat = (x - mean) / root: how often does x - mean occur in it?",
        edit(models.d_var, ("(x - mean)", "(x - mean) ** 2")),
    ),
    Mistake(
        "x_hat stands in the place of x - mean",
        "is the root divided by once or twice?",
        edit(models.d_var, ("(x - mean)", "(x - mean) / np.sqrt(var + eps)")),
    ),
]
STEP_3 = [
    step(d_mean, *NO_AXIS, axis=None),
    step(d_mean, *MEAN_SIGN, sign=1),
    step(d_mean, "the sum over the batch is an average", AVERAGED[1], average=True),
    step(
        d_mean,
        "0 remains, as if the way through x_hat were forgotten",
        "x_hat = (x - mean) / std uses the mean, too",
        first=False,
    ),
    step(d_mean, *NO_EPS, eps_in=False),
    step(d_mean, "it is divided by the variance instead of its root", "x_hat = (x - mean) / sqrt(var + eps)", power=-1),
    step(d_mean, "the division by the root is forgotten", "x_hat = (x - mean) / sqrt(var + eps)", power=0),
    Mistake(
        "eps is added after the root",
        "the forward pass takes sqrt(var + eps), not sqrt(var) + eps",
        edit(models.d_mean, ("/ np.sqrt(var + eps)", "/ (np.sqrt(var) + eps)")),
    ),
    Mistake(
        "the sums go over the channels instead of the batch",
        "the sum has to leave one number for each channel",
        edit(models.d_mean, ("axis=0", "axis=1")),
    ),
    Mistake(
        "the sum is missing",
        "the mean is one number that all m examples use",
        edit(models.d_mean, ("np.sum(d_x_hat, axis=0)", "d_x_hat")),
    ),
    Mistake(
        "it is multiplied by the root instead of divided",
        "x_hat = (x - mean) / sqrt(var + eps)",
        edit(models.d_mean, ("* -1 / np.sqrt", "* -1 * np.sqrt")),
    ),
    Mistake(
        "the -2 stands before x alone, as in -2 * x - mean",
        "what does the square's derivative multiply?",
        edit(models.d_mean, ("-2 * (x - mean)", "-2 * x - mean")),
    ),
    Mistake(
        "the way through the variance has x where x - mean is due",
        "var = sum((x - mean)**2) / m: what is squared?",
        edit(models.d_mean, ("-2 * (x - mean)", "-2 * x")),
    ),
    Mistake(
        "the way through the variance isn't 0, because mean is subtracted from nothing: -2 * mean",
        "what do the distances from the mean sum to?",
        edit(models.d_mean, ("-2 * (x - mean)", "-2 * mean")),
    ),
    Mistake(
        "d_x_hat is forgotten",
        "the chain rule multiplies by what arrives",
        edit(models.d_mean, ("np.sum(d_x_hat, axis=0)", "len(x)")),
    ),
    Mistake(
        "d_var is added as it is",
        "how does the variance depend on the mean?",
        edit(models.d_mean, ("d_var * np.sum(-2 * (x - mean), axis=0) / m", "d_var")),
    ),
    Mistake(
        "it is multiplied by x - mean",
        "the derivative of x - mean with respect to the mean is a number",
        edit(models.d_mean, ("np.sum(d_x_hat, axis=0)", "np.sum(d_x_hat * (x - mean), axis=0)")),
    ),
]
STEP_4 = [
    step(d_x, *NO_MEAN, by_mean=0),
    step(d_x, *NO_VAR, by_var=0),
    step(d_x, *NO_EPS, eps_in=False),
    step(d_x, "the way through x_hat itself is forgotten", "x is in x_hat = (x - mean) / std, too", own=0),
    step(d_x, "the 1/m of the mean is missing", NO_M[1], m_mean=0),
    step(d_x, "the 1/m of the variance is missing", "var = sum((x - mean)**2) / m: where did the m go?", m_var=0),
    step(d_x, "the 1/m of the mean is applied twice", M_TWICE[1], m_mean=2),
    step(d_x, "the 1/m of the variance is applied twice", M_TWICE[1], m_var=2),
    step(
        d_x, "the factor 2 of the square's derivative is missing", "what is the derivative of (x - mean)**2?", by_var=1
    ),
    step(
        d_x, "d_x_hat is divided by the variance instead of its root", "x_hat = (x - mean) / sqrt(var + eps)", power=-1
    ),
    step(d_x, "the division by the root is forgotten", "x_hat = (x - mean) / sqrt(var + eps)", power=0),
    step(d_x, "the sign of the way through the variance is wrong", "d_var already has its sign", by_var=-2),
    step(d_x, "the sign of the way through the mean is wrong", "d_mean already has its sign", by_mean=-1),
    Mistake(
        "eps is added after the root",
        "the forward pass takes sqrt(var + eps), not sqrt(var) + eps",
        edit(models.d_x, ("/ np.sqrt(var + eps)", "/ (np.sqrt(var) + eps)")),
    ),
    Mistake(
        "m is the number of channels",
        "mean and variance are taken over the m examples: how many are these?",
        edit(models.d_x, ("len(x)", "x.shape[1]")),
    ),
    Mistake(
        "m is the number of all values, m * C",
        "mean and variance are taken over the m examples: how many are these?",
        edit(models.d_x, ("len(x)", "x.size")),
    ),
    Mistake(
        "m - 1 stands where m is due, in both places",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.d_x, ("m = len(x)", "m = len(x) - 1")),
    ),
    Mistake(
        "m - 1 stands where m is due, on the way through the variance",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.d_x, ("(x - mean) / m", "(x - mean) / (m - 1)")),
    ),
    Mistake(
        "m - 1 stands where m is due, on the way through the mean",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(models.d_x, ("d_mean / m", "d_mean / (m - 1)")),
    ),
    Mistake(
        "the 1/m of both ways is missing",
        "mean = sum(x) / m: by how much does it change when one x does?",
        edit(models.d_x, ("(x - mean) / m + d_mean / m", "(x - mean) + d_mean")),
    ),
    Mistake(
        "on the way through the variance there is x where x - mean is due",
        "var = sum((x - mean)**2) / m: what is squared?",
        edit(models.d_x, ("(x - mean)", "x")),
    ),
    Mistake(
        "the way through the variance has x + mean where x - mean is due",
        "var = sum((x - mean)**2) / m: what is squared?",
        edit(models.d_x, ("(x - mean)", "(x + mean)")),
    ),
    Mistake(
        "the 2 stands before x alone, as in 2 * x - mean",
        "what does the square's derivative multiply?",
        edit(models.d_x, ("d_var * 2 * (x - mean)", "d_var * (2 * x - mean)")),
    ),
    Mistake(
        "parentheses are missing around x - mean",
        "what does Python multiply by d_var?",
        edit(models.d_x, ("* (x - mean) / m", "* x - mean / m")),
    ),
    Mistake(
        "the distances are squared on the way through the variance",
        "what is the derivative of (x - mean)**2?",
        edit(models.d_x, ("(x - mean)", "(x - mean) ** 2")),
    ),
    Mistake(
        "everything is divided by m, too",
        "which of the three ways have a 1/m?",
        edit(models.d_x, ("d_x_hat / np", "d_x_hat / m / np")),
    ),
    Mistake(
        "the ways through variance and mean are both forgotten",
        "x also reaches the output through mean and through var, on three ways in all",
        edit(models.d_x, ("+ d_var * 2 * (x - mean) / m + d_mean / m", "")),
    ),
    Mistake(
        "d_x_hat is multiplied by the root instead of divided",
        "x_hat = (x - mean) / sqrt(var + eps)",
        edit(models.d_x, ("d_x_hat / np", "d_x_hat * np")),
    ),
    Mistake(
        "the mean is multiplied to d_mean",
        "mean = sum(x) / m: what is its derivative?",
        edit(models.d_x, ("d_mean / m", "d_mean * mean / m")),
    ),
]
STEP_5 = [
    step(d_gamma, *AXIS, axis=1),
    step(d_gamma, *NO_AXIS, axis=None),
    step(d_gamma, *GAMMA_MEAN, average=True),
    step(d_gamma, *SHAPE, keepdims=True),
    Mistake("d_y alone is summed", "d(gamma * x_hat) / d gamma = x_hat", lambda d_y, x_hat: d_y.sum(0)),
    Mistake("the sum is missing", "gamma has one value for each channel; all m examples use it", lambda d, h: d * h),
    Mistake(
        "0 remains, as if x_hat alone were summed",
        "the chain rule multiplies by what arrives",
        edit(models.d_gamma, ("d_y * x_hat", "x_hat")),
    ),
    Mistake(
        "x_hat is squared",
        "y = gamma * x_hat + beta: how often does x_hat occur?",
        edit(models.d_gamma, ("d_y * x_hat", "d_y * x_hat**2")),
    ),
    Mistake(
        "it is a matrix product of all channels",
        "each channel has a gamma of its own",
        edit(models.d_gamma, ("np.sum(d_y * x_hat, axis=0)", "d_y.T @ x_hat")),
    ),
]
STEP_6 = [
    step(d_beta, *AXIS, axis=1),
    step(d_beta, *NO_AXIS, axis=None),
    step(d_beta, *BETA_MEAN, average=True),
    step(d_beta, *SHAPE, keepdims=True),
    Mistake("the sum is missing", "beta has one value for each channel; all m examples use it", lambda d_y: d_y.copy()),
    Mistake(
        "the number of examples is returned",
        "the chain rule multiplies by what arrives",
        edit(models.d_beta, ("d_y, axis", "np.ones_like(d_y), axis")),
    ),
    Mistake(
        "the first example's gradient is returned",
        "beta has one value for each channel; all m examples use it",
        edit(models.d_beta, ("np.sum(d_y, axis=0)", "d_y[0]")),
    ),
    Mistake(
        "a 1 for each channel is returned",
        "the chain rule multiplies by what arrives",
        edit(models.d_beta, ("np.sum(d_y, axis=0)", "np.ones(d_y.shape[1])")),
    ),
]

# What each step is made of, for mistakes that are not in the catalogue.


def total(values: np.ndarray) -> np.ndarray:
    return values.sum(0)


def factors(m: int, var: np.ndarray, eps: float) -> dict:
    return {"m": m, "(var + eps)": var + eps}


def parts_1(d_y, gamma) -> Parts:
    return Parts(
        {"m": len(d_y), "|gamma|": np.abs(gamma)}, {"result": {"d_y * gamma": d_y * gamma}}, {"result": {"d_y": d_y}}
    )


def sums(d_x_hat, x, mean) -> dict[str, np.ndarray]:
    """Sums that are mistaken for one another."""
    return {
        "sum(d_x_hat * (x - mean))": total(d_x_hat * (x - mean)),
        "sum(d_x_hat * x)": total(d_x_hat * x),
        "sum(d_x_hat * (x + mean))": total(d_x_hat * (x + mean)),
        "sum(d_x_hat)": total(d_x_hat),
        "sum(d_x_hat) * mean": total(d_x_hat) * mean,
        "mean": mean,
        "sum(d_x_hat + x - mean)": total(d_x_hat + x - mean),
        "sum(d_x_hat / (x - mean))": total(d_x_hat / (x - mean)),
        "1": np.ones_like(mean),
    }


def parts_2(d_x_hat, x, mean, var, eps) -> Parts:
    return Parts(factors(len(x), var, eps), {"result": {}}, {"result": sums(d_x_hat, x, mean)})


def parts_3(d_x_hat, d_var, x, mean, var, eps) -> Parts:
    others = sums(d_x_hat, x, mean)
    others |= {"d_var": d_var, "d_var * mean": d_var * mean, "d_var * sum(x)": d_var * total(x)}
    return Parts(factors(len(x), var, eps), {"result": {}}, {"result": others})


def parts_4(d_x_hat, d_var, d_mean, x, mean, var, eps) -> Parts:
    m = len(x)
    terms = {
        "through x_hat": d_x_hat / np.sqrt(var + eps),
        "through the variance": d_var * 2 * (x - mean) / m,
        "through the mean": d_mean / m + 0 * x,
    }
    others = {
        "d_var": d_var + 0 * x,
        "d_var * mean": d_var * mean + 0 * x,
        "d_var * x": d_var * x,
        "mean": mean + 0 * x,
    }
    others |= {"x - mean": x - mean, "d_x_hat": d_x_hat, "1": np.ones_like(x)}
    return Parts(factors(m, var, eps), {"result": terms}, {"result": others})


def parts_5(d_y, x_hat) -> Parts:
    others = {"sum(d_y)": total(d_y), "sum(d_y + x_hat)": total(d_y + x_hat), "sum(d_y / x_hat)": total(d_y / x_hat)}
    others |= {"sum(d_y - x_hat)": total(d_y - x_hat)}
    return Parts({"m": len(d_y)}, {"result": {}}, {"result": others})


def parts_whole(d_y, x, gamma, eps) -> Parts:
    right, m = backward(d_y, x, gamma, eps), len(x)
    mean, var = x.mean(0), x.var(0)
    d_x_hat, d_var, d_mean = right["d_x_hat"], right["d_var"], right["d_mean"]
    two, three = parts_2(d_x_hat, x, mean, var, eps), parts_3(d_x_hat, d_var, x, mean, var, eps)
    four = parts_4(d_x_hat, d_var, d_mean, x, mean, var, eps)
    gammas = {"sum(d_y)": total(d_y), "sum(d_y * x)": total(d_y * x), "sum(d_y) * mean": total(d_y) * mean}
    gammas |= {"sum(d_y * (x + mean))": total(d_y * (x + mean)), "sum(d_y * (x - mean))": total(d_y * (x - mean))}
    x_hat = (x - mean) / np.sqrt(var + eps)
    gammas |= parts_5(d_y, x_hat).others["result"]
    terms = {"d_x": four.terms["result"]}
    others = {"d_var": two.others["result"], "d_mean": three.others["result"], "d_x": four.others["result"]}
    return Parts(factors(m, var, eps), terms, others | {"d_gamma": gammas, "d_x_hat": {"d_y": d_y}})


STEPS = "step_1_d_x_hat", "step_2_d_var", "step_3_d_mean", "step_4_d_x", "step_5_d_gamma", "step_6_d_beta"

EXERCISE = Exercise(
    10,
    "10_batchnorm_backward.py",
    "BatchNorm backward in six steps",
    [
        Task("step_1_d_x_hat", arguments("d_y", "gamma"), d_x_hat, STEP_1, parts=parts_1, models=(models.d_x_hat,)),
        Task(
            "step_2_d_var",
            arguments("d_x_hat", "x", "mean", "var", "eps"),
            d_var,
            STEP_2,
            parts=parts_2,
            models=(
                models.d_var,
                models.d_var_inside,
            ),
        ),
        Task(
            "step_3_d_mean",
            arguments("d_x_hat", "d_var", "x", "mean", "var", "eps"),
            d_mean,
            STEP_3,
            parts=parts_3,
            models=(
                models.d_mean,
                models.d_mean_short,
            ),
        ),
        Task(
            "step_4_d_x",
            arguments("d_x_hat", "d_var", "d_mean", "x", "mean", "var", "eps"),
            d_x,
            STEP_4,
            parts=parts_4,
            models=(
                models.d_x,
                models.d_x_together,
            ),
        ),
        Task("step_5_d_gamma", arguments("d_y", "x_hat"), d_gamma, STEP_5, parts=parts_5, models=(models.d_gamma,)),
        Task("step_6_d_beta", arguments("d_y"), d_beta, STEP_6, models=(models.d_beta,)),
        Task(
            "batch_norm_backward",
            arguments("d_y", "x", "gamma", "eps"),
            backward,
            WHOLE,
            parts=parts_whole,
            after=STEPS,
            models=(models.batch_norm_backward,),
        ),
    ],
)
