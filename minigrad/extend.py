"""What an operation or a layer of your own may use of the engine: these names, and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    if type(vjps) is not tuple and not callable(vjps):
        raise TypeError(f"record('{op}'): vjps must be a tuple of functions, or one, got {type(vjps).__name__}")
    if type(vjps) is tuple and len(vjps) != len(inputs):
        several = f"{len(inputs)} inputs need as many vjps (None for a constant), got {len(vjps)}"
        raise ValueError(f"record('{op}'): {several}")
    for x in inputs if view_of is None else ():
        if isinstance(x, Tensor) and (
            value is x._data or (value.base is not None and np.may_share_memory(value, x._data))
        ):
            view_of = x
    if saved is None:
        saved = (value, *(x._data for x in inputs if isinstance(x, Tensor)))
        vjps = tuple(map(_without_saved, vjps)) if type(vjps) is tuple else _without_saved(vjps, 2)
    else:
        for a in saved if type(saved) is tuple else [saved]:
            if type(saved) is not tuple or not isinstance(a, ACCEPTED):
                wanted = "saved must be a tuple of arrays, such as (array_of(x),)"
                raise TypeError(f"record('{op}'): {wanted}, got {saved!r:.60}")
    result = autograd.record(op, value, inputs, vjps, rule, saved, view_of)
    if result.requires_grad and value.dtype.kind != "f":
        raise TypeError(f"record('{op}'): a result with a gradient must be floating point, got {value.dtype}")
    return result


ACCEPTED = (*ARRAY, int, float, type(None))  # in saved: an array or a single value, or none


def _without_saved(vjp: Any, arguments: int = 1) -> Any:
    """A vjp that is called without what is saved: with ``g``, or with ``g, needs``."""
    return vjp and (lambda *given: vjp(*given[:arguments]))
