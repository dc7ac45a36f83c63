"""How long one training step takes: minigrad, bare NumPy and, where it is installed, PyTorch.

    python tests/benchmarks/step.py

The step is the paper's section 4.1 network with batch normalization (784 inputs, three hidden layers of sigmoids,
10 classes, float32): forward, cross-entropy, backward, SGD. All sides start from the same weights and see the same
batches, their first losses must agree to 1e-5, and they are timed in turns in one process, so that whatever
else the machine does slows all of them. Printed are the medians over the rounds of each side's time and of its ratio
to bare NumPy in the same round.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np

from layers import BatchNorm1d, Linear, Sequential, Sigmoid, cross_entropy
from minigrad.optim import SGD

INPUTS, CLASSES, LR, EPS, MOMENTUM = 784, 10, 0.1, 1e-5, 0.1


def initial_weights(units: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [INPUTS, units, units, units, CLASSES]
    return [rng.normal(0, 0.1, (b, a)).astype(np.float32) for a, b in itertools.pairwise(sizes)]


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


def make_sides(units: int) -> dict:
    sides = {"bare NumPy": BareNumPy(units), "minigrad": Minigrad(units)}
    try:
        sides["PyTorch"] = PyTorch(units)
    except ImportError:
        print("PyTorch is not installed: timing without it")
    return sides


def compare(batch: int, units: int, rounds: int, steps: int) -> None:
    rng = np.random.default_rng(1)
    batches = [
        (rng.random((batch, INPUTS), dtype=np.float32), rng.integers(0, CLASSES, batch)) for _ in range(max(steps, 5))
    ]
    sides = make_sides(units)
    first_losses = {name: [side.step(*data) for data in batches[:5]] for name, side in sides.items()}
    for name, losses in first_losses.items():
        np.testing.assert_allclose(losses, first_losses["bare NumPy"], rtol=1e-5, err_msg=f"losses of {name}")

    seconds = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides)[turn % len(sides) :] + list(sides)[: turn % len(sides)]
        for name in order:
            start = time.perf_counter()
            for data in batches[:steps]:
                sides[name].step(*data)
            seconds[name].append((time.perf_counter() - start) / steps)
    print(f"\nbatch {batch}, {units} units, {rounds} rounds of {steps} steps; first 5 losses agree to 1e-5")
    print(f"{'':12}{'us a step':>12}{'x bare NumPy':>15}")
    for name, times in seconds.items():
        ratio = np.median(np.divide(times, seconds["bare NumPy"]))
        print(f"{name:12}{np.median(times) * 1e6:12.0f}{ratio:15.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=60)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=20, help="steps a round")
    args = parser.parse_args()
    compare(args.batch, args.units, args.rounds, args.steps)
