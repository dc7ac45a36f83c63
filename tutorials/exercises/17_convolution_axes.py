# %% [markdown]
# # Exercise 17: the axes of a convolution
#
# A convolution applies one small set of weights at every position of every image. What is shared like this forward
# collects from all of its uses backward; and batch normalization behind a convolution treats all of these positions as
# examples (lesson 12). This exercise is about which axes that are.
#
# ## The statistics of a channel
# Let `x` have the shape (N, C, H, W): N images with C channels of H x W positions. Batch normalization takes the mean
# and the variance of a channel over all positions of all images. The paper calls their number the *effective
# mini-batch*, $m$ (section 3.2 of [arXiv 1502.03167](https://arxiv.org/abs/1502.03167)). As in exercise 8, there are
# two variances: the biased one, $\sigma_c^2 = \frac1m \sum (x - \mu_c)^2$, to normalize with, and the unbiased one,
# $\frac{m}{m-1} \sigma_c^2$, to remember.
#
# Mind that a variance of parts isn't a part of the variance: to take it of each image and to average is something else,
# because the images' means differ.
#
# Check yourself with `python -m tutorials.exercises 17`.

# %%
import numpy as np


# %%
def channel_statistics(x: np.ndarray) -> dict[str, np.ndarray]:
    """What batch normalization takes of images in training.

    Args:
        x: shape (N, C, H, W).

    Returns:
        A dict with ``mean``, ``var`` (biased) and ``unbiased_var``, each of shape (C,).
    """
    raise NotImplementedError("exercise 17, channel_statistics")


# %% [markdown]
# ## The gradients of a convolution's parameters
# The weight has the shape (O, C, K, K): for each of O output channels, a window of K x K weights for each of C input
# channels. Without padding, and with a stride of 1,
#
# $$y_{nohw} = \sum_{c,i,j} x_{n,c,h+i,w+j} \, w_{ocij} + b_o$$
#
# (As in PyTorch, the window isn't turned around.) The result has $H' = H - K + 1$ rows and as many columns less. From
# `g`, the gradient with respect to $y$, derive the gradients of $w$ and $b$:
#
# - Pick one weight, $w_{ocij}$. In which entries of $y$ does it occur, and multiplied by which values of `x`? For each
#   offset $(i, j)$ these values are a piece of `x` with the shape of `g`'s images: a slice of it.
# - Which of the indices n, o, c, h, w stay in the gradient, and which are summed over? `np.einsum` takes an answer to
#   this question literally; with a loop over the offsets, or over all positions, it works as well.
# - In which entries of $y$ does $b_o$ occur?


# %%
def convolution_backward(g: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """The gradients of a convolution's parameters.

    Args:
        g: the gradient with respect to y, shape (N, O, H - K + 1, W - K + 1).
        x: the input, shape (N, C, H, W).

    Returns:
        A dict with ``d_weight`` of shape (O, C, K, K), and ``d_bias`` of shape (O,).
    """
    raise NotImplementedError("exercise 17, convolution_backward")
