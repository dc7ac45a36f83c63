# %% [markdown]
# # Exercise 6: ReLU
#
# The rectified linear unit lets positive numbers pass and puts 0 in the place of negative ones, one entry at a time:
#
# $$y_i = \max(x_i, 0)$$
#
# Its graph is two straight lines, so its slope is a number for $x_i < 0$ and another number for $x_i > 0$. At
# $x_i = 0$ there is a kink and no derivative. A program has to return something all the same, and the custom, in
# PyTorch and in this library, is 0. An exact 0 isn't rare: it is what a ReLU hands on for every negative input.
#
# Backward, `g` arrives, the gradient of the loss with respect to `y`. Since $y_i$ depends on $x_i$ and on no other
# entry, the chain rule is one product for each entry, without any sum:
#
# $$\frac{\partial L}{\partial x_i} = g_i \, \frac{\mathrm{d} y_i}{\mathrm{d} x_i}$$
#
# `x` may have any number of axes. A comparison of arrays, such as `x < 3`, gives an array of True and False, which
# count as 1 and 0 in a product.
#
# Check yourself with `python -m tutorials.exercises 6`.

# %%
import numpy as np

# %% [markdown]
# ## Forward


# %%
def relu(x: np.ndarray) -> np.ndarray:
    """The larger one of x and 0, entry by entry.

    Args:
        x: any shape. It stays as it is: the backward pass still needs it.

    Returns:
        y, the same shape.
    """
    raise NotImplementedError("exercise 6, relu")


# %% [markdown]
# ## Backward


# %%
def relu_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of ``y = relu(x)``; at 0 it is 0.

    Args:
        g: the gradient with respect to y, the shape of x.
        x: any shape.

    Returns:
        d_x, the same shape.
    """
    raise NotImplementedError("exercise 6, relu_backward")
