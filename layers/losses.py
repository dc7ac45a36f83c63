"""Losses: one number to minimize for a batch."""

from __future__ import annotations

import numpy as np

from minigrad import Tensor
from minigrad.extend import Operand, array_of, floating, narrow, record, wide

from .arrays import in_dtype_of


def cross_entropy(logits: Operand, targets: Operand) -> Tensor:
    """Mean over the batch of -log(softmax(logits)[target]), as ``torch.nn.functional.cross_entropy``.

    Computed from logits - max, so that large logits don't overflow. Backward, with g the gradient of the loss::

        d_logits = g * (softmax(logits) - one_hot(targets)) / N

    Args:
        logits: shape (N, classes), any real numbers.
        targets: shape (N,), integers from 0 to classes - 1.

    Raises:
        ValueError: other shapes, an empty batch, or a target out of range.
        TypeError: targets that aren't integers.
    """
    a, labels = floating(array_of(logits)), np.asarray(array_of(targets))
    if a.ndim != 2 or labels.shape != a.shape[:1] or not a.size:
        raise ValueError(
            "cross_entropy: logits must have shape (N, classes) and targets (N,), class numbers and not one-hot rows, "
            f"with N and classes at least 1; got {a.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets are class numbers, so integers, got {labels.dtype}")
    n, classes = a.shape
    labels = labels.astype(np.int64)
    if labels.view(np.uint64).max() >= classes:  # seen as unsigned, a negative number is a huge one
        raise ValueError(
            f"cross_entropy: targets must be from 0 to {classes - 1} for logits of shape {a.shape}, "
            f"got {labels.min()} to {labels.max()}"
        )
    rows = np.arange(n)
    centered = wide(a) - a.max(1, keepdims=True)
    exponentials = np.exp(centered)
    totals = exponentials.sum(1, keepdims=True)
    loss = narrow((np.log(totals[:, 0]) - centered[rows, labels]).sum() / n, a)

    def d_logits(g: np.ndarray, exponentials: np.ndarray, totals: np.ndarray) -> np.ndarray:
        d = exponentials / totals
        d[rows, labels] -= 1
        d *= g / n
        return d

    rule = "d_logits = g * (softmax(logits) - one_hot(targets)) / N"
    return record("cross_entropy", loss, (logits, targets), (d_logits, None), rule, (exponentials, totals))


def mse_loss(prediction: Operand, target: Operand) -> Tensor:
    """Mean of (prediction - target)**2 over all values, as ``torch.nn.functional.mse_loss``.

    Backward, with n the number of values: d_prediction = g * 2 * (prediction - target) / n, d_target its negative.
    Integers on one side are taken in the other's dtype.

    Raises:
        ValueError: different shapes. (Broadcasting (N, 1) against (N,) would compare everything with everything.)
    """
    a, b = np.asarray(array_of(prediction)), np.asarray(array_of(target))
    a, b = floating(in_dtype_of(a, b)), floating(in_dtype_of(b, a))
    if a.shape != b.shape or not a.size:
        raise ValueError(f"mse_loss: prediction and target need the same shape, not empty, got {a.shape} and {b.shape}")
    difference = wide(a) - wide(b)
    n = difference.size
    vjps = (lambda g, difference: difference * (2 / n) * g, lambda g, difference: difference * (-2 / n) * g)
    rule = "d_prediction = g * 2 * (prediction - target) / n, d_target = -d_prediction"
    value = narrow(np.mean(difference * difference), a if a.dtype == b.dtype else difference)
    return record("mse_loss", value, (prediction, target), vjps, rule, (difference,))
