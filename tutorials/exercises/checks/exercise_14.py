"""Exercise 14: batch normalization folded into the Linear before it."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, fixed_eps, variant
from .slips import edit

EPS = 1e-3  # so large that it matters where it is put


def cases(rng: np.random.Generator) -> list[tuple]:
    """With a square weight in one case, whose columns can be scaled by mistake."""
    found = []
    for outputs, inputs in ((4, 3), (3, 3), (2, 5), (6, 1)):
        weight, bias = rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)
        gamma = rng.uniform(0.5, 2, outputs) * rng.choice([-1, 1], outputs)
        beta, running_mean = rng.normal(size=outputs), rng.normal(size=outputs)
        found.append((weight, bias, gamma, beta, running_mean, rng.uniform(0.01, 3, outputs), EPS))
    return found


def fold(
    weight, bias, gamma, beta, running_mean, running_var, eps,
    rows=True, scale_weight=True, own_bias="scaled", mean="scaled", mean_sign=-1, beta_factor="1", power=-1,
    eps_in=True, eps_outside=False, gamma_in=True, transpose=False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The folded weight and bias, with a setting for everything that can go wrong in them."""
    std = np.sqrt(running_var) + eps if eps_outside else np.sqrt(running_var + eps if eps_in else running_var)
    scale = (gamma if gamma_in else np.ones_like(gamma)) * std**power
    factors = {"scaled": scale, "plain": 1.0, "missing": 0.0, "by gamma": gamma, "1": 1.0}
    folded = weight * (scale[:, None] if rows else scale) if scale_weight else weight.copy()
    shift = factors[own_bias] * bias + mean_sign * factors[mean] * running_mean + factors[beta_factor] * beta
    return {"weight": folded.T if transpose else folded, "bias": shift}


def wrong(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(fold, **settings))


ROOT = "by what is z - running_mean divided?"
BRACKET = "multiply out gamma / std * (u @ W.T + b - running_mean) + beta: what happens to each term in the bracket?"

MISTAKES = [
    fixed_eps(fold),
    wrong(
        "the columns of the weight are scaled instead of its rows",
        "z_o = sum over i of u_i * W_oi + b_o: which values of W does channel o use? And with which axis does NumPy "
        "align (out,)?",
        rows=False,
    ),
    wrong("the weight is not scaled", BRACKET, scale_weight=False),
    wrong("the Linear's bias is not scaled", BRACKET, own_bias="plain"),
    wrong("the Linear's bias is lost", BRACKET, own_bias="missing"),
    wrong("the running mean is forgotten", "what does y become where z equals the running mean?", mean="missing"),
    wrong("the running mean is not scaled", BRACKET, mean="plain"),
    wrong("the running mean is multiplied by gamma but not divided by the root", BRACKET, mean="by gamma"),
    wrong("the sign of the running mean is wrong", "what does y become where z equals the running mean?", mean_sign=1),
    wrong("beta is forgotten", "what does y become where z equals the running mean?", beta_factor="missing"),
    wrong("beta is scaled, too", "is beta inside or outside of what gamma multiplies?", beta_factor="scaled"),
    wrong("eps is forgotten", "evaluation mode has sqrt(running_var + eps)", eps_in=False),
    wrong("eps is added after the root", "evaluation mode has sqrt(running_var + eps)", eps_outside=True),
    wrong("gamma is forgotten", "y = gamma * x_hat + beta: the scale has two parts", gamma_in=False),
    wrong("it is divided by the variance instead of its root", ROOT, power=-2),
    wrong("it is multiplied by the root instead of divided", ROOT, power=1),
    wrong("the division by the root is forgotten", ROOT, power=0),
    wrong(
        "the weight comes out transposed",
        "Linear computes u @ weight.T: its weight is (out, in), before folding and after",
        transpose=True,
    ),
    Mistake("beta is subtracted", BRACKET, edit(models.fold, ("+ beta", "- beta"))),
    Mistake(
        "running_mean stands under the root",
        "what is the variance called?",
        edit(models.fold, ("running_var + eps", "running_mean + eps")),
    ),
    Mistake(
        "running_var stands where running_mean is due",
        "what does y become where z equals the running mean?",
        edit(models.fold, ("bias - running_mean", "bias - running_var")),
    ),
    Mistake(
        "gamma and beta have changed places",
        "which of them scales, and which of them shifts?",
        edit(models.fold, ("gamma / np", "other / np"), ("+ beta", "+ gamma"), ("other /", "beta /")),
    ),
    Mistake(
        "the bias is left as it is", BRACKET, edit(models.fold, ("scale * (bias - running_mean) + beta", "bias + 0"))
    ),
    Mistake(
        "the bias is scaled, and nothing else is done to it",
        BRACKET,
        edit(models.fold, ("scale * (bias - running_mean) + beta", "scale * bias")),
    ),
    Mistake(
        "the weight is divided by the scale",
        ROOT,
        edit(models.fold, ("scale[:, None] * weight", "weight / scale[:, None]")),
    ),
    Mistake(
        "the standard deviation is running_var + eps in the bias alone",
        ROOT,
        edit(models.fold, ("scale * (bias", "gamma / (running_var + eps) * (bias")),
    ),
    Mistake(
        "the signs of bias and running mean have changed places",
        "what does y become where z equals the running mean?",
        edit(models.fold, ("bias - running_mean", "running_mean - bias")),
    ),
]

EXERCISE = Exercise(
    14,
    "14_folding.py",
    "Folding BatchNorm into Linear",
    [
        Task(
            "fold",
            cases,
            fold,
            MISTAKES,
            models=(
                models.fold,
                models.fold_apart,
            ),
        )
    ],
)
