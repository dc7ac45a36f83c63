"""Are the gradients right? Compare them with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .autograd import no_grad, recording, tape_of
from .guards import Memory
from .tensor import Tensor


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

    That is ``backward(g)`` with a one-hot g for each output value. Then follow two random g for each output, which a
    rule that ignores g, or takes only a part of it, or isn't linear in it, gets wrong; and, if several inputs are
    checked, one of the two again with only one of them requiring a gradient, and with one of them constant.

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
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(values, again)):
        problems = ["fn gave two different results for the same inputs: fix its random seed, or switch dropout off"]
    else:
        by_tape = _jacobians_by_tape(fn, inputs, checked.values(), values)
        by_differences = {i: _jacobian_by_differences(fn, inputs, x, eps, values) for i, x in checked.items()}
        problems = []
        for (position, x), analytic in zip(checked.items(), by_tape):
            for output, (a, n) in enumerate(zip(analytic, by_differences[position])):
                label = f"input {position} ({x.label}), output {output}"
                problems += _compare(label, a, n, x.shape, values[output].shape, atol, rtol)
        problems = problems or _problems_with_random_gradients(fn, inputs, checked, values, by_differences, atol, rtol)
    if problems and raise_exception:
        raise GradcheckError("gradcheck: " + "\n".join(problems))
    return not problems


def gradcheck_module(module: Any, *inputs: Any) -> bool:
    """``gradcheck`` of a layer or model: for its floating-point inputs and all parameters that require a gradient.

    What the forward pass changes in the module is put back: buffers, such as BatchNorm's running statistics, also if
    they were replaced, every other attribute, and the state of random generators.

    Args:
        module: a ``layers.Module``, in float64: ``layer.astype(np.float64)``.
        inputs: Tensors or arrays, as ``module(*inputs)`` takes them.

    Raises:
        GradcheckError, TypeError, ValueError: as ``gradcheck``.
    """
    arrays = [x._data if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
    fresh = [Tensor(np.array(a), requires_grad=a.dtype.kind == "f", name=f"input{i}") for i, a in enumerate(arrays)]
    parameters = [p for p in module.parameters() if p.requires_grad]
    modules = list(module.modules()) if hasattr(module, "modules") else [module]
    attributes = [(vars(m), dict(vars(m))) for m in modules]
    buffers = [(buffer, np.array(buffer)) for buffer in module.buffers()]
    generators = [v for _, before in attributes for v in before.values() if isinstance(v, np.random.Generator)]
    states = [generator.bit_generator.state for generator in generators]
    try:
        return gradcheck(lambda *_: module(*fresh), (*fresh, *parameters))
    finally:
        for now, before in attributes:
            now.clear()
            now.update(before)
        for buffer, values in buffers:
            if buffer.flags.writeable:
                buffer[...] = values
        for generator, state in zip(generators, states):
            generator.bit_generator.state = state


def _refuse_unfit(checked: Any) -> None:
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient: make at least one with requires_grad=True")
    for x in checked:
        if x.dtype.itemsize < 8:
            raise TypeError(
                f"gradcheck: {x.label} is {x.dtype}, whose rounding drowns the differences: "
                "use float64, with Tensor(..., dtype=np.float64) or layer.astype(np.float64)"
            )
        if x._entry is not None:
            raise ValueError(f"gradcheck: {x.label} was computed from other tensors: give it as .detach()")


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
                for jacobian, d in zip(jacobians, _gradients(result, one_hot.reshape(y.shape), checked)):
                    jacobian[output][row] = 0 if d is None else d.ravel()
    return jacobians


def _problems_with_random_gradients(
    fn: Callable[..., Any],
    inputs: tuple[Any, ...],
    checked: dict[int, Tensor],
    values: list[np.ndarray],
    by_differences: dict[int, list[np.ndarray]],
    atol: float,
    rtol: float,
) -> list[str]:
    """Reports on ``backward(g)`` where it is not g times the Jacobian: for each output the first that goes wrong."""
    rng = np.random.default_rng(0)
    problems = []
    for output, y in enumerate(values):
        g = rng.uniform(1.5, 3, y.shape) * rng.choice([-1, 1], y.shape)  # no 0 or 1, which hide most mistakes
        parts = ((g, *part) for part in _parts(checked))
        for gradient, needing, when in ((g, checked, ""), (-10 * g, checked, ""), *parts):
            arrived = _gradients_with(needing, fn, inputs, checked, output, gradient)
            found = []
            for position in needing:
                label = f"input {position} ({checked[position].label}), output {output}{when}"
                jacobian = by_differences[position][output]
                found += _compare_products(label, arrived[position], gradient, jacobian, atol, rtol)
            if found:
                problems += found
                break
    return problems


def _parts(checked: dict[int, Tensor]) -> Iterator[tuple[dict[int, Tensor], str]]:
    """Parts of the inputs that could require a gradient while the others don't, and the words for that."""
    for position, x in checked.items():
        rest = {i: other for i, other in checked.items() if other is not x}
        if rest:
            yield (
                {i: other for i, other in checked.items() if other is x},
                f", while only input {position} requires a gradient",
            )
        if len(rest) > 1:
            yield rest, f", while input {position} requires no gradient"


def _gradients_with(
    needing: Iterable[int],
    fn: Callable[..., Any],
    inputs: tuple[Any, ...],
    checked: dict[int, Tensor],
    output: int,
    g: np.ndarray,
) -> dict[int, np.ndarray]:
    """What ``backward(g)`` from one output gives the inputs, if only those in ``needing`` require a gradient."""
    try:
        for i, x in checked.items():
            x.requires_grad = i in needing
        result = _as_tuple(fn(*inputs))[output]
        arrived = _gradients(result, g, checked.values()) if result.requires_grad else [None] * len(checked)
    finally:
        for x in checked.values():
            x.requires_grad = True
    return {i: np.zeros(x.shape) if d is None else d for (i, x), d in zip(checked.items(), arrived)}


def _compare_products(
    label: str, d: np.ndarray, g: np.ndarray, jacobian: np.ndarray, atol: float, rtol: float
) -> list[str]:
    """A report on the gradient that came of ``backward(g)``, as a list that is empty if it is g times the Jacobian."""
    expected = g.ravel() @ jacobian
    allowed = abs(g).ravel() @ (atol + rtol * abs(jacobian))
    excess = abs(d.ravel() - expected) - allowed
    excess[np.isnan(excess)] = np.inf
    if not (excess > 0).any():
        return []
    worst = np.argmax(excess)
    index = tuple(map(int, np.unravel_index(worst, d.shape)))
    shown = np.array2string(np.asarray(g), precision=3, threshold=6, separator=", ").replace("\n", "")
    return [
        f"{label}: {np.count_nonzero(excess > 0)} of {excess.size} derivatives of sum(g * output) are off for "
        f"g = {shown}; worst: d / d input{list(index)} is {d.ravel()[worst]:.6g} by backward, {expected[worst]:.6g} by "
        "finite differences. Every one-hot g gives the right derivatives, so look at what the rule does with g"
        + (", and with needs" if "while" in label else "")
    ]


def _gradients(result: Tensor, gradient: np.ndarray, checked: Any) -> list[np.ndarray | None]:
    """What ``backward`` gives each checked input, leaving the ``grad`` of every tensor as it was."""
    on_tape = (x for _, e in tape_of(result) for x, need in zip(e.inputs, e.needs) if need)
    before = {id(x): (x, x.grad) for x in (result, *checked, *on_tape)}
    for x, _ in before.values():
        x.grad = None
    gradient = np.array(gradient)
    gradient.flags.writeable = False
    try:
        result.backward(gradient)
        return [x.grad for x in checked]
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise GradcheckError(
            "gradcheck: a rule writes into the gradient g that it is given, which others are sent, too: "
            "return a new array"
        ) from error
    finally:
        for x, grad in before.values():
            x.grad = grad


def _jacobian_by_differences(fn: Callable, inputs: tuple, x: Tensor, eps: float, values: list) -> list[np.ndarray]:
    """The same matrices for one input by central differences, a column per input value."""
    jacobian = [np.zeros((y.size, x.size)) for y in values]
    kept = x._data, x._memory
    x._data = np.array(x._data)  # shifted in a copy: the array may be read-only, or another input's, too
    x._memory = Memory(x._data)
    try:
        with no_grad():
            for column, index in enumerate(np.ndindex(x.shape)):
                before = x._data[index]
                x._data[index] = before + eps
                above = _outputs(fn, inputs)
                x._data[index] = before - eps
                below = _outputs(fn, inputs)
                x._data[index] = before
                for matrix, high, low in zip(jacobian, above, below):
                    matrix[:, column] = ((high - low) / (2 * eps)).ravel()
    finally:
        x._data, x._memory = kept
    return jacobian


def _compare(
    label: str,
    analytic: np.ndarray,
    numeric: np.ndarray,
    x_shape: tuple[int, ...],
    y_shape: tuple[int, ...],
    atol: float,
    rtol: float,
) -> list[str]:
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
