"""How fast is minigrad? Against bare NumPy and, where installed, PyTorch, JAX, HIPS autograd and MyGrad.

    .venv/bin/python tests/benchmarks/step.py

Three things are timed, in float32:

- one training step of the paper's section 4.1 network with batch normalization (784 inputs, three hidden layers of
  sigmoids, 10 classes): forward, cross-entropy, backward, SGD;
- batch normalization alone, forward and backward, with all three gradients;
- what recording and reading back the tape adds to one operation on single numbers (a chain of 1,000).

All sides start from the same values and must give the same results (losses of the first 5 steps to 1e-5, gradients to
1e-4). They are timed in turns in one process, so that whatever else the machine does slows all of them; each turn
begins with an untimed run, because the threads of the side before may still be spinning. Printed are the medians over
the rounds of each side's time, and of its ratio to the reference in the same round.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import time

import numpy as np

from layers import BatchNorm1d, BatchNorm2d, Linear, Sequential, Sigmoid, cross_entropy
from minigrad import Tensor
from minigrad.optim import SGD

INPUTS, CLASSES, LR, EPS, MOMENTUM = 784, 10, 0.1, 1e-5, 0.1


def initial_weights(units: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [INPUTS, units, units, units, CLASSES]
    return [rng.normal(0, 0.1, (b, a)).astype(np.float32) for a, b in itertools.pairwise(sizes)]


# Sides of the training step: step(x, labels) -> loss.


class Minigrad:
    def __init__(self, units: int) -> None:
        layers = []
        for weight in initial_weights(units):
            linear = Linear(weight.shape[1], weight.shape[0])
            linear.weight.data = weight
            linear.bias.data = np.zeros(weight.shape[0])
            layers += [linear, BatchNorm1d(weight.shape[0], EPS, MOMENTUM), Sigmoid()]
        self.model = Sequential(*layers[:-2])
        self.optimizer = SGD(self.model.parameters(), LR)

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        loss = cross_entropy(self.model(x), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class BareNumPy:
    """The same step written out by hand, as a careful person would."""

    def __init__(self, units: int) -> None:
        self.weights = initial_weights(units)
        self.biases = [np.zeros(len(w), np.float32) for w in self.weights]
        self.gammas = [np.ones(len(w), np.float32) for w in self.weights[:-1]]
        self.betas = [np.zeros(len(w), np.float32) for w in self.weights[:-1]]
        self.running_means = [np.zeros(len(w), np.float32) for w in self.weights[:-1]]
        self.running_vars = [np.ones(len(w), np.float32) for w in self.weights[:-1]]

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        m = len(x)
        inputs, normalized, stds = [x], [], []
        for i in range(3):
            z = inputs[-1] @ self.weights[i].T + self.biases[i]
            mean = z.mean(axis=0)
            centered = z - mean
            var = (centered * centered).mean(axis=0)
            std = np.sqrt(var + EPS)
            x_hat = centered / std
            self.running_means[i] += MOMENTUM * (mean - self.running_means[i])
            self.running_vars[i] += MOMENTUM * (var * (m / (m - 1)) - self.running_vars[i])
            y = self.gammas[i] * x_hat + self.betas[i]
            normalized.append(x_hat)
            stds.append(std)
            inputs.append(1 / (1 + np.exp(-y)))
        logits = inputs[-1] @ self.weights[3].T + self.biases[3]
        exps = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exps / exps.sum(axis=1, keepdims=True)
        loss = -np.log(probabilities[np.arange(m), labels]).mean()

        g = probabilities
        g[np.arange(m), labels] -= 1
        g /= m
        for i in (3, 2, 1, 0):
            if i < 3:
                h, x_hat = inputs[i + 1], normalized[i]
                g = g * h * (1 - h)
                d_beta = g.sum(axis=0)
                d_gamma = (g * x_hat).sum(axis=0)
                g = self.gammas[i] / (m * stds[i]) * (m * g - d_beta - x_hat * d_gamma)
                self.gammas[i] -= LR * d_gamma
                self.betas[i] -= LR * d_beta
            d_weight = g.T @ inputs[i]
            d_bias = g.sum(axis=0)
            if i > 0:
                g = g @ self.weights[i]
            self.weights[i] -= LR * d_weight
            self.biases[i] -= LR * d_bias
        return float(loss)


class PyTorch:
    def __init__(self, units: int) -> None:
        import torch

        self.torch = torch
        layers = []
        for weight in initial_weights(units):
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                linear.weight[:] = torch.from_numpy(weight)
                linear.bias.zero_()
            layers += [linear, torch.nn.BatchNorm1d(weight.shape[0], EPS, MOMENTUM), torch.nn.Sigmoid()]
        self.model = torch.nn.Sequential(*layers[:-2])
        self.optimizer = torch.optim.SGD(self.model.parameters(), LR)

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        x, labels = self.torch.from_numpy(x), self.torch.from_numpy(labels)
        loss = self.torch.nn.functional.cross_entropy(self.model(x), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Jax:
    def __init__(self, units: int) -> None:
        import jax
        import jax.numpy as jnp

        def loss_of(parameters, running, x, labels):
            h, new_running = x, []
            for i, (weight, bias, *affine) in enumerate(parameters):
                h = h @ weight.T + bias
                if affine:
                    mean, var, m = h.mean(0), h.var(0), len(x)
                    h = affine[0] * (h - mean) / jnp.sqrt(var + EPS) + affine[1]
                    h = jax.nn.sigmoid(h)
                    statistics = (mean, var * m / (m - 1))
                    new_running.append([r + MOMENTUM * (s - r) for r, s in zip(running[i], statistics, strict=True)])
            return -jax.nn.log_softmax(h)[jnp.arange(len(x)), labels].mean(), new_running

        @jax.jit
        def step(parameters, running, x, labels):
            (loss, running), grads = jax.value_and_grad(loss_of, has_aux=True)(parameters, running, x, labels)
            return loss, jax.tree.map(lambda p, g: p - LR * g, parameters, grads), running

        self.jitted = step
        self.parameters, self.running = [], []
        for weight in initial_weights(units):
            n = len(weight)
            affine = [jnp.ones(n), jnp.zeros(n)] if n != CLASSES else []
            self.parameters.append([jnp.array(weight), jnp.zeros(n), *affine])
            if affine:
                self.running.append([jnp.zeros(n), jnp.ones(n)])

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        loss, self.parameters, self.running = self.jitted(self.parameters, self.running, x, labels)
        return float(loss)


# Sides of batch normalization alone: run(x, g) -> (d_x, d_gamma, d_beta).


def minigrad_batch_norm(shape: tuple[int, ...]):
    layer = (BatchNorm1d if len(shape) == 2 else BatchNorm2d)(shape[1])

    def run(x, g):
        x = Tensor(x, requires_grad=True)
        layer.zero_grad()
        layer(x).backward(g)
        return x.grad, layer.weight.grad, layer.bias.grad

    return run


def numpy_batch_norm(shape: tuple[int, ...]):
    axes = (0, *range(2, len(shape)))
    channel = (1, shape[1], *[1] * (len(shape) - 2))
    gamma, beta = np.ones(channel, np.float32), np.zeros(channel, np.float32)
    running_mean, running_var = np.zeros(channel, np.float32), np.ones(channel, np.float32)
    m = int(np.prod(shape)) // shape[1]

    def run(x, g):
        nonlocal running_mean, running_var
        mean = x.mean(axis=axes, keepdims=True)
        centered = x - mean
        var = (centered * centered).mean(axis=axes, keepdims=True)
        std = np.sqrt(var + EPS)
        x_hat = centered / std
        y = gamma * x_hat + beta  # noqa: F841  what a network would go on with
        running_mean += MOMENTUM * (mean - running_mean)
        running_var += MOMENTUM * (var * (m / (m - 1)) - running_var)
        d_beta = g.sum(axis=axes, keepdims=True)
        d_gamma = (g * x_hat).sum(axis=axes, keepdims=True)
        d_x = gamma / (m * std) * (m * g - d_beta - x_hat * d_gamma)
        return d_x, d_gamma.ravel(), d_beta.ravel()

    return run


def torch_batch_norm(shape: tuple[int, ...]):
    import torch

    layer = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(shape[1])

    def run(x, g):
        x = torch.from_numpy(x).requires_grad_()
        layer.zero_grad()
        layer(x).backward(torch.from_numpy(g))
        return x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()

    return run


# Sides of the chain: run() makes 1,000 operations on single numbers and goes back. Bare Python floats are what any of
# them would cost without a tape, and are subtracted.


CHAIN_GRADIENT = 4.0  # y tends to x / (1 - x), whose derivative is 1 / (1 - x)**2


def chain(x):
    """1,000 operations on single numbers, in each of which both operands may require a gradient."""
    y = x
    for _ in range(500):
        y = y * x + x
    return y


def minigrad_chain():
    x = Tensor(0.5, requires_grad=True)

    def run():
        x.zero_grad()
        chain(x).backward()
        return x.grad

    return run


def torch_chain():
    import torch

    x = torch.tensor(0.5, requires_grad=True, dtype=torch.float64)

    def run():
        x.grad = None
        chain(x).backward()
        return x.grad.numpy()

    return run


def mygrad_chain():
    import mygrad

    x = mygrad.tensor(0.5)

    def run():
        x.null_grad()
        chain(x).backward()
        return x.grad

    return run


def autograd_chain():
    import autograd

    gradient = autograd.grad(lambda x: chain(x))
    return lambda: gradient(0.5)


def floats_chain():
    def run():
        chain(np.float64(0.5))
        return CHAIN_GRADIENT

    return run


def installed(sides: dict) -> dict:
    """Make each side, leaving out those whose library is missing."""
    made = {}
    for name, make in sides.items():
        try:
            made[name] = make()
        except ImportError:
            print(f"({name} is not installed)")
    return made


def time_in_turns(runs: dict, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Seconds a run, one number a round: each round gives every side a turn, each round in another order."""
    seconds = {name: [] for name in runs}
    names = list(runs)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            runs[name]()
            start = time.perf_counter()
            for _ in range(repeats):
                runs[name]()
            seconds[name].append((time.perf_counter() - start) / repeats)
    return seconds


def print_rows(what: str, seconds: dict[str, list[float]], references: tuple[str, ...]) -> None:
    for name, times in seconds.items():
        ratios = [
            f"{np.median(np.divide(times, seconds[other])):.2f}" if other in seconds else "-" for other in references
        ]
        print(f"| {what} | {name} | {np.median(times) * 1e6:,.1f} | {' | '.join(ratios)} |", flush=True)


def compare_steps(batch: int, units: int, rounds: int) -> None:
    makers = {
        "bare NumPy": lambda: BareNumPy(units),
        "minigrad": lambda: Minigrad(units),
        "PyTorch": lambda: PyTorch(units),
        "JAX jit": lambda: Jax(units),
    }
    sides = installed(makers)
    rng = np.random.default_rng(1)
    x = rng.random((8, batch, INPUTS), dtype=np.float32)
    labels = rng.integers(0, CLASSES, (8, batch))
    losses = {name: [side.step(x[i], labels[i]) for i in range(5)] for name, side in sides.items()}
    for name in sides:
        np.testing.assert_allclose(losses[name], losses["bare NumPy"], rtol=1e-5, err_msg=f"losses of {name}")
    turn = itertools.cycle(range(8))
    runs = {name: lambda side=side: side.step(x[i := next(turn)], labels[i]) for name, side in sides.items()}
    repeats = max(1, 60 * 100 * 10 // (batch * units))
    print_rows(f"step ({batch}, {units})", time_in_turns(runs, rounds, repeats), ("bare NumPy", "PyTorch"))


def compare_batch_norm(shape: tuple[int, ...], rounds: int) -> None:
    makers = {
        "bare NumPy": lambda: numpy_batch_norm(shape),
        "minigrad": lambda: minigrad_batch_norm(shape),
        "PyTorch": lambda: torch_batch_norm(shape),
    }
    sides = installed(makers)
    rng = np.random.default_rng(2)
    x, g = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    expected = sides["bare NumPy"](x, g)
    for name, run in sides.items():
        for ours, theirs in zip(run(x, g), expected, strict=True):
            scale = np.abs(theirs).max()
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * scale, err_msg=f"gradients of {name}")
    runs = {name: lambda run=run: run(x, g) for name, run in sides.items()}
    repeats = max(1, 60 * 100 * 30 // x.size)
    print_rows(f"BatchNorm {shape}", time_in_turns(runs, rounds, repeats), ("bare NumPy", "PyTorch"))


def compare_chains(rounds: int) -> None:
    makers = {
        "bare": floats_chain,
        "minigrad": minigrad_chain,
        "PyTorch": torch_chain,
        "MyGrad": mygrad_chain,
        "HIPS autograd": autograd_chain,
    }
    runs = installed(makers)
    for name, run in runs.items():
        np.testing.assert_allclose(run(), CHAIN_GRADIENT, err_msg=f"gradient of {name}")
    seconds = time_in_turns(runs, rounds, 1)
    bare = np.array(seconds.pop("bare"))
    overheads = {name: list((np.array(times) - bare) / 1000) for name, times in seconds.items()}
    print_rows("tape, per scalar operation", overheads, ("bare", "PyTorch"))


def peak_memory(name: str) -> None:
    """Print by how many bytes five steps at (1024, 1024) raise this process's peak memory. Linux and macOS only."""
    import resource

    def peak():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    side = {"bare NumPy": BareNumPy, "minigrad": Minigrad, "PyTorch": PyTorch}[name](1024)
    rng = np.random.default_rng(1)
    x, labels = rng.random((1024, INPUTS), dtype=np.float32), rng.integers(0, CLASSES, 1024)
    side.step(x[:2], labels[:2])  # so that libraries have loaded what they load at first use
    before = peak()
    for _ in range(5):
        side.step(x, labels)
    print(peak() - before)


def compare_memory() -> None:
    for name in ("bare NumPy", "minigrad", "PyTorch"):
        finished = subprocess.run([sys.executable, __file__, "--peak", name], capture_output=True, text=True)
        if finished.returncode == 0:
            print(f"| peak memory of step (1024, 1024), MB | {name} | {int(finished.stdout) / 1e6:,.0f} | | |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # how compare_memory calls this script, once for each side
    arguments = parser.parse_args()
    rounds = arguments.rounds
    if arguments.peak:
        sys.exit(peak_memory(arguments.peak))
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {time.strftime('%Y-%m-%d')}; {rounds} rounds"
    )
    print("| | | microseconds | x bare NumPy | x PyTorch |\n| --- | --- | ---: | ---: | ---: |")
    compare_memory()  # first: a process starts with the peak of the one that started it
    for batch, units in ((60, 100), (256, 512), (1024, 1024)):
        compare_steps(batch, units, rounds if batch < 1024 else max(1, rounds // 6))
    for shape in ((60, 100), (256, 512), (1024, 1024), (64, 64, 32, 32)):
        compare_batch_norm(shape, rounds if len(shape) == 2 else max(1, rounds // 4))
    compare_chains(rounds)
