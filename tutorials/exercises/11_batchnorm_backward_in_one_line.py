# %% [markdown]
# # Exercise 11: batch normalization backward, in one line
#
# Exercise 10 took you from `d_y` to `d_x` in four steps. Written in a row, with $d_v$ for the gradient of the loss with
# respect to $v$, and $\mathrm{std} = \sqrt{\sigma^2 + \epsilon}$:
#
# $$\begin{aligned}
# d_{\hat x_i} &= d_{y_i} \, \gamma \\
# d_{\sigma^2} &= \sum_j d_{\hat x_j} (x_j - \mu) \cdot \left(-\tfrac12\right) \mathrm{std}^{-3} \\
# d_\mu &= \sum_j d_{\hat x_j} \cdot \frac{-1}{\mathrm{std}} + d_{\sigma^2} \cdot \frac1m \sum_j -2 (x_j - \mu) \\
# d_{x_i} &= \frac{d_{\hat x_i}}{\mathrm{std}} + d_{\sigma^2} \cdot \frac{2 (x_i - \mu)}{m} + \frac{d_\mu}{m}
# \end{aligned}$$
#
# Now take a pencil and put the first three into the fourth, until neither $d_{\hat x}$ nor $d_{\sigma^2}$ nor $d_\mu$
# is left. It becomes short, for four reasons that you can use one after the other:
#
# - the distances from a mean sum to 0, so half of the third line goes;
# - $x_i - \mu$ is $\mathrm{std} \cdot \hat x_i$, so neither $x$ nor $\mu$ is needed any more;
# - $\gamma$ and $\mathrm{std}$ are the same for all examples of a channel, so they move out of the sums, and to the
#   front;
# - a sum over the batch and a $\frac1m$ make a mean.
#
# What you get is a factor times a bracket with three terms in it. Two properties to test it by, before you run
# anything. If all examples of a channel move by the same amount, $\hat x$ stays as it is, and so does the loss:
# therefore `d_x` has to sum to 0 over the batch. And if `d_y` happens to be the same for all examples, `d_x` is 0. Does
# your formula say so?
#
# This is how `layers/batchnorm.py` does it: one pass over the data, and a few numbers for each channel.
#
# Check yourself with `python -m tutorials.exercises 11`.

# %%
import numpy as np


# %%
def batch_norm_d_x(d_y: np.ndarray, x_hat: np.ndarray, gamma: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The gradient of batch normalization in training with respect to its input, in one line.

    Args:
        d_y: the gradient with respect to the output, shape (m, C).
        x_hat: the normalized input, (x - mean) / std, shape (m, C).
        gamma: shape (C,).
        std: sqrt(var + eps) of the batch, shape (C,).

    Returns:
        d_x, shape (m, C).
    """
    raise NotImplementedError("exercise 11, batch_norm_d_x")
