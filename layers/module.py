"""Module, the base of every layer and model; Parameter; Sequential."""

from __future__ import annotations

import reprlib
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from minigrad import Tensor
from minigrad.extend import convert

from .files import MAX_BYTES, load_arrays, save_arrays

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, DTypeLike

    M = TypeVar("M", bound="Module")


_CONTAINERS = (list, tuple, set, frozenset, dict, deque)


class _Path(str):
    """Where a parameter stands or stood last, as a name; a plain string is a name that somebody gave it."""

    __slots__ = ()


class _Holders:
    """Weak references to the modules to which a parameter or module was assigned; a copy starts with none."""

    def __init__(self) -> None:
        self.references: list[weakref.ref[Module]] = []

    def __reduce__(self) -> tuple:
        return _Holders, ()


class Parameter(Tensor):
    """A Tensor that a Module learns: it requires a gradient, and the Module it is assigned to lists it.

    Attributes:
        name: the name it was given; without one, where it stands when you ask, such as '0.weight', seen from the
            outermost module (of several, the first one), or where it stood last if its modules are gone.
    """

    __slots__ = ("_given_name", "_holders")

    def __init__(self, data: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None) -> None:
        super().__init__(data, requires_grad=True, dtype=dtype, name=name)

    @property
    def name(self) -> str | None:
        name = self._given_name
        return _path_to(self) or name if name is None or isinstance(name, _Path) else name

    @name.setter
    def name(self, name: str | None) -> None:
        self._given_name = name

    def _stands_at(self, path: str) -> None:
        """Remember the path for when all its modules are gone, unless the parameter was given a name."""
        if self._given_name is None or isinstance(self._given_name, _Path):
            self._given_name = _Path(path)


class Module:
    """A function with parameters, after ``torch.nn.Module``.

    A subclass assigns Parameters and other Modules as attributes in ``__init__``, calls
    ``register_buffer`` for arrays that are state but not learned, and defines ``forward``.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([1.0])
    ...     def forward(self, x):
    ...         return x * self.factor

    A module may hold another one twice, and may hold one that it is itself a part of (its parent).

    Attributes:
        training: whether layers that differ between training and evaluation do as in training.

    Raises:
        TypeError: from all that lists modules, parameters or buffers, if there are modules or parameters in a list or
            another container, where they would not be found.
    """

    training = True
    _buffers: tuple[str, ...] = ()

    def forward(self, *inputs: Any) -> Tensor:
        """What the module computes; a subclass defines it, and users call ``module(x)``."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x)")

    def __call__(self, *inputs: Any, **named: Any) -> Tensor:
        return self.forward(*inputs, **named)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, _CONTAINERS):
            _refuse_container(self, name, value)
        if isinstance(value, Parameter):
            value._stands_at(name)
        elif isinstance(value, Module):
            for path, parameter in value.named_parameters():
                parameter._stands_at(f"{name}.{path}")
        object.__setattr__(self, name, value)
        _note_holder(value, self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What ``copy`` and ``pickle`` call: attributes as they are, and this module as one more that holds them."""
        vars(self).update(state)
        for value in state.values():
            _note_holder(value, self)

    def register_buffer(self, name: str, array: np.ndarray | None) -> None:
        """Make ``array`` the attribute ``name`` and part of ``state_dict``, without its being learned."""
        setattr(self, name, array)
        if name not in self._buffers:
            self._buffers = (*self._buffers, name)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules assigned to this one, with their attribute names."""
        self._refuse_containers()
        return iter(self._own(Module))

    def children(self) -> Iterator[Module]:
        """The modules assigned to this one."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (named '') and all below it, with their paths; each once, even if it is used twice."""
        return self._walk(prefix)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, such as '0.weight'; each once, even if it is shared."""
        return _first_of_each(
            (_join(path, name), value) for path, module in self._walk() for name, value in module._own(Parameter)
        )

    def parameters(self) -> Iterator[Parameter]:
        """All parameters: what an optimizer takes."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """All buffers with their paths, such as '1.running_mean'."""
        return _first_of_each(
            (_join(path, name), array) for path, module in self._walk() for name, array in module._own_buffers()
        )

    def buffers(self) -> Iterator[np.ndarray]:
        """All buffers."""
        return (buffer for _, buffer in self.named_buffers())

    def _own(self, kind: type) -> list[tuple[str, Any]]:
        """This module's attributes of a kind: Module or Parameter."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, kind)]

    def _own_buffers(self) -> list[tuple[str, np.ndarray]]:
        buffers = ((name, getattr(self, name, None)) for name in self._buffers)
        return [(name, array) for name, array in buffers if array is not None]

    def _walk(
        self, path: str = "", *, children_first: bool = False, every_path: bool = False
    ) -> Iterator[tuple[str, Module]]:
        """``_tree``, with an error for modules and parameters that it doesn't find."""
        for path_below, module in self._tree(path, children_first=children_first, every_path=every_path):
            module._refuse_containers()
            yield path_below, module

    def _tree(
        self, path: str = "", *, children_first: bool = False, every_path: bool = False, seen: set[int] | None = None
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their paths, each once, or once on every path that leads to it.

        Where a module leads back to one of those above it, the path ends.
        """
        seen = set() if seen is None else seen
        seen.add(id(self))
        if not children_first:
            yield path, self
        for name, child in self._own(Module):
            if id(child) not in seen:
                yield from child._tree(
                    _join(path, name), children_first=children_first, every_path=every_path, seen=seen
                )
        if children_first:
            yield path, self
        if every_path:
            seen.remove(id(self))

    def _refuse_containers(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, _CONTAINERS) and name != "_buffers":
                _refuse_container(self, name, value)

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` on every module below this one and last on this one; returns the module.

        Once on each, also where it is used twice: ``fn`` may halve a weight. (PyTorch calls it again for a module
        that stands in two different parents.)

        >>> model.apply(lambda m: m.eval() if isinstance(m, BatchNorm1d) else None)   # freezes the statistics
        """
        for _, module in list(self._walk(children_first=True)):
            fn(module)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Put this module and all below it into training mode (or evaluation, if ``mode`` is False)."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: M) -> M:
        """Put this module and all below it into evaluation mode: Dropout drops nothing, and BatchNorm normalizes
        with its running statistics instead of the batch's."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all parameters' gradients."""
        for _, module in self._walk():
            for _, parameter in module._own(Parameter):
                parameter.grad = None

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze (False) or unfreeze all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def astype(self: M, dtype: DTypeLike) -> M:
        """Convert parameters, their gradients and floating buffers in place, and return the module.

        Raises:
            TypeError: ``dtype`` is not a floating type.
        """
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"astype({dtype}): parameters have gradients, so their dtype must be floating")
        for parameter in self.parameters():
            convert(parameter, dtype)
        for module in self.modules():
            for name, buffer in module._own_buffers():
                if buffer.dtype.kind == "f":
                    setattr(module, name, buffer.astype(dtype))
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by path, with PyTorch's keys and shapes."""
        return {path: np.array(array) for path, array in self._state().items()}

    def _state(self) -> dict[str, np.ndarray]:
        """The arrays themselves, each module's parameters before its buffers; shared ones under each path."""
        state = {}
        for path, module in self._walk(every_path=True):
            for name, parameter in module._own(Parameter):
                state[_join(path, name)] = parameter.data
            for name, array in module._own_buffers():
                state[_join(path, name)] = array
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Copy values into the parameters and buffers of the same path; dtypes here stay as they are.

        Args:
            state: arrays by path: from ``state_dict``, an ``.npz``, or PyTorch (``{k: v.numpy() for k, v in ...}``).
            strict: whether missing and unexpected entries are errors.

        Returns:
            The missing and the unexpected paths.

        Raises:
            ValueError: entries missing or unexpected (if strict), or of another shape, or not numbers, or an array
                here that can't be changed. All problems are listed, and nothing has been loaded.
        """
        own = self._state()
        missing = [key for key in own if key not in state]
        unexpected = [key for key in state if key not in own]
        problems = [f"missing {key}" for key in missing if strict]
        problems += [f"unexpected {key}" for key in unexpected if strict]
        values = {key: np.asarray(state[key]) for key in own if key in state}
        misfits = {key: _misfit(value, own[key]) for key, value in values.items()}
        problems += [f"{key} {misfit}" for key, misfit in misfits.items() if misfit]
        if problems:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state does not fit this model, and nothing was loaded: "
                + "; ".join(sorted(problems))
            )
        # All are converted before one is stored: a conversion can fail, and the state may be made of these very arrays.
        values = {key: value.astype(own[key].dtype) for key, value in values.items()}
        for key, value in values.items():
            own[key][...] = value  # .data handed it out, so that the tape notices
        return missing, unexpected

    def save(self, path: str | os.PathLike) -> None:
        """Write ``state_dict()`` to just this path, in ``.npz`` format. Interrupted, it leaves the old file whole."""
        save_arrays(path, self.state_dict())

    def load(self, path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> None:
        """Read what ``save`` wrote.

        Args:
            max_bytes: refuse a file that unpacks to more; give more for a larger model from a source that you trust.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is no whole ``.npz``, unpacks to more than ``max_bytes``, or doesn't fit the model;
                nothing has been loaded.
        """
        state = load_arrays(path, max_bytes)
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def extra_repr(self) -> str:
        """The arguments that ``repr`` shows."""
        return ""

    @reprlib.recursive_repr()  # a module that leads back to one above it is shown as ...
    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._own(Module)]
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
                raise TypeError(f"Sequential takes Modules, and argument {position} is {module!r}{_hint(module)}")
            setattr(self, str(position), module)

    def forward(self, x: Any) -> Tensor:
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (module for module in vars(self).values() if isinstance(module, Module))

    def __len__(self) -> int:
        return len(list(self.children()))

    @overload
    def __getitem__(self, position: int) -> Module: ...
    @overload
    def __getitem__(self, position: slice) -> Sequential: ...
    def __getitem__(self, position: int | slice) -> Module:
        modules = list(self.children())
        if not isinstance(position, slice):
            return modules[position]
        part = Sequential()
        part.__setstate__({str(number): module for number, module in enumerate(modules[position])})
        return part


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _first_of_each(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen = set()
    for path, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield path, value


_MODULES = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh"}  # by the name of the function


def _hint(value: Any) -> str:
    """What somebody may have meant who gave Sequential this."""
    name = getattr(value, "__name__", "")
    if isinstance(value, type):
        return f": give an object, {name}(...), not the class"
    if isinstance(value, (list, tuple)):
        return ": for modules in a list, Sequential(*layers)"
    if name in _MODULES:
        return f": use the module, {_MODULES[name]}()"
    return ": call it in the forward of a Module of your own" if callable(value) else ""


def _refuse_container(module: Module, name: str, value: Any) -> None:
    """Raise TypeError if ``module.name`` is a container of modules or parameters, at any depth."""
    todo, seen = [value], set()
    while todo:
        container = todo.pop()
        items = list(container.values() if isinstance(container, dict) else container)
        kinds = set(map(type, items))  # few, even where the items are many
        if any(issubclass(kind, (Module, Parameter)) for kind in kinds):
            raise TypeError(
                f"{type(module).__name__}.{name}: modules and parameters inside a {type(container).__name__} would not "
                "be found by parameters(): use Sequential, or an attribute for each"
            )
        if id(container) not in seen and any(issubclass(kind, _CONTAINERS) for kind in kinds):
            todo += [item for item in items if isinstance(item, _CONTAINERS)]
        seen.add(id(container))


# The name of a parameter is looked up when somebody asks: from it to a module that holds it now, and on upwards.


def _note_holder(part: Any, module: Module) -> None:
    if isinstance(part, (Parameter, Module)):
        holders = getattr(part, "_holders", None) or _Holders()
        holders.references = [reference for reference in holders.references if reference() is not None]
        if all(reference() is not module for reference in holders.references):
            holders.references.append(weakref.ref(module))
        object.__setattr__(part, "_holders", holders)


def _path_to(part: Parameter | Module) -> _Path:
    """The attribute names from the outermost module that holds ``part`` down to it; '' if none does."""
    names: list[str] = []
    while holders := [holder for holder in _holders_of(part) if id(part) not in _all_above(holder[0])]:
        part, name = holders[0]
        names.append(name)
    return _Path(".".join(reversed(names)))


def _holders_of(part: Parameter | Module) -> list[tuple[Module, str]]:
    """The living modules that have ``part`` as an attribute, the first one first, and the attribute's name."""
    noted = getattr(part, "_holders", None) or _Holders()
    modules = [reference() for reference in noted.references]
    return [
        (module, name)
        for module in modules
        if module is not None
        for name, value in vars(module).items()
        if value is part
    ]


def _all_above(module: Module) -> dict[int, Module]:
    """The modules that hold ``module``, those that hold these, and so on, by their ids."""
    found: dict[int, Module] = {}
    todo = [module]
    while todo:
        for holder, _ in _holders_of(todo.pop()):
            if id(holder) not in found:
                found[id(holder)] = holder
                todo.append(holder)
    return found


def _misfit(value: np.ndarray, own: Any) -> str | None:
    """Why ``value`` can't be loaded into the array ``own``; None if it can."""
    if not isinstance(own, np.ndarray):
        return f"is of type {type(own).__name__} here, not an array"
    if value.shape != own.shape:
        return f"has shape {value.shape}, here {own.shape}"
    if value.dtype.kind not in "fiub" or not np.can_cast(value.dtype, own.dtype, "same_kind"):
        return f"has dtype {value.dtype}, here {own.dtype}"
    return None if own.flags.writeable else "is read-only here"
