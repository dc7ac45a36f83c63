"""Reference solution of exercise 15; what the hand-out has ready made is as it is there."""

from tutorials.data import Dataset, load_digits  # noqa: I001 - before NumPy: see tutorials/__init__.py
from tutorials.exercises.checks.run import exercises, load, verdicts

from collections.abc import Callable
from pathlib import Path

import numpy as np


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


def sigmoid(y):
    return 1 / (1 + np.exp(-y))


def forward(x, parameters):
    cache, h = {}, x
    for k in (1, 2):
        gamma, beta = parameters[f"gamma_{k}"], parameters[f"beta_{k}"]
        z = h @ parameters[f"weight_{k}"].T
        y = batch_norm_forward(z, gamma, beta, np.zeros_like(gamma), np.ones_like(gamma))["y"]
        h = sigmoid(y)
        cache |= {f"z_{k}": z, f"y_{k}": y, f"h_{k}": h}
    cache["logits"] = h @ parameters["weight_3"].T + parameters["bias_3"]
    return cache


def backward(x, targets, parameters, cache):
    d_logits = cross_entropy_backward(cache["logits"], targets)
    last = linear_backward(d_logits, cache["h_2"], parameters["weight_3"])
    gradients = {"weight_3": last["d_weight"], "bias_3": last["d_bias"]}
    d_h = last["d_x"]
    for k in (2, 1):
        below = cache["h_1"] if k == 2 else x
        d_y = d_h * cache[f"h_{k}"] * (1 - cache[f"h_{k}"])
        norm = batch_norm_backward(d_y, cache[f"z_{k}"], parameters[f"gamma_{k}"])
        linear = linear_backward(norm["d_x"], below, parameters[f"weight_{k}"])
        gradients |= {f"gamma_{k}": norm["d_gamma"], f"beta_{k}": norm["d_beta"], f"weight_{k}": linear["d_weight"]}
        d_h = linear["d_x"]
    return gradients


def train(parameters, batches, lr):
    losses = []
    for x, targets in batches:
        cache = forward(x, parameters)
        losses.append(cross_entropy(cache["logits"], targets)["loss"])
        gradients = backward(x, targets, parameters, cache)
        parameters = {name: value - lr * gradients[name] for name, value in parameters.items()}
    return {"losses": np.array(losses), **parameters}


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
