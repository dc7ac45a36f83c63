# %% [markdown]
# # Exercise 8: batch normalization, forward
#
# In training, batch normalization does two things with a mini-batch `x` of m examples (the rows) and C channels (the
# columns). It normalizes the batch, and it remembers what the batch was like.
#
# **It normalizes.** Each channel by itself, over its m values (the paper's algorithm 1,
# [arXiv 1502.03167](https://arxiv.org/abs/1502.03167)):
#
# $$\mu = \frac1m \sum_i x_i \qquad \sigma^2 = \frac1m \sum_i (x_i - \mu)^2 \qquad
# \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} \qquad y_i = \gamma \hat x_i + \beta$$
#
# Mean, variance, $\gamma$ and $\beta$ are one number for each channel: arrays of shape (C,), which NumPy broadcasts
# against the rows of `x`. The variance is the *biased* one, divided by m.
#
# **It remembers.** In evaluation there may be no batch, so the layer keeps running statistics, and moves them a little
# towards each batch that it sees:
#
# $$\text{new} = (1 - \text{momentum}) \cdot \text{old} + \text{momentum} \cdot \text{batch}$$
#
# This is PyTorch's momentum, usually 0.1: the weight of the *newest* batch. (In Keras, the same word means the weight
# of the old value.) For `running_mean`, "batch" is $\mu$. For `running_var` it is the *unbiased* variance
#
# $$\frac{m}{m - 1} \, \sigma^2,$$
#
# since a batch's values lie closer to their own mean than to that of all data, so that $\sigma^2$ is too small, on
# average by the factor $(m-1)/m$. As an estimate of the population's variance it has to be corrected; as a number to
# divide this batch by, it does not.
#
# A layer keeps its running statistics by overwriting them. Your function doesn't: it returns new arrays, and leaves
# its inputs as they are.
#
# Check yourself with `python -m tutorials.exercises 8`.

# %%
import numpy as np

# %% [markdown]
# ## Normalize, and remember


# %%
def batch_norm_forward(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> dict[str, np.ndarray]:
    """Batch normalization in training, and the update of its running statistics.

    Args:
        x: shape (m, C), with m at least 2.
        gamma, beta: shape (C,).
        running_mean, running_var: shape (C,), from the batches so far.
        momentum: the weight of this batch in the new running statistics.
        eps: the small number under the root.

    Returns:
        A dict with the batch's ``mean`` and (biased) ``var`` of shape (C,), ``x_hat`` and ``y`` of shape (m, C), and
        the new ``running_mean`` and ``running_var`` of shape (C,).
    """
    raise NotImplementedError("exercise 8, batch_norm_forward")
