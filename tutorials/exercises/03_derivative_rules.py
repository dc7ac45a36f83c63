# %% [markdown]
# # Exercise 3: four derivative rules
#
# An engine that computes gradients knows a *rule* for each operation: a function that takes the gradient of the
# operation's result and returns the gradients of its operands. Here you write four of them.
#
# Forward, say, $y = f(x)$, element by element, and then other operations, whatever they are, make a loss $L$ of $y$.
# Backward, the rule gets `g`, the gradient of the loss with respect to $y$. It has the shape of $y$, and its entries
# are $g_i = \partial L / \partial y_i$. An $x_i$ reaches the loss through its own $y_i$ and no other way. So the chain
# rule has a single term, the derivative of the operation, *at the place where it was computed*, times what arrives:
#
# $$\frac{\partial L}{\partial x_i} = \frac{\partial L}{\partial y_i} \, \frac{\partial y_i}{\partial x_i}$$
#
# Such a rule is called a vector-Jacobian product: for an operation of each element on its own, the Jacobian, the matrix
# of all $\partial y_i / \partial x_j$, is zero off its diagonal, and nobody needs to write it down.
#
# If you doubt a rule, you have a tool for it. For any fixed array `g`, the gradient of `np.sum(g * np.exp(x))` with
# respect to `x` is what the rule of exp has to return, and your function of exercise 1 computes it without any rule.
#
# Check yourself with `python -m tutorials.exercises 3`.

# %%
import numpy as np

# %% [markdown]
# ## Multiply
# From $z_i = x_i \, y_i$. There are two operands, and so two gradients. To find one of them, treat the other operand as
# a constant.


# %%
def multiply_backward(g: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """The rule of ``z = x * y``.

    Args:
        g: the gradient with respect to z.
        x, y: the operands; g, x and y have the same shape, so nothing was broadcast.

    Returns:
        A dict with ``d_x`` and ``d_y``, of that shape.
    """
    raise NotImplementedError("exercise 3, multiply_backward")


# %% [markdown]
# ## Exp and log
# From $y_i = e^{x_i}$, and from the natural logarithm, $y_i = \ln x_i$. One undoes the other. Do their derivatives?


# %%
def exp_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The rule of ``y = np.exp(x)``.

    Args:
        g: the gradient with respect to y.
        x: the operand, of g's shape.

    Returns:
        d_x, of that shape.
    """
    raise NotImplementedError("exercise 3, exp_backward")


def log_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The rule of ``y = np.log(x)``.

    Args:
        g: the gradient with respect to y.
        x: the operand, of g's shape, positive.

    Returns:
        d_x, of that shape.
    """
    raise NotImplementedError("exercise 3, log_backward")


# %% [markdown]
# ## Tanh
# The hyperbolic tangent squeezes all numbers into the interval from -1 to 1:
#
# $$y_i = \tanh x_i = \frac{e^{x_i} - e^{-x_i}}{e^{x_i} + e^{-x_i}}$$
#
# Differentiate with the quotient rule. The result can be said by $y_i$ alone, which is why engines keep the result of
# tanh for the walk back, rather than its operand. You get the operand, and can compute $y_i$ from it. Two tests before
# you hand it in: what is the slope at 0, and what is it for a large $x_i$, where the curve is flat?


# %%
def tanh_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The rule of ``y = np.tanh(x)``.

    Args:
        g: the gradient with respect to y.
        x: the operand, of g's shape.

    Returns:
        d_x, of that shape.
    """
    raise NotImplementedError("exercise 3, tanh_backward")
