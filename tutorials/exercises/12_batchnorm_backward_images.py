# %% [markdown]
# # Exercise 12: batch normalization backward, for images
#
# Behind a convolution, `x` has the shape (N, C, H, W): N images with C channels of H x W positions. Batch normalization
# treats all positions of all images alike. A channel has *one* mean, one variance, one $\gamma_c$ and one $\beta_c$:
#
# $$\mu_c = \frac1m \sum_{n,h,w} x_{nchw} \qquad \sigma_c^2 = \frac1m \sum_{n,h,w} (x_{nchw} - \mu_c)^2 \qquad
# \hat x_{nchw} = \frac{x_{nchw} - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} \qquad
# y_{nchw} = \gamma_c \, \hat x_{nchw} + \beta_c$$
#
# where $m$ is the number of values that a channel's mean is taken over.
#
# The derivation is the one of exercises 10 and 11, word for word; only the example $i$ has become a triple
# $(n, h, w)$. So there is no new calculus here, but three things to get right in NumPy:
#
# - which axes are summed over, and what $m$ is;
# - how an array of shape (C,) is multiplied with one of shape (N, C, H, W): NumPy aligns shapes at their *last* axis,
#   and where C happens to equal W, it will not even complain. `array.reshape(...)`, `array[:, None, None]` and
#   `keepdims=True` are the tools;
# - that each gradient has the shape of what it is the gradient of.
#
# You may also bring the channel to the end, use what you wrote for (m, C), and bring it back. Mind, then, that
# `reshape` never moves values: it only cuts the same row of numbers into other pieces.
#
# Check yourself with `python -m tutorials.exercises 12`.

# %%
import numpy as np


# %%
def batch_norm_backward_images(
    d_y: np.ndarray, x: np.ndarray, gamma: np.ndarray, eps: float = 1e-5
) -> dict[str, np.ndarray]:
    """The gradients of batch normalization in training, for images.

    Args:
        d_y, x: shape (N, C, H, W).
        gamma: shape (C,).
        eps: the small number under the root.

    Returns:
        A dict with ``d_x`` of shape (N, C, H, W), and ``d_gamma`` and ``d_beta`` of shape (C,).
    """
    raise NotImplementedError("exercise 12, batch_norm_backward_images")
