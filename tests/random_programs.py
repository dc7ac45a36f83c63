"""Random programs over all primitives and the layers' functions, to compare with finite differences and with PyTorch.

    python tests/random_programs.py --count 20000       # needs PyTorch; ends at the first seed that disagrees

For each seed, this script compares a program from this file, a call of batch normalization from ``random_layers.py``,
and a network in training and an optimizer from ``random_training.py``.

A program is a list of steps, each an operation on earlier values or on new leaves, with broadcasting, shared
sub-expressions, indexing, lengths that are equal, 1 or 0, and leaves in odd memory layouts. Its result is one number, a
weighted sum of every value that no step used.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import random_arrays
import random_layers
import random_training
from random_arrays import Disagreement, agree, native, size_of

import layers
import minigrad as mg
from minigrad import Tensor

UNARY = ["exp", "log", "sqrt", "abs", "tanh", "sigmoid", "relu", "negative", "clip", "power", "number"]
SOFTMAX = ["softmax", "log_softmax"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "where", "power_of"]
REDUCE = ["sum", "mean", "var", "max", "min"]
SHAPE = ["reshape", "transpose", "swapaxes", "expand_dims", "squeeze", "broadcast_to", "getitem"]
JOIN = ["concatenate", "stack"]
LAYER = ["linear", "batch_norm", "cross_entropy", "mse_loss"]
OPERATIONS = [*UNARY, *SOFTMAX, *BINARY, *REDUCE, *SHAPE, *JOIN, *LAYER, "matmul"]

NOT_EMPTY = {"mean", "var", "max", "min", "batch_norm", "cross_entropy", "mse_loss"}  # undefined for no values
AT_LEAST = {"linear": 1, "matmul": 1, "softmax": 1, "log_softmax": 1, "swapaxes": 1, "getitem": 1, "concatenate": 1}
AT_LEAST |= {"batch_norm": 2, "cross_entropy": 2}  # axes


class Step(NamedTuple):
    operation: str  # or "leaf"
    operands: tuple[int, ...]  # numbers of earlier values
    options: tuple[Any, ...]


class Program(NamedTuple):
    leaves: list[np.ndarray]
    needs: list[bool]  # whether each leaf requires a gradient
    steps: list[Step]  # each adds one value
    weights: dict[int, np.ndarray]  # of the values that no step used


def batch_norm(x: Tensor, *rest: Any) -> Tensor:
    """``layers.batch_norm`` of x, perhaps weight, perhaps bias, and the four options."""
    *affine, statistics, training, eps, channels_last = rest
    mean, var = statistics or (None, None)
    return layers.batch_norm(x, mean, var, *affine, training=training, eps=eps, channels_last=channels_last)


# What an operation means in minigrad. PyTorch's table, below, has the same keys.
MINIGRAD: dict[str, Callable] = {
    **{name: getattr(mg.ops, name) for name in (*UNARY, *SOFTMAX, *BINARY, *REDUCE, *SHAPE) if name in mg.ops.__all__},
    "log": lambda x: mg.log(mg.abs(x) + 0.5),
    "sqrt": lambda x: mg.sqrt(x * x + 0.5),
    "power": lambda x, exponent: (x if exponent > 0 and exponent % 1 == 0 else mg.abs(x) + 0.5) ** exponent,
    "number": lambda x, c: (c - x * c) / 2 + c / (x * x + 0.5) + 1.5 ** mg.tanh(x),
    "divide": lambda x, y: x / (y * y + 0.5),
    "power_of": lambda x, y: (mg.abs(x) + 0.5) ** mg.tanh(y),
    "where": lambda x, y, chosen: mg.where(chosen, x, y),
    "getitem": lambda x, index: x[index],
    "concatenate": lambda *xs: mg.concatenate(xs[:-1], xs[-1]),
    "stack": lambda *xs: mg.stack(xs[:-1], xs[-1]),
    "matmul": mg.matmul,
    "linear": layers.linear,
    "batch_norm": batch_norm,
    "cross_entropy": layers.cross_entropy,
    "mse_loss": layers.mse_loss,
}


def softmax_in_numpy(x: np.ndarray, axis: int) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def batch_norm_in_numpy(x: np.ndarray, *rest: Any) -> np.ndarray:
    *affine, statistics, training, eps, channels_last = rest
    u = x if channels_last else np.moveaxis(x, 1, -1)
    axes = tuple(range(x.ndim - 1))
    mean, var = (u.mean(axes), u.var(axes)) if training else statistics
    gamma, beta = (*affine, 1, 0) if not affine else (*affine, 0)[:2]
    y = gamma * (u - mean) / np.sqrt(var + eps) + beta
    return y if channels_last else np.moveaxis(y, -1, 1)


# The values (not the gradients) in plain NumPy.
NUMPY: dict[str, Callable] = {
    **{name: getattr(np, name) for name in ("exp", "abs", "tanh", "negative")},
    **{name: getattr(np, name) for name in ("add", "subtract", "multiply", "maximum", "minimum", "matmul")},
    **{name: getattr(np, name) for name in SHAPE if name != "getitem"},
    "log": lambda x: np.log(np.abs(x) + 0.5),
    "sqrt": lambda x: np.sqrt(x * x + 0.5),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.where(x > 0, x, 0),
    "clip": lambda x, low, high: x if low is None and high is None else np.clip(x, low, high),
    "power": lambda x, exponent: (x if exponent > 0 and exponent % 1 == 0 else np.abs(x) + 0.5) ** exponent,
    "number": lambda x, c: (c - x * c) / 2 + c / (x * x + 0.5) + 1.5 ** np.tanh(x),
    "softmax": softmax_in_numpy,
    "log_softmax": lambda x, axis: np.log(softmax_in_numpy(x, axis)),
    "divide": lambda x, y: x / (y * y + 0.5),
    "power_of": lambda x, y: (np.abs(x) + 0.5) ** np.tanh(y),
    "where": lambda x, y, chosen: np.where(chosen, x, y),
    "sum": lambda x, axis, keepdims: np.sum(x, axis, keepdims=keepdims),
    "mean": lambda x, axis, keepdims: np.mean(x, axis, keepdims=keepdims),
    "max": lambda x, axis, keepdims: np.max(x, axis, keepdims=keepdims),
    "min": lambda x, axis, keepdims: np.min(x, axis, keepdims=keepdims),
    "var": lambda x, axis, ddof, keepdims: np.var(x, axis, ddof=ddof, keepdims=keepdims),
    "getitem": lambda x, index: x[index],
    "concatenate": lambda *xs: np.concatenate(xs[:-1], xs[-1]),
    "stack": lambda *xs: np.stack(xs[:-1], xs[-1]),
    "linear": lambda x, weight, bias=0: x @ weight.T + bias,
    "batch_norm": batch_norm_in_numpy,
    "cross_entropy": lambda x, targets: -np.log(softmax_in_numpy(x, 1))[np.arange(len(x)), targets].mean(),
    "mse_loss": lambda x, y: ((x - y) ** 2).mean(),
}


def torch_table() -> dict[str, Callable]:
    """The same operations in PyTorch."""
    import torch

    def axes(x, axis):
        return tuple(range(x.ndim)) if axis is None else axis

    def clip(x, low, high):
        low, high = (None if limit is None else torch.tensor(limit, dtype=x.dtype) for limit in (low, high))
        return x.clone() if low is None and high is None else torch.clamp(x, low, high)

    def getitem(x, index):
        places = np.arange(x.numel()).reshape(x.shape)[index]  # NumPy says what an index means
        return x.reshape(-1)[torch.tensor(native(places))]

    def batch_norm(x, *rest):
        *affine, statistics, training, eps, channels_last = rest
        mean, var = (None, None) if statistics is None else map(torch.tensor, statistics)
        affine = [z.contiguous() for z in affine]  # of an expanded weight, PyTorch reads memory that isn't its own
        x = x.movedim(-1, 1) if channels_last else x
        y = torch.nn.functional.batch_norm(x, mean, var, *affine, training=training, eps=eps)
        return y.movedim(1, -1) if channels_last else y

    return {
        **{name: getattr(torch, name) for name in ("exp", "abs", "tanh", "sigmoid", "relu", "negative")},
        **{name: getattr(torch, name) for name in ("add", "subtract", "multiply", "maximum", "minimum")},
        **{name: getattr(torch, name) for name in ("softmax", "log_softmax", "reshape", "swapaxes", "squeeze")},
        **{name: getattr(torch, name) for name in ("matmul", "broadcast_to")},
        **{name: getattr(torch.nn.functional, name) for name in ("linear", "mse_loss")},
        "log": lambda x: torch.log(torch.abs(x) + 0.5),
        "sqrt": lambda x: torch.sqrt(x * x + 0.5),
        "clip": clip,
        "power": lambda x, exponent: (x if exponent > 0 and exponent % 1 == 0 else torch.abs(x) + 0.5) ** exponent,
        "number": lambda x, c: (c - x * c) / 2 + c / (x * x + 0.5) + 1.5 ** torch.tanh(x),
        "divide": lambda x, y: x / (y * y + 0.5),
        "power_of": lambda x, y: (torch.abs(x) + 0.5) ** torch.tanh(y),
        "where": lambda x, y, chosen: torch.where(torch.tensor(chosen), x, y),
        "sum": lambda x, axis, keepdims: torch.sum(x, axes(x, axis), keepdims),
        "mean": lambda x, axis, keepdims: torch.mean(x, axes(x, axis), keepdims),
        "var": lambda x, axis, ddof, keepdims: torch.var(x, axes(x, axis), correction=ddof, keepdim=keepdims),
        "max": lambda x, axis, keepdims: torch.amax(x, axes(x, axis), keepdims),
        "min": lambda x, axis, keepdims: torch.amin(x, axes(x, axis), keepdims),
        "transpose": torch.permute,
        "expand_dims": torch.unsqueeze,
        "getitem": getitem,
        "concatenate": lambda *xs: torch.cat(xs[:-1], xs[-1]),
        "stack": lambda *xs: torch.stack(xs[:-1], xs[-1]),
        "batch_norm": batch_norm,
        "cross_entropy": lambda x, targets: torch.nn.functional.cross_entropy(x, torch.tensor(targets)),
    }


def run(program: Program, table: dict[str, Callable], leaves: list, weight: Callable = lambda w: w) -> Any:
    """The program's result, computed from ``leaves`` with ``table``'s operations."""
    return weighted_sum(program, run_steps(program, table, leaves), weight)


def weighted_sum(program: Program, values: list, weight: Callable = lambda w: w) -> Any:
    """The program's result, from its values."""
    total = 0
    for number, w in program.weights.items():
        total = total + (values[number] * weight(w)).sum()
    return total


def run_steps(program: Program, table: dict[str, Callable], leaves: list) -> list:
    """Every value of the program."""
    values: list = []
    for step in program.steps:
        if step.operation == "leaf":
            values.append(leaves[step.options[0]])
        else:
            values.append(table[step.operation](*(values[i] for i in step.operands), *step.options))
    return values


def tensors(program: Program) -> list[Tensor]:
    """The program's leaves as Tensors on its own arrays, in their layouts."""
    return [Tensor(a, requires_grad=need) for a, need in zip(program.leaves, program.needs, strict=True)]


def ordinary(program: Program) -> Program:
    """The same program on ordinary arrays of the same values."""
    return program._replace(leaves=[native(a) for a in program.leaves])


def by_minigrad(program: Program) -> list[np.ndarray | None]:
    """The result, and the gradient of each leaf."""
    leaves = tensors(program)
    y = run(program, MINIGRAD, leaves)
    y.backward()
    for x in leaves:
        if x.grad is not None and x.grad.dtype.newbyteorder("=") != x.dtype.newbyteorder("="):
            raise Disagreement(f"the gradient of a leaf of dtype {x.dtype} has dtype {x.grad.dtype}")
    return [y.data, *(x.grad for x in leaves)]


def by_torch(program: Program) -> list[np.ndarray | None]:
    """The same by PyTorch."""
    import torch

    arrays = ordinary(program).leaves
    leaves = [torch.tensor(a, requires_grad=need) for a, need in zip(arrays, program.needs, strict=True)]
    y = run(program, torch_table(), leaves, torch.from_numpy)
    y.backward()
    return [y.detach().numpy(), *(None if x.grad is None else x.grad.numpy() for x in leaves)]


def compare_values(program: Program) -> None:
    """Raise Disagreement unless every value of the program is what plain NumPy computes."""
    ours = run_steps(program, MINIGRAD, tensors(program))
    expected = run_steps(program, NUMPY, [native(a) for a in program.leaves])
    for step, x, a in zip(program.steps, ours, expected, strict=True):
        agree(f"{step.operation}{step.options}", x.data, a, 1e-9 * size_of(np.asarray(a)))


def compare_gradients(program: Program) -> None:
    """Raise GradcheckError unless the gradients are the finite differences. For plain leaves: ``make(seed, odd=0)``."""
    leaves = tensors(program)
    mg.gradcheck(lambda *leaves: run(program, MINIGRAD, leaves), leaves)


def compare(program: Program, reference: Callable[[Program], list], tolerance: float = 1e-8) -> None:
    """Raise Disagreement unless minigrad's result and gradients are those of the reference."""
    pairs = zip(by_minigrad(program), reference(program), strict=True)
    for number, (ours, expected) in enumerate(pairs):
        what = f"gradient of leaf {number - 1}" if number else "result"
        agree(what, ours, expected, tolerance * size_of(expected))


class Maker:
    """Makes one program; keeps the arrays that its values have, so that every step is one that works."""

    def __init__(self, seed: int, length: int, odd: float, layouts: tuple[str, ...]) -> None:
        self.rng = np.random.default_rng(seed)
        self.odd, self.layouts = odd, layouts
        self.leaves: list[np.ndarray] = []
        self.steps: list[Step] = []
        self.arrays: list[np.ndarray] = []
        self.moved: list[bool] = []  # whether each value is a leaf's, perhaps elsewhere: equal ones are equal exactly
        for _ in range(3):
            self.leaf(random_arrays.shape(self.rng, int(self.rng.integers(0, 5)), zeros=True))
        while len(self.steps) - len(self.leaves) < length:
            self.add(str(self.rng.choice(OPERATIONS)))

    def leaf(self, shape: tuple[int, ...]) -> int:
        """The number of a new leaf."""
        a = random_arrays.lay_out(self.rng, self.rng.normal(0, 1, shape), self.odd, self.layouts)
        self.leaves.append(a)
        self.steps.append(Step("leaf", (), (len(self.leaves) - 1,)))
        self.arrays.append(a)
        self.moved.append(True)
        return len(self.arrays) - 1

    def pick(self, fits: Callable[[np.ndarray], bool] = lambda a: True) -> int | None:
        """The number of an earlier value that fits, rather a late one than an early one."""
        numbers = [i for i, a in enumerate(self.arrays) if fits(a)]
        return int(numbers[-1 - int(len(numbers) * self.rng.random() ** 2)]) if numbers else None

    def of_shape(self, shape: tuple[int, ...]) -> int:
        """The number of an earlier value of this shape, or of a new leaf."""
        found = self.pick(lambda a: a.shape == shape) if self.rng.random() < 0.7 else None
        return self.leaf(shape) if found is None else found

    def add(self, operation: str) -> None:
        """Append the operation to the program, if there is a value that it fits and its result stays small."""
        least, empty = AT_LEAST.get(operation, 0), operation not in NOT_EMPTY
        x = self.pick(lambda a: a.ndim >= least and (empty or a.size > 0))
        if x is None:
            return
        operands, options = self.arguments(operation, x, self.arrays[x])
        if None in operands:
            return
        arrays, moved = [self.arrays[i] for i in operands], all(self.moved[i] for i in operands)
        if not (moved or len(set(operands)) < len(operands)) and nearly_tied(operation, arrays, options):
            return
        y = np.asarray(NUMPY[operation](*arrays, *options))
        if y.size <= 60 and y.ndim <= 5 and np.abs(y).max(initial=0) < 20 and not rounding_noise(y):
            self.steps.append(Step(operation, operands, options))
            self.arrays.append(y)
            self.moved.append(moved and operation in (*SHAPE, *JOIN))

    def arguments(self, operation: str, x: int, a: np.ndarray) -> tuple[tuple, tuple]:
        """Operands, of which None is one that wasn't found, and options."""
        if operation in (*UNARY, *SOFTMAX, *REDUCE):
            return (x,), self.options(operation, a)
        if operation in SHAPE:
            return (x,), self.shape_options(operation, a)
        if operation in LAYER:
            return self.layer_arguments(operation, x, a)
        if operation in JOIN:
            return self.join_arguments(operation, x, a)
        if operation == "matmul":
            return (x, self.pick(lambda b: matrices_fit(a.shape, b.shape))), ()
        y = x if self.rng.random() < 0.1 else self.pick(lambda b: broadcasts(a.shape, b.shape))
        if operation == "where" and y is not None:
            shape = (a, self.arrays[y])[self.rng.integers(2)].shape
            return (x, y), (np.asarray(self.rng.random(shape) < 0.5),)
        return (x, y), ()

    def axis(self, a: np.ndarray) -> int | tuple[int, ...] | None:
        """None, an axis, or several, some counted from the end."""
        if a.ndim == 0 or self.rng.random() < 0.2:
            return None
        axes = [int(i) - a.ndim * int(self.rng.integers(2)) for i in self.rng.permutation(a.ndim)]
        return tuple(axes[: self.rng.integers(1, a.ndim + 1)]) if self.rng.random() < 0.4 else axes[0]

    def options(self, operation: str, a: np.ndarray) -> tuple:
        rng = self.rng
        if operation in SOFTMAX:
            return (int(rng.integers(-a.ndim, a.ndim)),)
        if operation == "power":
            return ([1, 2, 3, -1, 0.5, 1.7][rng.integers(6)],)
        if operation == "number":
            return ([2, 0.5, -1.5][rng.integers(3)],)
        if operation == "clip":
            return [(-0.7, 0.9), (None, 0.9), (-0.7, None), (None, None), (rng.normal(-1, 0.1, a.shape[-1:]), 0.9)][
                rng.integers(5)
            ]
        if operation in REDUCE:
            axis, keepdims = self.axis(a), bool(rng.random() < 0.5)
            counted = a.sum(axis).size and a.size // a.sum(axis).size
            return (axis, int(counted > 1 and rng.random() < 0.5), keepdims) if operation == "var" else (axis, keepdims)
        return ()

    def shape_options(self, operation: str, a: np.ndarray) -> tuple:
        rng = self.rng
        axis = int(rng.integers(-a.ndim, a.ndim)) if a.ndim else 0
        if operation == "reshape":
            return ([(-1,), (1, a.size), (a.size, 1), a.shape[::-1]][rng.integers(4)],)
        if operation == "transpose":
            return (tuple(int(i) - a.ndim * int(rng.integers(2)) for i in rng.permutation(a.ndim)),)
        if operation == "swapaxes":
            return (axis, int(rng.integers(a.ndim)))
        if operation == "expand_dims":
            return (int(rng.integers(-a.ndim - 1, a.ndim + 1)),)
        if operation == "squeeze":
            ones = tuple(i for i, n in enumerate(a.shape) if n == 1)
            return (ones if rng.random() < 0.5 or not ones else ones[0],)
        if operation == "broadcast_to":
            return ((2, *(3 if n == 1 else n for n in a.shape)),)
        return (self.index(a),)

    def index(self, a: np.ndarray) -> Any:
        """Ints, slices, ``...``, None, integer arrays (with repeats), a list or a mask, for some of the axes."""
        rng = self.rng
        if rng.random() < 0.15:
            return [np.asarray(rng.random(a.shape) < 0.5), [], ([],)][rng.choice(3, p=[0.8, 0.1, 0.1])]
        first = int(rng.integers(a.ndim + 1))  # these axes before an Ellipsis, and some of the others after it
        last = int(rng.integers(first, a.ndim + 1)) if rng.random() < 0.3 else None
        parts = [self.part(n) for n in a.shape[: first or (last is None)]]
        if rng.random() < 0.2:
            parts.insert(int(rng.integers(len(parts) + 1)), None)
        if last is not None:
            parts += [Ellipsis, *(self.part(n) for n in a.shape[max(first, last, 1) :])]
        return tuple(parts) if len(parts) > 1 or rng.random() < 0.5 else parts[0]

    def part(self, n: int) -> Any:
        """An index for one axis of length n."""
        rng = self.rng
        start, stride = int(rng.integers(n + 1)), int(rng.choice([-2, -1, 1, 2]))
        choices: list[Any] = [slice(start, None, stride), slice(None, start), slice(None)]
        if n:
            choices += [int(rng.integers(-n, n)), rng.integers(-n, n, 3), rng.integers(-n, n, (2, 1)).tolist()]
        return choices[rng.integers(len(choices))]

    def join_arguments(self, operation: str, x: int, a: np.ndarray) -> tuple[tuple, tuple]:
        """One to three operands; those of concatenate may have other lengths along the axis."""
        count = int(self.rng.integers(3))
        if operation == "stack":
            axis = int(self.rng.integers(-a.ndim - 1, a.ndim + 1))
            return (x, *(self.of_shape(a.shape) for _ in range(count))), (axis,)
        axis = int(self.rng.integers(-a.ndim, a.ndim))
        others = np.delete(np.arange(a.ndim), axis)

        def fits(b):
            return b.ndim == a.ndim and all(b.shape[i] == a.shape[i] for i in others)

        return (x, *(self.pick(fits) for _ in range(count))), (axis,)

    def layer_arguments(self, operation: str, x: int, a: np.ndarray) -> tuple[tuple, tuple]:
        rng = self.rng
        if operation == "linear":
            weight = self.of_shape((int(rng.choice([1, 2, 3, a.shape[-1]])), a.shape[-1]))
            bias = (self.of_shape(self.arrays[weight].shape[:1]),) if rng.random() < 0.7 else ()
            return (x, weight, *bias), ()
        if operation == "batch_norm":
            return self.batch_norm_arguments(x, a)
        if operation == "mse_loss":
            return (x, self.of_shape(a.shape)), ()
        return (x if a.ndim == 2 else None,), (rng.integers(0, a.shape[1], len(a)),)

    def batch_norm_arguments(self, x: int, a: np.ndarray) -> tuple[tuple, tuple]:
        rng, channels_last = self.rng, bool(self.rng.random() < 0.5)
        axis = a.ndim - 1 if channels_last else 1
        channels = a.shape[axis]
        training = bool(rng.random() < 0.6)
        if training:  # a channel without variance, whose x - mean is rounding noise, is tried in random_layers.py
            training = bool(np.all(np.var(a, tuple(i for i in range(a.ndim) if i != axis)) > 1e-3))
        affine = tuple(self.of_shape((channels,)) for _ in range(rng.integers(3)))
        statistics = None if training else (rng.normal(0, 1, channels), rng.uniform(0.5, 2, channels))
        return (x, *affine), (statistics, training, float(rng.choice([1e-5, 1e-3, 0.1])), channels_last)


def broadcasts(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(shape[::-1], other[::-1], strict=False))


def matrices_fit(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    """Whether ``np.matmul`` takes these shapes."""
    if not left or not right:
        return False
    return left[-1] == right[-min(len(right), 2)] and broadcasts(left[:-2], right[:-2])


def rounding_noise(a: np.ndarray) -> bool:
    """Whether a value is next to 0 only by rounding: on which side of a kink (abs, relu) it lies is then chance."""
    return bool(np.any((a != 0) & (np.abs(a) < 1e-9)))


def nearly_tied(operation: str, arrays: list[np.ndarray], options: tuple) -> bool:
    """Whether rounding decides which value is the largest or smallest, and so which one gets the gradient."""
    if operation in ("maximum", "minimum"):
        return bool(np.any(np.abs(np.subtract(*arrays)) < 1e-9))
    if operation in ("max", "min"):
        (a,), axis = arrays, options[0]
        close = np.abs(a - NUMPY[operation](a, axis, True)) < 1e-9
        return bool(np.any(close.sum(axis) > 1))
    return False


def make(
    seed: int, length: int = 12, odd: float = 0.5, layouts: tuple[str, ...] = tuple(random_arrays.LAYOUTS)
) -> Program:
    """The program of a seed: the same on every machine and with every NumPy that draws the same numbers.

    Args:
        length: how many operations.
        odd: the share of leaves in odd memory layouts. With 0, no two values of a leaf are equal, as gradcheck needs.
    """
    maker = Maker(seed, length, odd, layouts)
    used = {i for step in maker.steps for i in step.operands}
    weights = {i: maker.rng.normal(0, 1, a.shape) for i, a in enumerate(maker.arrays) if i not in used}
    needs = [i == 0 or bool(maker.rng.random() < 0.85) for i in range(len(maker.leaves))]
    return Program(maker.leaves, needs, maker.steps, weights)


def compare_with_torch(count: int, first: int) -> Counter[str]:
    """Compare everything of ``count`` seeds with PyTorch; returns how many of each kind that were."""
    counts: Counter[str] = Counter()
    for seed in range(first, first + count):
        try:
            program = make(seed)
            compare(program, by_torch)
            call = random_layers.make(seed)
            random_layers.compare(call, random_layers.by_torch)
            layer_calls = sum(step.operation in LAYER for step in program.steps)
            operations = sum(step.operation != "leaf" for step in program.steps) - layer_calls
            counts.update({"programs": 1, "operations": operations, "layer calls": layer_calls + 1})
            counts += random_training.compare(random_training.make(seed), random_training.Theirs)
            descent = random_training.make_descent(seed)
            counts += random_training.compare_descents(descent, random_training.descend_in_torch)
        except Exception as error:
            raise SystemExit(f"seed {seed} disagrees: {type(error).__name__}: {error}") from error
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    args = parser.parse_args()
    import torch  # noqa: F401  says so at once if it is missing

    began = time.perf_counter()
    totals = compare_with_torch(args.count, args.first)
    print(", ".join(f"{number:,} {kind}" for kind, number in totals.items()), end=": ")
    print(f"all agree with PyTorch ({time.perf_counter() - began:.0f} s)")
