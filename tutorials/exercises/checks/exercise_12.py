"""Exercise 12: batch normalization backward for images, (N, C, H, W)."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Parts, Task, fixed_eps, variant
from .slips import edit

EPS = 1e-3  # so large that it matters where it is put


def cases(rng: np.random.Generator) -> list[tuple]:
    """C equals W in one case and H in another, so that gamma can broadcast along either."""
    found = []
    for shape in ((2, 3, 4, 5), (4, 3, 2, 3), (3, 2, 2, 4), (5, 4, 3, 1)):
        channels = shape[1]
        spread = rng.uniform(0.1, 2, (1, channels, 1, 1))
        x = rng.normal(rng.normal(size=(1, channels, 1, 1)), spread, shape)
        gamma = rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels)
        found.append((rng.normal(size=shape), x, gamma, EPS))
    return found


def backward(
    d_y, x, gamma, eps,
    axes=(0, 2, 3), gradient_axes=None, gamma_axis=1, m_counts="NHW", m_power=1, through_mean=True, through_var=True,
    gamma_in=True, gamma_from="x_hat", average_gamma=False, average_beta=False, keep=False, ddof=0, eps_outside=False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The six lines for images, with a setting for everything that can go wrong in them."""
    gradient_axes = axes if gradient_axes is None else gradient_axes
    gamma = np.expand_dims(gamma, tuple(axis - gamma_axis for axis in range(4) if axis > gamma_axis))
    if m_counts == "NHW":
        m = np.prod([x.shape[axis] for axis in axes])
    else:
        m = x.shape[0] if m_counts == "N" else x.shape[2] * x.shape[3]

    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True, ddof=ddof)
    std = np.sqrt(var) + eps if eps_outside else np.sqrt(var + eps)
    x_hat = (x - mean) / std
    d_x_hat = d_y * gamma if gamma_in else d_y
    d_var = (d_x_hat * (x - mean)).sum(axes, keepdims=True) * -1 / 2 / std**3
    d_mean = -d_x_hat.sum(axes, keepdims=True) / std
    d_x = d_x_hat / std
    if through_var:
        d_x = d_x + d_var * 2 * (x - mean) / float(m) ** m_power
    if through_mean:
        d_x = d_x + d_mean / float(m) ** m_power
    d_gamma = (d_y * (x if gamma_from == "x" else x_hat)).sum(gradient_axes, keepdims=keep)
    d_beta = d_y.sum(gradient_axes, keepdims=keep)
    d_gamma, d_beta = d_gamma / (m if average_gamma else 1), d_beta / (m if average_beta else 1)
    return {"d_gamma": d_gamma, "d_beta": d_beta, "d_x": d_x}


def rows(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as (N * H * W, C)."""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def in_rows(d_y, x, gamma, eps, to_rows=rows, back=None) -> dict[str, np.ndarray]:
    """As a batch of shape (m, C), which is a batch of images of 1 x 1, by ``to_rows``, and ``back``."""
    to_images = [to_rows(array)[:, :, None, None] for array in (d_y, x)]
    result = backward(*to_images, gamma, eps)
    return result | {"d_x": back(result["d_x"], x.shape)}


def parts(d_y, x, gamma, eps) -> Parts:
    """The factors are numbers, which go with results of (C,) as well as of (N, C, H, W)."""
    constants = {"through_mean": False, "through_var": False}
    own, whole = backward(d_y, x, gamma, eps, **constants)["d_x"], backward(d_y, x, gamma, eps)["d_x"]
    no_mean = backward(d_y, x, gamma, eps, through_mean=False)["d_x"]
    terms = {"with d_y itself": own, "from the mean": whole - no_mean, "from the variance": no_mean - own}
    return Parts({"N": len(x), "(H * W)": x.shape[2] * x.shape[3]}, {"d_x": terms})


def wrong(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(backward, **settings))


ONE_M = "mean = sum(x) / m: by how much does it change when one x does?"
ALL_USE = "every position of every image uses it: are their gradients summed or averaged?"
ALIGNED = (
    "NumPy aligns (C,) with the last axis; what shape must gamma have to stand beside (N, C, H, W) at the axis of C?"
)

MISTAKES = [
    fixed_eps(backward),
    wrong(
        "all means and sums go over the batch only",
        "a channel has one mean, not one for each position: which axes, besides the images, does it go over?",
        axes=(0,),
    ),
    wrong(
        "all means and sums go over height and width only, in each image by itself",
        "that is another layer, instance normalization; in batch normalization the images of a batch share their "
        "statistics",
        axes=(2, 3),
    ),
    Mistake(
        "each image is normalized by itself, over all of its channels",
        "that is another layer, layer normalization; in batch normalization the images of a batch share their "
        "statistics, and each channel has its own",
        lambda d_y, x, gamma, eps: backward(d_y, x, gamma, eps, axes=(1, 2, 3), gradient_axes=(0, 2, 3)),
    ),
    wrong(
        "all means and sums go over all four axes",
        "each channel is normalized by itself: which axis has to stay?",
        axes=(0, 1, 2, 3),
    ),
    wrong(
        "the sums of d_gamma and d_beta go over the batch only",
        "gamma and beta have one value a channel, which every position uses, too",
        gradient_axes=(0,),
    ),
    wrong(
        "the sums of d_gamma and d_beta go over height and width only",
        "gamma and beta have one value a channel, which every image uses, too",
        gradient_axes=(2, 3),
    ),
    wrong("m counts the images only", "how many values is the mean of a channel taken over?", m_counts="N"),
    wrong(
        "m counts the positions of one image only",
        "how many values is the mean of a channel taken over?",
        m_counts="HW",
    ),
    wrong("the 1/m of mean and variance is missing", ONE_M, m_power=0),
    wrong(
        "the 1/m of mean and variance is applied twice",
        "is it in the gradient of the mean or variance already, or in a mean() in place of a sum, and again in d_x?",
        m_power=2,
    ),
    wrong("gamma is broadcast along the width", ALIGNED, gamma_axis=3),
    wrong("gamma is broadcast along the height", ALIGNED, gamma_axis=2),
    wrong(
        "the mean is treated as a constant",
        "x also reaches the output through the mean of its channel",
        through_mean=False,
    ),
    wrong(
        "the variance is treated as a constant",
        "x also reaches the output through the variance of its channel",
        through_var=False,
    ),
    Mistake(
        "mean and variance are both treated as constants",
        "x also reaches the output through the mean and the variance of its channel",
        lambda d_y, x, gamma, eps: backward(d_y, x, gamma, eps, through_mean=False, through_var=False),
    ),
    wrong("gamma is forgotten in d_x", "y = gamma * x_hat + beta: what arrives at x_hat?", gamma_in=False),
    wrong(
        "d_gamma is taken against x instead of x_hat", "which of the two is it that gamma multiplies?", gamma_from="x"
    ),
    Mistake(
        "d_gamma and d_beta are averages",
        ALL_USE,
        lambda d_y, x, gamma, eps: backward(d_y, x, gamma, eps, average_gamma=True, average_beta=True),
    ),
    wrong("d_gamma is an average", ALL_USE, average_gamma=True),
    wrong("d_beta is an average", ALL_USE, average_beta=True),
    wrong(
        "d_gamma and d_beta keep the axes that were summed over",
        "a gradient has the shape of what it is the gradient of: (C,); keepdims=True is for intermediate steps",
        keep=True,
    ),
    wrong(
        "the variance is divided by m - 1",
        "batch normalization normalizes with the biased variance; m - 1 is for the running variance",
        ddof=1,
    ),
    wrong(
        "eps is added after the root", "the forward pass takes sqrt(var + eps), not sqrt(var) + eps", eps_outside=True
    ),
    Mistake(
        "the images are reshaped to (N * H * W, C) with the channel still in second place",
        "reshape doesn't move values: print x.reshape(-1, C)[:, 0] and look which channels its values come from",
        lambda d_y, x, gamma, eps: in_rows(
            d_y, x, gamma, eps, lambda a: a.reshape(-1, a.shape[1]), lambda d_x, shape: d_x.reshape(shape)
        ),
    ),
    Mistake(
        "d_x is reshaped to (N, C, H, W) while the channel is still its last axis",
        "you brought the channel to the end on the way in; reshape doesn't bring it back",
        lambda d_y, x, gamma, eps: in_rows(d_y, x, gamma, eps, rows, lambda d_x, shape: d_x.reshape(shape)),
    ),
    Mistake(
        "the images are reshaped to (C, N * H * W) in place of transposed",
        "reshape doesn't move values: print x.reshape(-1, C)[:, 0] and look which channels its values come from",
        lambda d_y, x, gamma, eps: in_rows(
            d_y, x, gamma, eps, lambda a: a.reshape(a.shape[1], -1).T, lambda d_x, shape: d_x.T.reshape(shape)
        ),
    ),
    Mistake(
        "the images are reshaped to (N, H, W, C) in place of transposed, and the result is brought back by a transpose",
        "reshape doesn't move values: print x.reshape(-1, C)[:, 0] and look which channels its values come from",
        lambda d_y, x, gamma, eps: in_rows(
            d_y,
            x,
            gamma,
            eps,
            lambda a: a.reshape(-1, a.shape[1]),
            lambda d_x, shape: d_x.reshape(shape[0], shape[2], shape[3], shape[1]).transpose(0, 3, 1, 2),
        ),
    ),
    Mistake(
        "the images are transposed to (N, H, W, C) on the way in, and height and width change places on the way back",
        "what you did on the way in has to be undone in the opposite order; reshape doesn't bring an axis back",
        lambda d_y, x, gamma, eps: in_rows(
            d_y,
            x,
            gamma,
            eps,
            lambda a: rows(a),
            lambda d_x, shape: d_x.reshape(shape[0], shape[2], shape[3], shape[1]).transpose(0, 3, 2, 1).reshape(shape),
        ),
    ),
    Mistake(
        "the images are transposed to (C, N, H, W) on the way in, and d_x is reshaped back without a transpose",
        "what you did on the way in has to be undone in the opposite order; reshape doesn't bring an axis back",
        lambda d_y, x, gamma, eps: in_rows(
            d_y,
            x,
            gamma,
            eps,
            lambda a: a.transpose(1, 0, 2, 3).reshape(a.shape[1], -1).T,
            lambda d_x, shape: d_x.T.reshape(shape),
        ),
    ),
    Mistake(
        "the images are reshaped to (C, N * H * W), and the result is brought back by a transpose",
        "reshape doesn't move values: print x.reshape(-1, C)[:, 0] and look which channels its values come from",
        lambda d_y, x, gamma, eps: in_rows(
            d_y,
            x,
            gamma,
            eps,
            lambda a: a.reshape(a.shape[1], -1).T,
            lambda d_x, shape: d_x.T.reshape(shape[1], shape[0], shape[2], shape[3]).transpose(1, 0, 2, 3),
        ),
    ),
    Mistake(
        "the images are transposed with .T, and d_x is reshaped back without a transpose",
        "what you did on the way in has to be undone in the opposite order; reshape doesn't bring an axis back",
        lambda d_y, x, gamma, eps: in_rows(
            d_y,
            x,
            gamma,
            eps,
            lambda a: a.T.swapaxes(2, 3).reshape(-1, a.shape[1]),
            lambda d_x, shape: d_x.reshape(shape),
        ),
    ),
    Mistake(
        "d_x stays in the order (N, H, W, C)",
        "a gradient has the shape of what it is the gradient of",
        lambda d_y, x, gamma, eps: in_rows(
            d_y,
            x,
            gamma,
            eps,
            lambda a: rows(a),
            lambda d_x, shape: d_x.reshape(shape[0], shape[2], shape[3], shape[1]),
        ),
    ),
    Mistake(
        "d_x stays in rows, of shape (N * H * W, C)",
        "a gradient has the shape of what it is the gradient of",
        lambda d_y, x, gamma, eps: in_rows(d_y, x, gamma, eps, lambda a: rows(a), lambda d_x, shape: d_x),
    ),
    Mistake(
        "d_x stays in the order (C, N, H, W)",
        "a gradient has the shape of what it is the gradient of",
        lambda d_y, x, gamma, eps: in_rows(
            d_y,
            x,
            gamma,
            eps,
            lambda a: rows(a),
            lambda d_x, shape: d_x.reshape(shape[0], shape[2], shape[3], shape[1]).transpose(3, 0, 1, 2),
        ),
    ),
    Mistake(
        "gamma is multiplied as it is, so that NumPy lines it up with the width",
        ALIGNED,
        edit(models.batch_norm_backward_images, ("gamma[:, None, None]", "gamma")),
    ),
    Mistake(
        "the channels are taken to be the last axis: everything goes over the axes 0, 1 and 2",
        "which of the four axes is C?",
        edit(models.batch_norm_backward_images, ("axis=(0, 2, 3)", "axis=(0, 1, 2)")),
    ),
    Mistake(
        "the channels are taken to be the last axis, and gamma is lined up with it",
        "which of the four axes is C?",
        edit(
            models.batch_norm_backward_images, ("axis=(0, 2, 3)", "axis=(0, 1, 2)"), ("gamma[:, None, None]", "gamma")
        ),
    ),
    Mistake(
        "in the term from the mean there is a sum in place of a mean",
        ONE_M,
        edit(models.batch_norm_backward_images, ("from_mean = d_y.mean", "from_mean = d_y.sum")),
    ),
    Mistake(
        "in the term from the variance there is a sum in place of a mean",
        ONE_M,
        edit(models.batch_norm_backward_images, ("(d_y * x_hat).mean", "(d_y * x_hat).sum")),
    ),
    Mistake(
        "m - 1 stands where m is due, in the means of the backward",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(
            models.batch_norm_backward_images,
            (
                "(d_y - from_mean - from_var)",
                "(d_y - (from_mean + from_var) * (d_y.size / d_y.shape[1]) / (d_y.size / d_y.shape[1] - 1))",
            ),
        ),
    ),
    Mistake(
        "m - 1 stands where m is due, in the variance and on the way back through it",
        "batch normalization normalizes with the biased variance, divided by m; m - 1 is for the "
        "running variance alone",
        edit(
            models.batch_norm_backward_images,
            ("var = x.var(axis=(0, 2, 3), keepdims=True)", "var = x.var(axis=(0, 2, 3), keepdims=True, ddof=1)"),
            ("- from_var", "- from_var * (x.size / x.shape[1]) / (x.size / x.shape[1] - 1)"),
        ),
    ),
    Mistake(
        "m counts the channels",
        "how many values is the mean of a channel taken over?",
        edit(
            models.batch_norm_backward_images,
            (
                "(d_y - from_mean - from_var)",
                "(d_y - (from_mean + from_var) * (d_y.size / d_y.shape[1]) / d_y.shape[1])",
            ),
        ),
    ),
    Mistake(
        "m counts all values, those of the other channels, too",
        "how many values is the mean of a channel taken over?",
        edit(
            models.batch_norm_backward_images,
            ("(d_y - from_mean - from_var)", "(d_y - (from_mean + from_var) / d_y.shape[1])"),
        ),
    ),
    Mistake(
        "the sign of the term from the variance is wrong",
        "if x grows at one position, does the root of the variance grow or shrink?",
        edit(models.batch_norm_backward_images, ("- from_var", "+ from_var")),
    ),
    Mistake(
        "the sign of the term from the mean is wrong",
        "if x grows at one position, does x - mean at the others grow or shrink?",
        edit(models.batch_norm_backward_images, ("- from_mean", "+ from_mean")),
    ),
    Mistake(
        "eps is forgotten",
        "the forward pass has sqrt(var + eps)",
        edit(models.batch_norm_backward_images, ("var + eps", "var")),
    ),
    Mistake(
        "it is divided by the variance instead of its root",
        "x_hat = (x - mean) / sqrt(var + eps)",
        edit(models.batch_norm_backward_images, ("np.sqrt(var + eps)", "(var + eps)")),
    ),
    Mistake(
        "the standard deviation stands in the place of the variance",
        "has the root been taken twice?",
        edit(models.batch_norm_backward_images, ("x.var(", "x.std(")),
    ),
    Mistake(
        "parentheses are missing: gamma / std multiplies d_y alone",
        "which terms does the factor before the bracket belong to?",
        edit(models.batch_norm_backward_images, ("(d_y - from_mean - from_var)", "d_y - from_mean - from_var")),
    ),
    Mistake(
        "gamma multiplies only the first of the three terms",
        "d_x_hat = d_y * gamma is also in the two means",
        edit(
            models.batch_norm_backward_images,
            ("scale * (d_y - from_mean - from_var)", "(gamma[:, None, None] * d_y - from_mean - from_var) / std"),
        ),
    ),
    Mistake(
        "the sums of d_gamma and d_beta go over all axes",
        "gamma and beta have one value a channel",
        edit(
            models.batch_norm_backward_images,
            ("(d_y * x_hat).sum(axis=(0, 2, 3))", "(d_y * x_hat).sum()"),
            ("d_y.sum(axis=(0, 2, 3))", "d_y.sum()"),
        ),
    ),
    Mistake(
        "d_gamma and d_beta have changed places",
        "which of them is the sum of d_y alone?",
        edit(
            models.batch_norm_backward_images,
            ('"d_gamma"', '"other"'),
            ('"d_beta"', '"d_gamma"'),
            ('"other"', '"d_beta"'),
        ),
    ),
    Mistake(
        "d_gamma is the sum of d_y, as d_beta is",
        "what is it that gamma multiplies?",
        edit(models.batch_norm_backward_images, ('"d_gamma": (d_y * x_hat).sum', '"d_gamma": d_y.sum')),
    ),
]

EXERCISE = Exercise(
    12,
    "12_batchnorm_backward_images.py",
    "BatchNorm backward for images",
    [
        Task(
            "batch_norm_backward_images",
            cases,
            backward,
            MISTAKES,
            parts=parts,
            models=(models.batch_norm_backward_images,),
        )
    ],
)
