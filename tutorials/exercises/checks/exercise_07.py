"""Exercise 7: softmax and cross-entropy, forward and backward."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, variant
from .slips import edit


def batch(rng: np.random.Generator, n: int, classes: int, shift=0.0) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(scale=1.5, size=(n, classes)) + shift, rng.integers(classes, size=n)


def backward_cases(rng: np.random.Generator) -> list[tuple]:
    """Ordinary logits, a square batch of them, and rows that lie about 1000 and -1000, without probabilities of 0."""
    ordinary = [batch(rng, n, classes) for n, classes in ((4, 3), (3, 5), (6, 2), (4, 4))]
    return [*ordinary, batch(rng, 3, 4, shift=np.array([[1000.0], [0.0], [-1000.0]]))]


def forward_cases(rng: np.random.Generator) -> list[tuple]:
    """As backward, and rows of logits so far apart that probabilities are 0 in a computer."""
    apart = np.array([[1000.0, 0.0, -1000.0], [-1000.0, 999.0, 1000.0]]) + rng.normal(size=(2, 3))
    return [*backward_cases(rng), (apart, np.array([1, 2]))]


def softmax_of(logits, subtract="row", sum_axis=1, keep_max=True, keep_sum=True) -> tuple[np.ndarray, np.ndarray]:
    """log softmax and softmax, with a setting for everything that can go wrong in them."""
    centered = {
        "row": lambda: logits - logits.max(axis=1, keepdims=keep_max),
        "array": lambda: logits - logits.max(),
        "column": lambda: logits - logits.max(axis=0),
        "mean": lambda: logits - logits.mean(axis=1, keepdims=True),
        "nothing": lambda: logits,
        "divided": lambda: logits / logits.max(axis=1, keepdims=True),
    }[subtract]()
    exponentials = np.exp(centered)
    totals = exponentials.sum(axis=sum_axis, keepdims=keep_sum)
    return centered - np.log(totals), exponentials / totals


def whole_rows(shape: tuple[int, int], targets: np.ndarray) -> np.ndarray:
    """A one-hot array gone wrong; for most shapes, this fails for a target that isn't the number of a row."""
    array = np.zeros(shape)
    array[targets] = 1
    return array


LOSSES = {  # from log_softmax, softmax, targets, and the rows' numbers
    "right": lambda log_p, p, targets, rows: -log_p[rows, targets].mean(),
    "sum": lambda log_p, p, targets, rows: -log_p[rows, targets].sum(),
    "without minus": lambda log_p, p, targets, rows: log_p[rows, targets].mean(),
    "mean over classes": lambda log_p, p, targets, rows: -log_p[rows, targets].sum() / log_p.size,
    "each example's": lambda log_p, p, targets, rows: -log_p[rows, targets],
    "all rows of a column": lambda log_p, p, targets, rows: -log_p[:, targets].mean(),
    "all classes": lambda log_p, p, targets, rows: -log_p.mean(),
    "the largest": lambda log_p, p, targets, rows: -log_p.max(axis=1).mean(),
    "without log": lambda log_p, p, targets, rows: -p[rows, targets].mean(),
    "class 0": lambda log_p, p, targets, rows: -log_p[:, 0].mean(),
    "log of the mean": lambda log_p, p, targets, rows: -np.log(p[rows, targets].mean()),
    "whole rows": lambda log_p, p, targets, rows: -(log_p * whole_rows(p.shape, targets)).sum() / len(p),
}


def cross_entropy(logits, targets, loss="right", log_softmax="right", added=0.0, **settings) -> dict[str, np.ndarray]:
    with np.errstate(all="ignore"):
        log_p, p = softmax_of(logits, **settings)
        if log_softmax == "log of softmax":
            log_p = np.log(p + added)
        elif log_softmax == "without the sum":
            log_p = logits - logits.max(axis=1, keepdims=True)
        elif log_softmax == "maximum in one term":
            log_p = log_p + logits.max(axis=1, keepdims=True)
        elif log_softmax == "sum added":
            log_p = 2 * (logits - logits.max(axis=1, keepdims=True)) - log_p
        elif log_softmax == "sum of logits":
            centered = logits - logits.max(axis=1, keepdims=True)
            log_p = centered - centered.sum(axis=1, keepdims=True)
        rows = np.arange(len(logits))
        return {"softmax": p, "log_softmax": log_p, "loss": LOSSES[loss](log_p, p, targets, rows)}


def cross_entropy_backward(logits, targets, start="softmax", hot="right", sign=1, divide="N", **settings) -> np.ndarray:
    """(softmax - one_hot) / N, with a setting for everything that can go wrong in it."""
    with np.errstate(all="ignore"):
        log_p, p = softmax_of(logits, **settings)
        n, classes = logits.shape
        one_hot = np.eye(classes)[targets]
        d = {"softmax": p, "logits": logits, "log_softmax": log_p, "nothing": 0.0}[start]
        if hot == "right":
            d = d - one_hot
        elif hot == "added":
            d = d + one_hot
        elif hot == "all rows":
            d = d - one_hot.any(axis=0)
        elif hot == "whole rows":
            d = d - whole_rows(p.shape, targets)
        elif hot == "class 0":
            d = d - np.eye(classes)[0]
        elif hot == "over p":
            d = -one_hot / p
        elif hot == "times p * (1 - p)":
            d = (d - one_hot) * p * (1 - p)
        elif hot == "times":
            d = (d - 1) * one_hot
        elif hot == "divided alone":
            return d - one_hot / n
        elif hot == "class numbers":
            d = d - targets[:, None]
        return sign * d / {"N": n, "nothing": 1, "classes": classes, "size": logits.size}[divide]


def forward(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(cross_entropy, **settings))


def backward(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(cross_entropy_backward, **settings))


NO_MAX = ("the row's largest logit isn't subtracted", "what is np.exp(1000.0), and what is that divided by itself?")
ARRAY_MAX = (
    "the largest logit of the whole batch is subtracted instead of the row's",
    "if one row lies about 1000 and another about -1000, what remains of the second?",
)
COLUMN_MAX = (
    "each class's largest logit over the batch is subtracted instead of the row's",
    "softmax only stays the same if one number is subtracted from all logits of a row",
)
AXIS = (
    "softmax goes over the batch instead of the classes",
    "one example's probabilities add up to 1: which axis is that?",
)
SUM_AXIS = (
    "the exponentials are summed over the batch instead of the classes",
    "one example's probabilities add up to 1: which axis is that?",
)
DIVIDED = (
    "the logits are divided by the row's largest instead of subtracting it",
    "which of the two leaves softmax as it was? Try it on the formula",
)
NO_AXIS = (
    "the sum of exponentials goes over the whole batch",
    "each example's probabilities add up to 1, not all of them",
)
WHOLE_ROWS = (
    "the targets choose whole rows of the one-hot array, as by one_hot[targets] = 1",
    "the 1 of example n belongs in row n: which index tells the row, and which the column?",
)
KEEP = "a row's number of shape (N,) is lined up with the columns; what does keepdims do?"
NO_KEEPDIMS = ("the rows' maxima and sums have shape (N,) instead of (N, 1)", KEEP)
NO_KEEPDIMS_MAX = ("the rows' maxima have shape (N,) instead of (N, 1)", KEEP)
NO_KEEPDIMS_SUM = ("the rows' sums have shape (N,) instead of (N, 1)", KEEP)

FORWARD = [
    forward(*NO_MAX, subtract="nothing"),
    forward(*ARRAY_MAX, subtract="array"),
    forward(
        "the row's mean is subtracted instead of its largest logit",
        "after subtracting, what is the largest number that can go into np.exp?",
        subtract="mean",
    ),
    forward(*COLUMN_MAX, subtract="column"),
    forward(*DIVIDED, subtract="divided"),
    forward(*AXIS, subtract="column", sum_axis=0),
    forward(*SUM_AXIS, sum_axis=0),
    forward(*NO_KEEPDIMS, keep_max=False, keep_sum=False),
    forward(*NO_KEEPDIMS_MAX, keep_max=False),
    forward(*NO_KEEPDIMS_SUM, keep_sum=False),
    forward(*NO_AXIS, sum_axis=None),
    forward(
        "the logarithm is taken of a softmax that is already rounded to 0",
        "np.exp(-1000.0) is 0, but its logarithm should be -1000: simplify the logarithm on paper first",
        log_softmax="log of softmax",
    ),
    *(
        forward(
            f"{small:g} is added to the softmax, so that its logarithm stays finite",
            "finite, but right? The logarithm of exp(-1000) should be -1000: simplify the logarithm on paper first",
            log_softmax="log of softmax",
            added=small,
        )
        for small in (1e-15, 1e-12, 1e-10, 1e-9, 1e-8)
    ),
    forward(
        "log_softmax lacks the logarithm of the sum of exponentials",
        "the logarithm of a quotient is a difference: of what and what?",
        log_softmax="without the sum",
    ),
    forward(
        "the largest logit is subtracted inside the sum of log_softmax, but not from the logit before it",
        "if s is subtracted from all logits of a row, where in z - log(sum(exp(z))) do they stand?",
        log_softmax="maximum in one term",
    ),
    forward(
        "the logarithm of the sum of exponentials is added in log_softmax",
        "the logarithm of a quotient is a difference: of what and what?",
        log_softmax="sum added",
    ),
    forward(
        "the sum in log_softmax is that of the logits",
        "log(sum(exp(z))) can't be simplified: the logarithm of a sum isn't the sum of logarithms",
        log_softmax="sum of logits",
    ),
    forward("the losses of the examples are summed", "L is the mean over the batch", loss="sum"),
    forward(
        "the minus of the loss is forgotten",
        "the logarithm of a probability is never above 0, and training makes a loss small",
        loss="without minus",
    ),
    forward(
        "the mean is taken over the classes, too",
        "of each row, one entry counts: by how many is the sum of them divided?",
        loss="mean over classes",
    ),
    forward("the loss is not averaged over the batch", "the loss is one number", loss="each example's"),
    forward(
        "every row is read at the targets of all examples, as by log_softmax[:, targets]",
        "which shape does log_softmax[:, targets] have, and which should it have?",
        loss="all rows of a column",
    ),
    forward(*WHOLE_ROWS, loss="whole rows"),
    forward("the loss averages over all classes, right and wrong", "which entry of a row counts?", loss="all classes"),
    forward(
        "each row's largest probability is taken instead of the target's",
        "the largest is what the classifier believes; who says what is right?",
        loss="the largest",
    ),
    forward("the loss lacks the logarithm", "compare with the formula for L: what is averaged?", loss="without log"),
    forward("each row is read at class 0", "where does the number of the right class stand?", loss="class 0"),
    forward(
        "the probabilities are averaged first, and the logarithm is taken of their mean",
        "the logarithm of a mean isn't the mean of logarithms: which comes first in L?",
        loss="log of the mean",
    ),
    Mistake(
        "the targets are off by one: each row is read one class before",
        "the classes are counted from 0: what does targets hold for the first of them?",
        edit(models.cross_entropy, ("[rows, targets]", "[rows, targets - 1]")),
    ),
    Mistake(
        "the targets are off by one: each row is read one class after",
        "the classes are counted from 0: what does targets hold for the first of them?",
        edit(models.cross_entropy, ("[rows, targets]", "[rows, (targets + 1) % logits.shape[1]]")),
    ),
    Mistake(
        "the losses are summed, and the minus is forgotten",
        "L is a mean, of numbers that are never below 0",
        edit(models.cross_entropy, ("-log_softmax[rows, targets].mean()", "log_softmax[rows, targets].sum()")),
    ),
    Mistake(
        "the logarithm is taken to base 2",
        "np.log is the natural logarithm, and e is the base of exp",
        edit(
            models.cross_entropy,
            ("np.log(", "np.log2("),
            ("np.exp(log_softmax)", "np.exp(centered) / np.exp(centered).sum(axis=1, keepdims=True)"),
        ),
    ),
    Mistake(
        "the logarithm is taken to base 10",
        "np.log is the natural logarithm, and e is the base of exp",
        edit(
            models.cross_entropy,
            ("np.log(", "np.log10("),
            ("np.exp(log_softmax)", "np.exp(centered) / np.exp(centered).sum(axis=1, keepdims=True)"),
        ),
    ),
    Mistake(
        "softmax and log_softmax have changed places",
        "which of the two adds up to 1 in each row?",
        edit(
            models.cross_entropy,
            ('"softmax": softmax, "log_softmax": log_softmax', '"softmax": log_softmax, "log_softmax": softmax'),
        ),
    ),
    Mistake(
        "softmax is returned without having been divided by its sum",
        "what should a row of softmax add up to?",
        edit(models.cross_entropy, ("softmax = np.exp(log_softmax)", "softmax = np.exp(centered)")),
    ),
    Mistake(
        "the median of the losses is taken",
        "L is the mean over the batch",
        edit(models.cross_entropy, (".mean()\n", "\n    loss = np.median(loss)\n")),
    ),
    Mistake(
        "the loss of the first example alone is returned",
        "L is the mean over the batch",
        edit(models.cross_entropy, ("[rows, targets].mean()", "[0, targets[0]]")),
    ),
    Mistake(
        "each row is read at its own number instead of its target's",
        "which row has which class?",
        edit(models.cross_entropy, ("[rows, targets]", "[rows, rows % logits.shape[1]]")),
    ),
    Mistake(
        "the logarithm is taken to base 2, and softmax is exp of the result",
        "np.log is the natural logarithm, and e is the base of exp",
        edit(models.cross_entropy, ("np.log(", "np.log2(")),
    ),
]
BACKWARD = [
    backward(
        "only the one-hot part is divided by N, and the softmax is not",
        "the loss is a mean: to which terms of the gradient does its 1/N belong?",
        hot="divided alone",
    ),
    backward(
        "the class numbers themselves are subtracted",
        "which number is added to or taken from the softmax at the right class, and which at the others?",
        hot="class numbers",
    ),
    backward(*NO_MAX, subtract="nothing"),
    backward(*ARRAY_MAX, subtract="array"),
    backward(*COLUMN_MAX, subtract="column"),
    backward(*DIVIDED, subtract="divided"),
    backward(*AXIS, subtract="column", sum_axis=0),
    backward(*SUM_AXIS, sum_axis=0),
    backward(*NO_KEEPDIMS, keep_max=False, keep_sum=False),
    backward(*NO_KEEPDIMS_MAX, keep_max=False),
    backward(*NO_KEEPDIMS_SUM, keep_sum=False),
    backward(*NO_AXIS, sum_axis=None),
    backward("the mean's 1/N is missing", "L is a mean: how much of it is one example's share?", divide="nothing"),
    backward("it is divided by the number of classes instead of examples", "L is a mean over what?", divide="classes"),
    backward("it is divided by the number of classes, too", "L is a mean over what?", divide="size"),
    backward(
        "the sign is wrong",
        "if the logit of the right class grows, should the loss grow or shrink?",
        sign=-1,
    ),
    backward(
        "the one-hot row is forgotten", "l = log(sum(exp(z))) - z_t has two terms: where is the second?", hot="none"
    ),
    backward("the one-hot row is added", "with which sign does z_t occur in l?", hot="added"),
    backward(
        "1 is subtracted in whole columns, as by d[:, targets] -= 1",
        "of each row, one entry is the target's: which rows does the colon choose?",
        hot="all rows",
    ),
    backward(*WHOLE_ROWS, hot="whole rows"),
    backward(
        "1 is subtracted at class 0 of each row", "where does the number of the right class stand?", hot="class 0"
    ),
    backward(
        "only the target's logit gets a gradient",
        "the other logits are in the sum of exponentials: does the loss change with them?",
        hot="times",
    ),
    backward(
        "it is the gradient with respect to the softmax, -1/p at the target",
        "one step is missing: each probability depends on all logits of its row",
        hot="over p",
    ),
    backward(
        "softmax - one_hot is also multiplied by p * (1 - p)",
        "differentiate l = log(sum(exp(z))) - z_t directly: does any factor remain to be multiplied?",
        hot="times p * (1 - p)",
    ),
    backward(
        "the logits stand where their softmax should",
        "what is the derivative of log(sum(exp(z))) with respect to one z?",
        start="logits",
    ),
    backward(
        "log_softmax stands where softmax should",
        "what is the derivative of log(sum(exp(z))) with respect to one z?",
        start="log_softmax",
    ),
    backward(
        "the sum of exponentials gets no gradient",
        "l = log(sum(exp(z))) - z_t has two terms: where is the first?",
        start="nothing",
    ),
    Mistake(
        "the targets are off by one: 1 is subtracted one class before",
        "the classes are counted from 0: what does targets hold for the first of them?",
        edit(models.cross_entropy_backward, ("[targets]", "[targets - 1]")),
    ),
    Mistake(
        "the targets are off by one: 1 is subtracted one class after",
        "the classes are counted from 0: what does targets hold for the first of them?",
        edit(models.cross_entropy_backward, ("[targets]", "[(targets + 1) % logits.shape[1]]")),
    ),
    Mistake(
        "it is multiplied by N instead of divided",
        "L is a mean: how much of it is one example's share?",
        edit(models.cross_entropy_backward, ("/ n", "* n")),
    ),
    Mistake(
        "the target's entry is set to 1 instead of having 1 subtracted",
        "which number is added to or taken from the softmax at the right class?",
        edit(models.cross_entropy_backward, ("softmax - one_hot", "np.where(one_hot == 1, 1, softmax)")),
    ),
    Mistake(
        "the target's entry is set to -1 instead of having 1 subtracted",
        "which number is added to or taken from the softmax at the right class?",
        edit(models.cross_entropy_backward, ("softmax - one_hot", "np.where(one_hot == 1, -1, softmax)")),
    ),
    Mistake(
        "the target's entry is set to 0 instead of having 1 subtracted",
        "which number is added to or taken from the softmax at the right class?",
        edit(models.cross_entropy_backward, ("softmax - one_hot", "np.where(one_hot == 1, 0, softmax)")),
    ),
    Mistake(
        "the target's entry has its sign turned around instead of having 1 subtracted",
        "which number is added to or taken from the softmax at the right class?",
        edit(models.cross_entropy_backward, ("softmax - one_hot", "np.where(one_hot == 1, -softmax, softmax)")),
    ),
    Mistake(
        "1 is subtracted everywhere",
        "of each row, one entry is the target's",
        edit(models.cross_entropy_backward, ("softmax - one_hot", "softmax - 1")),
    ),
    Mistake(
        "only the softmax is divided by N, and the one-hot part is not",
        "to which terms of the gradient does the loss's 1/N belong?",
        edit(models.cross_entropy_backward, ("(softmax - one_hot) / n", "softmax / n - one_hot")),
    ),
    Mistake(
        "the mean over the batch is taken of the gradients",
        "each example's logits get their own gradient, of shape (N, classes)",
        edit(models.cross_entropy_backward, ("(softmax - one_hot) / n", "(softmax - one_hot).mean(axis=0)")),
    ),
    Mistake(
        "the gradient of the squared error is returned",
        "the loss is a logarithm: differentiate it",
        edit(
            models.cross_entropy_backward,
            ("(softmax - one_hot) / n", "2 * (softmax - one_hot) * softmax * (1 - softmax) / n"),
        ),
    ),
    Mistake(
        "2 is subtracted at the target instead of 1",
        "which number is added to or taken from the softmax at the right class?",
        edit(models.cross_entropy_backward, ("- one_hot", "- 2 * one_hot")),
    ),
]

EXERCISE = Exercise(
    7,
    "07_softmax_cross_entropy.py",
    "Softmax and cross-entropy",
    [
        Task("cross_entropy", forward_cases, cross_entropy, FORWARD, models=(models.cross_entropy,), ordinary=4),
        Task(
            "cross_entropy_backward",
            backward_cases,
            cross_entropy_backward,
            BACKWARD,
            models=(models.cross_entropy_backward,),
            ordinary=4,
        ),
    ],
)
