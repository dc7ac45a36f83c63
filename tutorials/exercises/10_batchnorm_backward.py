# %% [markdown]
# # Exercise 10: batch normalization backward, in six steps
#
# Forward, a mini-batch `x` of shape (m, C), m examples of C channels, becomes
#
# $$\mu = \frac1m \sum_i x_i \qquad \sigma^2 = \frac1m \sum_i (x_i - \mu)^2 \qquad
# \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} \qquad y_i = \gamma \hat x_i + \beta$$
#
# Backward, `d_y` arrives, the gradient of the loss with respect to `y`. You will compute six gradients from it, in the
# order of the paper's section 3 ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167)), but don't look there yet. A
# sketch of the graph helps: which quantities does each of them reach, and on how many ways?
#
# Each step is a function of its own and gets what it needs from the steps before it, so that a mistake in one doesn't
# spoil the next. Two reminders, which decide nearly everything:
#
# - what was broadcast forward (one value used by m examples) is *summed* backward;
# - what was used twice gets two gradients, which are *added*.
#
# Check yourself with `python -m tutorials.exercises 10`.

# %%
import numpy as np

# %% [markdown]
# ## Step 1
# From $y_i = \gamma \hat x_i + \beta$.


# %%
def step_1_d_x_hat(d_y: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """The gradient with respect to x_hat.

    Args:
        d_y: shape (m, C).
        gamma: shape (C,).

    Returns:
        d_x_hat, shape (m, C).
    """
    raise NotImplementedError("exercise 10, step 1")


# %% [markdown]
# ## Step 2
# The variance of a channel is one number that all of its m values of $\hat x$ use: differentiate
# $\hat x_i = (x_i - \mu)(\sigma^2 + \epsilon)^{-1/2}$ with respect to $\sigma^2$, multiply by what arrives, and sum.


# %%
def step_2_d_var(d_x_hat: np.ndarray, x: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float) -> np.ndarray:
    """The gradient with respect to the variance.

    Args:
        d_x_hat, x: shape (m, C).
        mean, var: shape (C,), the batch's.
        eps: the small number under the root.

    Returns:
        d_var, shape (C,).
    """
    raise NotImplementedError("exercise 10, step 2")


# %% [markdown]
# ## Step 3
# The mean is used in $\hat x$, and in the variance as well: two ways, so two terms. (One of them turns out to be 0. You
# may leave it out if you can say why.)


# %%
def step_3_d_mean(
    d_x_hat: np.ndarray, d_var: np.ndarray, x: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> np.ndarray:
    """The gradient with respect to the mean.

    Args:
        d_x_hat, x: shape (m, C).
        d_var, mean, var: shape (C,).
        eps: the small number under the root.

    Returns:
        d_mean, shape (C,).
    """
    raise NotImplementedError("exercise 10, step 3")


# %% [markdown]
# ## Step 4
# An input $x_i$ reaches the loss on three ways: through its own $\hat x_i$, through the variance, and through the mean.


# %%
def step_4_d_x(
    d_x_hat: np.ndarray,
    d_var: np.ndarray,
    d_mean: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
) -> np.ndarray:
    """The gradient with respect to the input.

    Args:
        d_x_hat, x: shape (m, C).
        d_var, d_mean, mean, var: shape (C,).
        eps: the small number under the root.

    Returns:
        d_x, shape (m, C).
    """
    raise NotImplementedError("exercise 10, step 4")


# %% [markdown]
# ## Steps 5 and 6
# Back to $y_i = \gamma \hat x_i + \beta$, and to the two parameters that all examples share.


# %%
def step_5_d_gamma(d_y: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    """The gradient with respect to gamma: from d_y and x_hat of shape (m, C), shape (C,)."""
    raise NotImplementedError("exercise 10, step 5")


def step_6_d_beta(d_y: np.ndarray) -> np.ndarray:
    """The gradient with respect to beta: from d_y of shape (m, C), shape (C,)."""
    raise NotImplementedError("exercise 10, step 6")


# %% [markdown]
# ## All of it
# Now put the six together. Compute mean, variance and x_hat from `x` first.


# %%
def batch_norm_backward(d_y: np.ndarray, x: np.ndarray, gamma: np.ndarray, eps: float = 1e-5) -> dict[str, np.ndarray]:
    """All six gradients of batch normalization in training.

    Args:
        d_y, x: shape (m, C).
        gamma: shape (C,).
        eps: the small number under the root.

    Returns:
        A dict with ``d_x_hat`` and ``d_x`` of shape (m, C), and ``d_var``, ``d_mean``, ``d_gamma`` and ``d_beta`` of
        shape (C,).
    """
    raise NotImplementedError("exercise 10, all of it")
