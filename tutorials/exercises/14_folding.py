# %% [markdown]
# # Exercise 14: folding batch normalization away
#
# In evaluation mode batch normalization is one multiplication and one addition for each channel, with constants
# (exercise 9). The Linear layer before it also multiplies and adds:
#
# $$z = u \, W^\top + b \qquad
# y = \gamma \, \frac{z - \mu_r}{\sqrt{\sigma_r^2 + \epsilon}} + \beta$$
#
# with `running_mean` $\mu_r$ and `running_var` $\sigma_r^2$. Two such steps in a row are one. So there is a Linear
# layer with another weight $W'$ and another bias $b'$ that gives the same $y$ for every input $u$:
#
# $$y = u \, W'^\top + b'$$
#
# Put the first equation into the second, and sort by what multiplies $u$ and what doesn't. Write it down for a single
# output $y_o$ first; then you see which of the values of $W$ belong to channel $o$.
#
# A network that is folded like this for use is smaller and faster, and computes the same but for rounding.
# `layers.fold_batchnorm` does it for whole networks.
#
# Check yourself with `python -m tutorials.exercises 14`. You don't need the check to know, though: take any `u`, and
# compare the two layers with the one.

# %%
import numpy as np


# %%
def fold(
    weight: np.ndarray,
    bias: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    eps: float = 1e-5,
) -> dict[str, np.ndarray]:
    """The one Linear that computes what a Linear and the BatchNorm after it compute in evaluation mode.

    Args:
        weight: the Linear's, shape (out, in).
        bias: the Linear's, shape (out,).
        gamma, beta, running_mean, running_var: the BatchNorm's, shape (out,).
        eps: the small number under the root.

    Returns:
        A dict with ``weight`` of shape (out, in) and ``bias`` of shape (out,).
    """
    raise NotImplementedError("exercise 14, fold")
