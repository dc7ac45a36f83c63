"""Are the gradients right? Compare them with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .tape import no_grad, recording, results_on_tape
from .tensor import Tensor, describe, owner_of


class GradcheckError(RuntimeError):
    """A gradient disagrees with finite differences; the message says where it is off the most."""


def gradcheck(
    fn: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare every derivative that ``backward`` gives with a central difference.

    For each output value ``y`` and each element ``x`` of an input that requires a gradient, checks
    ``|d - (y(x + eps) - y(x - eps)) / (2 * eps)| <= atol + rtol * |difference|``. The meaning of the
    arguments is that of ``torch.autograd.gradcheck``. At a kink (relu at 0, a tie of max) the central
    difference is no derivative, so choose inputs away from kinks.

    Args:
        fn: called as ``fn(*inputs)``; returns a Tensor or several. Must give the same result each time.
        inputs: a Tensor or a sequence; those that require a gradient must be float64.

    Returns:
        True if all agree; False if not and ``raise_exception`` is False.

    Raises:
        GradcheckError: a derivative is off, or two calls of ``fn`` gave different results.
        TypeError: an input that requires a gradient is not float64, or fn returns no Tensor.
        ValueError: no input requires a gradient.
        RuntimeError: called inside ``no_grad()``.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = {i: x for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad}
    if not recording():
        raise RuntimeError("gradcheck inside no_grad(): nothing is recorded there, so there is no gradient to check")
    _refuse_unfit(checked.values())
    with no_grad():
        values, again = _outputs(fn, inputs), _outputs(fn, inputs)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(values, again, strict=True)):
        problems = ["fn gave two different results for the same inputs: fix its random seed, or switch dropout off"]
    else:
        by_tape = _jacobians_by_tape(fn, inputs, checked.values(), values)
        problems = []
        for (position, x), analytic in zip(checked.items(), by_tape, strict=True):
            numeric = _jacobian_by_differences(fn, inputs, x, eps, values)
            for output, (a, n) in enumerate(zip(analytic, numeric, strict=True)):
                label = f"input {position} ({describe(x)}), output {output}"
                problems += _compare(label, a, n, x.shape, values[output].shape, atol, rtol)
    if problems and raise_exception:
        raise GradcheckError("gradcheck: " + "\n".join(problems))
    return not problems


def gradcheck_module(module: Any, *inputs: Any) -> bool:
    """``gradcheck`` of a layer or model: for its floating-point inputs and all parameters that require a gradient.

    Buffers, such as BatchNorm's running statistics, are put back as they were.

    Args:
        module: a ``layers.Module``, in float64: ``layer.astype(np.float64)``.
        inputs: Tensors or arrays, as ``module(*inputs)`` takes them.

    Raises:
        GradcheckError, TypeError, ValueError: as ``gradcheck``.
    """
    arrays = [x._data if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
    fresh = [Tensor(np.array(a), requires_grad=a.dtype.kind == "f", name=f"input{i}") for i, a in enumerate(arrays)]
    parameters = [p for p in module.parameters() if p.requires_grad]
    buffers = [(buffer, np.array(buffer)) for buffer in module.buffers()]
    try:
        return gradcheck(lambda *_: module(*fresh), (*fresh, *parameters))
    finally:
        for buffer, before in buffers:
            buffer[...] = before


def _refuse_unfit(checked: Any) -> None:
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient: make at least one with requires_grad=True")
    for x in checked:
        if x.dtype != np.float64:
            raise TypeError(
                f"gradcheck: {describe(x)} is {x.dtype}, whose rounding drowns the differences: "
                "use float64, with Tensor(..., dtype=np.float64) or layer.astype(np.float64)"
            )
        if x._entry is not None:
            raise ValueError(f"gradcheck: {describe(x)} was computed from other tensors: give it as .detach()")


def _outputs(fn: Callable, inputs: tuple) -> list[np.ndarray]:
    """The arrays that fn returns, copied, because fn may return views of its inputs."""
    return [np.array(y._data) for y in _as_tuple(fn(*inputs))]


def _as_tuple(outputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    several = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    for y in several:
        if not isinstance(y, Tensor):
            raise TypeError(
                f"gradcheck: fn must return a Tensor or a tuple of Tensors, and returned {type(y).__name__}"
            )
    return tuple(several)


def _jacobians_by_tape(fn: Callable, inputs: tuple, checked: Any, values: list) -> list[list[np.ndarray]]:
    """For each checked input and each output the matrix d(output) / d(input), a row per output value."""
    jacobians = [[np.zeros((y.size, x.size)) for y in values] for x in checked]
    for output, y in enumerate(values):
        for row in range(y.size):
            result = _as_tuple(fn(*inputs))[output]
            if result.requires_grad:
                one_hot = np.zeros(y.size)
                one_hot[row] = 1
                for jacobian, d in zip(jacobians, _gradients(result, one_hot.reshape(y.shape), checked), strict=True):
                    jacobian[output][row] = 0 if d is None else d.ravel()
    return jacobians


def _gradients(result: Tensor, gradient: np.ndarray, checked: Any) -> list[np.ndarray | None]:
    """What ``backward`` gives each checked input, leaving the ``grad`` of every tensor as it was."""
    entries = [y._entry for y in results_on_tape(result)]
    on_tape = (x for e in entries for x, need in zip(e.inputs, e.needs, strict=True) if need)
    before = {id(x): (x, x.grad) for x in (result, *checked, *on_tape)}
    for x, _ in before.values():
        x.grad = None
    try:
        result.backward(gradient)
        return [x.grad for x in checked]
    finally:
        for x, grad in before.values():
            x.grad = grad


def _jacobian_by_differences(fn: Callable, inputs: tuple, x: Tensor, eps: float, values: list) -> list[np.ndarray]:
    """The same matrices for one input by central differences, a column per input value."""
    jacobian = [np.zeros((y.size, x.size)) for y in values]
    owner = owner_of(x)
    watched = owner._snapshot, owner._changed  # what fn makes of the shifted values must not outlast them
    for column, index in enumerate(np.ndindex(x.shape)):
        before = x._data[index]
        try:
            with no_grad():
                x._data[index] = before + eps
                above = _outputs(fn, inputs)
                x._data[index] = before - eps
                below = _outputs(fn, inputs)
        finally:
            x._data[index] = before
            owner._snapshot, owner._changed = watched
        for matrix, high, low in zip(jacobian, above, below, strict=True):
            matrix[:, column] = ((high - low) / (2 * eps)).ravel()
    return jacobian


def _compare(label, analytic, numeric, x_shape, y_shape, atol, rtol) -> list[str]:
    """A report on one input and output, as a list that is empty if they agree."""
    excess = np.abs(analytic - numeric) - (atol + rtol * np.abs(numeric))
    excess[np.isnan(excess)] = np.inf
    if not (excess > 0).any():
        return []
    row, column = np.unravel_index(np.argmax(excess), excess.shape)
    y_index = tuple(map(int, np.unravel_index(row, y_shape)))
    x_index = tuple(map(int, np.unravel_index(column, x_shape)))
    report = (
        f"{label}: {np.count_nonzero(excess > 0)} of {excess.size} derivatives are off; "
        f"worst: d output{list(y_index)} / d input{list(x_index)} is {analytic[row, column]:.6g} by backward, "
        f"{numeric[row, column]:.6g} by finite differences"
    )
    scale = np.vdot(analytic, numeric) / (np.vdot(numeric, numeric) or 1)
    if np.allclose(analytic, scale * numeric, rtol=rtol, atol=atol):
        report += f"; all are {scale:.4g} times what they should be"
    return [report]
