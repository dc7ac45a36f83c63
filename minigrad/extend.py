"""What an operation or a layer of your own may use of the engine: these names, and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import autograd
from .autograd import ARRAY, Vjp, recording
from .guards import Memory, mark_changed
from .ops.operands import floating, if_needed, narrow, wide
from .tensor import Operand, Tensor, array_of

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = [
    "Operand",
    "array_of",
    "convert",
    "floating",
    "if_needed",
    "mark_changed",
    "narrow",
    "record",
    "recording",
    "wide",
]


def convert(tensor: Tensor, dtype: DTypeLike) -> None:
    """Change the dtype of a tensor made by hand, and of its ``grad``, in place."""
    tensor._data = tensor._data.astype(dtype)
    tensor._memory = Memory(tensor._data)
    if tensor.grad is not None:
        tensor.grad = tensor.grad.astype(dtype)


def record(
    op: str,
    value: np.ndarray,
    inputs: tuple[Any, ...],
    vjps: tuple[Vjp | None, ...] | Callable[..., Sequence[np.ndarray | None]],
    rule: str,
    saved: tuple[Any, ...] | None = None,
    view_of: Any = None,
) -> Tensor:
    """The result of an operation as a Tensor, with its tape entry if any input requires a gradient.

    An operation of your own::

        def square(x):
            a = array_of(x)
            return record("square", a * a, (x,), (lambda g, a: 2 * g * a,), "d_x = 2 * g * x", saved=(a,))

    Args:
        op: the operation's name.
        value: the result, an array.
        inputs: the operands in order, Tensors or constants.
        vjps: for each input the function ``vjp(g, *saved)``, which turns the gradient of the result into that of the
            input; None for an input that gets no gradient. It never writes to ``g``, and returns ``g``, a view of it,
            or an array that it doesn't keep. Where broadcasting stretched an input, its gradient is summed back.
            Where the gradients share work, one function ``vjp(g, needs, *saved)`` that returns them all; those that
            ``needs`` says nobody needs may be None.
        rule: the vjps in words, for people to read.
        saved: the arrays that the vjps need later. Changing one of them before ``backward`` is an error. If you leave
            it out, vjps are called without it and may keep whatever they like; every input, and the result, then
            count as needed.
        view_of: the input whose memory the result may share.

    Raises:
        TypeError: a value that isn't an array of real numbers; inputs that aren't a tuple; vjps that are neither a
            tuple nor a function.
        ValueError: not as many vjps as inputs.
    """
    if not isinstance(value, ARRAY):
        raise TypeError(f"record('{op}'): value must be a NumPy array, got {type(value).__name__}: np.asarray(value)")
    if type(inputs) is not tuple:
        raise TypeError(f"record('{op}'): inputs must be a tuple, such as (x,), got {type(inputs).__name__}")
    if callable(vjps):
        joint = _Joint(op, vjps, [isinstance(x, Tensor) and x.requires_grad for x in inputs])
        vjps = tuple([partial(joint.part, i) for i in range(len(inputs))])
    if type(vjps) is not tuple:
        raise TypeError(f"record('{op}'): vjps must be a tuple of functions, or one, got {type(vjps).__name__}")
    if len(vjps) != len(inputs):
        several = f"{len(inputs)} inputs need as many vjps (None for a constant), got {len(vjps)}"
        raise ValueError(f"record('{op}'): {several}")
    for x in inputs if view_of is None else ():
        if isinstance(x, Tensor) and (
            value is x._data or (value.base is not None and np.may_share_memory(value, x._data))
        ):
            view_of = x
    if saved is None:
        saved = (value, *(x._data for x in inputs if isinstance(x, Tensor)))
        vjps = tuple(_without_saved(vjp) if vjp else None for vjp in vjps)
    else:
        for a in saved if type(saved) is tuple else [saved]:
            if not (a is None or isinstance(a, ACCEPTED)) or type(saved) is not tuple:
                wanted = "saved must be a tuple of arrays, such as (array_of(x),)"
                raise TypeError(f"record('{op}'): {wanted}, got {saved!r:.60}")
    result = autograd.record(op, value, inputs, vjps, rule, saved, view_of)
    if result.requires_grad and value.dtype.kind != "f":
        raise TypeError(f"record('{op}'): a result with a gradient must be floating point, got {value.dtype}")
    return result


ACCEPTED = (*ARRAY, int, float)  # in saved: what an array or a single value may be


class _Joint:
    """One vjp for all inputs, of which each takes its part; they share what it returned for the last ``g``."""

    __slots__ = ("ds", "g", "last", "needs", "op", "vjp")

    g: np.ndarray | None
    ds: list[np.ndarray]

    def __init__(self, op: str, vjp: Callable, needs: list[bool]) -> None:
        self.op, self.vjp, self.needs, self.g, self.ds = op, vjp, needs, None, []
        self.last = max((i for i, need in enumerate(needs) if need), default=0)

    def part(self, i: int, g: np.ndarray, *saved: Any) -> np.ndarray:
        """The gradient of input ``i``."""
        ds = self.ds
        if self.g is not g:
            ds = list(self.vjp(g, self.needs, *saved))
            if len(ds) != len(self.needs):
                raise ValueError(f"the vjp of '{self.op}' must return {len(self.needs)} gradients, got {len(ds)}")
            given = [id(d) for d in ds if d is not None]
            if len(set(given)) < len(given):  # one array for two inputs, whose gradients shall be independent
                ds = [d if d is None else np.array(d) for d in ds]
        self.g, self.ds = (g, ds) if i != self.last else (None, [])  # which lets go of them
        return ds[i]


def _without_saved(vjp: Vjp) -> Vjp:
    return lambda g, *saved: vjp(g)
