# %% [markdown]
# # Exercise 15: train a network with your own pieces
#
# You have everything that it takes: the backward of Linear (exercise 5), the cross-entropy (7), batch normalization
# forward (8) and backward (10). Now put your pieces together to the network of lesson 7, with two hidden layers instead
# of three, and teach it to read digits. There is no library in it and no tape: whatever this network learns, it learns
# from your derivatives.
#
# For a mini-batch `x` of shape (N, in), $h_0 = x$, and in the two hidden layers, $k = 1, 2$,
#
# $$z_k = h_{k-1} W_k^\top \qquad y_k = \mathrm{BN}_{\gamma_k, \beta_k}(z_k) \qquad
# h_k = \frac{1}{1 + e^{-y_k}}$$
#
# The last layer is $\mathrm{logits} = h_2 W_3^\top + b_3$, and the loss is the cross-entropy, a mean over the batch.
# The hidden layers have no bias: batch normalization would subtract it again, together with the mean. Use
# $\epsilon = 10^{-5}$ throughout.
#
# The parameters are a dict of arrays. For the digits, their shapes are
#
# | name | shape | | name | shape | | name | shape |
# | --- | --- | --- | --- | --- | --- | --- | --- |
# | `weight_1` | (100, 64) | | `weight_2` | (100, 100) | | `weight_3` | (10, 100) |
# | `gamma_1` | (100,) | | `gamma_2` | (100,) | | `bias_3` | (10,) |
# | `beta_1` | (100,) | | `beta_2` | (100,) | | | |
#
# Check yourself with `python -m tutorials.exercises 15`.

# %%
from tutorials.data import Dataset, load_digits  # noqa: I001 - before NumPy: see tutorials/__init__.py
from tutorials.exercises.checks.run import exercises, load, verdicts

from collections.abc import Callable
from pathlib import Path

import numpy as np

# %% [markdown]
# ## Your pieces
# This cell is ready made. It fetches your functions from your files in this folder. One that isn't right yet will say
# so when you call it: a network is no place to look for a mistake in one of its layers. If you would rather use the
# one line of exercise 11, fetch `mine(11, "batch_norm_d_x")`, too.
#
# The board is milder: it puts right functions in place of those of yours that aren't right yet, and says so.


# %%
def mine(number: int, name: str) -> Callable:
    """Your function of an earlier exercise, or, as long as it isn't right, one that tells you to finish it."""
    (exercise,) = (exercise for exercise in exercises() if exercise.number == number)
    path = Path(__file__).with_name(exercise.file)
    done = {verdict.function for verdict in verdicts(exercise, path, seed=0) if verdict.status == "right"}
    if name in done:
        return getattr(load(path), name)
    message = f"your {name} of {path.name} isn't done yet: see `python -m tutorials.exercises {number}`"

    def not_done(*_, **__):
        raise RuntimeError(message)

    return not_done


linear_backward = mine(5, "linear_backward")
cross_entropy = mine(7, "cross_entropy")
cross_entropy_backward = mine(7, "cross_entropy_backward")
batch_norm_forward = mine(8, "batch_norm_forward")
batch_norm_backward = mine(10, "batch_norm_backward")

# %% [markdown]
# ## Forward
# Keep the results that the function below lists: the way back will need some of them. (Mean, variance and $\hat x$ are
# not among them. Your batch normalization backward computes them again from $z$.)
#
# Your `batch_norm_forward` asks for running statistics, too. Training doesn't read them, so give it zeros and ones, and
# leave what it makes of them.


# %%
def forward(x: np.ndarray, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The network's values for a mini-batch, in training.

    Args:
        x: shape (N, in).
        parameters: as above, with any numbers of units.

    Returns:
        A dict with exactly ``z_1``, ``y_1``, ``h_1``, ``z_2``, ``y_2``, ``h_2`` and ``logits``, each with N rows.
    """
    raise NotImplementedError("exercise 15, forward")


# %% [markdown]
# ## Backward
# Go through the lines of your forward from the last one to the first, and hand the gradient on. Each layer gets the
# gradient of its result, takes what it was given in forward from the cache ($h_0$ is `x`), and returns the gradients
# of its parameters and of its input. You have a function for every step but one, the sigmoid. Its slope at $y_k$ is
# $h_k (1 - h_k)$.


# %%
def backward(
    x: np.ndarray, targets: np.ndarray, parameters: dict[str, np.ndarray], cache: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The gradients of the loss with respect to all parameters.

    Args:
        x: shape (N, in).
        targets: the right classes, N integers.
        parameters: as above.
        cache: what forward returned for x and these parameters.

    Returns:
        A dict with the names and shapes of ``parameters``.
    """
    raise NotImplementedError("exercise 15, backward")


# %% [markdown]
# ## Training
# Plain stochastic gradient descent: each step takes the next mini-batch, computes the loss $\ell$ and its gradients at
# the parameters as they are now, and then moves all parameters at once,
#
# $$p \leftarrow p - \mathrm{lr} \cdot \frac{\partial \ell}{\partial p}$$
#
# Make new arrays rather than changing the old ones in place: the caller may want to start from them again.


# %%
def train(
    parameters: dict[str, np.ndarray], batches: list[tuple[np.ndarray, np.ndarray]], lr: float
) -> dict[str, np.ndarray]:
    """One step of gradient descent on each of the mini-batches.

    Args:
        parameters: where to start from; they stay as they are.
        batches: a pair (x, targets) for each step.
        lr: the learning rate.

    Returns:
        A dict with ``losses``, the loss of each batch before its step, one number a step; and, under the names that
        they have in ``parameters``, the new parameters.
    """
    raise NotImplementedError("exercise 15, train")


# %% [markdown]
# ## The digits
# Ready made: 300 steps on real handwritten digits. Run this file as a script, and watch. (The test images are
# normalized here with their own statistics, 355 of them together. To read a single one takes exercise 9.)


# %%
def learns_the_digits(data: Dataset, seed: int = 0) -> bool:
    """Whether your network, trained for 300 steps, recognizes at least 9 of 10 test images."""
    rng, parameters, batches = np.random.default_rng(seed), {"bias_3": np.zeros(10)}, []
    for k, (fan_in, fan_out) in enumerate([(64, 100), (100, 100), (100, 10)], start=1):
        parameters[f"weight_{k}"] = rng.normal(0, 0.1, (fan_out, fan_in))
        if k < 3:
            parameters |= {f"gamma_{k}": np.ones(fan_out), f"beta_{k}": np.zeros(fan_out)}
    for _ in range(300):
        chosen = rng.choice(len(data.x_train), 60, replace=False)
        batches.append((data.x_train[chosen].astype(np.float64), data.y_train[chosen]))
    trained = train(parameters, batches, lr=0.1)
    for step, loss in enumerate(trained["losses"], start=1):
        if step in (1, 3, 10, 30, 100, 300):
            print(f"step {step:3}: loss {loss:.3f}")
    logits = forward(data.x_test.astype(np.float64), trained)["logits"]
    accuracy = np.mean(np.argmax(logits, axis=1) == data.y_test)
    print(f"{accuracy:.1%} of the test images are recognized")
    return bool(accuracy >= 0.9)


if __name__ == "__main__":
    learns_the_digits(load_digits())
