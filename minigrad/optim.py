"""Optimizers: they change parameters in place, from the gradients that ``backward`` left in ``grad``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .guards import mark_changed
from .tensor import Tensor

Todo = list[tuple[int, np.ndarray, np.ndarray]]  # for each parameter that has a gradient its place, array and gradient
Changes = tuple[list[np.ndarray], dict[str, list[Any]]]


class _Optimizer:
    """Shared by SGD and Adam: the parameters, the settings, and the arrays kept for each parameter."""

    settings: dict[str, type]  # names of attributes with numbers, and what they are
    moments: tuple[str, ...]  # names of attributes with a list of arrays, one for each parameter
    counters: tuple[str, ...] = ()  # names of attributes with a list of ints, one for each parameter

    def __init__(self, params: Iterable[Tensor]) -> None:
        name = type(self).__name__
        self.params = _listed(params, name)
        if not self.params:
            raise ValueError(f"{name} got no parameters: pass model.parameters(), and not a generator used up before")
        for p in self.params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name} takes Tensors, got {type(p).__name__}: pass model.parameters() or a list")
            if p._entry is not None:
                raise ValueError(f"{name} can't change {p.label}, which was computed from others: pass leaves")
        if len({id(p) for p in self.params}) != len(self.params):
            raise ValueError(f"{name} got a parameter twice, which would update it twice a step")

    def _check(self, settings: Mapping[str, float]) -> None:
        for name, value in settings.items():
            if not value >= 0:  # "not >=" also refuses nan
                raise ValueError(f"{type(self).__name__}: {name} must be 0 or more, got {value}")

    def _settings(self) -> dict[str, float]:
        """The settings as Python numbers: NumPy's float64 would make float64 of what is computed in float32."""
        return {name: number(getattr(self, name)) for name, number in self.settings.items()}

    def step(self) -> None:
        """Update every parameter that has a gradient: all of them, or none if an error is raised.

        Raises:
            RuntimeError: no parameter has a gradient, and at least one requires it: ``backward()`` was forgotten.
                (Parameters that are all frozen are left alone.)
            TypeError, ValueError: a gradient that is no floating array of its parameter's shape, or a parameter
                whose array is read-only.
            FloatingPointError: a number out of range, after ``np.seterr(all="raise")``.
        """
        todo = []
        for i, p in enumerate(self.params):
            g, a = p.grad, p._become_array()
            if g is not None:
                if type(g) is not np.ndarray or g.dtype is not a.dtype or g.shape != a.shape or not a.flags.writeable:
                    g = self._fit(p, g)
                todo.append((i, a, g))
        if not todo and any(p.requires_grad for p in self.params):
            raise RuntimeError(f"{type(self).__name__}.step(): no parameter has a gradient: call loss.backward() first")
        changes, kept = self._changes(todo)
        if "raise" in np.geterr().values():  # then the subtraction may raise, too: try it
            for (_, a, _), change in zip(todo, changes):
                np.subtract(a, change)
        try:  # from here on nothing raises, but for somebody's Ctrl-C
            with np.errstate(all="ignore"):
                for (_, a, _), change in zip(todo, changes):
                    a -= change
            for name, values in kept.items():
                setattr(self, name, values)
        finally:
            mark_changed([self.params[i] for i, _, _ in todo])

    def _fit(self, p: Tensor, g: Any) -> np.ndarray:
        """The gradient in the parameter's dtype, or an error that says why the parameter can't be updated."""
        owner = f"{type(self).__name__}.step(): the grad of {p.label}"
        if isinstance(g, Tensor):
            raise TypeError(f"{owner} is a Tensor: give it an array, such as .data of that Tensor")
        if not isinstance(g, (np.ndarray, np.floating)) or g.dtype.kind != "f":
            kind = g.dtype if isinstance(g, np.ndarray) else type(g).__name__
            raise TypeError(f"{owner} must be a floating array of shape {p.shape}, got {kind}")
        if g.shape != p.shape:
            raise ValueError(f"{owner} has shape {g.shape}, the parameter {p.shape}")
        if not p._data.flags.writeable:
            raise ValueError(
                f"{type(self).__name__}.step(): the array of {p.label} is read-only: "
                "make the Tensor of a copy, np.array(...)"
            )
        return np.asarray(g, dtype=p.dtype)

    def _changes(self, todo: Todo) -> Changes:
        """For each (i, p, g) what to subtract from parameter i, and the new moments and counters by name.

        Changes nothing itself.
        """
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters: each ``grad`` becomes None."""
        for p in self.params:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next ``step`` depends on besides the parameters, as numbers and arrays.

        A flat dict that fits into a ``.npz``: the settings by name, the kept arrays as ``velocity.0``, ....
        """
        state: dict[str, Any] = self._settings()
        state |= {name: np.array(getattr(self, name)) for name in self.counters}
        for name in self.moments:
            for i, array in enumerate(getattr(self, name)):
                if array is not None:
                    state[f"{name}.{i}"] = np.array(array)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned, settings included.

        Raises:
            ValueError: entries that are missing, unknown or of another shape; nothing is then changed.
        """
        owner = f"{type(self).__name__}.load_state_dict"
        moments = {f"{name}.{i}": (name, i) for name in self.moments for i in range(len(self.params))}
        counts = {name: self._loaded_counts(state[name], f"{owner}: {name}") for name in self.counters if name in state}
        updated = [any(values[i] for values in counts.values()) for i in range(len(self.params))]
        required = {*self.settings, *self.counters, *(key for key, (_, i) in moments.items() if updated[i])}
        if missing := required - set(state):
            raise ValueError(f"{owner}: missing {sorted(missing)}")
        if unexpected := set(state) - required - set(moments):
            raise ValueError(f"{owner}: unexpected {sorted(unexpected)}")
        loaded: dict[str, list[Any]] = {name: [None] * len(self.params) for name in self.moments}
        for key in set(state) & set(moments):
            name, i = moments[key]
            loaded[name][i] = array = np.array(state[key], dtype=self.params[i].dtype)
            if array.shape != self.params[i].shape:
                raise ValueError(f"{owner}: {key} has shape {array.shape}, the parameter {self.params[i].shape}")
        settings = {name: number(state[name]) for name, number in self.settings.items()}
        self._check(settings)
        for name, value in {**settings, **counts, **loaded}.items():
            setattr(self, name, value)

    def _loaded_counts(self, values: Any, label: str) -> list[int]:
        counts = np.array(values)
        if counts.shape != (len(self.params),) or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise ValueError(f"{label} needs a count for each of the {len(self.params)} parameters, got {values!r}")
        return counts.tolist()


def _listed(params: Any, name: str) -> list:
    """The parameters as a list; an error that helps, if they are something else."""
    if isinstance(params, Tensor):
        if params._entry is not None:
            raise TypeError(f"{name} got a computed result in place of parameters: pass net.parameters()")
        raise TypeError(f"{name} takes several parameters: put the one Tensor into a list, [{params.name or 'w'}]")
    if hasattr(params, "parameters"):
        raise TypeError(f"{name} got a {type(params).__name__} in place of its parameters: pass net.parameters()")
    if callable(params):
        raise TypeError(f"{name} got a function in place of parameters: call it, model.parameters()")
    if not isinstance(params, Iterable):
        raise TypeError(f"{name} got {type(params).__name__} in place of parameters: pass net.parameters()")
    return list(params)


class SGD(_Optimizer):
    """Stochastic gradient descent, as ``torch.optim.SGD``.

    With g the gradient plus ``weight_decay * p``::

        v = momentum * v + g            # v starts as the first g
        p = p - lr * v                  # nesterov: p - lr * (g + momentum * v)

    Args:
        params: the tensors to update, such as ``model.parameters()``.
        lr: learning rate, the size of a step along the gradient.

    Raises:
        ValueError: no parameters, one twice, a negative setting, or nesterov without momentum.
        TypeError: parameters that are no Tensors.
    """

    settings = {"lr": float, "momentum": float, "weight_decay": float, "nesterov": bool}
    moments = ("velocity",)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr, self.momentum, self.weight_decay = float(lr), float(momentum), float(weight_decay)
        self.nesterov = bool(nesterov)
        self._check(self._settings())
        self.velocity: list[np.ndarray | None] = [None] * len(self.params)

    def _check(self, settings: Mapping[str, float]) -> None:
        super()._check(settings)
        if settings["nesterov"] and not settings["momentum"]:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def _changes(self, todo: Todo) -> Changes:
        lr, momentum, weight_decay, nesterov = self._settings().values()
        if weight_decay:
            todo = [(i, p, g + weight_decay * p) for i, p, g in todo]
        if not momentum:
            return [lr * g for _, _, g in todo], {}
        velocity, changes = list(self.velocity), []
        for i, _, g in todo:
            v = velocity[i]
            velocity[i] = v = np.array(g) if v is None else momentum * v + g
            changes.append(lr * (g + momentum * v if nesterov else v))
        return changes, {"velocity": velocity}


class Adam(_Optimizer):
    """Adam (D. Kingma, J. Ba, arXiv 1412.6980, algorithm 1), as ``torch.optim.Adam``.

    With g the gradient plus ``weight_decay * p``, in step t::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Args:
        params: the tensors to update, such as ``model.parameters()``.
        lr: learning rate, about the largest change of a parameter in one step.
        betas: how slowly the mean of g (m) and of its square (v) forget.

    Raises:
        ValueError: no parameters, one twice, a negative setting, or a beta that isn't in [0, 1).
        TypeError: parameters that are no Tensors.
    """

    settings = {"lr": float, "beta1": float, "beta2": float, "eps": float, "weight_decay": float}
    moments = ("m", "v")
    counters = ("t",)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.lr, self.eps, self.weight_decay = float(lr), float(eps), float(weight_decay)
        self.beta1, self.beta2 = map(float, betas)
        self._check(self._settings())
        self.m: list = [None] * len(self.params)
        self.v: list = [None] * len(self.params)
        self.t = [0] * len(self.params)  # counted for each parameter: one frozen for a while has had fewer steps

    def _check(self, settings: Mapping[str, float]) -> None:
        super()._check(settings)
        if not max(settings["beta1"], settings["beta2"]) < 1:
            raise ValueError(f"Adam: betas must be below 1, got {settings['beta1']} and {settings['beta2']}")

    def _changes(self, todo: Todo) -> Changes:
        lr, beta1, beta2, eps, weight_decay = self._settings().values()
        all_m, all_v, all_t, changes = list(self.m), list(self.v), list(self.t), []
        for i, p, g in todo:
            if weight_decay:
                g = g + weight_decay * p
            # The formula's lines in place, array by array: that takes less memory, and so less time.
            m = (1 - beta1) * g
            v = (1 - beta2) * g
            v *= g
            if all_t[i]:
                m += beta1 * all_m[i]
                v += beta2 * all_v[i]
            all_m[i], all_v[i], all_t[i] = m, v, all_t[i] + 1
            size = np.sqrt(v)
            size /= math.sqrt(1 - beta2 ** all_t[i])
            size += eps
            change = lr / (1 - beta1 ** all_t[i]) * m
            change /= size
            changes.append(change)
        return changes, {"m": all_m, "v": all_v, "t": all_t}
