# %% [markdown]
# # Exercise 1: a gradient from function values
#
# Every rule that you will derive in these exercises can be wrong, and a wrong gradient is a quiet mistake. So first
# build the tool that tells you. It needs nothing but the function's values, and so can't share a mistake with a rule.
#
# Take a function $f$ of one number. If you change $x$ by a small $\epsilon$ to either side, its values change by about
# $\epsilon$ times its slope. The *central difference* turns that around:
#
# $$f'(x) \approx \frac{f(x + \epsilon) - f(x - \epsilon)}{2 \epsilon}$$
#
# It is better than the *forward difference*, which takes $f(x + \epsilon) - f(x)$ and divides by $\epsilon$. The one is
# off by about $\frac{\epsilon^2}{6} f'''(x)$, the other by $\frac{\epsilon}{2} f''(x)$. Write down the Taylor series of
# $f(x + \epsilon)$ and $f(x - \epsilon)$, and you see which terms cancel.
#
# The losses of neural networks are functions of many numbers. Here `f` takes a whole array and returns one float. Its
# gradient has a value for each value of the array: the slope of $f$ if this one value changes *and all others stay*.
# With $e_i$ for the array that is 1 at place $i$ and 0 everywhere else,
#
# $$\frac{\partial f}{\partial x_i} \approx \frac{f(x + \epsilon e_i) - f(x - \epsilon e_i)}{2 \epsilon}$$
#
# Two things to mind:
#
# - The array may have any shape. NumPy can go through the places of an array without your knowing its number of axes;
#   look for `np.ndindex`.
# - The caller still needs `x` as it was. You may work on a copy, or nudge `x` itself and put the old value back. If you
#   nudge, remember that value: adding $\epsilon$ and taking it away again can miss it by a rounding.
#
# Check yourself with `python -m tutorials.exercises 1`.

# %%
from collections.abc import Callable

import numpy as np


# %%
def central_difference(f: Callable[[np.ndarray], float], x: np.ndarray, eps: float) -> np.ndarray:
    """The gradient of ``f`` at ``x`` by central differences.

    Args:
        f: takes an array of the shape of x, returns a float.
        x: the point, of any shape; unchanged afterwards.
        eps: the step to either side. It may be large, as it is in the checks, so that one sees whether it is used.

    Returns:
        The gradient, with the shape of x.
    """
    raise NotImplementedError("exercise 1, central_difference")
