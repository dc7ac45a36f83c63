"""Random calls of batch normalization, to compare with the formulas in plain NumPy and with PyTorch.

Every layout (2-d to 5-d, channels first and last), mode and setting; axes that are equally long; sizes around the
thresholds at which the code takes another way; arrays, and gradients that arrive, in every memory layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import random_arrays
from random_arrays import Disagreement, agree, native

import layers
import minigrad as mg
from minigrad import Tensor

CLASSES = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
TAILS = ("gradient", "sum", "transpose", "concatenate", "reshape")  # what sends the gradient, each in its own layout
EQUAL = [  # large, with equal lengths: the first four are just 65,536 values
    *[(256, 256), (16, 16, 256), (4, 128, 128), (16, 16, 16, 16)],
    *[(17, 64, 64), (41, 40, 40), (40, 41, 41), (40, 40, 41), (17, 16, 16, 16), (16, 17, 16, 17), (10, 10, 10, 10, 10)],
    *[(2, 3, 65537), (2, 65537), (3, 40000, 2), (1, 2, 40000), (300, 300)],
]
ARRAYS = ("y", "d_x", "d_weight", "d_bias", "running_mean", "running_var")


class Call(NamedTuple):
    """A call of ``layers.batch_norm`` or of a BatchNorm layer, and the gradient that comes back."""

    x: np.ndarray
    weight: np.ndarray | None
    bias: np.ndarray | None
    running_mean: np.ndarray | None
    running_var: np.ndarray | None
    d_y: np.ndarray
    as_layer: bool
    training: bool
    momentum: float | None
    before: int  # how many batches the layer has seen, which counts for momentum None
    eps: float
    channels_last: bool
    needs: tuple[bool, bool, bool]  # whether x, weight and bias require a gradient
    tail: str

    @property
    def axis(self) -> int:
        """The channel's."""
        return self.x.ndim - 1 if self.channels_last else 1

    @property
    def channels(self) -> int:
        """C."""
        return self.x.shape[self.axis]

    @property
    def by_batch(self) -> bool:
        """Whether the batch's own statistics normalize."""
        return self.training or self.running_mean is None

    @property
    def newest(self) -> float:
        """The weight of this batch in the running statistics."""
        return 1 / (self.before + 1) if self.momentum is None else self.momentum


def make(seed: int) -> Call:
    """The call of a seed."""
    rng = np.random.default_rng([seed, 1])
    as_layer, tracked = bool(rng.random() < 0.5), bool(rng.random() < 0.7)
    training = bool(rng.random() < 0.6) or (not tracked and not as_layer)
    by_batch = training or not tracked
    shape, channels_last = draw_shape(rng, by_batch)
    channels = shape[-1 if channels_last else 1]
    single, double = np.float32, np.float64
    dtype, dtype_of_rest = [(double, double), (double, double), (single, single), (single, double)][rng.integers(4)]
    values = rng.normal(0, 1, shape) * rng.choice([1e-4, 1, 1, 100]) + rng.choice([0, 0, 3])
    affine = [*rng.normal(0, 1, (2, channels))][: rng.choice([0, 1, 2, 2, 2])]
    statistics = [rng.normal(0, 1, channels), rng.uniform(0.5, 2, channels)] if tracked else [None, None]

    def array(a, odd=0.6, among=tuple(random_arrays.LAYOUTS), dtype=dtype_of_rest):
        return None if a is None else random_arrays.lay_out(rng, a.astype(dtype), odd, among)

    return Call(
        array(values, dtype=dtype),
        *(array(a) for a in (*affine, None, None)[:2]),
        *(array(a, 0.5, random_arrays.WRITEABLE) for a in statistics),
        array(rng.normal(0, 1, shape), dtype=np.result_type(dtype, dtype_of_rest)),
        as_layer,
        training,
        [0.0, 0.1, 1.0, 0.9, None if as_layer else 0.5][rng.integers(5)],
        int(rng.integers(4)),
        float(rng.choice([1e-5, 1e-3, 0.1])),
        channels_last,
        [(True, True, True), (True, True, True), (False, True, True), (True, False, False)][rng.integers(4)],
        str(rng.choice(TAILS)),
    )


def draw_shape(rng: random_arrays.Rng, by_batch: bool) -> tuple[tuple[int, ...], bool]:
    """A shape that this mode takes, and whether its channels are last."""
    while True:
        ndim, channels_last = int(rng.integers(2, 6)), bool(rng.random() < 0.5)
        if rng.random() > 0.08:
            shape = random_arrays.shape(rng, ndim, zeros=not by_batch)
        elif rng.random() < 0.5:
            shape = EQUAL[rng.integers(len(EQUAL))]
        else:
            size = int(rng.choice(random_arrays.THRESHOLDS)) * int(rng.choice([1, 2])) + int(rng.integers(-1, 2))
            shape = random_arrays.large_shape(rng, ndim, size)
        channels = shape[-1 if channels_last else 1]
        if channels and (not by_batch or np.prod(shape) >= 2 * channels):
            return shape, channels_last


def by_minigrad(call: Call) -> dict[str, np.ndarray | None]:
    """The output, the gradients, and the running statistics after the call."""
    arrays = (call.x, call.weight, call.bias)
    x, weight, bias = (
        None if a is None else Tensor(a, requires_grad=need) for a, need in zip(arrays, call.needs, strict=True)
    )
    if call.as_layer:
        y, statistics = apply_layer(call, x, weight, bias)
    else:
        statistics = tuple(None if a is None else copy_in_layout(a) for a in (call.running_mean, call.running_var))
        y = layers.batch_norm(
            x, *statistics, weight, bias, call.training, call.momentum, call.eps, channels_last=call.channels_last
        )
    if y.requires_grad:
        send_gradient(y, call)
    grads = (None if z is None else z.grad for z in (x, weight, bias))
    return dict(zip(ARRAYS, (y.data, *grads, *statistics), strict=True))


def apply_layer(call: Call, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, tuple]:
    """The output of a BatchNorm layer that has the call's state, and its running statistics."""
    norm = getattr(layers, CLASSES[call.x.ndim])(
        call.channels,
        call.eps,
        call.momentum,
        weight is not None,
        call.running_mean is not None,
        channels_last=call.channels_last,
        dtype=call.d_y.dtype.newbyteorder("="),
        **({"bias": False} if bias is None and weight is not None else {}),
    )
    if weight is not None:
        norm.weight = weight
    if bias is not None:
        norm.bias = bias
    if call.running_mean is not None:
        norm.running_mean, norm.running_var = copy_in_layout(call.running_mean), copy_in_layout(call.running_var)
        norm.num_batches_tracked[...] = call.before
    y = norm.train(call.training)(x)
    expected = call.before + call.training
    if norm.num_batches_tracked is not None and norm.num_batches_tracked != expected:
        raise Disagreement(f"num_batches_tracked is {norm.num_batches_tracked}, expected {expected}")
    return y, (norm.running_mean, norm.running_var)


def copy_in_layout(a: np.ndarray) -> np.ndarray:
    """A copy with the same strides' signs and gaps, because training changes it."""
    return random_arrays.gaps(np.random.default_rng(0), a) if not a.flags.c_contiguous else np.array(a)


def send_gradient(y: Tensor, call: Call) -> None:
    """Have ``d_y`` (for "sum", ones) arrive at ``y``: as it is, broadcast, transposed, a slice with gaps, reshaped."""
    d_y = call.d_y
    if call.tail == "gradient":
        y.backward(d_y)
    elif call.tail == "sum":
        y.sum().backward()
    elif call.tail == "transpose":
        (y.T * d_y.T).sum().backward()
    elif call.tail == "concatenate":
        axis = y.ndim - 1
        (mg.concatenate([y, d_y, y.detach()], axis) * np.concatenate([d_y, d_y, d_y], axis)).sum().backward()
    else:
        (y.reshape(-1) * d_y.reshape(-1)).sum().backward()


def by_formulas(call: Call) -> dict[str, np.ndarray | None]:
    """The same, in float64, by the paper's formulas for a matrix of m values for each channel."""
    x, gamma, beta = as_matrix(call.x, call), call.weight, call.bias
    d_y = np.ones_like(x) if call.tail == "sum" else as_matrix(call.d_y, call)
    gamma, beta = 1.0 if gamma is None else gamma.astype(np.float64), 0.0 if beta is None else beta.astype(np.float64)
    m = len(x)
    mean, var = (x.mean(0), x.var(0)) if call.by_batch else (as_double(call.running_mean), as_double(call.running_var))
    std = np.sqrt(var + call.eps)
    x_hat = (x - mean) / std
    d_x_hat = d_y * gamma
    d_x = d_x_hat / std
    if call.by_batch:
        d_var = (d_x_hat * (x - mean)).sum(0) * -1 / 2 * (var + call.eps) ** (-3 / 2)
        d_mean = d_x_hat.sum(0) * -1 / std + d_var * (-2 * (x - mean)).sum(0) / m
        d_x = d_x + d_var * 2 * (x - mean) / m + d_mean / m
    grads = (as_shape(d_x, call), (d_y * x_hat).sum(0), d_y.sum(0))
    given = (call.x, call.weight, call.bias)
    grads = (d if need and a is not None else None for d, need, a in zip(grads, call.needs, given, strict=True))
    running = as_double(call.running_mean), as_double(call.running_var)
    if call.training and call.running_mean is not None:
        w, unbiased = call.newest, var * m / (m - 1)
        running = (1 - w) * running[0] + w * mean, (1 - w) * running[1] + w * unbiased
    return dict(zip(ARRAYS, (as_shape(gamma * x_hat + beta, call), *grads, *running), strict=True))


def as_double(a: np.ndarray | None) -> np.ndarray | None:
    return None if a is None else a.astype(np.float64)


def as_matrix(a: np.ndarray, call: Call) -> np.ndarray:
    """(m, C) in float64."""
    m = a.size // call.channels
    return np.moveaxis(a, call.axis, -1).reshape(m, call.channels).astype(np.float64)


def as_shape(matrix: np.ndarray, call: Call) -> np.ndarray:
    """Back from (m, C)."""
    return np.moveaxis(matrix.reshape(np.moveaxis(call.x, call.axis, -1).shape), -1, call.axis)


def by_torch(call: Call) -> dict[str, np.ndarray | None]:
    """The same by PyTorch's function or layer."""
    import torch

    dtype = np.result_type(call.x, call.d_y)  # PyTorch takes no mixture
    x, weight, bias, mean, var = (
        None if a is None else torch.tensor(native(a).astype(dtype))
        for a in (call.x, call.weight, call.bias, call.running_mean, call.running_var)
    )
    given = [(z, need) for z, need in zip((x, weight, bias), call.needs, strict=True) if z is not None]
    for z, need in given:
        z.requires_grad_(need)
    moved = x.movedim(-1, 1) if call.channels_last else x
    if call.as_layer:
        norm = getattr(torch.nn, CLASSES[x.ndim])(
            moved.shape[1], call.eps, call.momentum, weight is not None, mean is not None, bias=bias is not None
        )
        norm.weight, norm.bias = (None if z is None else torch.nn.Parameter(z, z.requires_grad) for z in (weight, bias))
        if mean is not None:
            norm.running_mean, norm.running_var, norm.num_batches_tracked = mean, var, torch.tensor(call.before)
        y, weight, bias = norm.train(call.training)(moved), norm.weight, norm.bias
    else:
        y = torch.nn.functional.batch_norm(moved, mean, var, weight, bias, call.training, call.momentum, call.eps)
    y = y.movedim(1, -1) if call.channels_last else y
    if y.requires_grad:
        y.backward(torch.ones_like(y) if call.tail == "sum" else torch.tensor(native(call.d_y).astype(dtype)))
    arrays = (y.detach(), *(None if z is None else z.grad for z in (x, weight, bias)), mean, var)
    return {name: None if z is None else z.numpy() for name, z in zip(ARRAYS, arrays, strict=True)}


def allowed_errors(call: Call) -> dict[str, Any]:
    """For each array the rounding error to allow: the size of what was added up in it, times the precision."""
    # PyTorch adds up some layouts one by one, of which the rounding errors grow with their number.
    precision = (1e-12 if call.x.dtype.itemsize == 8 else 2e-5) * max(1, call.x.size / 50_000)
    x, d_y = as_matrix(call.x, call), as_matrix(call.d_y, call)
    d_y = np.ones_like(d_y) if call.tail == "sum" else np.abs(d_y)
    gamma = np.ones(x.shape[1]) if call.weight is None else np.abs(call.weight.astype(np.float64))
    largest = np.abs(x).max(0, initial=0)
    mean, old = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    var = x.var(0) if call.by_batch else as_double(call.running_var)
    if call.running_mean is not None:
        mean, old = np.abs(as_double(call.running_mean)), as_double(call.running_var)
    std = np.sqrt(var + call.eps)
    spread = 1 + (largest + mean) / std
    w, noise = call.newest, (1e-12 if call.x.dtype.itemsize == 8 else 1e-5) * largest  # of x - mean
    batch_var = np.var(x, 0) if len(x) else old
    allowed = {
        "y": as_shape(np.broadcast_to(gamma * spread + 1, x.shape), call),
        "d_x": as_shape(np.broadcast_to(gamma / std * d_y.max(0, initial=0) * (1 + spread), x.shape), call),
        "d_weight": d_y.sum(0) * spread,
        "d_bias": d_y.sum(0),
        "running_mean": (1 - w) * mean + w * largest,
        "running_var": (1 - w) * old + w * 2 * batch_var + noise**2 / precision,
    }
    return {name: precision * a for name, a in allowed.items()}


def compare(call: Call, reference: Callable[[Call], dict[str, np.ndarray | None]]) -> None:
    """Raise Disagreement unless minigrad's arrays are those of the reference."""
    ours, expected, allowed = by_minigrad(call), reference(call), allowed_errors(call)
    for name in ARRAYS:
        try:
            agree(name, ours[name], expected[name], allowed[name])
        except Disagreement as error:
            raise Disagreement(f"{error}\nin {describe(call)}") from None
    statistics = () if call.by_batch else (call.running_mean, call.running_var)
    operands = [a for a in (call.x, call.weight, call.bias, *statistics) if a is not None]
    if ours["y"].dtype != np.result_type(*operands):
        raise Disagreement(f"y has dtype {ours['y'].dtype} in {describe(call)}")


def describe(call: Call) -> str:
    """The call without its arrays' values."""
    shown = {name: f"{a.dtype}{a.shape}" if isinstance(a, np.ndarray) else a for name, a in call._asdict().items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def compare_six_lines(call: Call) -> None:
    """``layers.batch_norm_backward`` against the gradients of the same quantities, composed of primitives."""
    x, d_y = native(call.x).astype(np.float64), native(call.d_y).astype(np.float64)
    gamma = None if call.weight is None else native(call.weight).astype(np.float64)
    given = layers.batch_norm_backward(d_y, x, gamma, call.eps, channels_last=call.channels_last)
    axes = tuple(i for i in range(x.ndim) if i != call.axis)
    shape = tuple(n if i == call.axis else 1 for i, n in enumerate(x.shape))
    x, beta = Tensor(x, requires_grad=True), Tensor(np.zeros(shape), requires_grad=True)
    gamma = Tensor(np.ones(shape) if gamma is None else gamma.reshape(shape), requires_grad=True)
    mean = x.mean(axes, keepdims=True)
    var = ((x - mean) ** 2).mean(axes, keepdims=True)
    x_hat = (x - mean) / mg.sqrt(var + call.eps)
    for quantity in (mean, var, x_hat):
        quantity.retain_grad()
    (gamma * x_hat + beta).backward(d_y)
    allowed = allowed_errors(call._replace(x=x.data, d_y=d_y, tail="gradient"))
    room = 1e-9 * random_arrays.size_of(var.grad)
    named = {"x_hat": x_hat, "var": var, "mean": mean, "x": x, "gamma": gamma, "beta": beta}
    for name, quantity in named.items():
        expected = quantity.grad.reshape(given[f"d_{name}"].shape)
        agree(f"batch_norm_backward: d_{name}", given[f"d_{name}"], expected, allowed.get(f"d_{name}", room))
