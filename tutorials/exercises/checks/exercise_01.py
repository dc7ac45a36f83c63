"""Exercise 1: a gradient by central differences."""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, variant
from .slips import edit


def cases(rng: np.random.Generator) -> list[tuple]:
    """(f, x, eps), with steps so large that a forward difference and a step of one's own can be seen."""

    def separate(w):
        return lambda x: float(np.sum(w * np.exp(x)))

    def together(w):  # the gradient at one place depends on all the others
        return lambda x: float(np.sum(w * np.exp(x)) + np.sum(x + w * x**2) ** 3 / 50)

    functions = (((3,), separate, 0.1), ((2, 4), together, 0.03), ((2, 3, 2), together, 0.06), ((), together, 0.2))
    return [
        (make(rng.uniform(0.5, 1.5, shape)), np.array(rng.uniform(0.2, 0.8, shape)), eps)
        for shape, make, eps in functions
    ]


DIVISORS = {
    "2 * eps": lambda values, eps: values / (2 * eps),
    "eps": lambda values, eps: values / eps,
    "2": lambda values, eps: values / 2,
    "1": lambda values, eps: values,
    "/ 2 * eps": lambda values, eps: values / 2 * eps,
}


def central_difference(f, x, eps, above=1, below=-1, divisor="2 * eps", sign=1, step=None):
    """The quotient at each place; the settings are where the two values are taken, and what they are divided by."""
    eps = eps if step is None else step
    d_x = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[index] = eps
        d_x[index] = DIVISORS[divisor](sign * (f(x + above * e) - f(x + below * e)), eps)
    return d_x


def pile_up(f, x, eps):
    above, below, d_x = x.copy(), x.copy(), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above[index] += eps
        below[index] -= eps
        d_x[index] = (f(above) - f(below)) / (2 * eps)
    return d_x


def stay_below(f, x, eps):
    nudged, d_x = x.copy(), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        nudged[index] = x[index] + eps
        above = f(nudged)
        nudged[index] = x[index] - eps
        d_x[index] = (above - f(nudged)) / (2 * eps)
    return d_x


def first_axis(f, x, eps):
    d_x = np.zeros_like(x)
    for index in range(len(x)):
        e = np.zeros_like(x)
        e[index] = eps
        d_x[index] = (f(x + e) - f(x - e)) / (2 * eps)
    return d_x


def one_value(f, x, eps):
    d_x = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        d_x[index] = (f(x[index] + eps) - f(x[index] - eps)) / (2 * eps)
    return d_x


def difference(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(central_difference, **settings))


MISTAKES = [
    difference(
        "the forward difference is taken, f(x + eps) - f(x) over eps",
        "the central difference takes a step to the other side, too",
        below=0,
        divisor="eps",
    ),
    difference(
        "the backward difference is taken, f(x) - f(x - eps) over eps",
        "the central difference takes a step to the other side, too",
        above=0,
        divisor="eps",
    ),
    difference(
        "the 1/2 is missing, so that the difference is divided by eps",
        "how far is it from x - eps to x + eps?",
        divisor="eps",
    ),
    difference(
        "the second value is taken at x instead of x - eps",
        "after the step up, how far down does it go from x + eps to x - eps?",
        below=0,
    ),
    difference(
        "eps is taken as the distance between the two points, half of it to either side",
        "the formula goes from x by the whole eps, up as well as down",
        above=0.5,
        below=-0.5,
        divisor="eps",
    ),
    difference(
        "the difference is divided by 2, but not by eps",
        "a slope is a rise over a run, and the smaller the step, the smaller the rise",
        divisor="2",
    ),
    difference(
        "the difference isn't divided by anything",
        "a slope is a rise over a run, and the smaller the step, the smaller the rise",
        divisor="1",
    ),
    difference(
        "the difference is halved and then multiplied by eps",
        "Python reads `a / 2 * eps` from left to right: which of the two does it divide by?",
        divisor="/ 2 * eps",
    ),
    difference(
        "the two values are subtracted the wrong way round",
        "if f grows, which of f(x + eps) and f(x - eps) is larger, and what sign does the slope have?",
        sign=-1,
    ),
    difference(
        "a small step of your own is taken instead of eps",
        "eps is an argument; the caller chooses it, and here it is far from 1e-6",
        step=1e-5,
    ),
    Mistake(
        "all values are nudged at once, and this gives one number for all of them",
        "one value of the gradient for each value of x: which of the values may move while you look for it?",
        lambda f, x, eps: np.array((f(x + eps) - f(x - eps)) / (2 * eps)),
    ),
    Mistake(
        "all values are nudged at once, and each place gets the same number",
        "while you look for one value of the gradient, all the other values of x stay",
        lambda f, x, eps: np.full_like(x, (f(x + eps) - f(x - eps)) / (2 * eps)),
    ),
    Mistake(
        "only the places of the first axis are gone through, and all the values of a row are nudged together",
        "x may have any shape: what is `x[i]` if x has two axes, and what is it if x has none?",
        first_axis,
    ),
    Mistake(
        "the values that were nudged before are still nudged",
        "what do your two arrays hold at the first place when you come to the second?",
        pile_up,
    ),
    Mistake(
        "each value is left at x - eps while the next ones are nudged",
        "what does your array hold at the first place when you come to the second?",
        stay_below,
    ),
    Mistake(
        "f gets the same numbers both times, or what it gives isn't put into the result",
        "print what f is called with: `above = x` makes no second array, an array of integers cuts eps off, and a "
        "copy that you nudge has to be the one that f gets",
        lambda f, x, eps: np.zeros_like(x),
    ),
    Mistake(
        "f is called with one value instead of the whole array",
        "f takes an array of the shape of x, in which one value is nudged and the others are as they were",
        one_value,
    ),
    Mistake(
        "the `return` stands inside the loop, so that only the first place is computed",
        "after which line should the function end?",
        edit(models.central_difference, ("    return d_x", "        return d_x")),
    ),
    Mistake(
        "the values are kept in an array of integers, which cuts off what is behind the point",
        "which type has your array, `print(d_x.dtype)`, and which should it have?",
        edit(models.central_difference, ("np.zeros_like(x)", "np.zeros(x.shape, dtype=int)")),
    ),
    Mistake(
        "the difference is divided by eps squared",
        "how far is it from x - eps to x + eps?",
        edit(models.central_difference, ("(2 * eps)", "eps**2")),
    ),
    Mistake(
        "the first value is taken at x instead of x + eps",
        "from the step down, how far is it to x + eps?",
        edit(models.central_difference, ("above[index] = x[index] + eps", "above[index] = x[index]")),
    ),
    Mistake(
        "the two values are added instead of subtracted",
        "a slope is the difference of two values over a distance",
        edit(models.central_difference, ("f(above) - f(below)", "f(above) + f(below)")),
    ),
    Mistake(
        "parentheses are missing, as in f(x + eps) - f(x - eps) / (2 * eps)",
        "what does Python divide here?",
        edit(models.central_difference, ("(f(above) - f(below))", "f(above) - f(below)")),
    ),
    Mistake(
        "only the last place's number is returned, in place of an array",
        "each pass of the loop finds one number: where does it go?",
        edit(models.central_difference, ("d_x[index] =", "d_x =")),
    ),
]

EXERCISE = Exercise(
    1,
    "01_central_difference.py",
    "A gradient from function values",
    [Task("central_difference", cases, central_difference, MISTAKES, models=(models.central_difference,))],
)
