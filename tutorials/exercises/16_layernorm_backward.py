# %% [markdown]
# # Exercise 16: layer normalization, backward
#
# Lesson 12 shows that batch normalization has relatives, which differ from it in the sets of numbers that they give
# mean 0 and variance 1. *Layer normalization* normalizes each example by itself, over its C units
# ([arXiv 1607.06450](https://arxiv.org/abs/1607.06450)). For `x` of shape (N, C), example $n$ and unit $c$,
#
# $$\mu_n = \frac1C \sum_c x_{nc} \qquad \sigma_n^2 = \frac1C \sum_c (x_{nc} - \mu_n)^2 \qquad
# \hat x_{nc} = \frac{x_{nc} - \mu_n}{\sqrt{\sigma_n^2 + \epsilon}} \qquad y_{nc} = \gamma_c \, \hat x_{nc} + \beta_c$$
#
# Mean and variance are now one number for each *example*. But $\gamma$ and $\beta$ still are one number for each
# *unit*. That is the difference to exercises 10 and 11, where all four belonged to a channel. It asks two questions:
#
# - Over which axis are the gradients of $\gamma$ and $\beta$ summed? Ask which values of $y$ use one $\gamma_c$.
# - In exercise 11, $\gamma$ was the same in all terms of a sum, and moved to the front. Over which index does the
#   sum go here, and is $\gamma$ the same in all of its terms?
#
# Begin with $d_{\hat x} = \partial L / \partial \hat x$, and go on as in exercise 11: what it says about $d_x$ holds
# for any set of numbers that is normalized, if you put this set in the place of the batch.
#
# Two properties to test it by. If all units of an example move by the same amount, $\hat x$ stays as it is: therefore
# `d_x` has to sum to 0 over each *example*. And an example alone must get the same gradient as in company.
#
# Check yourself with `python -m tutorials.exercises 16`.

# %%
import numpy as np


# %%
def layer_norm_backward(d_y: np.ndarray, x: np.ndarray, gamma: np.ndarray, eps: float = 1e-5) -> dict[str, np.ndarray]:
    """The gradients of layer normalization.

    Args:
        d_y, x: shape (N, C); N may be 1.
        gamma: shape (C,).
        eps: the small number under the root.

    Returns:
        A dict with ``d_x_hat`` and ``d_x`` of shape (N, C), and ``d_gamma`` and ``d_beta`` of shape (C,).
    """
    raise NotImplementedError("exercise 16, layer_norm_backward")
