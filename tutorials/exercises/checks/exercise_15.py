"""Exercise 15: a network for the digits, put together from the student's earlier functions, and trained.

The right values are the library's: the same network of its layers, its tape, its SGD.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from layers import BatchNorm1d, Linear, Sequential, Sigmoid, cross_entropy
from minigrad import Tensor
from minigrad.optim import SGD
from tutorials.data import load_digits

from . import exercise_05, exercise_07, exercise_08, exercise_10, exercise_11
from .framework import Exercise, Mistake, Task, variant

EPS = 1e-5
GRADIENTS = ("weight_3", "bias_3", "gamma_2", "beta_2", "weight_2", "gamma_1", "beta_1", "weight_1")  # as derived


def first_parameters(rng: np.random.Generator, sizes, scale: float | None = None) -> dict[str, np.ndarray]:
    """Random parameters in which no two are alike; with ``scale``, those that training starts from."""
    found = {}
    for k, (inputs, outputs) in enumerate(itertools.pairwise(sizes), start=1):
        found[f"weight_{k}"] = rng.normal(0, scale or inputs**-0.5, (outputs, inputs))
        if k < 3:
            found[f"gamma_{k}"] = np.ones(outputs) if scale else rng.uniform(0.5, 2, outputs) * rng.choice([-1, 1])
            found[f"beta_{k}"] = np.zeros(outputs) if scale else rng.normal(size=outputs)
        else:
            found["bias_3"] = np.zeros(outputs) if scale else rng.normal(size=outputs)
    return found


SHAPES = ((5, (3, 4, 6, 2)), (4, (2, 3, 3, 5)), (7, (4, 6, 2, 3)))  # the second with a square weight


def batch(rng: np.random.Generator, n: int, sizes) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(n, sizes[0])), rng.integers(sizes[-1], size=n)


def forward_cases(rng: np.random.Generator) -> list[tuple]:
    return [(batch(rng, n, sizes)[0], first_parameters(rng, sizes)) for n, sizes in SHAPES]


def backward_cases(rng: np.random.Generator) -> list[tuple]:
    """With the cache of the right forward, so that a mistake in forward does no harm here."""
    found = []
    for n, sizes in SHAPES:
        (x, targets), parameters = batch(rng, n, sizes), first_parameters(rng, sizes)
        found.append((x, targets, parameters, right_forward(x, parameters)))
    return found


def train_cases(rng: np.random.Generator) -> list[tuple]:
    """A few steps of a small network, and a few more on the digits."""
    sizes = (3, 4, 6, 2)
    small = first_parameters(rng, sizes), [batch(rng, 5, sizes) for _ in range(4)], 0.3
    turned = dict(reversed(small[0].items()))  # for whoever updates one after the other
    data = load_digits()
    chosen = rng.permutation(len(data.x_train))[: 20 * 60].reshape(20, 60)
    digits = [(data.x_train[rows].astype(np.float64), data.y_train[rows]) for rows in chosen]
    return [small, (turned, *small[1:]), (first_parameters(rng, (64, 100, 100, 10), scale=0.1), digits, 0.1)]


def digits_cases(rng: np.random.Generator) -> list[tuple]:
    return [(load_digits(), int(rng.integers(1000)))]


# The right values.


def network(parameters: dict[str, np.ndarray]) -> Sequential:
    """The library's network with these parameters, in float64."""
    layers = []
    for k in (1, 2, 3):
        outputs, inputs = parameters[f"weight_{k}"].shape
        linear = Linear(inputs, outputs, bias=k == 3, dtype=np.float64)
        linear.weight.data = parameters[f"weight_{k}"]
        layers.append(linear)
        if k < 3:
            norm = BatchNorm1d(outputs, eps=EPS, dtype=np.float64)
            norm.weight.data, norm.bias.data = parameters[f"gamma_{k}"], parameters[f"beta_{k}"]
            layers += [norm, Sigmoid()]
    linear.bias.data = parameters["bias_3"]
    return Sequential(*layers)


def tensors(network: Sequential) -> dict[str, Tensor]:
    """The network's parameters under our names."""
    linear_1, norm_1, _, linear_2, norm_2, _, linear_3 = network
    values = (linear_3.weight, linear_3.bias, norm_2.weight, norm_2.bias, linear_2.weight, norm_1.weight, norm_1.bias)
    return dict(zip(GRADIENTS, (*values, linear_1.weight), strict=True))


def right_forward(x, parameters) -> dict[str, np.ndarray]:
    names, found, h = ("z_1", "y_1", "h_1", "z_2", "y_2", "h_2", "logits"), {}, Tensor(x)
    for name, layer in zip(names, network(parameters), strict=True):
        h = layer(h)
        found[name] = h.numpy()
    return found


def right_backward(x, targets, parameters, cache) -> dict[str, np.ndarray]:
    model = network(parameters)
    cross_entropy(model(x), targets).backward()
    return {name: tensor.grad for name, tensor in tensors(model).items()}


def right_train(parameters, batches, lr) -> dict[str, np.ndarray]:
    model, losses = network(parameters), []
    optimizer = SGD(model.parameters(), lr)
    for x, targets in batches:
        loss = cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": np.array(losses)} | {name: tensor.numpy() for name, tensor in tensors(model).items()}


class Learning:
    """``learns_the_digits`` of the hand-out, with the student's ``train`` and ``forward``; the digits are read here."""

    def __init__(self, find: Callable) -> None:
        self.train, self.forward = find("train"), find("forward")

    def remote(self, arguments: tuple) -> tuple[bool, tuple]:
        data, seed = arguments
        rng, batches = np.random.default_rng(seed), []
        parameters = first_parameters(rng, (64, 100, 100, 10), scale=0.1)
        for _ in range(300):
            chosen = rng.choice(len(data.x_train), 60, replace=False)
            batches.append((data.x_train[chosen].astype(np.float64), data.y_train[chosen]))
        trained, _ = self.train.remote((parameters, batches, 0.1))
        found, _ = self.forward.remote((data.x_test.astype(np.float64), trained))
        logits = found.get("logits") if isinstance(found, dict) else None
        if np.shape(logits) != (len(data.y_test), 10):
            return False, arguments
        return bool(np.mean(np.argmax(logits, axis=1) == data.y_test) >= 0.9), arguments


# What is given in place of pieces that aren't right, as the hand-outs have them.

PIECES = {
    (5, "linear_backward"): lambda g, x, weight: exercise_05.linear_backward(g, x, weight),
    (7, "cross_entropy"): lambda logits, targets: exercise_07.cross_entropy(logits, targets),
    (7, "cross_entropy_backward"): lambda logits, targets: exercise_07.cross_entropy_backward(logits, targets),
    (8, "batch_norm_forward"): lambda x, gamma, beta, running_mean, running_var, momentum=0.1, eps=1e-5: (
        exercise_08.batch_norm_forward(x, gamma, beta, running_mean, running_var, momentum, eps)
    ),
    (10, "batch_norm_backward"): lambda d_y, x, gamma, eps=1e-5: exercise_10.backward(d_y, x, gamma, eps),
    (11, "batch_norm_d_x"): lambda d_y, x_hat, gamma, std: exercise_11.d_x(d_y, x_hat, gamma, std),
}


# The same in NumPy, with a setting for everything that can go wrong.


def sigmoid(y, sign=-1):
    return 1 / (1 + np.exp(sign * y))


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def normalize(z, gamma, beta):
    std = np.sqrt(z.var(0) + EPS)
    return gamma * (z - z.mean(0)) / std + beta


def forward(
    x, parameters, sigmoid_sign=-1, sigmoid_first=False, activation="sigmoid", norm="whole", swapped=False, bias=True,
    logits="plain", passes_on="h",
) -> dict[str, np.ndarray]:  # fmt: skip
    p, found, h = parameters, {}, x
    activations = {"tanh": np.tanh, "relu": lambda y: np.maximum(y, 0), "none": np.copy}
    activate = activations.get(activation, lambda y: sigmoid(y, sigmoid_sign))
    for k in (1, 2):
        z = h @ p[f"weight_{k}"].T
        gamma, beta = p[f"gamma_{k}"], p[f"beta_{k}"]
        gamma, beta = (beta, gamma) if swapped else (gamma, beta)
        if sigmoid_first:
            y = activate(z)
            h = normalize(y, gamma, beta)
        else:
            y = {"whole": normalize(z, gamma, beta), "x_hat": normalize(z, 1, 0), "skipped": z}[norm]
            h = activate(y)
        found |= {f"z_{k}": z, f"y_{k}": y, f"h_{k}": h}
        h = y if passes_on == "y" else h
    out = h @ p["weight_3"].T + (p["bias_3"] if bias else 0)
    return found | {"logits": {"plain": out, "softmax": softmax(out), "sigmoid": sigmoid(out)}[logits]}


def backward(
    x, targets, parameters, cache,
    mean_loss=True, slope="h", norm="right", norm_input="z", seen_by_weight="h", bias="sum", last_weight=True, sign=1,
) -> dict[str, np.ndarray]:  # fmt: skip
    p, h = parameters, [x, cache["h_1"], cache["h_2"]]
    n = len(x)
    d_logits = sign * (softmax(cache["logits"]) - np.eye(cache["logits"].shape[1])[targets]) / (n if mean_loss else 1)
    seen = cache["y_2"] if seen_by_weight == "y" else h[2]
    found = {"weight_3": d_logits.T @ seen, "bias_3": d_logits.sum(0) / (n if bias == "mean" else 1)}
    g = d_logits @ p["weight_3"]
    for k in (2, 1):
        y, z, gamma = cache[f"y_{k}"], cache[f"z_{k}"], p[f"gamma_{k}"]
        if slope != "none":
            g = g * {"h": h[k] * (1 - h[k]), "y": y * (1 - y), "z": z * (1 - z), "no h": 1 - h[k]}[slope]
        z = y if norm_input == "y" else z
        std = np.sqrt(z.var(0) + EPS)
        x_hat = (z - z.mean(0)) / std
        found |= {f"gamma_{k}": (g * x_hat).sum(0), f"beta_{k}": g.sum(0)}
        gamma = 1 if norm == "no gamma" else gamma
        if norm in ("right", "no gamma"):
            g = gamma / std * (g - g.mean(0) - x_hat * (g * x_hat).mean(0))
        elif norm == "constants":
            g = gamma / std * g
        elif norm == "gamma":
            g = gamma * g
        below = cache["y_1"] if seen_by_weight == "y" and k == 2 else h[k - 1]
        found[f"weight_{k}"] = g.T @ below
        g = g @ p[f"weight_{k}"]
    return {name: found[name] for name in GRADIENTS}


def loss_of(logits, targets, total="mean") -> float:
    losses = -np.log(softmax(logits)[np.arange(len(targets)), targets])
    return losses.sum() if total == "sum" else losses.mean()


def train(
    parameters, batches, lr,
    sign=-1, gradients="fresh", lr_over="1", losses="before", which="each", learn=GRADIENTS, carry=True, total="mean",
    norm="right",
) -> dict[str, np.ndarray]:  # fmt: skip
    now, found, reused = parameters, [], None
    for x, targets in batches if which == "each" else [batches[0]] * len(batches):
        cache = forward(x, now)
        found.append(loss_of(cache["logits"], targets, total))
        d = backward(x, targets, now, cache, norm=norm)
        if gradients == "first" and reused is not None:
            d = reused
        if gradients == "previous":
            d, before = reused or d, d
            reused = before
        reused = d if gradients == "first" else reused
        if gradients == "summed":
            d = reused = {name: d[name] + (0 if reused is None else reused[name]) for name in d}
        rate = {"1": lr, "N": lr / len(x), "none": 1.0}[lr_over]
        new = {name: now[name] + sign * rate * d[name] if name in learn else now[name] for name in GRADIENTS}
        if losses == "after":
            found[-1] = loss_of(forward(x, new)["logits"], targets, total)
        now = new if carry else now
    return {"losses": np.array(found)} | {name: new[name] for name in GRADIENTS}


def of_forward(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(forward, **settings))


def of_backward(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(backward, **settings))


def of_train(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(train, **settings))


FORWARD = [
    of_forward(
        "the sigmoid comes before the batch normalization",
        "in which order do z, y and h follow each other?",
        sigmoid_first=True,
    ),
    of_forward("the sigmoid falls instead of rising", "what should it give for a large y: 0 or 1?", sigmoid_sign=1),
    of_forward("tanh stands in for the sigmoid", "between which two values does a sigmoid lie?", activation="tanh"),
    of_forward("ReLU stands in for the sigmoid", "between which two values does a sigmoid lie?", activation="relu"),
    of_forward("the sigmoid is left out", "what can layers of Linear alone not do?", activation="none"),
    of_forward(
        "the sigmoid is computed, but y goes into the next Linear", "which of z_k, y_k and h_k goes on?", passes_on="y"
    ),
    of_forward("the batch normalization is left out", "y_k is not z_k", norm="skipped"),
    of_forward("gamma and beta are left out", "x_hat isn't yet the result of batch normalization", norm="x_hat"),
    of_forward("gamma and beta are exchanged", "which of them multiplies, and which is added?", swapped=True),
    of_forward("the last bias is forgotten", "the last Linear has a bias; only those before BN do without", bias=False),
    of_forward(
        "the last layer has a softmax",
        "logits are any real numbers; who applies the softmax to them?",
        logits="softmax",
    ),
    of_forward(
        "the last layer has a sigmoid, too", "logits are any real numbers, not just those from 0 to 1", logits="sigmoid"
    ),
]

BACKWARD = [
    of_backward(
        "the loss is summed over the batch instead of averaged",
        "by how much does the mean of N losses change when one of them does?",
        mean_loss=False,
    ),
    of_backward(
        "the sigmoid's slope is computed from what goes into it instead of what comes out",
        "h * (1 - h): which array of the cache is h?",
        slope="y",
    ),
    of_backward("the sigmoid's slope is computed from z", "h * (1 - h): which array of the cache is h?", slope="z"),
    of_backward("the sigmoid's slope is 1 - h", "which factor is missing in it?", slope="no h"),
    of_backward("the sigmoid is skipped on the way back", "what lies between h_k and y_k?", slope="none"),
    of_backward("the batch normalization is skipped on the way back", "what lies between y_k and z_k?", norm="skipped"),
    of_backward(
        "on the way back through the batch normalization, mean and variance are taken for constants",
        "z reaches y through them, too: exercise 10 has all three ways",
        norm="constants",
    ),
    of_backward(
        "on the way back through the batch normalization, only gamma is multiplied",
        "that takes you from y to x_hat; what lies between x_hat and z?",
        norm="gamma",
    ),
    of_backward(
        "on the way back through the batch normalization, gamma is forgotten",
        "y = gamma * x_hat + beta: what arrives at x_hat?",
        norm="no gamma",
    ),
    of_backward(
        "the batch normalization's backward is given its output y instead of its input z",
        "from what did the forward pass compute mean and variance?",
        norm_input="y",
    ),
    of_backward(
        "the gradients of the weights are taken against y instead of h",
        "what went into the Linear above: y_k or h_k?",
        seen_by_weight="y",
    ),
    of_backward(
        "the gradient of the last bias is averaged over the batch",
        "the loss has its 1/N already; all N examples use the bias",
        bias="mean",
    ),
    of_backward("all signs are wrong", "softmax minus one-hot, or one-hot minus softmax?", sign=-1),
]

CURRENT = "each step needs the gradients of its own batch at the parameters as they are now"

TRAIN = [
    of_train("the steps go up the gradient instead of down", "the gradient points to where the loss grows", sign=1),
    of_train("the gradients of the first step are used in all steps", CURRENT, gradients="first"),
    of_train("each step uses the gradients of the step before", CURRENT, gradients="previous"),
    of_train(
        "the gradients of all steps so far are added up",
        "the engine's zero_grad is there for just that: where does each step's gradient begin?",
        gradients="summed",
    ),
    of_train(
        "the learning rate is divided by the batch size",
        "the loss is a mean over the batch, so its gradient has the 1/N already",
        lr_over="N",
    ),
    of_train("the learning rate is forgotten", "how far does a step go?", lr_over="none"),
    of_train(
        "the losses are measured after each step",
        "losses[i] is the loss before step i changes anything",
        losses="after",
    ),
    of_train("the losses are sums over the batch", "the cross-entropy is a mean over the batch", total="sum"),
    of_train("the first batch is used in all steps", "each step has its own batch", which="first"),
    of_train(
        "each step starts again from the first parameters",
        "where should the second step start? Which parameters do you give to forward?",
        carry=False,
    ),
    of_train(
        "only the weights and the bias are trained",
        "gamma and beta are parameters, too",
        learn=("weight_1", "weight_2", "weight_3", "bias_3"),
    ),
    of_train(
        "the last bias isn't trained",
        "do all parameters get their step?",
        learn=tuple(name for name in GRADIENTS if name != "bias_3"),
    ),
    of_train(
        "the batch normalization is skipped on the way back",
        "that is in your backward; see what is said about it above",
        norm="skipped",
    ),
    of_train(
        "on the way back through the batch normalization, mean and variance are taken for constants",
        "that is in your backward; see what is said about it above",
        norm="constants",
    ),
]

DIGITS = [
    Mistake(
        "fewer than 9 of 10 test images are recognized",
        "if forward, backward and train are right, this comes by itself; until then, look at the losses: do they fall?",
        lambda data, seed: False,
    )
]

EXERCISE = Exercise(
    15,
    "15_train_an_mlp.py",
    "Train an MLP with your own pieces",
    [
        Task("forward", forward_cases, right_forward, FORWARD),
        Task("backward", backward_cases, right_backward, BACKWARD),
        Task("train", train_cases, right_train, TRAIN, after=("forward", "backward")),
        Task(
            "learns_the_digits",
            digits_cases,
            lambda data, seed: True,
            DIGITS,
            after=("forward", "backward", "train"),
            through=Learning,
        ),
    ],
    seconds=20,
    pieces=PIECES,
)
