"""Exercise 5: the gradients of a matrix product and of a linear layer."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, variant
from .slips import edit


def matmul_cases(rng: np.random.Generator) -> list[tuple]:
    """(g, a, b) for shapes (n, k) and (k, p): first all lengths different, then two alike, then all.

    Where lengths are alike, a wrong product can be computed and be told from others.
    """
    lengths = (4, 3, 5), (2, 5, 3), (3, 3, 5), (2, 4, 4), (4, 2, 4), (3, 3, 3)
    return [(rng.normal(size=(n, p)), rng.normal(size=(n, k)), rng.normal(size=(k, p))) for n, k, p in lengths]


def linear_cases(rng: np.random.Generator) -> list[tuple]:
    """(g, x, weight) for N examples, in and out, in the same manner."""
    lengths = (4, 3, 5), (6, 5, 2), (3, 3, 5), (2, 4, 4), (4, 2, 4), (3, 3, 3)
    return [
        (rng.normal(size=(n, outputs)), rng.normal(size=(n, features)), rng.normal(size=(outputs, features)))
        for n, features, outputs in lengths
    ]


# Products by name: each is a way in which a student may have multiplied.

D_A = {
    "right": lambda g, a, b: g @ b.T,
    "no transpose": lambda g, a, b: g @ b,
    "order swapped": lambda g, a, b: b.T @ g,
    "transposed": lambda g, a, b: b @ g.T,
    "without g": lambda g, a, b: np.ones_like(g) @ b.T,
    "b alone": lambda g, a, b: b.T,
}
D_B = {
    "right": lambda g, a, b: a.T @ g,
    "no transpose": lambda g, a, b: a @ g,
    "order swapped": lambda g, a, b: g @ a.T,
    "transposed": lambda g, a, b: g.T @ a,
    "without g": lambda g, a, b: a.T @ np.ones_like(g),
    "a alone": lambda g, a, b: a.T,
}


def matmul_backward(g, a, b, d_a="right", d_b="right") -> dict[str, np.ndarray]:
    return {"d_a": D_A[d_a](g, a, b), "d_b": D_B[d_b](g, a, b)}


D_X = {
    "right": lambda g, x, weight: g @ weight,
    "weight transposed": lambda g, x, weight: g @ weight.T,
    "order swapped": lambda g, x, weight: weight @ g,
    "averaged": lambda g, x, weight: g @ weight / len(g),
    "without g": lambda g, x, weight: np.ones_like(g) @ weight,
}
D_WEIGHT = {
    "right": lambda g, x: g.T @ x,
    "transposed": lambda g, x: x.T @ g,
    "no transpose": lambda g, x: g @ x,
    "order swapped": lambda g, x: x @ g.T,
    "averaged": lambda g, x: g.T @ x / len(g),
    "without g": lambda g, x: np.ones_like(g).T @ x,
}
D_BIAS = {
    "right": lambda g: g.sum(axis=0),
    "averaged": lambda g: g.mean(axis=0),
    "wrong axis": lambda g: g.sum(axis=1),
    "all axes": lambda g: g.sum(),
    "keepdims": lambda g: g.sum(axis=0, keepdims=True),
    "not summed": lambda g: g.copy(),
    "without g": lambda g: np.full(g.shape[1], float(len(g))),
}


def linear_backward(g, x, weight, d_x="right", d_weight="right", d_bias="right") -> dict[str, np.ndarray]:
    return {"d_x": D_X[d_x](g, x, weight), "d_weight": D_WEIGHT[d_weight](g, x), "d_bias": D_BIAS[d_bias](g)}


def matmul(says: str, hint: str, **settings: str) -> Mistake:
    return Mistake(says, hint, variant(matmul_backward, **settings))


def linear(says: str, hint: str, **settings: str) -> Mistake:
    return Mistake(says, hint, variant(linear_backward, **settings))


SHAPES_A = "g is (n, p), b is (k, p), and d_a must be (n, k): which of the three lengths is summed over?"
SHAPES_B = "g is (n, p), a is (n, k), and d_b must be (k, p): which of the three lengths is summed over?"
INDICES = "matrix products don't commute: write the sum with its indices, and see which factor each belongs to"
WITHOUT_G = "the chain rule multiplies: what has arrived, times the operation's own derivative"
WHOSE_SHAPE = "a gradient has the shape of what it is the gradient of; compare the two"

MATMUL = [
    matmul("the transpose of b is missing in d_a", SHAPES_A, d_a="no transpose"),
    matmul("the transpose of a is missing in d_b", SHAPES_B, d_b="no transpose"),
    matmul(
        "both transposes are missing",
        "write down the sum for one entry of a: at which place does the summed index stand in b?",
        d_a="no transpose",
        d_b="no transpose",
    ),
    matmul("the two factors of d_a are in the wrong order", INDICES, d_a="order swapped"),
    matmul("the two factors of d_b are in the wrong order", INDICES, d_b="order swapped"),
    matmul("the factors of both products are in the wrong order", INDICES, d_a="order swapped", d_b="order swapped"),
    matmul("d_a is transposed", WHOSE_SHAPE, d_a="transposed"),
    matmul("d_b is transposed", WHOSE_SHAPE, d_b="transposed"),
    matmul("g is forgotten in d_a, as if it were 1 everywhere", WITHOUT_G, d_a="without g"),
    matmul("g is forgotten in d_b, as if it were 1 everywhere", WITHOUT_G, d_b="without g"),
    matmul("d_a is b.T alone, without a product", WITHOUT_G, d_a="b alone"),
    matmul("d_b is a.T alone, without a product", WITHOUT_G, d_b="a alone"),
    Mistake(
        "d_a and d_b have changed places",
        "which of them is the product with b, and which the product with a?",
        lambda g, a, b: {"d_a": a.T @ g, "d_b": g @ b.T},
    ),
    Mistake("d_b is divided by n", INDICES, edit(models.matmul_backward, ("a.T @ g", "a.T @ g / len(g)"))),
    Mistake("d_a is divided by n", INDICES, edit(models.matmul_backward, ("g @ b.T", "g @ b.T / len(g)"))),
    Mistake(
        "both gradients are divided by n",
        "a product has no mean in it: where should a 1/n come from?",
        edit(models.matmul_backward, ("g @ b.T", "g @ b.T / len(g)"), ("a.T @ g", "a.T @ g / len(g)")),
    ),
    Mistake(
        "both gradients are transposed",
        WHOSE_SHAPE,
        edit(models.matmul_backward, ("g @ b.T", "(g @ b.T).T"), ("a.T @ g", "(a.T @ g).T")),
    ),
    Mistake(
        "g is forgotten in both, as if it were 1 everywhere",
        WITHOUT_G,
        edit(models.matmul_backward, ("g @ b.T", "np.ones_like(g) @ b.T"), ("a.T @ g", "a.T @ np.ones_like(g)")),
    ),
    Mistake(
        "d_a is b.T and d_b is a.T, without a product",
        WITHOUT_G,
        edit(models.matmul_backward, ("g @ b.T", "b.T"), ("a.T @ g", "a.T")),
    ),
]

MEAN = "if the loss is a mean, its 1/N is in g already; what do the gradients of N examples do when they meet?"

LINEAR = [
    linear(
        "weight is transposed in d_x",
        "g is (N, out) and weight is (out, in): which shape must d_x have?",
        d_x="weight transposed",
    ),
    linear("the two factors of d_x are in the wrong order", INDICES, d_x="order swapped"),
    linear("d_x is divided by N", "each row of x reaches the loss through its own row of y alone", d_x="averaged"),
    linear("d_weight is transposed", "weight is (out, in) here, and so is its gradient", d_weight="transposed"),
    linear(
        "the transpose of g is missing in d_weight",
        "a weight is used by all N examples, so N is summed over: where does it stand in g?",
        d_weight="no transpose",
    ),
    linear("the two factors of d_weight are in the wrong order", INDICES, d_weight="order swapped"),
    linear("d_weight is averaged over the batch", MEAN, d_weight="averaged"),
    linear(
        "weight is treated as if it were (in, out), as in y = x @ weight",
        "here, a row of weight belongs to one output: y = x @ weight.T",
        d_x="weight transposed",
        d_weight="transposed",
    ),
    linear("d_bias is averaged over the batch", MEAN, d_bias="averaged"),
    linear("d_weight and d_bias are both averaged over the batch", MEAN, d_weight="averaged", d_bias="averaged"),
    linear(
        "all three gradients are averaged over the batch", MEAN, d_x="averaged", d_weight="averaged", d_bias="averaged"
    ),
    linear(
        "d_bias is summed over the outputs instead of the batch",
        "there is one bias for each output: which axis has to disappear?",
        d_bias="wrong axis",
    ),
    linear(
        "d_bias is summed over both axes",
        "there is one bias for each output, so a gradient for each, too",
        d_bias="all axes",
    ),
    linear("d_bias keeps the axis that was summed over, as in (1, out)", WHOSE_SHAPE, d_bias="keepdims"),
    linear(
        "d_bias isn't summed at all",
        "all N examples use the same bias: what happens to gradients that reach one number on several ways?",
        d_bias="not summed",
    ),
    linear("g is forgotten in d_x, as if it were 1 everywhere", WITHOUT_G, d_x="without g"),
    linear("g is forgotten in d_weight, as if it were 1 everywhere", WITHOUT_G, d_weight="without g"),
    linear("g is forgotten in d_bias, as if it were 1 everywhere", WITHOUT_G, d_bias="without g"),
    Mistake(
        "d_bias is the first example's alone",
        "all N examples use the same bias",
        edit(models.linear_backward, ("g.sum(axis=0)", "g[0]")),
    ),
    Mistake(
        "d_bias is summed over x instead of g",
        "which gradient reaches the bias: what has arrived, or the input?",
        edit(models.linear_backward, ("g.sum(axis=0)", "x.sum(axis=0)")),
    ),
    Mistake("d_x is transposed", WHOSE_SHAPE, edit(models.linear_backward, ("g @ weight", "(g @ weight).T"))),
    Mistake(
        "d_weight is divided by the number of all values of g",
        MEAN,
        edit(models.linear_backward, ("g.T @ x", "g.T @ x / g.size")),
    ),
    Mistake(
        "d_weight and d_bias are divided by the number of all values of g",
        MEAN,
        edit(
            models.linear_backward, ("g.T @ x", "g.T @ x / g.size"), ("g.sum(axis=0)", "g.mean() * np.ones(g.shape[1])")
        ),
    ),
    Mistake(
        "d_bias is the number 1",
        "the bias is added: which gradient does the chain rule multiply that 1 by?",
        edit(models.linear_backward, ("g.sum(axis=0)", "np.ones(g.shape[1])")),
    ),
]

EXERCISE = Exercise(
    5,
    "05_matmul_and_linear.py",
    "Matrix products and Linear, backward",
    [
        Task("matmul_backward", matmul_cases, matmul_backward, MATMUL, models=(models.matmul_backward,)),
        Task("linear_backward", linear_cases, linear_backward, LINEAR, models=(models.linear_backward,)),
    ],
)
