# %% [markdown]
# # Exercise 4: walking a tape backwards
#
# Lesson 1 computes $f = \ln x_1 + x_1 x_2 - e^{x_2}$ line by line and gives each result a name. A *tape* is that list,
# in the order of recording. Each line, or *entry*, says
#
# - the name of its output;
# - the names of its inputs;
# - for each input a rule as in exercise 3, a function from the gradient of the output to the gradient of that input.
#
# A rule already has the numbers in it that it needs. It takes only `g`, and multiplies by `g` itself.

# %%
from collections.abc import Callable

import numpy as np

Entry = tuple[str, tuple[str, ...], list[Callable]]  # output, inputs, a rule for each input

x1, x2 = 2.0, 1.0
example: list[Entry] = [
    ("v1", ("x1",), [lambda g: g / x1]),  #                            v1 = log(x1)
    ("v2", ("x1", "x2"), [lambda g: g * x2, lambda g: g * x1]),  #     v2 = x1 * x2
    ("v3", ("x2",), [lambda g: g * np.exp(x2)]),  #                    v3 = exp(x2)
    ("v4", ("v1", "v2"), [lambda g: g, lambda g: g]),  #               v4 = v1 + v2
    ("f", ("v4", "v3"), [lambda g: g, lambda g: -g]),  #               f = v4 - v3
]

# %% [markdown]
# Now write the function that turns such a list into gradients, the heart of every engine. Lesson 1 shows one that finds
# its tape from the result's tensor; here a tape is a plain list, and tensors are names. You need to know four things.
#
# - *Where it starts.* The result is a single number $L$. What is $\partial L / \partial L$?
# - *In which order.* A rule may only be called when the gradient of its entry's output is complete, that is, after all
#   the entries that use this output. Where has recording put them?
# - *What was used twice.* If $v$ is an input in several places, $L$ depends on it on several ways, and the gradients
#   that arrive are added:
#
#   $$\frac{\partial L}{\partial v} = \sum_{\text{uses of } v} \text{(what the rule of this use returns)}$$
#
#   The uses may be in different entries, or in the same one: $x \cdot x$ has the inputs `("x", "x")` and two rules.
# - *What the result doesn't depend on.* Not all that was recorded led to the result; some entries may even have been
#   recorded after it. No gradient reaches their outputs, so there is nothing to call their rules with.
#
# And a warning about arrays. The rule of an addition returns the very `g` that it got, so two names may end up with one
# and the same array. Remember what `a += b` does then, and what it does for single numbers.
#
# For the example above, `backward(example, "f")` gives seven gradients, the one of `"x1"` being $1/x_1 + x_2 = 1.5$ and
# that of `"x2"` being $x_1 - e^{x_2}$.
#
# Check yourself with `python -m tutorials.exercises 4`.


# %%
def backward(tape: list[Entry], result: str) -> dict[str, float | np.ndarray]:
    """The gradients of a tape's result with respect to all that it depends on.

    Args:
        tape: the entries in the order of recording. Every output has a name of its own.
        result: the name of the output to start from, a single number; not always that of the last entry.

    Returns:
        A dict from names to gradients: of the result itself, and of every name that a gradient reaches, outputs of
        entries as well as inputs that no entry has computed. No other names are in it.
    """
    raise NotImplementedError("exercise 4, backward")
