# %% [markdown]
# # Exercise 9: batch normalization in evaluation
#
# In training, each example's output depends on the other examples of its batch. Once the network is trained, an example
# should get the same answer in whatever company it comes, also alone. So in evaluation the place of the batch's mean
# and variance is taken by the running statistics, which no longer change:
#
# $$y_i = \gamma \, \frac{x_i - \text{running mean}}{\sqrt{\text{running var} + \epsilon}} + \beta$$
#
# The running variance got its factor $m/(m-1)$ when it was updated. Take it as it is.
#
# Check yourself with `python -m tutorials.exercises 9`.

# %%
import numpy as np

# %% [markdown]
# ## As in the formula


# %%
def batch_norm_eval(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    eps: float = 1e-5,
) -> np.ndarray:
    """Batch normalization in evaluation.

    Args:
        x: shape (N, C); N may be 1.
        gamma, beta, running_mean, running_var: shape (C,).
        eps: the small number under the root.

    Returns:
        y, shape (N, C).
    """
    raise NotImplementedError("exercise 9, batch_norm_eval")


# %% [markdown]
# ## As one multiply-add
# Everything in the formula but $x_i$ is a constant now, so that it is a straight line in $x_i$:
#
# $$y_i = \text{scale} \cdot x_i + \text{shift}$$
#
# Two numbers for each channel, computed once, do the work of four (the paper's algorithm 2, line 11). Bring the formula
# into this form: multiply it out, and collect what stands with $x_i$ and what stands alone. That is also how a
# BatchNorm layer is merged into the linear layer before it.
#
# To see if you can be right: what must y be for x = running mean, in both forms?


# %%
def scale_and_shift(
    gamma: np.ndarray, beta: np.ndarray, running_mean: np.ndarray, running_var: np.ndarray, eps: float = 1e-5
) -> dict[str, np.ndarray]:
    """The two arrays with which evaluation is ``y = x * scale + shift``.

    Args:
        gamma, beta, running_mean, running_var: shape (C,).
        eps: the small number under the root.

    Returns:
        A dict with ``scale`` and ``shift`` of shape (C,).
    """
    raise NotImplementedError("exercise 9, scale_and_shift")
