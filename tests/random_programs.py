"""Random expression graphs over all primitives, to compare minigrad with finite differences and with PyTorch.

    python tests/random_programs.py --count 10000       # needs PyTorch; reports the first seed that disagrees

A program is made from a seed: a list of steps, each an operation on earlier values or on new leaves, with broadcasting,
shared sub-expressions and indexing. Its result is one number, a weighted sum of every value that no step used.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import Tensor

UNARY = ["exp", "log", "sqrt", "abs", "tanh", "sigmoid", "relu", "negative", "softmax", "log_softmax", "clip", "power"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "where", "power_of"]
REDUCE = ["sum", "mean", "var", "max", "min"]
SHAPE = [
    "reshape",
    "transpose",
    "swapaxes",
    "expand_dims",
    "squeeze",
    "broadcast_to",
    "getitem",
    "concatenate",
    "stack",
]
OPERATIONS = [*UNARY, *BINARY, *REDUCE, *SHAPE, "matmul"]


class Step(NamedTuple):
    operation: str
    operands: tuple[int, ...]  # numbers of earlier values
    options: tuple[Any, ...]


class Program(NamedTuple):
    leaves: list[np.ndarray]  # the first values
    steps: list[Step]  # each adds one value
    weights: dict[int, np.ndarray]  # of the values that no step used


# What an operation means in minigrad. PyTorch's table, below, has the same keys.
MINIGRAD = {
    **{name: getattr(mg, name) for name in UNARY if name not in ("log", "sqrt", "clip", "power")},
    "log": lambda x: mg.log(mg.abs(x) + 0.5),
    "sqrt": lambda x: mg.sqrt(x * x + 0.5),
    "clip": lambda x: mg.clip(x, -0.7, 0.9),
    "power": lambda x, exponent: x**exponent,
    **{name: getattr(mg, name) for name in ("add", "subtract", "multiply", "maximum", "minimum")},
    "divide": lambda x, y: x / (y * y + 0.5),
    "power_of": lambda x, y: (mg.abs(x) + 0.5) ** mg.tanh(y),
    "where": lambda x, y, chosen: mg.where(chosen, x, y),
    **{name: getattr(mg, name) for name in (*REDUCE, *SHAPE) if name not in ("getitem", "concatenate", "stack")},
    "getitem": lambda x, index: x[index],
    "concatenate": lambda x, y, axis: mg.concatenate([x, y], axis),
    "stack": lambda x, y, axis: mg.stack([x, y], axis),
    "matmul": mg.matmul,
}


def torch_table() -> dict:
    import torch

    def index(i):
        return tuple(torch.from_numpy(p.copy()) if isinstance(p, np.ndarray) else p for p in i)

    def axes(x, axis):
        return tuple(range(x.ndim)) if axis is None else axis

    return {
        **{name: getattr(torch, name) for name in ("exp", "abs", "tanh", "sigmoid", "relu", "negative")},
        "softmax": lambda x, axis: torch.softmax(x, axis),
        "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
        "log": lambda x: torch.log(torch.abs(x) + 0.5),
        "sqrt": lambda x: torch.sqrt(x * x + 0.5),
        "clip": lambda x: torch.clamp(x, -0.7, 0.9),
        "power": lambda x, exponent: x**exponent,
        **{name: getattr(torch, name) for name in ("add", "subtract", "multiply", "maximum", "minimum")},
        "divide": lambda x, y: x / (y * y + 0.5),
        "power_of": lambda x, y: (torch.abs(x) + 0.5) ** torch.tanh(y),
        "where": lambda x, y, chosen: torch.where(torch.from_numpy(chosen), x, y),
        "sum": lambda x, axis, keepdims: torch.sum(x, axes(x, axis), keepdims),
        "mean": lambda x, axis, keepdims: torch.mean(x, axes(x, axis), keepdims),
        "var": lambda x, axis, ddof, keepdims: torch.var(x, axes(x, axis), correction=ddof, keepdim=keepdims),
        "max": lambda x, axis, keepdims: torch.amax(x, axes(x, axis), keepdims),
        "min": lambda x, axis, keepdims: torch.amin(x, axes(x, axis), keepdims),
        "reshape": lambda x, shape: torch.reshape(x, shape),
        "transpose": lambda x, axes: torch.permute(x, axes),
        "swapaxes": torch.swapaxes,
        "expand_dims": torch.unsqueeze,
        "squeeze": torch.squeeze,
        "broadcast_to": torch.broadcast_to,
        "getitem": lambda x, i: x[index(i)],
        "concatenate": lambda x, y, axis: torch.cat([x, y], axis),
        "stack": lambda x, y, axis: torch.stack([x, y], axis),
        "matmul": torch.matmul,
    }


def run(program: Program, table: dict, leaves: list, weight=lambda w: w) -> Any:
    """The program's result, with ``leaves`` as its first values and ``table``'s operations."""
    values = list(leaves)
    for step in program.steps:
        values.append(table[step.operation](*(values[i] for i in step.operands), *step.options))
    total = 0
    for number, w in program.weights.items():
        total = total + (values[number] * weight(w)).sum()
    return total


class Maker:
    """Makes one program; keeps the arrays that its values have, so that every step is one that works."""

    def __init__(self, seed: int, length: int = 12) -> None:
        self.rng = np.random.default_rng(seed)
        self.leaves: list[np.ndarray] = []
        self.values: list[tuple[str, int, np.ndarray]] = []
        self.steps: list[Step] = []
        self.arrays: list[np.ndarray] = []
        self.leaf_count = 4
        for _ in range(self.leaf_count):
            self.arrays.append(self.random(tuple(self.rng.integers(1, 4, self.rng.integers(0, 4)))))
        while len(self.steps) < length:
            self.add(str(self.rng.choice(OPERATIONS)))

    def random(self, shape) -> np.ndarray:
        return self.rng.normal(0, 1, shape)

    def pick(self, fits=lambda a: True) -> int | None:
        """The number of an earlier value that fits, rather a late one than an early one."""
        numbers = [i for i, a in enumerate(self.arrays) if fits(a)]
        return int(numbers[-1 - int(len(numbers) * self.rng.random() ** 2)]) if numbers else None

    def partner(self, shape) -> int | None:
        def broadcasts(a):
            return all(n == m or 1 in (n, m) for n, m in zip(a.shape[::-1], shape[::-1], strict=False))

        return self.pick(broadcasts)

    def add(self, operation: str) -> None:
        """Append the operation to the program, if there is a value that it fits and its result stays small."""
        needs_axis = (*REDUCE, "softmax", "log_softmax", "transpose", "swapaxes", "getitem", "concatenate", "matmul")
        x = self.pick(lambda a: a.ndim >= (operation in needs_axis))
        if x is None:
            return
        operands, options = self.arguments(operation, x, self.arrays[x])
        if None in operands:
            return
        with mg.no_grad():
            y = MINIGRAD[operation](*(Tensor(self.arrays[i]) for i in operands), *options).data
        if y.size <= 60 and y.ndim <= 4 and np.abs(y).max(initial=0) < 20:
            self.steps.append(Step(operation, operands, options))
            self.arrays.append(y)

    def axis(self, a, several=True):
        if several and self.rng.random() < 0.2:
            return None
        if several and a.ndim > 1 and self.rng.random() < 0.3:
            return tuple(int(i) for i in self.rng.permutation(a.ndim)[:2])
        return int(self.rng.integers(-a.ndim, a.ndim))

    def arguments(self, operation, x, a):
        rng = self.rng
        if operation in BINARY:
            y = self.partner(a.shape)
            if operation == "where" and y is not None:
                shape = np.broadcast_shapes(a.shape, self.arrays[y].shape)
                return (x, y), (np.asarray(rng.random(shape) < 0.5),)
            return (x, y), ()
        if operation in ("softmax", "log_softmax"):
            return (x,), (self.axis(a, several=False),)
        if operation == "power":
            return (x,), (int(rng.integers(1, 4)),)
        if operation in UNARY:
            return (x,), ()
        if operation == "var":
            return (x,), (self.axis(a), 0, bool(rng.random() < 0.5))
        if operation in REDUCE:
            return (x,), (self.axis(a), bool(rng.random() < 0.5))
        return self.shape_arguments(operation, x, a)

    def shape_arguments(self, operation, x, a):
        rng = self.rng
        axis = int(rng.integers(-a.ndim, a.ndim)) if a.ndim else 0
        if operation == "reshape":
            return (x,), ([(-1,), (1, a.size), (a.size, 1), a.shape[::-1]][rng.integers(4)],)
        if operation == "transpose":
            return (x,), (tuple(int(i) for i in rng.permutation(a.ndim)),)
        if operation == "swapaxes":
            return (x,), (axis, int(rng.integers(a.ndim)))
        if operation == "expand_dims":
            return (x,), (int(rng.integers(-a.ndim - 1, a.ndim + 1)),)
        if operation == "squeeze":
            ones = [i for i, n in enumerate(a.shape) if n == 1]
            return (x if ones else None,), (ones[0] if ones else 0,)
        if operation == "broadcast_to":
            return (x,), ((2, *(3 if n == 1 else n for n in a.shape)),)
        if operation == "getitem":
            return (x,), (self.index(a),)
        if operation == "concatenate":
            return (x, self.pick(lambda b: b.shape == a.shape)), (axis,)
        if operation == "stack":
            return (x, self.pick(lambda b: b.shape == a.shape)), (int(rng.integers(a.ndim + 1)),)
        fits = self.pick(lambda b: b.ndim and a.ndim and b.shape[-min(b.ndim, 2)] == a.shape[-1] and b.ndim <= 2)
        return (x, fits), ()

    def index(self, a):
        """A tuple of an int, a slice, an integer array (with repeats), a mask, None or ...: for the first axis."""
        n, rng = a.shape[0], self.rng
        first = [
            int(rng.integers(-n, n)),
            slice(int(rng.integers(n)), None, int(rng.integers(1, 3))),
            rng.integers(0, n, 3),
            np.arange(n) % 2 == 0,
            None,
            Ellipsis,
        ][rng.integers(6)]
        return (first,)


def make(seed: int) -> Program:
    """The program of a seed: the same on every machine and with every NumPy that draws the same numbers."""
    maker = Maker(seed)
    used = {i for step in maker.steps for i in step.operands}
    weights = {i: maker.random(a.shape) for i, a in enumerate(maker.arrays) if i not in used}
    return Program(maker.arrays[: maker.leaf_count], maker.steps, weights)


def compare_with_torch(count: int, first: int) -> int:
    """Compare values and gradients of ``count`` programs to 1e-8; returns how many operations that were."""
    import torch

    table, operations = torch_table(), 0
    for seed in range(first, first + count):
        program = make(seed)
        ours = [Tensor(a.copy(), requires_grad=True) for a in program.leaves]
        theirs = [torch.tensor(a, requires_grad=True) for a in program.leaves]
        y, expected = run(program, MINIGRAD, ours), run(program, table, theirs, torch.from_numpy)
        y.backward()
        expected.backward()
        pairs = [(y.data, expected.detach().numpy())]
        pairs += [(x.grad, None if z.grad is None else z.grad.numpy()) for x, z in zip(ours, theirs, strict=True)]
        for a, b in pairs:
            if (a is None) != (b is None) or (a is not None and not np.allclose(a, b, rtol=1e-8, atol=1e-8)):
                raise SystemExit(f"seed {seed} disagrees: minigrad {a}, PyTorch {b}\n{program.steps}")
        operations += len(program.steps)
    return operations


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    args = parser.parse_args()
    operations = compare_with_torch(args.count, args.first)
    print(f"{args.count:,} programs, {operations:,} operations: values and gradients agree to 1e-8")
