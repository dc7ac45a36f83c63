# %% [markdown]
# # Exercise 2: undoing broadcasting
#
# When you add a bias of shape (3,) to a batch of shape (4, 3), NumPy *broadcasts*: it stretches the bias to (4, 3) and
# adds. It does so in two ways, and often in both at once, comparing the shapes from the last axis backwards:
#
# - axes that are missing *in front* are put there: (3,) becomes (1, 3);
# - axes of *length 1* are stretched to the length that is needed: (1, 3) becomes (4, 3).
#
# Backward, the gradient arrives with the stretched shape, and the bias wants one with its own. Call the small array
# $x$, the stretched one $\tilde x$, and what arrives $d = \partial L / \partial \tilde x$. For the bias,
#
# $$\tilde x_{ij} = x_j \qquad \text{for every } i.$$
#
# Each $x_j$ has four copies, and on each of them it reaches the loss $L$. If $x_j$ changes, all four change with it.
# Use the chain rule to say what $\partial L / \partial x_j$ is, in terms of $d_{ij}$. The same happens on every axis
# that was stretched, and on no other.
#
# Some shapes to try your idea on, before you write it down in general:
#
# | `shape`, of x | `d.shape`, after broadcasting | which axes of d were stretched? |
# | --- | --- | --- |
# | (3,) | (4, 3) | axis 0, which was added in front |
# | (4, 1) | (4, 3) | axis 1, which had length 1 |
# | (4, 1) | (5, 4, 3) | axis 0, and which other one? |
# | (1, 3, 1) | (2, 3, 4) | |
# | (2, 5) | (2, 5) | |
# | () | (4, 2) | |
#
# Mind that an axis has one number in `shape` and another one in `d.shape` if there are axes in front. And a gradient
# has exactly the shape of what it is the gradient of: (4, 1) is neither (4,) nor (1, 4, 1).
#
# Check yourself with `python -m tutorials.exercises 2`.

# %%
import numpy as np


# %%
def unbroadcast(d: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an array before it was broadcast, from the gradient after it.

    Args:
        d: the gradient with respect to the stretched array.
        shape: of the array before broadcasting; NumPy would stretch it to d.shape.

    Returns:
        The gradient with respect to the array before broadcasting, of shape ``shape``.
    """
    raise NotImplementedError("exercise 2, unbroadcast")
