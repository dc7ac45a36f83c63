"""Module, the base of every layer and model; Parameter; Sequential."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import Tensor
from minigrad.tensor import mark_changed

from .files import load_arrays, save_arrays

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, DTypeLike


class Parameter(Tensor):
    """A Tensor that a Module learns: it requires a gradient, and the Module it is assigned to lists it."""

    __slots__ = ()

    def __init__(self, data: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None) -> None:
        super().__init__(data, requires_grad=True, dtype=dtype, name=name)


class Module:
    """A function with parameters, after ``torch.nn.Module``.

    A subclass assigns Parameters and other Modules as attributes in ``__init__``, calls
    ``register_buffer`` for arrays that are state but not learned, and defines ``forward``.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([1.0])
    ...     def forward(self, x):
    ...         return x * self.factor

    Attributes:
        training: whether layers that differ between training and evaluation do as in training.
    """

    training = True
    _buffers: tuple[str, ...] = ()

    def forward(self, *inputs: Any) -> Tensor:
        """What the module computes; a subclass defines it, and users call ``module(x)``."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x)")

    def __call__(self, *inputs: Any, **named: Any) -> Tensor:
        return self.forward(*inputs, **named)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (list, tuple, dict)):
            inside = value.values() if isinstance(value, dict) else value
            if any(isinstance(item, (Module, Parameter)) for item in inside):
                raise TypeError(
                    f"{type(self).__name__}.{name}: modules and parameters inside a {type(value).__name__} would not "
                    "be found by parameters(): use Sequential, or an attribute for each"
                )
        object.__setattr__(self, name, value)
        if isinstance(value, Parameter):
            value.name = name
        elif isinstance(value, Module):  # so that tape and errors say '0.weight', the path from the model
            for path, parameter in value.named_parameters():
                parameter.name = f"{name}.{path}"

    def register_buffer(self, name: str, array: np.ndarray | None) -> None:
        """Make ``array`` the attribute ``name`` and part of ``state_dict``, without its being learned."""
        setattr(self, name, array)
        if name not in self._buffers:
            self._buffers = (*self._buffers, name)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules assigned to this one, with their attribute names."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The modules assigned to this one."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (named '') and all below it, with their paths; each once, even if it is used twice."""
        return _first_of_each(self._all_modules(prefix))

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, such as '0.weight'; each once, even if it is shared."""
        return _first_of_each(
            (_join(path, name), value)
            for path, module in self._all_modules()
            for name, value in vars(module).items()
            if isinstance(value, Parameter)
        )

    def parameters(self) -> Iterator[Parameter]:
        """All parameters: what an optimizer takes."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """All buffers with their paths, such as '1.running_mean'."""
        return _first_of_each(
            (_join(path, name), getattr(module, name))
            for path, module in self._all_modules()
            for name in module._buffers
            if getattr(module, name) is not None
        )

    def buffers(self) -> Iterator[np.ndarray]:
        """All buffers."""
        return (buffer for _, buffer in self.named_buffers())

    def _all_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child._all_modules(_join(prefix, name))

    def apply(self, fn: Callable[[Module], Any]) -> Module:
        """Call ``fn`` on every module below this one and last on this one; returns the module.

        >>> model.apply(lambda m: m.eval() if isinstance(m, BatchNorm1d) else None)   # freezes the statistics
        """
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Module:
        """Put this module and all below it into training mode (or evaluation, if ``mode`` is False)."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Module:
        """Put this module and all below it into evaluation mode: Dropout drops nothing, and BatchNorm normalizes
        with its running statistics instead of the batch's."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all parameters' gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze (False) or unfreeze all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def astype(self, dtype: DTypeLike) -> Module:
        """Convert parameters, their gradients and floating buffers in place, and return the module.

        Raises:
            TypeError: ``dtype`` is not a floating type.
        """
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"astype({dtype}): parameters have gradients, so their dtype must be floating")
        for parameter in self.parameters():
            parameter._data = parameter._data.astype(dtype)
            if parameter.grad is not None:
                parameter.grad = parameter.grad.astype(dtype)
        for module in self.modules():
            for name in module._buffers:
                buffer = getattr(module, name)
                if buffer is not None and buffer.dtype.kind == "f":
                    setattr(module, name, buffer.astype(dtype))
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by path, with PyTorch's keys and shapes."""
        return {path: np.array(array) for path, array in self._state().items()}

    def _state(self) -> dict[str, np.ndarray]:
        """The arrays themselves, each module's parameters before its buffers; shared ones under each path."""
        state = {}
        for path, module in self._all_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    state[_join(path, name)] = value._data
            for name in module._buffers:
                if getattr(module, name) is not None:
                    state[_join(path, name)] = getattr(module, name)
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Copy values into the parameters and buffers of the same path; dtypes here stay as they are.

        Args:
            state: arrays by path: from ``state_dict``, an ``.npz``, or PyTorch (``{k: v.numpy() for k, v in ...}``).
            strict: whether missing and unexpected entries are errors.

        Returns:
            The missing and the unexpected paths.

        Raises:
            ValueError: entries missing or unexpected (if strict), or of another shape, or not numbers. All
                problems are listed, and nothing has been loaded.
        """
        own = self._state()
        missing = [key for key in own if key not in state]
        unexpected = [key for key in state if key not in own]
        problems = [f"missing {key}" for key in missing if strict]
        problems += [f"unexpected {key}" for key in unexpected if strict]
        values = {}
        for key in (key for key in own if key in state):
            value = values[key] = np.asarray(state[key])
            if value.shape != own[key].shape:
                problems.append(f"{key} has shape {value.shape}, here {own[key].shape}")
            elif value.dtype.kind not in "fiub" or not np.can_cast(value.dtype, own[key].dtype, "same_kind"):
                problems.append(f"{key} has dtype {value.dtype}, here {own[key].dtype}")
        if problems:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state does not fit this model, and nothing was loaded: "
                + "; ".join(sorted(problems))
            )
        for key, value in values.items():
            own[key][...] = value
        mark_changed(self.parameters())
        return missing, unexpected

    def save(self, path: str | os.PathLike) -> None:
        """Write ``state_dict()`` to just this path, in ``.npz`` format. Interrupted, it leaves the old file whole."""
        save_arrays(path, self.state_dict())

    def load(self, path: str | os.PathLike) -> None:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is no whole ``.npz``, or doesn't fit the model; nothing has been loaded.
        """
        state = load_arrays(path)
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def extra_repr(self) -> str:
        """The arguments that ``repr`` shows."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = "\n  " + "\n  ".join(children) + "\n" if children else self.extra_repr()
        return f"{type(self).__name__}({inside})"


class Sequential(Module):
    """Modules applied one after the other: ``Sequential(a, b)(x) = b(a(x))``.

    Raises:
        TypeError: an argument that is no Module.
    """

    def __init__(self, *modules: Module) -> None:
        for position, module in enumerate(modules):
            if not isinstance(module, Module):
                hint = ": give an object, not the class" if isinstance(module, type) else ""
                raise TypeError(f"Sequential takes Modules, and argument {position} is {module!r}{hint}")
            setattr(self, str(position), module)

    def forward(self, x: Any) -> Tensor:
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (module for module in vars(self).values() if isinstance(module, Module))

    def __len__(self) -> int:
        return len(list(self.children()))

    def __getitem__(self, position: int | slice) -> Module:
        found = list(self.children())[position]
        return Sequential(*found) if isinstance(position, slice) else found


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _first_of_each(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen = set()
    for path, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield path, value
