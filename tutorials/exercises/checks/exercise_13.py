"""Exercise 13: backward through batch normalization in evaluation mode, and through a frozen Linear."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Parts, Task, fixed_eps, variant
from .slips import edit

EPS = 1e-3  # so large that it matters where it is put


def frozen_cases(rng: np.random.Generator) -> list[tuple]:
    """The running statistics are not those of the batch."""
    found = []
    for m, channels in ((4, 3), (3, 5), (7, 2), (6, 1)):
        x = rng.normal(rng.normal(size=channels), rng.uniform(0.1, 2, channels), (m, channels))
        gamma = rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels)
        running_mean, running_var = x.mean(0) + rng.normal(size=channels), rng.uniform(0.01, 3, channels)
        found.append((rng.normal(size=(m, channels)), x, gamma, running_mean, running_var, EPS))
    return found


def frozen(
    d_y, x, gamma, running_mean, running_var, eps,
    statistics="running", through_mean=False, through_var=False, gamma_in=True, eps_in=True, eps_outside=False,
    mean_sign=-1, power=1, gamma_from="x_hat", average_gamma=False, average_beta=False, keep=False, stop=False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Evaluation's backward, with a setting for everything that can go wrong in it."""
    m = len(x)
    mean, var = (x.mean(0), x.var(0)) if statistics == "batch" else (running_mean, running_var)
    std = np.sqrt(var) + eps if eps_outside else np.sqrt(var + eps if eps_in else var)
    x_hat = (x + mean_sign * mean) / std
    scale = (gamma if gamma_in else 1) / std**power
    d_x = scale * d_y
    if through_mean:
        d_x = d_x - scale * d_y.mean(0)
    if through_var:
        d_x = d_x - scale * x_hat * (d_y * x_hat).mean(0)
    if stop:
        d_x = np.zeros_like(d_y)
    seen_by_gamma = {"x_hat": x_hat, "x": x, "x - mean": x - mean}[gamma_from]
    d_gamma, d_beta = (d_y * seen_by_gamma).sum(0, keepdims=keep), d_y.sum(0, keepdims=keep)
    d_gamma, d_beta = d_gamma / (m if average_gamma else 1), d_beta / (m if average_beta else 1)
    return {"d_x": d_x, "d_gamma": d_gamma, "d_beta": d_beta}


def frozen_parts(d_y, x, gamma, running_mean, running_var, eps) -> Parts:
    factors = {"m": len(x), "|gamma|": np.abs(gamma), "std": np.sqrt(running_var + eps)}
    gammas = {
        "sum(d_y)": d_y.sum(0),
        "sum(d_y * x)": (d_y * x).sum(0),
        "sum(d_y) * running_mean": d_y.sum(0) * running_mean,
    }
    return Parts(factors, {}, {"d_x": {"d_y": d_y, "d_y * x": d_y * x}, "d_gamma": gammas})


def frozen_wrong(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(frozen, **settings))


def both(**settings):
    """Settings that are one mistake, and are not combined with others."""
    return lambda *arguments: frozen(*arguments, **settings)


CONSTANTS = "the statistics were there before this batch: does changing an x_i change them?"
WHICH = "with which mean and variance did the forward pass in evaluation mode normalize?"
ALL_USE = "all m examples use it: are their gradients summed or averaged?"

FROZEN = [
    fixed_eps(frozen),
    Mistake(
        "d_gamma and d_beta are 0, as if gamma and beta were frozen, too",
        "only the statistics are constants here: what do gamma and beta need in order to learn?",
        lambda *arguments: {name: value * (name == "d_x") for name, value in frozen(*arguments).items()},
    ),
    Mistake(
        "the backward of training is used, with the batch's statistics",
        "in evaluation mode, what does y depend on? Is the batch's mean among it?",
        both(statistics="batch", through_mean=True, through_var=True),
    ),
    Mistake(
        "the running statistics are used, but as if they depended on x, as in training",
        CONSTANTS,
        both(through_mean=True, through_var=True),
    ),
    frozen_wrong("the mean is taken to depend on x", CONSTANTS, through_mean=True),
    frozen_wrong("the variance is taken to depend on x", CONSTANTS, through_var=True),
    frozen_wrong("the batch's statistics stand in for the running ones", WHICH, statistics="batch"),
    frozen_wrong(
        "d_x is 0 everywhere, as if the gradient stopped at the frozen layer",
        "frozen means that the statistics don't change; y still changes when x does",
        stop=True,
    ),
    frozen_wrong("gamma is forgotten in d_x", "y = gamma * x_hat + beta: what arrives at x_hat?", gamma_in=False),
    frozen_wrong("the mean is added to x", "the forward pass has x - running_mean", mean_sign=1),
    frozen_wrong("eps is forgotten", "the forward pass has sqrt(running_var + eps)", eps_in=False),
    frozen_wrong("eps is added after the root", "the forward pass has sqrt(running_var + eps)", eps_outside=True),
    frozen_wrong(
        "d_x is divided by the variance instead of its root", "by what is x - mean divided in x_hat?", power=2
    ),
    frozen_wrong("the division by the root is forgotten in d_x", "by what is x - mean divided in x_hat?", power=0),
    frozen_wrong("d_gamma is taken against x instead of x_hat", "what is it that gamma multiplies?", gamma_from="x"),
    frozen_wrong(
        "d_gamma is taken against x - mean instead of x_hat", "what is it that gamma multiplies?", gamma_from="x - mean"
    ),
    Mistake("d_gamma and d_beta are averages", ALL_USE, both(average_gamma=True, average_beta=True)),
    frozen_wrong("d_gamma is an average", ALL_USE, average_gamma=True),
    frozen_wrong("d_beta is an average", ALL_USE, average_beta=True),
    frozen_wrong(
        "the axis that was summed over is kept, as in (1, C)",
        "a gradient has the shape of what it is the gradient of",
        keep=True,
    ),
    Mistake(
        "d_gamma is taken with the batch's mean and variance",
        WHICH,
        edit(
            models.frozen_batch_norm_backward,
            ("x_hat = (x - running_mean) / std", "x_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)"),
        ),
    ),
    Mistake(
        "d_gamma is the sum of d_y, as d_beta is",
        "what is it that gamma multiplies?",
        edit(models.frozen_batch_norm_backward, ("d_y * x_hat", "d_y")),
    ),
    Mistake(
        "d_x is multiplied by the root instead of divided",
        "by what is x - mean divided in x_hat?",
        edit(models.frozen_batch_norm_backward, ("gamma / std,", "gamma * std,")),
    ),
    Mistake(
        "the standard deviation is running_var itself",
        "what has to be done to a variance to get a width?",
        edit(models.frozen_batch_norm_backward, ("np.sqrt(running_var + eps)", "running_var + eps")),
    ),
    Mistake(
        "d_gamma and d_beta have changed places",
        "which of them is the sum of d_y alone?",
        edit(
            models.frozen_batch_norm_backward,
            ('"d_gamma"', '"other"'),
            ('"d_beta"', '"d_gamma"'),
            ('"other"', '"d_beta"'),
        ),
    ),
    Mistake(
        "d_x is d_y as it came",
        "y is gamma times something, plus beta: what does x get multiplied by?",
        edit(models.frozen_batch_norm_backward, ("d_y * gamma / std", "d_y * 1")),
    ),
    Mistake(
        "d_gamma isn't summed",
        ALL_USE,
        edit(models.frozen_batch_norm_backward, ("np.sum(d_y * x_hat, axis=0)", "d_y * x_hat")),
    ),
    Mistake(
        "d_gamma is multiplied by gamma",
        "y = gamma * x_hat + beta: what is its derivative with respect to gamma?",
        edit(models.frozen_batch_norm_backward, ("np.sum(d_y * x_hat, axis=0)", "gamma * np.sum(d_y * x_hat, axis=0)")),
    ),
    Mistake(
        "d_gamma is computed from d_x_hat instead of d_y",
        "y = gamma * x_hat + beta: what is its derivative with respect to gamma?",
        edit(
            models.frozen_batch_norm_backward,
            ("np.sum(d_y * x_hat, axis=0)", "np.sum(d_y * gamma * x_hat, axis=0)"),
            ("np.sum(d_y, axis=0)", "np.sum(d_y * gamma, axis=0)"),
        ),
    ),
]


def chain_cases(rng: np.random.Generator) -> list[tuple]:
    """With a square w2 in one case, and a square w1 in another, so that both can be transposed by mistake."""
    return [
        (
            rng.normal(size=(n, outputs)),
            rng.normal(size=(n, inputs)),
            rng.normal(size=(hidden, inputs)),
            rng.normal(size=(outputs, hidden)),
        )
        for n, inputs, hidden, outputs in ((5, 3, 4, 2), (2, 4, 3, 3), (7, 2, 2, 5), (3, 1, 5, 4))
    ]


def chain(g, u, w1, w2) -> dict[str, np.ndarray]:
    return {"d_w1": (g @ w2).T @ u}


def chain_wrong(says: str, hint: str, d_w1) -> Mistake:
    return Mistake(says, hint, lambda g, u, w1, w2: {"d_w1": d_w1(g, u, w1, w2)})


CHAIN = [
    chain_wrong(
        "d_w1 is 0 everywhere, as if the gradient stopped at the frozen layer",
        "does the loss change when w1 does? Frozen only means that w2 needs no gradient of its own",
        lambda g, u, w1, w2: np.zeros_like(w1),
    ),
    chain_wrong(
        "the gradient jumps over the frozen layer",
        "g is the gradient with respect to y; what is the gradient with respect to h?",
        lambda g, u, w1, w2: g.T @ u,
    ),
    chain_wrong(
        "the frozen weight is transposed on the way back",
        "y_no = sum over k of h_nk * w2_ok: which index of w2 is summed over on the way back?",
        lambda g, u, w1, w2: (g @ w2.T).T @ u,
    ),
    chain_wrong(
        "d_w1 comes out transposed",
        "a gradient has the shape of what it is the gradient of: w1 is (hidden, in)",
        lambda g, u, w1, w2: u.T @ (g @ w2),
    ),
    chain_wrong(
        "d_w1 is averaged over the batch",
        "all N examples use w1, and each has its own row in g: are their gradients summed or averaged?",
        lambda g, u, w1, w2: (g @ w2).T @ u / len(u),
    ),
    chain_wrong(
        "the gradient of the frozen weight is returned",
        "which of the two weights learns? Which of them does h = u @ w1.T lie above?",
        lambda g, u, w1, w2: g.T @ (u @ w1.T),
    ),
    chain_wrong(
        "the gradient with respect to u is returned",
        "you have gone one layer too far: at which gradient do you have to stop for w1?",
        lambda g, u, w1, w2: g @ w2 @ w1,
    ),
    chain_wrong(
        "the gradient with respect to h is returned",
        "that is what arrives at the lower layer; how does h depend on w1?",
        lambda g, u, w1, w2: g @ w2,
    ),
    Mistake(
        "w1 stands where w2 is due on the way back",
        "through which weight does the gradient go first?",
        edit(models.chain_backward, ("g @ w2", "g @ w1")),
    ),
    Mistake(
        "the result of the lower layer stands where its input is due",
        "what does w1 multiply?",
        edit(models.chain_backward, ("d_h.T @ u", "d_h.T @ (u @ w1.T)")),
    ),
    Mistake(
        "w2 is left alone: g is forgotten",
        "the chain rule multiplies by what arrives",
        edit(models.chain_backward, ("g @ w2", "np.ones_like(g) @ w2")),
    ),
    Mistake(
        "the activity of the lower layer is multiplied to the gradient, as if it were a nonlinearity",
        "between the two Linear layers there is nothing",
        edit(models.chain_backward, ("g @ w2", "(g @ w2) * (u @ w1.T)")),
    ),
]

EXERCISE = Exercise(
    13,
    "13_frozen_layers.py",
    "Frozen layers",
    [
        Task(
            "frozen_batch_norm_backward",
            frozen_cases,
            frozen,
            FROZEN,
            parts=frozen_parts,
            models=(models.frozen_batch_norm_backward,),
        ),
        Task("chain_backward", chain_cases, chain, CHAIN, models=(models.chain_backward,)),
    ],
)
