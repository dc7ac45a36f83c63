"""Random programs in which something is changed between forward and backward, in every way that Python offers.

    python tests/random_changes.py --count 20000       # ends at the first seed with a wrong gradient

For each seed, a program runs three times: unchanged, which gives the right gradient; with a change, after which
``backward`` has to give the right gradient or to raise RuntimeError; and, if it raised, with the change and a walk
back that checks nothing, which tells whether the error was needed.

Not tried is what the docstring of ``Tensor.data`` excludes: changes through an alias taken before the forward pass,
and a changed array that is then replaced.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import ctypes
import functools
import io
import itertools
import pickle
import struct
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import random_arrays
import random_programs
from random_arrays import Rng

import layers
import minigrad as mg
from minigrad import Tape, Tensor
from minigrad.optim import SGD, Adam

# --- From a tensor to an array that shares its memory --------------------------------------------------------------

HANDLES: dict[str, Callable[[Tensor], np.ndarray]] = {
    "t.data": lambda t: t.data,
    "t.numpy()": lambda t: t.numpy(),
    "t.detach().data": lambda t: t.detach().data,
    "t.detach().numpy()": lambda t: t.detach().numpy(),
    "np.asarray(t.detach())": lambda t: np.asarray(t.detach()),
    "np.array(t.detach(), copy=None)": lambda t: np.array(t.detach(), copy=None),
    "t.detach().detach().data": lambda t: t.detach().detach().data,
    "t.reshape(-1).data": lambda t: t.reshape(-1).data,
    "t.T.data": lambda t: t.T.data,
    "t[...].data": lambda t: t[...].data,
    "t[0].data": lambda t: t[0].data if t.ndim else t[()].data,
    "t[::-1].data": lambda t: t[::-1].data if t.ndim else t[()].data,
    "t[None].data": lambda t: t[None].data,
    "next(iter(t)).data": lambda t: next(iter(t)).data if t.ndim else t.data,
    "t.swapaxes(0, -1).data": lambda t: t.swapaxes(0, -1).data if t.ndim else t.data,
    "t.expand_dims(0).data": lambda t: t.expand_dims(0).data,
    "t.squeeze().data": lambda t: t.squeeze().data,
    "t.expand_dims(0)[0].T.data": lambda t: t.expand_dims(0)[0].T.data,
    "t.clip().data": lambda t: t.clip().data,
    "t.detach().clip().data": lambda t: t.detach().clip().data,
    "Dropout().eval()(t).data": lambda t: layers.Dropout().eval()(t).data,
    "Flatten()(t).data": lambda t: layers.Flatten()(t).data if t.ndim else t.data,
    "copy.copy(t).data": lambda t: copy.copy(t).data,
    "copy.copy(t.detach()).data": lambda t: copy.copy(t.detach()).data,
    "Tensor(t.data).data": lambda t: Tensor(t.data).data,
    "Tensor(t.data).reshape(-1).data": lambda t: Tensor(t.data).reshape(-1).data,
    "t.data.T": lambda t: t.data.T,
    "t.data.view()": lambda t: t.data.view(),
    "t.data.reshape(-1)": lambda t: t.data.reshape(-1),
    "t.data.ravel(order='K')": lambda t: t.data.ravel(order="K"),
    "t.data[...]": lambda t: t.data[...],
    "t.data.real": lambda t: t.data.real,
    "t.data.__array__()": lambda t: t.data.__array__(),
    "np.atleast_2d(t.data)": lambda t: np.atleast_2d(t.data),
    "np.asarray(memoryview(t.data))": lambda t: np.asarray(memoryview(t.data)),
    "np.frombuffer(t.data)": lambda t: np.frombuffer(t.data, t.dtype),
    "np.ndarray(buffer=t.data)": lambda t: np.ndarray(t.shape, t.dtype, buffer=t.data),
    "np.from_dlpack(t.data)": lambda t: np.from_dlpack(t.data),
    "as_strided(t.data)": lambda t: np.lib.stride_tricks.as_strided(t.data),
    "np.broadcast_arrays(t.data)[0]": lambda t: np.broadcast_arrays(t.data)[0],
    "np.swapaxes(t.data)": lambda t: np.swapaxes(t.data, 0, -1) if t.ndim else t.data,
    "np.einsum view": lambda t: np.einsum("...->...", t.data),
}

# --- From an array to a change of its values -----------------------------------------------------------------------


def set_through_nditer(a: np.ndarray, rng: Rng) -> None:
    with np.nditer(a, op_flags=["readwrite"]) as places:
        for place in places:
            place[...] = 2 * place + 1


def set_bytes(a: np.ndarray, rng: Rng) -> None:
    memoryview(a).cast("B")[: a.itemsize] = np.array(5, a.dtype).tobytes()


def set_through_ctypes(a: np.ndarray, rng: Rng) -> None:
    if not a.flags.writeable or not a.size:
        raise ValueError("read-only")
    ctypes.memmove(a.ctypes.data, np.array(5, a.dtype).tobytes(), a.itemsize)


WRITES: dict[str, Callable[[np.ndarray, Rng], Any]] = {
    "a -= 0.5": lambda a, rng: a.__isub__(0.5),
    "a *= 2": lambda a, rng: a.__imul__(2),
    "a[...] = 5": lambda a, rng: a.__setitem__(..., 5),
    "a[...] = random": lambda a, rng: a.__setitem__(..., rng.normal(0, 1, a.shape)),
    "a[0] = 5": lambda a, rng: a.__setitem__(0 if a.ndim else (), 5),
    "a[a > 0] = -1": lambda a, rng: a.__setitem__(a > 0, -1),
    "a.flat[-1] = 5": lambda a, rng: a.flat.__setitem__(-1, 5),
    "a.flat = 5": lambda a, rng: setattr(a, "flat", 5),
    "a.fill(5)": lambda a, rng: a.fill(5),
    "a.put(0, 5)": lambda a, rng: a.put(0, 5),
    "a.setfield": lambda a, rng: a.setfield(5, a.dtype),
    "a.sort(0)": lambda a, rng: a.sort(0),
    "a.partition(0)": lambda a, rng: a.partition(0, axis=0),
    "a.byteswap(inplace=True)": lambda a, rng: a.byteswap(inplace=True),
    "a.T[...] = 5": lambda a, rng: a.T.__setitem__(..., 5),
    "bits": lambda a, rng: a.view(np.uint64).__ixor__(np.uint64(1 << 51)),
    "np.put": lambda a, rng: np.put(a, [0], 5),
    "np.place": lambda a, rng: np.place(a, np.ones(a.shape, bool), 5),
    "np.putmask": lambda a, rng: np.putmask(a, a > 0, -1),
    "np.copyto": lambda a, rng: np.copyto(a, 5),
    "np.add.at": lambda a, rng: np.add.at(a, 0 if a.ndim else (), 1),
    "np.negative(out=a)": lambda a, rng: np.negative(a, out=a),
    "np.add(out=(a,))": lambda a, rng: np.add(a, 1, out=(a,)),
    "np.cumsum(out=a)": lambda a, rng: np.cumsum(a, axis=0, out=a),
    "np.clip(out=a)": lambda a, rng: np.clip(a, -0.1, 0.1, out=a),
    "np.take(out=a)": lambda a, rng: np.take(a.copy(), np.zeros(a.shape, int), out=a),
    "np.fill_diagonal": lambda a, rng: np.fill_diagonal(a, 5),
    "np.put_along_axis": lambda a, rng: np.put_along_axis(a, np.zeros((1,) * a.ndim, int), 5, 0),
    "np.nditer": set_through_nditer,
    "rng.shuffle": lambda a, rng: rng.shuffle(a),
    "rng.random(out=a)": lambda a, rng: rng.random(out=a),
    "np.frombuffer": lambda a, rng: np.frombuffer(a, a.dtype).__setitem__(0, 5),
    "memoryview": set_bytes,
    "struct.pack_into": lambda a, rng: struct.pack_into("d", a, 0, 5.0),
    "readinto": lambda a, rng: io.BytesIO(np.full(a.shape, 5.0).tobytes()).readinto(a),
    "ctypes": set_through_ctypes,
}

# --- The program, and what can be changed in it --------------------------------------------------------------------


class Weights(layers.Module):
    """The leaves as the parameters of a module."""

    def __init__(self, tensors: list[Tensor]) -> None:
        for i, t in enumerate(tensors):
            setattr(self, f"p{i}", t)


class Scene:
    """A program after its forward pass, made from a seed: twice the same."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 5])
        self.program = random_programs.make(seed, length=6, odd=0.3, layouts=random_arrays.WRITEABLE)
        self.norms: list[tuple[layers.Module, tuple[int, ...]]] = []
        self.table = {**random_programs.MINIGRAD, "batch_norm": self.batch_norm}
        self.holder = list(HOLDERS)[self.rng.integers(len(HOLDERS))] if self.rng.random() < 0.4 else ""
        if self.holder:
            hold = HOLDERS[self.holder]
            self.table |= {"multiply": own_multiply(hold), "exp": own_exp(hold)}
        self.unpickled = 0
        self.leaves = [self.leaf(a, need) for a, need in zip(self.program.leaves, self.program.needs, strict=True)]
        self.weights = Weights(self.leaves)
        self.early = {id(t): (t.detach(), t.detach().reshape(-1), t.detach().T) for t in self.leaves}
        self.values: list[Tensor] = []
        self.during: Callable[[], None] | None = None  # called in backward
        self.loss = self.forward()
        self.target = self.draw_target()
        self.seed_gradient = np.ones(self.loss.shape)

    def leaf(self, a: np.ndarray, need: bool) -> Tensor:
        t = layers.Parameter(a)
        t.requires_grad = need
        if self.rng.random() >= 0.1:
            return t
        self.unpickled += 1
        return from_another_process(t)

    def forward(self) -> Tensor:
        """Compute the loss (again)."""
        self.values = random_programs.run_steps(self.program, self.table, self.leaves)
        loss = random_programs.weighted_sum(self.program, self.values)

        def explode(g):
            if self.during is not None:
                self.during()
            return g

        return mg.record("explode", loss.data.copy(), (loss,), (explode,), "d_x = g, after a surprise")

    def batch_norm(self, x: Tensor, *rest: Any) -> Tensor:
        """As the table's, by a layer where there is one, which can be changed or used again."""
        *affine, statistics, training, eps, channels_last = rest
        if len(affine) == 1:
            return random_programs.batch_norm(x, *rest)
        name = "BatchNorm1d" if x.ndim < 4 else f"BatchNorm{x.ndim - 2}d"
        channels = x.shape[-1 if channels_last else 1]
        norm = getattr(layers, name)(channels, eps, None, bool(affine), channels_last=channels_last, dtype=np.float64)
        if affine:
            norm.weight, norm.bias = affine
        if statistics:
            norm.running_mean, norm.running_var = map(np.array, statistics)
        self.norms.append((norm, x.shape))
        return norm.train(training)(x)

    def draw_target(self) -> Tensor:
        """A leaf, a constant or an intermediate result."""
        tensors = [t for t in (*self.leaves, *self.values) if t.size] or self.leaves
        return tensors[self.rng.integers(len(tensors))]

    def grads(self) -> list[np.ndarray | None]:
        return [None if t.grad is None else np.array(t.grad) for t in self.leaves]

    def zero_grad(self) -> None:
        for t in self.leaves:
            t.grad = None


def from_another_process(t: Tensor) -> Tensor:
    """What unpickling gives elsewhere: its numbers (except the array's) come from a clock that is far ahead of ours."""
    with mg.no_grad():
        t * 1
    t.data  # noqa: B018  so that there is something to remember
    make, arguments, *state = t.__reduce_ex__(2)
    other = make(*arguments)
    for part in state[0] if state and isinstance(state[0], tuple) else state[:1]:
        for name, value in (part or {}).items():
            object.__setattr__(other, name, ahead(value))
    return other


def ahead(value: Any) -> Any:
    """Integers, also in tuples, plus a million."""
    if isinstance(value, tuple):
        return tuple(ahead(item) for item in value)
    return value + 1_000_000 if type(value) is int and value else copy.deepcopy(value)


# --- Operations of one's own that keep an array somewhere -----------------------------------------------------------


class Keeper:
    """Keeps an array as an attribute; its method, or itself, is the vjp."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def vjp(self, g: np.ndarray) -> np.ndarray:
        return g * self.array

    __call__ = vjp


class Slotted:
    """The same without a ``__dict__``."""

    __slots__ = ("kept",)

    def __init__(self, array: np.ndarray) -> None:
        self.kept = array

    def __call__(self, g: np.ndarray) -> np.ndarray:
        return g * self.kept


KEPT: dict[int, np.ndarray] = {}  # a global that vjps read: the last thousand arrays
KEYS = itertools.cycle(range(1000))


def keep_in_a_global(array: np.ndarray) -> Callable:
    key = next(KEYS)
    KEPT[key] = array
    return lambda g: g * KEPT[key]


def keep_in(make: Callable, get: Callable) -> Callable:
    """A vjp that keeps the array in ``make(array)`` and finds it there with ``get``."""

    def holder(array):
        kept = make(array)
        return lambda g: g * get(kept)

    return holder


def keep_in_nested_functions(array: np.ndarray) -> Callable:
    def inner():
        return array

    def outer(function=inner):
        return lambda g: g * function()

    return outer()


def object_array(array: np.ndarray) -> np.ndarray:
    kept = np.empty(1, object)
    kept[0] = array
    return kept


HOLDERS: dict[str, Callable[[np.ndarray], Callable]] = {
    "closure": lambda a: lambda g: g * a,
    "default": lambda a: lambda g, a=a: g * a,
    "keyword default": lambda a: lambda g, *, a=a: g * a,
    "partial": lambda a: functools.partial(np.multiply, a),
    "partial of a method": lambda a: functools.partial(Keeper.vjp, Keeper(a)),
    "bound method": lambda a: Keeper(a).vjp,
    "array's method": lambda a: a.__mul__,
    "callable object": Keeper,
    "callable object with slots": Slotted,
    "nested functions": keep_in_nested_functions,
    "global": keep_in_a_global,
    "dict": keep_in(lambda a: {"a": a}, lambda kept: kept["a"]),
    "defaultdict": keep_in(lambda a: collections.defaultdict(lambda: a), lambda kept: kept["a"]),
    "list": keep_in(lambda a: [a], lambda kept: kept[0]),
    "nested": keep_in(lambda a: ([{"a": (a,)}],), lambda kept: kept[0][0]["a"][0]),
    "deque": keep_in(lambda a: collections.deque([a]), lambda kept: kept[0]),
    "namespace": keep_in(lambda a: types.SimpleNamespace(a=a), lambda kept: kept.a),
    "class attribute": keep_in(lambda a: type("Holder", (), {"a": a}), lambda kept: kept.a),
    "function attribute": keep_in(lambda a: setattr(f := lambda: None, "a", a) or f, lambda kept: kept.a),
    "module": keep_in(lambda a: setattr(m := types.ModuleType("m"), "a", a) or m, lambda kept: kept.a),
    "generator": keep_in(lambda a: (a for _ in itertools.count()), next),
    "iterator": keep_in(itertools.repeat, next),
    "memoryview": keep_in(memoryview, np.asarray),
    "view": keep_in(lambda a: a[...], lambda kept: kept),
    "object array": keep_in(object_array, lambda kept: kept[0]),
    "mapping proxy": keep_in(lambda a: types.MappingProxyType({"a": a}), lambda kept: kept["a"]),
}


def own_multiply(hold: Callable[[np.ndarray], Callable]) -> Callable:
    """x * y as a user writes it, the operands kept by ``hold``."""

    def multiply(x, y):
        a, b = x.data, y.data
        return mg.record("own multiply", a * b, (x, y), (hold(b), hold(a)), "d_x = g * y, d_y = g * x")

    return multiply


def own_exp(hold: Callable[[np.ndarray], Callable]) -> Callable:
    """exp(x), the result kept by ``hold``."""

    def exp(x):
        y = np.asarray(np.exp(x.data))
        return mg.record("own exp", y, (x,), (hold(y),), "d_x = g * y")

    return exp


# --- Changes that aren't a handle and a write ----------------------------------------------------------------------


def write_under_no_grad(scene: Scene, t: Tensor) -> None:
    with mg.no_grad():
        t += 0.5


def step_optimizer(scene: Scene, t: Tensor) -> None:
    before = [p.grad for p in scene.leaves]
    for p in scene.leaves:
        p.grad = np.ones(p.shape) if p.requires_grad else None
    optimizer = SGD(scene.leaves, lr=0.1) if scene.rng.random() < 0.5 else Adam(scene.leaves, lr=0.1)
    optimizer.step()
    for p, grad in zip(scene.leaves, before, strict=True):
        p.grad = grad


def fail_to_step(scene: Scene, t: Tensor) -> None:
    """The optimizer changes the first parameter, and then meets one that can't be written."""
    locked = Tensor(random_arrays.read_only(scene.rng, np.ones(2)), requires_grad=True)
    leaf = scene.leaves[0]
    before, leaf.grad, locked.grad = leaf.grad, np.ones(leaf.shape), np.ones(2)
    try:
        SGD([leaf, locked], lr=0.1).step()
    finally:
        leaf.grad = before


def load(scene: Scene, t: Tensor) -> None:
    scene.weights.load_state_dict({key: 2 * a + 1 for key, a in scene.weights.state_dict().items()})


def fail_to_load(scene: Scene, t: Tensor) -> None:
    """Loading changes the first parameter, and then meets one that can't be written."""
    both = Weights([scene.leaves[0], layers.Parameter(random_arrays.read_only(scene.rng, np.ones(2)))])
    both.load_state_dict({key: 2 * a + 1 for key, a in both.state_dict().items()})


def use_as_statistics(scene: Scene, t: Tensor) -> None:
    """Training changes running statistics, which may be Tensors, in place."""
    vectors = [v for v in (*scene.leaves, *scene.values) if v.ndim == 1 and v.size]
    if vectors:
        v = vectors[scene.rng.integers(len(vectors))]
        x = scene.rng.normal(0, 1, (4, v.size))
        statistics = (v, Tensor(np.ones(v.size)))[:: scene.rng.choice([-1, 1])]
        layers.batch_norm(x, *statistics, training=True)


def use_layer_again(scene: Scene, t: Tensor) -> None:
    for norm, shape in scene.norms:
        if np.prod(shape) > norm.num_features:
            norm.train()(scene.rng.normal(0, 1, shape))


def change_statistics(scene: Scene, t: Tensor) -> None:
    for norm, _ in scene.norms:
        norm.running_mean[...] = 5
        norm.running_var.fill(7)


def change_a_copy(make: Callable[[Tensor], Tensor]) -> Callable[[Scene, Tensor], None]:
    """Change what ``make(t)`` returns, in one of three ways."""

    def change(scene, t):
        other = make(t)
        way = scene.rng.integers(3)
        if way == 0:
            other.data -= 1
        elif way == 1:
            other.data[...] = 5
        else:
            with mg.no_grad():
                other += 1

    return change


def subtract_from_data(scene: Scene, t: Tensor) -> None:
    t.data -= 0.5


def subtract_from_a_view(scene: Scene, t: Tensor) -> None:
    t.detach().reshape(-1).data -= 0.5


def replace_data(scene: Scene, t: Tensor) -> None:
    t.data = 2 * t.data + 1


def swap_data(scene: Scene, t: Tensor) -> None:
    for other in scene.leaves:
        if other is not t and other.shape == t.shape:
            t.data, other.data = other.data, t.data
            return


def put_data_back(scene: Scene, t: Tensor) -> None:
    t.data = t.data


def write_through_an_early_view(scene: Scene, t: Tensor) -> None:
    """A Tensor (not an array) that was made from t before the forward pass."""
    leaf = scene.leaves[scene.rng.integers(len(scene.leaves))]
    view = scene.early[id(leaf)][scene.rng.integers(3)]
    change_a_copy(lambda _: view)(scene, t)


def set_shape(scene: Scene, t: Tensor) -> None:
    t.data.shape = t.shape[::-1]


def set_strides(scene: Scene, t: Tensor) -> None:
    a = t.data
    if a.ndim == 2 and a.shape[0] == a.shape[1]:
        a.strides = a.strides[::-1]


def switch_requires_grad(scene: Scene, t: Tensor) -> None:
    t.requires_grad = not t.requires_grad


def only_look(scene: Scene, t: Tensor) -> None:
    repr(t), t.data.sum(), t.numpy().copy(), t.detach().item() if t.size == 1 else None
    scene.loss.tape()


def set_item(scene: Scene, t: Tensor) -> None:
    t[0] = 1


OTHERS: dict[str, Callable[[Scene, Tensor], Any]] = {
    "t.data -= 0.5": subtract_from_data,
    "t.detach().reshape(-1).data -= 0.5": subtract_from_a_view,
    "t += 0.5 under no_grad": write_under_no_grad,
    "t.data = other": replace_data,
    "t.data = t.data": put_data_back,
    "data of two tensors swapped": swap_data,
    "t.data.shape = ...": set_shape,
    "t.data.strides = ...": set_strides,
    "t[0] = 1": set_item,
    "optimizer.step()": step_optimizer,
    "optimizer.step() that fails": fail_to_step,
    "load_state_dict": load,
    "load_state_dict that fails": fail_to_load,
    "module.astype": lambda scene, t: scene.weights.astype(np.float32),
    "t as running statistics": use_as_statistics,
    "forward of a shared BatchNorm": use_layer_again,
    "running statistics": change_statistics,
    "copy.copy(t)": change_a_copy(copy.copy),
    "copy.copy(t.detach())": change_a_copy(lambda t: copy.copy(t.detach())),
    "copy.deepcopy(t)": change_a_copy(copy.deepcopy),
    "copy.deepcopy(weights)": lambda scene, t: copy.deepcopy(scene.weights).p0.data.fill(5),
    "copy.copy(weights)": lambda scene, t: copy.copy(scene.weights).p0.data.fill(5),
    "pickled": change_a_copy(lambda t: pickle.loads(pickle.dumps(t))),
    "Tensor(t.data)": change_a_copy(lambda t: Tensor(t.data)),
    "a view from before": write_through_an_early_view,
    "requires_grad": switch_requires_grad,
    "nothing": only_look,
}
MOMENTS = ("between", "between", "between", "after a second forward", "alias used after a second forward")
MOMENTS += ("between two steps", "in backward")


class Change(NamedTuple):
    """What is changed, how and when; made from the same seed as the scene."""

    moment: str
    names: tuple[str, ...]  # one of OTHERS, or a handle and a write
    after: float  # between two steps: after which share of them

    def __str__(self) -> str:
        return f"{' | '.join(self.names)}, {self.moment}"


def draw(seed: int) -> Change:
    """The change of a seed."""
    rng = np.random.default_rng([seed, 6])
    if rng.random() < 0.5:
        names: tuple[str, ...] = (list(OTHERS)[rng.integers(len(OTHERS))],)
    else:
        names = (list(HANDLES)[rng.integers(len(HANDLES))], list(WRITES)[rng.integers(len(WRITES))])
    return Change(str(rng.choice(MOMENTS)), names, float(rng.random()))


class Outcome(NamedTuple):
    """What came of a change: the gradients, or the error; and whether the change itself was refused."""

    grads: list[np.ndarray | None] | None
    error: Exception | None = None
    refused: Exception | None = None


def run_changed(seed: int, change: Change, guarded: bool) -> Outcome:
    """Forward, change, backward; with ``guarded`` False, backward by a walk that checks nothing."""
    scene = Scene(seed)
    tape = None if guarded else scene.loss.tape()
    steps = Steps(scene, tape)
    refused = []

    def attempt(do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # whatever Python or NumPy refuse, such as writing to a read-only array
            refused.append(error)

    try:
        make_change(scene, change, steps, attempt)
        steps.finish()
    except RuntimeError as error:
        return Outcome(None, error, *refused[:1])
    except ValueError as error:
        told = "t.data.shape = ..." in change.names  # of which the gradients' shapes tell
        return Outcome(None, RuntimeError(str(error)) if told else TypeError(repr(error)), *refused[:1])
    except Exception as error:
        return Outcome(None, TypeError(f"{type(error).__name__} instead of RuntimeError: {error}"), *refused[:1])
    return Outcome(scene.grads(), None, *refused[:1])


class Steps:
    """The way back: ``backward``, or ``tape.steps()`` in two parts, or the same unguarded."""

    def __init__(self, scene: Scene, tape: Tape | None) -> None:
        self.scene, self.tape = scene, tape
        self.walk: Iterator | None = None if tape is None else steps_without_guard(tape)

    def some(self, share: float) -> Any:
        """Go this share of the way, at least a step; returns the last step."""
        tape = self.tape or self.scene.loss.tape()
        if self.walk is None:
            self.walk = tape.steps(self.scene.seed_gradient)
        last = None
        for _ in range(max(1, int(share * len(tape)))):
            last = next(self.walk)
        return last

    def finish(self) -> None:
        if self.walk is None:
            self.scene.loss.backward()
        else:
            for _ in self.walk:
                pass


def steps_without_guard(tape: Tape) -> Iterator[None]:
    """``backward`` an entry at a time, without looking at what was changed."""
    results = {id(result) for result in tape.results}
    arrived = {id(tape.result): np.ones(tape.result.shape)}
    for entry, result in reversed(list(zip(tape.entries, tape.results, strict=True))):
        for x, d in entry.pull_back(arrived.pop(id(result))):
            if id(x) in results:
                arrived[id(x)] = arrived[id(x)] + d if id(x) in arrived else d
            else:
                x.grad = np.array(d) if x.grad is None else x.grad + d
        yield


def make_change(scene: Scene, change: Change, steps: Steps, attempt: Callable) -> None:
    """Do it at its moment; what is left of the way back remains to be done."""
    t = scene.target

    def do():
        if len(change.names) == 1:
            return OTHERS[change.names[0]](scene, t)
        return WRITES[change.names[1]](HANDLES[change.names[0]](t), scene.rng)

    if change.moment == "in backward":
        scene.during = lambda: attempt(do)
    elif change.moment == "between two steps":
        step = steps.some(change.after)
        attempt(do)
        scene.seed_gradient[...] = 5
        if step is not None:
            for array in (step.gradient, *(a for sent in step.sent for a in (sent.gradient, sent.total))):
                array[...] = 5
    elif change.moment == "alias used after a second forward" and len(change.names) > 1:
        alias = attempt(lambda: HANDLES[change.names[0]](t))
        train_once_more(scene, steps)
        if alias is not None:
            attempt(lambda: WRITES[change.names[1]](alias, scene.rng))
    else:
        attempt(do)
        if "second forward" in change.moment:
            train_once_more(scene, steps)


def train_once_more(scene: Scene, steps: Steps) -> None:
    """Another forward and, if the way back is guarded, backward with the same leaves as they are now: no reason for
    an error."""
    before = scene.values
    with contextlib.suppress(ValueError, TypeError, IndexError):  # a shape was changed
        loss = scene.forward()
        if steps.tape is None:
            loss.backward()
    scene.zero_grad()
    scene.values = before


def judge(seed: int, change: Change | None = None, guarded: bool = True) -> tuple[str, str]:
    """What came of the change: "right", "right, change refused", "error, needed", "error, needless" or "WRONG".

    The second string says more. With ``guarded`` False, the way back checks nothing.
    """
    change = change or draw(seed)
    what = f"{change}"
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # changed values may be anything
        try:
            unchanged = Scene(seed)
            unchanged.loss.backward()
        except Exception as error:
            return "WRONG", f"the program fails without a change: {type(error).__name__}: {error}"
        right = unchanged.grads()
        what += f", own vjps keep arrays in a {unchanged.holder}" if unchanged.holder else ""
        what += ", some leaves unpickled" if unchanged.unpickled else ""
        outcome = run_changed(seed, change, guarded)
        if isinstance(outcome.error, TypeError):
            return "WRONG", f"{what}: {outcome.error}"
        if outcome.error is not None:
            unguarded = run_changed(seed, change, guarded=False)
            needed = unguarded.grads is None or not same(unguarded.grads, right)
            return f"error, {'needed' if needed else 'needless'}", f"{what}: {outcome.error}"
    if not same(outcome.grads, right):
        return "WRONG", f"{what}: gradients {outcome.grads}, right are {right}"
    return ("right, change refused" if outcome.refused else "right"), f"{what}: {outcome.refused or ''}"


def same(grads: list[np.ndarray | None], right: list[np.ndarray | None]) -> bool:
    """Whether the gradients are the right ones, to the precision that they have."""
    for a, b in zip(grads, right, strict=True):
        if (a is None) != (b is None):
            return False
        if a is not None and b is not None:
            tolerance = 1e-9 if a.dtype.itemsize == 8 else 1e-4
            if a.shape != b.shape or not np.allclose(a, b, tolerance, tolerance * random_arrays.size_of(b)):
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--all", action="store_true", help="go on after a wrong gradient, and list the ways to get one")
    args = parser.parse_args()
    began, counts, wrong, needless = time.perf_counter(), Counter(), Counter(), Counter()
    for seed in range(args.first, args.first + args.count):
        verdict, text = judge(seed)
        counts[verdict] += 1
        needless[draw(seed).names[0]] += verdict == "error, needless"
        if verdict == "WRONG":
            if not args.all:
                raise SystemExit(f"seed {seed}: {text}")
            wrong[str(draw(seed))] += 1
            print(f"seed {seed}: {text}"[:200])
    errors = counts["error, needed"] + counts["error, needless"]
    print(f"{args.count:,} programs in {time.perf_counter() - began:.0f} s:", dict(counts))
    print(
        f"needless errors: {counts['error, needless'] / max(1, errors):.1%} of the errors, most by",
        needless.most_common(5),
    )


if __name__ == "__main__":
    main()
