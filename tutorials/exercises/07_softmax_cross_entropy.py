# %% [markdown]
# # Exercise 7: softmax and cross-entropy
#
# A classifier ends with one number for each class, the *logits* $z_{nc}$, n for the example and c for the class.
# Softmax turns each example's row of them into probabilities, and the loss asks how probable the right class was, whose
# number is the target $t_n$:
#
# $$p_{nc} = \frac{e^{z_{nc}}}{\sum_{k} e^{z_{nk}}} \qquad\qquad
# L = \frac1N \sum_{n} -\log p_{n t_n}$$
#
# That is the mean over the N examples of the batch. A row of softmax adds up to 1, and a loss of 0 would mean that
# every right class got the probability 1.
#
# ## Numbers that don't fit
# Two things stand between these formulas and a program.
#
# - $e^{1000}$ is too large for a computer's numbers, so it becomes infinity, and infinity divided by infinity is nan.
#   But softmax doesn't change when the same number $s_n$ is subtracted from all logits of a row: $e^{z-s} = e^z / e^s$,
#   and $e^s$ cancels. With the row's largest logit for $s_n$, no exponent is above 0 and at least one is 0, so that the
#   sum lies between 1 and the number of classes.
# - $e^{-1000}$ is too small and becomes 0. As a probability, that is good enough. But an example whose right class got
#   it should have the loss 1000, and $\log 0$ is minus infinity. So don't take the logarithm of a number that has
#   already been rounded to 0. Take it on paper first, and simplify
#
# $$\log p_{nc} = \log \frac{e^{z_{nc} - s_n}}{\sum_k e^{z_{nk} - s_n}} = \; ?$$
#
# Check yourself with `python -m tutorials.exercises 7`.

# %%
import numpy as np

# %% [markdown]
# ## Forward
# To pick one entry from each row, NumPy takes two lists of indices, rows and columns: `z[[0, 1, 2], [4, 0, 4]]` is
# `[z[0, 4], z[1, 0], z[2, 4]]`.


# %%
def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over the batch of -log(softmax(logits)[target]), for logits as large as 1000 or -1000, too.

    Args:
        logits: shape (N, classes).
        targets: shape (N,), integers from 0 to classes - 1.

    Returns:
        A dict with ``softmax`` and ``log_softmax`` of shape (N, classes), and ``loss``, one number.
    """
    raise NotImplementedError("exercise 7, cross_entropy")


# %% [markdown]
# ## Backward
# The loss has no `g`: it is where the walk back begins. Take one example's share of it, with your result for
# $\log p$; $s_n$ cancels, so that you may leave it out on paper:
#
# $$\ell = \log \sum_k e^{z_k} - z_t$$
#
# Differentiate it with respect to one logit $z_c$. The first term's derivative is an old acquaintance. For the second
# there are two cases, $c = t$ and $c \ne t$; the row that is 1 at the target and 0 elsewhere is called its *one-hot*
# row. Last, mind what the mean over the batch does to it.
#
# To see if you can be right: what do the gradients of one row have to add up to, if adding the same number to all its
# logits changes nothing?


# %%
def cross_entropy_backward(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The gradient of the cross-entropy with respect to the logits.

    Args:
        logits: shape (N, classes), as large as 1000 or -1000, too.
        targets: shape (N,), integers from 0 to classes - 1.

    Returns:
        d_logits, shape (N, classes).
    """
    raise NotImplementedError("exercise 7, cross_entropy_backward")
