"""Exercise 3: the rules of multiply, exp, log and tanh."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, variant
from .slips import edit

SHAPES = (5,), (4, 3), (3, 3), (2, 3, 4)


def cases(operands: int, positive: bool = False) -> Callable:
    """Cases of g and so many operands of its shape."""

    def make(rng: np.random.Generator) -> list[tuple]:
        def away_from_zero(shape):
            return rng.uniform(0.2, 2, shape) * rng.choice([-1, 1], shape)

        return [
            (away_from_zero(shape), *(np.abs(x) if positive else x for x in map(away_from_zero, [shape] * operands)))
            for shape in SHAPES
        ]

    return make


WITHOUT_G = (
    "g is forgotten",
    "the rule gets the gradient of the loss with respect to the result: what does the chain rule do with it?",
)
ADDED = (
    "g and the derivative are added",
    "the chain rule has two derivatives, one after the other: how does it combine them?",
)


# Multiply.


def multiply_backward(g, x, y, d_x="y", d_y="x", with_g=True):
    factors = {"x": x, "y": y, "1": np.ones_like(x), "xy": x * y, "x+y": x + y, "1/x": 1 / x, "1/y": 1 / y}
    return {"d_x": g * factors[d_x] if with_g else factors[d_x], "d_y": g * factors[d_y] if with_g else factors[d_y]}


def product(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(multiply_backward, **settings))


MULTIPLY = [
    product(*WITHOUT_G, with_g=False),
    product(
        "each operand gets g times itself",
        "if y is a constant, how much does x * y grow when x grows by 1?",
        d_x="x",
        d_y="y",
    ),
    product(
        "both operands get g times y",
        "d_x is right; for d_y, which operand is now the constant?",
        d_y="y",
    ),
    product(
        "both operands get g times x",
        "d_y is right; for d_x, which operand is now the constant?",
        d_x="x",
    ),
    product(
        "both operands get g as it came, as they would for x + y",
        "if y is 3, how much does x * y grow when x grows by 1?",
        d_x="1",
        d_y="1",
    ),
    product(
        "both operands get g times the product",
        "x * y is the result; how much does it grow when x grows by 1 and y stays?",
        d_x="xy",
        d_y="xy",
    ),
    product(
        "both terms of the product rule end up in each gradient",
        "the product rule is for x and y that change together; for d_x, only x does",
        d_x="x+y",
        d_y="x+y",
    ),
    product(
        "g is divided by the other operand",
        "if y is 3, how much does x * y grow when x grows by 1?",
        d_x="1/y",
        d_y="1/x",
    ),
    Mistake(*ADDED, lambda g, x, y: {"d_x": g + y, "d_y": g + x}),
]


# Rules of one operand: g times a slope.


def rule(right: Callable) -> Callable:
    """The rule of an operation whose derivative at x is ``right(x)``."""

    def backward(g, x, slope=right, with_g=True):
        return g * slope(x) if with_g else slope(x)

    return backward


exp_backward = rule(np.exp)
log_backward = rule(lambda x: 1 / x)
tanh_backward = rule(lambda x: 1 - np.tanh(x) ** 2)


def of(backward: Callable, says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(backward, **settings))


PLACE = "what is the number at which the derivative is taken: what went into the operation, or what came back?"
GROWS = "is it the value of the function that is wanted here, or how fast this value grows?"

EXP = [
    of(exp_backward, *WITHOUT_G, with_g=False),
    of(
        exp_backward,
        "g is passed on as it came",
        "where exp is steep, does a change of x make a larger or a smaller change of y?",
        slope=np.ones_like,
    ),
    of(
        exp_backward,
        "exp is differentiated as if it were a power of x, to x * exp(x - 1)",
        "in x**n the variable is below, in e**x it is above: is it the same rule?",
        slope=lambda x: x * np.exp(x - 1),
    ),
    of(
        exp_backward,
        "g is multiplied by x",
        "x is what went in: how fast does exp grow there?",
        slope=lambda x: x,
    ),
    of(
        exp_backward,
        "the derivative is taken at the result, as exp(exp(x))",
        PLACE,
        slope=lambda x: np.exp(np.exp(x)),
    ),
    of(
        exp_backward,
        "the derivative of log is taken instead of that of exp",
        "exp and log undo each other; do their derivatives look alike?",
        slope=lambda x: 1 / x,
    ),
    Mistake("exp is taken of g instead of x, times x", PLACE, lambda g, x: np.exp(g) * x),
    Mistake("exp is taken of g instead of x, times g", PLACE, lambda g, x: g * np.exp(g)),
    Mistake(
        "exp is taken of the product of g and x",
        "what stands in the exponent forward, and where does the chain rule multiply?",
        lambda g, x: np.exp(g * x),
    ),
    Mistake(*ADDED, lambda g, x: g + np.exp(x)),
    Mistake(
        "exp is taken of g, too",
        "what has arrived is multiplied as it is",
        edit(models.exp_backward, ("g * np.exp(x)", "np.exp(g) * np.exp(x)")),
    ),
    Mistake(
        "exp is taken of -x, or it is divided by exp(x)",
        "which exponent does the derivative of exp have?",
        edit(models.exp_backward, ("np.exp(x)", "np.exp(-x)")),
    ),
    Mistake(
        "1 is subtracted, as by np.expm1",
        "the derivative of exp(x) is exp(x): where does the 1 come from?",
        edit(models.exp_backward, ("np.exp(x)", "np.expm1(x)")),
    ),
    Mistake(
        "2**x stands where e**x is due", "which base does exp have?", edit(models.exp_backward, ("np.exp(x)", "2.0**x"))
    ),
]
LOG = [
    of(log_backward, *WITHOUT_G, with_g=False),
    of(
        log_backward,
        "g is multiplied by x instead of divided",
        "the curve of log gets flatter and flatter: is its slope larger at 1 or at 100?",
        slope=lambda x: x,
    ),
    of(
        log_backward,
        "g is multiplied by log(x), the value instead of the derivative",
        GROWS,
        slope=np.log,
    ),
    of(
        log_backward,
        "the derivative is taken at the result, as 1 / log(x)",
        PLACE,
        slope=lambda x: 1 / np.log(x),
    ),
    of(
        log_backward,
        "1/x is differentiated once more, to -1 / x**2",
        "how often does the chain rule differentiate each operation?",
        slope=lambda x: -1 / x**2,
    ),
    of(
        log_backward,
        "the derivative of exp is taken instead of that of log",
        "exp and log undo each other; do their derivatives look alike?",
        slope=np.exp,
    ),
    of(
        log_backward,
        "the logarithm is taken as that to base 10",
        "np.log is the natural logarithm, to base e",
        slope=lambda x: 1 / (x * np.log(10)),
    ),
    Mistake(
        "the fraction is upside down, x / g",
        "should a gradient that is twice as large when it arrives be half as large when it leaves?",
        lambda g, x: x / g,
    ),
    Mistake(
        "g is divided by, too, as in 1 / (g * x)",
        "should a gradient that is twice as large when it arrives be half as large when it leaves?",
        lambda g, x: 1 / (g * x),
    ),
    Mistake(*ADDED, lambda g, x: g + 1 / x),
]
TANH = [
    of(tanh_backward, *WITHOUT_G, with_g=False),
    of(
        tanh_backward,
        "the square is missing, as in 1 - y",
        "tanh is an odd function, so its slope is the same at 1 and at -1: is that so with yours?",
        slope=lambda x: 1 - np.tanh(x),
    ),
    of(
        tanh_backward,
        "x stands where tanh(x) is due, as in 1 - x**2",
        "what is yours for x = 3, and can a curve that only rises have such a slope?",
        slope=lambda x: 1 - x**2,
    ),
    of(
        tanh_backward,
        "x is squared instead of tanh(x), as in 1 - tanh(x**2)",
        "which number is y, and which one is squared?",
        slope=lambda x: 1 - np.tanh(x**2),
    ),
    of(
        tanh_backward,
        "tanh is applied twice, as in 1 - tanh(tanh(x))**2",
        "the argument is x, not y: how often do you have to apply tanh to get y from it?",
        slope=lambda x: 1 - np.tanh(np.tanh(x)) ** 2,
    ),
    of(
        tanh_backward,
        "the rule of the sigmoid is applied, y * (1 - y)",
        "the sigmoid lies between 0 and 1, tanh between -1 and 1: what is the slope of tanh at 0?",
        slope=lambda x: np.tanh(x) * (1 - np.tanh(x)),
    ),
    of(
        tanh_backward,
        "the sign before the square is wrong, 1 + y**2, as for the tangent",
        "far from 0, tanh is flat: what does your derivative say there?",
        slope=lambda x: 1 + np.tanh(x) ** 2,
    ),
    of(
        tanh_backward,
        "the square is there, but not the 1 from which it is subtracted",
        "what is the slope of tanh at 0, where y is 0, too?",
        slope=lambda x: -(np.tanh(x) ** 2),
    ),
    of(tanh_backward, "g is multiplied by tanh(x), the value instead of the derivative", GROWS, slope=np.tanh),
    of(
        tanh_backward,
        "it is divided by cosh(x) once instead of twice",
        "the quotient rule squares the denominator",
        slope=lambda x: 1 / np.cosh(x),
    ),
    Mistake(
        "parentheses are missing, as in g * 1 - y**2",
        "Python multiplies before it subtracts: what does your line multiply by g?",
        lambda g, x: g - np.tanh(x) ** 2,
    ),
    Mistake("the derivative is taken at g, as in 1 - tanh(g)**2", PLACE, lambda g, x: g * (1 - np.tanh(g) ** 2)),
    Mistake(*ADDED, lambda g, x: g + 1 - np.tanh(x) ** 2),
    Mistake(
        "1 - y is squared instead of y",
        "which of the two does the formula square?",
        edit(models.tanh_backward, ("1 - y**2", "(1 - y)**2")),
    ),
    Mistake("y is doubled instead of squared", "is it y * y or y + y?", edit(models.tanh_backward, ("y**2", "2 * y"))),
    Mistake(
        "tan stands where tanh is due",
        "the tangent has poles; the hyperbolic tangent lies between -1 and 1",
        edit(models.tanh_backward, ("np.tanh", "np.tan")),
    ),
    Mistake(
        "y is replaced by its inverse function, arctanh",
        "which function is y?",
        edit(models.tanh_backward, ("np.tanh", "np.arctanh")),
    ),
    Mistake(
        "g is inside of the square, as in 1 - (g * y)**2",
        PLACE,
        edit(models.tanh_backward, ("g * (1 - y**2)", "1 - (g * y) ** 2")),
    ),
    Mistake(
        "it is divided by 1 - y**2 instead of multiplied",
        "far from 0 the curve is flat: does your gradient become small there?",
        edit(models.tanh_backward, ("g * (1", "g / (1")),
    ),
]

EXERCISE = Exercise(
    3,
    "03_derivative_rules.py",
    "Four derivative rules",
    [
        Task("multiply_backward", cases(2), multiply_backward, MULTIPLY, models=(models.multiply_backward,)),
        Task("exp_backward", cases(1), exp_backward, EXP, models=(models.exp_backward,)),
        Task(
            "log_backward",
            cases(1, positive=True),
            log_backward,
            LOG,
            models=(
                models.log_backward,
                models.log_backward_times,
            ),
        ),
        Task(
            "tanh_backward",
            cases(1),
            tanh_backward,
            TANH,
            models=(
                models.tanh_backward,
                models.tanh_backward_quotient,
            ),
        ),
    ],
)
