# %% [markdown]
# # Exercise 5: matrix products, backward
#
# Nearly all of a network's work is matrix products. Forward, `c = a @ b` takes `a` of shape (n, k) and `b` of shape
# (k, p) to `c` of shape (n, p):
#
# $$c_{ij} = \sum_{l} a_{il} \, b_{lj}$$
#
# Backward, `g` arrives, the gradient of the loss $L$ with respect to `c`: it has the shape of `c`, and its entries are
# $g_{ij} = \partial L / \partial c_{ij}$. You want $\partial L / \partial a_{il}$ and $\partial L / \partial b_{lj}$.
# The chain rule sums over everything in between, which here are the entries of `c`:
#
# $$\frac{\partial L}{\partial a_{il}} = \sum_{i'} \sum_{j} g_{i'j} \, \frac{\partial c_{i'j}}{\partial a_{il}}$$
#
# A way that always works, for each of the two:
#
# - pick one entry, say $a_{il}$, and ask in which entries of `c` it occurs, and multiplied by what;
# - write down the sum that is left over, with its indices;
# - read this sum as a matrix product. The index that is summed over has to stand inside, last in the left factor and
#   first in the right one; where it stands elsewhere, a transpose puts it there.
#
# A gradient has the shape of what it is the gradient of. If all lengths differ, this alone tells whether a product can
# be right. If the matrices are square, it tells nothing, and the checks try square ones, too.
#
# Check yourself with `python -m tutorials.exercises 5`.

# %%
import numpy as np

# %% [markdown]
# ## A product of two matrices


# %%
def matmul_backward(g: np.ndarray, a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """The gradients of ``c = a @ b``.

    Args:
        g: the gradient with respect to c, shape (n, p).
        a: shape (n, k).
        b: shape (k, p).

    Returns:
        A dict with ``d_a`` of shape (n, k) and ``d_b`` of shape (k, p).
    """
    raise NotImplementedError("exercise 5, matmul_backward")


# %% [markdown]
# ## A linear layer
# A linear layer is such a product, with a bias added to each of the N examples, the rows of `x`:
#
# $$Y = X W^\top + b, \qquad \text{entry by entry} \qquad y_{no} = \sum_i x_{ni} \, w_{oi} + b_o$$
#
# Mind the shape of the weight: (out, in), as in PyTorch and in this library, so that each *row* of `weight` belongs to
# one output. It enters the product transposed. You can follow the indices once more, or use what you have just found.
#
# The bias is broadcast forward: one $b_o$ is used by N examples. In how many entries of $Y$ does it occur, then, and
# what happens to gradients that reach one number on several ways?


# %%
def linear_backward(g: np.ndarray, x: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """The gradients of ``y = x @ weight.T + bias``.

    The loss may well be a mean over the batch. Its 1/N is then in g already.

    Args:
        g: the gradient with respect to y, shape (N, out).
        x: shape (N, in).
        weight: shape (out, in).

    Returns:
        A dict with ``d_x`` of shape (N, in), ``d_weight`` of shape (out, in) and ``d_bias`` of shape (out,).
    """
    raise NotImplementedError("exercise 5, linear_backward")
