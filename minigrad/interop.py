"""What a Tensor is to Python and NumPy: an array with a shape, which doesn't lose its gradient without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

# `array + t` is np.add(array, t) to NumPy, which then asks the Tensor.
OPERATORS = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.divide: "truediv",
    np.power: "pow",
    np.matmul: "matmul",
}
COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
OTHER_NAMES = {"absolute": "abs", "amax": "max", "amin": "min", "concat": "concatenate", "permute_dims": "transpose"}
HARMLESS = {"shape", "ndim", "size"}  # of which nobody expects a gradient
FUNCTIONS = {
    "add",
    "subtract",
    "multiply",
    "divide",
    "power",
    "negative",
    "concatenate",
    "stack",
    "where",
}  # no methods


KINDS = "fiub"  # of dtypes: real numbers and booleans


class Interop:
    """The base class of Tensor."""

    __slots__ = ()

    _data: np.ndarray
    _requires_grad: bool
    name: str | None
    numpy: Callable[[], np.ndarray]

    @property
    def label(self) -> str:
        """What error messages call this tensor: its name, or its kind and shape."""
        return f"tensor '{self.name}'" if self.name else f"a tensor of shape {self.shape}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of values."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the values, and of the gradient."""
        return self._data.dtype

    def item(self) -> float:
        """The one value as a Python number, which has no gradient. Raises ValueError if there isn't exactly one."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one value, and {self.label} has {self.size}")
        return self._data.item()

    if not TYPE_CHECKING:  # type checkers would take a Tensor for an array, and `array + t` for one, too

        def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
            if self._requires_grad:
                raise TypeError(
                    f"NumPy was given {self.label}, and its result would have no gradient: use minigrad's function of "
                    "that name (minigrad.stack joins a list of tensors), or .data where no gradient is wanted"
                )
            return np.array(self.data, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, kind: str, *inputs: Any, **settings: Any) -> Any:
        """``array + t`` gives a Tensor, ``array < t`` a boolean array; for ``np.exp(t)`` see ``__array_function__``."""
        if kind == "__call__" and ufunc in OPERATORS and not settings:
            first, second = inputs
            if isinstance(first, Interop):
                return getattr(first, f"__{OPERATORS[ufunc]}__")(second)
            return getattr(second, f"__r{OPERATORS[ufunc]}__")(first)
        if ufunc in COMPARISONS:
            return ufunc(*_arrays(inputs), **settings)
        return _compute(getattr(ufunc, kind), ufunc.__name__, inputs, settings)

    def __array_function__(self, function: Callable, types: Any, inputs: tuple, settings: dict[str, Any]) -> Any:
        """``np.mean(t)`` and the like: computed as NumPy does for constants, refused where a gradient would be lost."""
        return _compute(function, function.__name__, inputs, settings)

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        if self.size != 1:
            advice = "ask with .data, as in (t.data > 0).all() or .any()"
            raise ValueError(f"the truth of {self.label} is ambiguous, it has {self.size} values: {advice}")
        return bool(self._data)

    def __float__(self) -> float:
        """The one value as a Python float, which has no gradient: neither has ``math.exp(t)``, which asks for it."""
        return float(self.item())

    def __format__(self, spec: str) -> str:
        """``f"{loss:.3f}"`` of a single value; without a format, any tensor as ``str`` shows it."""
        if spec and self.size != 1:
            raise TypeError(f"the format '{spec}' is for one value, and {self.label} has {self.size}: use .data")
        return format(self.item(), spec) if spec else str(self)

    def __setitem__(self, index: object, value: object) -> None:
        raise TypeError(
            f"{self.label} can't be assigned to, the tape would not see it: t.data[index] = value changes a leaf "
            "before it is used; minigrad.where(mask, value, t) makes a new tensor"
        )

    def __repr__(self) -> str:
        shown = np.array2string(np.asarray(self._data), prefix="Tensor(", separator=", ")
        if self.dtype not in (np.float64, np.int64, np.bool_):
            shown += f", dtype={self.dtype}"
        if self._requires_grad:
            shown += ", requires_grad=True"
        return f"Tensor({shown}{f', name={self.name!r}' if self.name else ''})"


def _compute(function: Callable, name: str, inputs: Iterable, settings: dict[str, Any]) -> Any:
    """NumPy's function of constants; TypeError if a tensor among them would lose its gradient."""
    for value in (*inputs, *settings.values()) if name not in HARMLESS else ():
        for t in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(t, Interop) and t._requires_grad:
                ours = OTHER_NAMES.get(name, name)
                known = hasattr(t, ours) or ours in FUNCTIONS
                advice = f"use minigrad.{ours}" if known else "compose it of minigrad's functions"
                raise TypeError(
                    f"np.{name} got {t.label}, and its result would have no gradient: {advice}, or .data where no "
                    "gradient is wanted"
                )
    return function(*_arrays(inputs), **dict(zip(settings, _arrays(settings.values()))))


def _arrays(values: Iterable) -> list:
    """Tensors, also inside lists and tuples, as their arrays; other values as they are."""
    inside = (type(v)(_arrays(v)) if isinstance(v, (list, tuple)) else v for v in values)
    return [v.numpy() if isinstance(v, Interop) else v for v in inside]


def to_array(value: ArrayLike, dtype: DTypeLike | None = None) -> np.ndarray:
    """``np.asarray`` for what a Tensor can hold.

    Raises:
        TypeError: complex numbers, objects, texts, dates, or masked arrays, whose mask would be lost.
    """
    if type(value) is np.ndarray and value.dtype.kind in KINDS and dtype is None:
        return value
    masked = np.ma.MaskedArray
    if isinstance(value, masked) or (isinstance(value, (list, tuple)) and any(isinstance(v, masked) for v in value)):
        raise TypeError("a masked array would lose its mask here: give array.filled(value), or the values that count")
    array = np.asarray(value)
    wanted = array.dtype if dtype is None else np.dtype(dtype)
    for kind in (array.dtype, wanted):
        if kind.kind not in KINDS:
            raise TypeError(f"tensors hold real numbers or booleans, not {kind}")
    return array.astype(wanted, copy=False)
