"""Optimizers: they change parameters in place, from the gradients that ``backward`` left in ``grad``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .tensor import Tensor, describe, mark_changed


class _Optimizer:
    """Shared by SGD and Adam: the parameters, the settings, and the arrays kept for each parameter."""

    settings: tuple[str, ...]  # names of attributes with numbers
    moments: tuple[str, ...]  # names of attributes with a list of arrays, one for each parameter
    counters: tuple[str, ...] = ()  # names of attributes with a list of ints, one for each parameter

    def __init__(self, params: Iterable[Tensor]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(f"{name} takes several parameters: put the one Tensor into a list, [{params.name or 'w'}]")
        if callable(params):
            raise TypeError(f"{name} got a function in place of parameters: call it, model.parameters()")
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{name} got no parameters: pass model.parameters(), and not a generator used up before")
        for p in self.params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name} takes Tensors, got {type(p).__name__}: pass model.parameters() or a list")
            if p._entry is not None:
                raise ValueError(f"{name} can't change {describe(p)}, which was computed from others: pass leaves")
        if len({id(p) for p in self.params}) != len(self.params):
            raise ValueError(f"{name} got a parameter twice, which would update it twice a step")

    def _check(self, settings: Mapping[str, float]) -> None:
        for name, value in settings.items():
            if not value >= 0:  # "not >=" also refuses nan
                raise ValueError(f"{type(self).__name__}: {name} must be 0 or more, got {value}")

    def _settings(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.settings}

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises:
            ValueError: a gradient of another shape than its parameter; nothing is then changed.
        """
        updated = [(i, p, p.grad) for i, p in enumerate(self.params) if p.grad is not None]
        for _, p, g in updated:
            if g.shape != p._data.shape:
                raise ValueError(f"{type(self).__name__}: the grad of {describe(p)} has shape {g.shape}")
        for i, p, g in updated:
            self._update(i, p, g)
        mark_changed(p for _, p, _ in updated)

    def _update(self, i: int, p: Tensor, g: np.ndarray) -> None:
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters: each ``grad`` becomes None."""
        for p in self.params:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next ``step`` depends on besides the parameters, as numbers and arrays.

        A flat dict that fits into a ``.npz``: the settings by name, the kept arrays as ``velocity.0``, ....
        """
        state = self._settings()
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
        counts = {name: np.array(state[name]).tolist() for name in self.counters if name in state}
        for name, values in counts.items():
            if np.shape(values) != (len(self.params),):
                raise ValueError(f"{owner}: {name} needs a count for each of the {len(self.params)} parameters")
        known = {f"{name}.{i}": (name, i, p) for name in self.moments for i, p in enumerate(self.params)}
        required = {*self.settings, *self.counters}
        for key, (_, i, _) in known.items():
            if any(values[i] for values in counts.values()):  # this parameter has been updated before
                required.add(key)
        if missing := required - set(state):
            raise ValueError(f"{owner}: missing {sorted(missing)}")
        if unexpected := set(state) - required - set(known):
            raise ValueError(f"{owner}: unexpected {sorted(unexpected)}")
        loaded = {name: [None] * len(self.params) for name in self.moments}
        for key in set(state) & set(known):
            name, i, p = known[key]
            loaded[name][i] = array = np.array(state[key], dtype=p.dtype)
            if array.shape != p.shape:
                raise ValueError(f"{owner}: {key} has shape {array.shape}, the parameter {p.shape}")
        settings = {name: type(getattr(self, name))(state[name]) for name in self.settings}
        self._check(settings)
        for name, value in {**settings, **counts, **loaded}.items():
            setattr(self, name, value)


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

    settings = ("lr", "momentum", "weight_decay", "nesterov")
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
        self.velocity = [None] * len(self.params)

    def _check(self, settings: Mapping[str, float]) -> None:
        super()._check(settings)
        if settings["nesterov"] and not settings["momentum"]:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def _update(self, i: int, p: Tensor, g: np.ndarray) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * p._data
        if self.momentum:
            v = self.velocity[i]
            self.velocity[i] = v = np.array(g) if v is None else self.momentum * v + g
            g = g + self.momentum * v if self.nesterov else v
        p._data -= self.lr * g


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

    settings = ("lr", "beta1", "beta2", "eps", "weight_decay")
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

    def _update(self, i: int, p: Tensor, g: np.ndarray) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * p._data
        if self.m[i] is None:
            self.m[i], self.v[i] = np.zeros_like(p._data), np.zeros_like(p._data)
        self.t[i] += 1
        m, v, t = self.m[i], self.v[i], self.t[i]
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g * g - v)
        size = self.lr / (1 - self.beta1**t)
        p._data -= size * m / (np.sqrt(v) / np.sqrt(1 - self.beta2**t) + self.eps)
