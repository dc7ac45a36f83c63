# %% [markdown]
# # Exercise 13: a layer that is frozen, and one that isn't
#
# Once a network is trained, batch normalization stops looking at the batch. In evaluation mode it uses the statistics
# that it has collected, $\mu_r$ (`running_mean`) and $\sigma_r^2$ (`running_var`):
#
# $$\hat x_i = \frac{x_i - \mu_r}{\sqrt{\sigma_r^2 + \epsilon}} \qquad y_i = \gamma \, \hat x_i + \beta$$
#
# A gradient may still have to come through. You may be training what lies below, or $\gamma$ and $\beta$, while the
# statistics stay as they are (`bn.eval()` inside a training model), or looking for the pixels to which a finished
# network is most sensitive. $\mu_r$ and $\sigma_r^2$ are then plain numbers. They came from batches that are gone, and
# this batch, and so each $x_i$, has no part in them. Draw the graph again, and see on how many of the three ways of
# exercise 10 an $x_i$ still reaches the loss.
#
# The word *frozen* is used for two things. Of a batch normalization one freezes the *statistics*, as here: then
# $\gamma$ and $\beta$ may go on learning, and need their gradients. Of any layer one can freeze the *parameters*: then
# these need no gradient. The second function below is about that.
#
# Check yourself with `python -m tutorials.exercises 13`.

# %%
import numpy as np


# %%
def frozen_batch_norm_backward(
    d_y: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    eps: float = 1e-5,
) -> dict[str, np.ndarray]:
    """The gradients of batch normalization in evaluation mode, with the statistics as constants.

    Args:
        d_y, x: shape (m, C).
        gamma, running_mean, running_var: shape (C,).
        eps: the small number under the root.

    Returns:
        A dict with ``d_x`` of shape (m, C), and ``d_gamma`` and ``d_beta`` of shape (C,).
    """
    raise NotImplementedError("exercise 13, frozen_batch_norm_backward")


# %% [markdown]
# ## Below a frozen layer
# To freeze a layer's *weights* is something else than to freeze statistics: it says that nobody needs the gradient of
# these weights. Take two Linear layers without biases, of which the upper one is frozen:
#
# $$h = u \, W_1^\top \qquad y = h \, W_2^\top$$
#
# The gradient $g$ of the loss with respect to $y$ arrives. Compute what is needed to train $W_1$, and nothing else.
# (The engine does the same: a gradient that nobody needs is never computed.) The question is only what a frozen layer
# still has to do.


# %%
def chain_backward(g: np.ndarray, u: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient with respect to the weight that learns; the other one is frozen.

    Args:
        g: the gradient with respect to y, shape (N, out).
        u: the input, shape (N, in).
        w1: the lower layer's weight, which learns, shape (hidden, in).
        w2: the upper layer's weight, frozen, shape (out, hidden).

    Returns:
        A dict with ``d_w1`` of shape (hidden, in), and nothing else in it.
    """
    raise NotImplementedError("exercise 13, chain_backward")
