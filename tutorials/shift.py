"""Internal covariate shift, taken apart: networks in training, moments kept of them, and what moves their inputs.

Lesson 7 tells the story; here is its machinery. A ``Run`` trains a network and keeps its hidden layers at some steps.
From two moments, ``sigmoid_inputs`` makes the inputs of the sigmoids of a network whose layers *below* are those of one
moment and whose *own* layer is that of another, which is how the two causes of a shift are told apart. ``page_data``
puts all of it together for the page. Nothing here draws, and arrays are NumPy's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from layers import BatchNorm1d, Linear, Sequential, Sigmoid
from minigrad import no_grad
from minigrad.optim import SGD, Adam
from tutorials.data import Dataset
from tutorials.lesson import accuracy, batches, mlp, readings, steps_to, train_step

EPS = 1e-5  # BatchNorm1d's
LEVELS = np.arange(5, 100, 5)  # the percentiles by which a distribution is described
SATURATED = 2.887  # an input beyond it meets a slope under 0.05, a fifth of the sigmoid's largest
WHAT_MOVES = ("everything", "below", "own")
STATISTICS = ("probe", "batch", "running")


# The data.


class Split(NamedTuple):
    """Data to train on, to choose a setting by, and to answer the question once; as in ``Dataset``."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def hold_out(data: Dataset, every: int = 5) -> Split:
    """Take every fifth training image of each class away for validation; the test images stay as they are."""
    held = np.zeros(len(data.y_train), dtype=bool)
    for label in np.unique(data.y_train):
        held[np.flatnonzero(data.y_train == label)[every - 1 :: every]] = True
    x, y = data.x_train, data.y_train
    return Split(x[~held], y[~held], x[held], y[held], data.x_test, data.y_test)


# Training.


class Layer(NamedTuple):
    """A hidden layer at one moment: W u + beta or, with batch normalization, gamma x_hat + beta of x = W u."""

    weight: np.ndarray
    beta: np.ndarray
    gamma: np.ndarray | None = None
    mean: np.ndarray | None = None  # running statistics
    var: np.ndarray | None = None


def hidden_layers(network: Sequential) -> list[Layer]:
    """Copies of the parameters and running statistics of an ``mlp`` of sigmoids, its last layer left out."""
    found: list[Layer] = []
    linear = normalization = None
    for module in network:
        if isinstance(module, Linear):
            linear, normalization = module, None
        elif isinstance(module, BatchNorm1d):
            normalization = module
        elif normalization is None:
            found.append(Layer(linear.weight.numpy().copy(), linear.bias.numpy().copy()))
        else:
            n = normalization
            arrays = (linear.weight.numpy(), n.bias.numpy(), n.weight.numpy(), n.running_mean, n.running_var)
            found.append(Layer(*(np.array(array) for array in arrays)))
    return found


class Run:
    """A network of three hidden layers of 100 sigmoids in training, and what is kept of it.

    Attributes:
        at, accuracies: the steps after which the accuracy was read, and what it was.
        kept: the hidden layers after some of the steps, by step.
        gradient, update: for the same steps, of each hidden layer's weights: the gradient's length, and the length of
            the change that the step made, relative to that of the weights before it.
    """

    def __init__(
        self, data: Split, *, batch_norm: bool, lr: float, init_std: float, optimizer: type = SGD, seed: int = 0
    ):
        sizes = [data.x_train.shape[1], 100, 100, 100, 10]
        self.network = mlp(sizes, batch_norm=batch_norm, activation=Sigmoid, init_std=init_std, rng=seed)
        self.optimizer = optimizer(self.network.parameters(), lr)
        self.batch_norm, self.lr, self.init_std = batch_norm, lr, init_std
        self.at: list[int] = []
        self.accuracies: list[float] = []
        self.kept: dict[int, list[Layer]] = {}
        self.gradient: dict[int, list[float]] = {}
        self.update: dict[int, list[float]] = {}

    def step(self, x: np.ndarray, y: np.ndarray, keep: int | None = None) -> None:
        """Train on a mini-batch; with ``keep``, remember under this number what the layers are afterwards."""
        if keep is None:
            train_step(self.network, self.optimizer, x, y)
            return
        before = hidden_layers(self.network)
        train_step(self.network, self.optimizer, x, y)
        self.kept[keep] = after = hidden_layers(self.network)
        weights = [module.weight for module in self.network if isinstance(module, Linear)][:-1]
        self.gradient[keep] = [float(np.linalg.norm(weight.grad)) for weight in weights]
        self.update[keep] = [
            float(np.linalg.norm(new.weight - old.weight) / np.linalg.norm(old.weight))
            for old, new in zip(before, after)
        ]

    def read(self, step: int, x: np.ndarray, y: np.ndarray) -> float:
        """Note and return the accuracy on these images."""
        self.at.append(step)
        self.accuracies.append(accuracy(self.network, x, y))
        return self.accuracies[-1]

    def steps_to(self, level: float) -> int | None:
        """The first reading at which the accuracy was ``level`` or more; None if it never was."""
        return steps_to(level, self.at, self.accuracies)


def train(run: Run, data: Split, steps: int, batch_size: int, seed: int, *, on: str = "test", until: float = 2) -> Run:
    """Train for ``steps``, or to the first reading of ``until`` or more; the accuracy is that ``on`` "val" or "test".

    After each reading, what the layers are is kept, too, unless it is the validation images' accuracy.
    """
    x_read, y_read = (data.x_val, data.y_val) if on == "val" else (data.x_test, data.y_test)
    to_read = set(readings(steps))
    for step, (x, y) in enumerate(batches(data.x_train, data.y_train, batch_size, steps, seed), start=1):
        run.step(x, y, keep=step if step in to_read and on == "test" else None)
        if step in to_read and run.read(step, x_read, y_read) >= until:
            break
    return run


# What reaches the sigmoids.


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), written so that it overflows for no x."""
    return 0.5 * (1 + np.tanh(x / 2))


def one_layer(layer: Layer, h: np.ndarray, batch: np.ndarray | None = None, running: bool = False) -> np.ndarray:
    """What reaches a hidden layer's sigmoids for the outputs ``h`` of the layer below it: (images, units).

    Batch normalization takes mean and variance of ``h`` itself, or of what ``batch`` becomes in the layer, or, with
    ``running``, the running statistics.
    """
    x = h @ layer.weight.T
    if layer.gamma is None:
        return x + layer.beta
    if running:
        mean, var = layer.mean, layer.var
    else:
        source = x if batch is None else batch @ layer.weight.T
        mean, var = source.mean(axis=0), source.var(axis=0)
    return layer.gamma * (x - mean) / np.sqrt(var + EPS) + layer.beta


def sigmoid_inputs(
    below: Sequence[Layer],
    own: Sequence[Layer],
    images: np.ndarray,
    batch: np.ndarray | None = None,
    running: bool = False,
) -> list[np.ndarray]:
    """For each hidden layer what reaches its sigmoids, if it is that of ``own`` and those below it are of ``below``.

    With the layers ``first`` and ``now`` of two moments: (now, now) is the network as it is now; (now, first) shows
    what the layers below alone have changed, which is internal covariate shift; (first, now) what a layer's own
    weights alone have changed. A layer's running statistics are its own, as its weights are.

    Args:
        images: (images, pixels).
        batch: a mini-batch of training images, in the place of ``images`` for batch normalization's statistics.
        running: normalize with the running statistics.
    """
    inputs = []
    for lower, layer in zip(below, own):
        inputs.append(one_layer(layer, images, batch, running))
        images, batch = (
            sigmoid(one_layer(lower, images, batch, running)),
            None if batch is None else sigmoid(one_layer(lower, batch)),
        )
    return inputs


def choices(first: Sequence[Layer], now: Sequence[Layer]) -> dict[str, tuple[Sequence[Layer], Sequence[Layer]]]:
    """The arguments ``below`` and ``own`` of ``sigmoid_inputs`` for each of ``WHAT_MOVES``."""
    return {"everything": (now, now), "below": (now, first), "own": (first, now)}


def percentiles(inputs: Sequence[np.ndarray], levels: Sequence[float] = LEVELS) -> np.ndarray:
    """The percentiles of each unit over the images, as ``np.percentile`` has them: (layer, level, unit)."""
    ordered = np.sort(np.array(inputs).swapaxes(1, 2), axis=-1)  # one sort, along memory, is fastest for many levels
    place = np.asarray(levels) / 100 * (ordered.shape[-1] - 1)
    low = np.floor(place).astype(int)
    high, between = np.ceil(place).astype(int), place - low
    return (ordered[..., low] * (1 - between) + ordered[..., high] * between).swapaxes(1, 2)


def distance(q_from: np.ndarray, q_to: np.ndarray) -> np.ndarray:
    """Average distance of equal percentiles: (..., level, unit) -> (..., unit)."""
    return np.abs(q_to - q_from).mean(axis=-2)


def decomposition(first: Sequence[Layer], last: Sequence[Layer], images: np.ndarray) -> dict[str, np.ndarray]:
    """How far each hidden layer's inputs moved between two moments, by what was replaced: (layer,) each.

    "below" holds the layer's own weights at their early values; "below, late weights" at their late ones.
    """
    pairs = {
        "everything": ((first, first), (last, last)),
        "below": ((first, first), (last, first)),
        "below, late weights": ((first, last), (last, last)),
        "own": ((first, first), (first, last)),
    }
    moved = {}
    for name, moments in pairs.items():
        before, after = (percentiles(sigmoid_inputs(*moment, images)) for moment in moments)
        moved[name] = distance(before, after).mean(axis=-1)
    return moved


# Frames, and the page.


def frames_of(runs: Sequence[Run], images: np.ndarray, count: int = 60) -> list[int]:
    """``count`` of the kept steps, so spaced that something happens between each and the next.

    Each is as far from the next in the mean of three measures, of which each grows from 0 to 1 over the training: the
    logarithm of the step, and the way that the median of each unit has gone, in the one network and in the other.
    """
    steps = sorted(set.intersection(*(set(run.kept) for run in runs)))
    ways = [np.log(steps)]
    for run in runs:
        medians = np.array([percentiles(sigmoid_inputs(*2 * [run.kept[s]], images), [50]) for s in steps])
        moved = np.abs(np.diff(medians, axis=0)).mean(axis=(1, 2, 3))
        ways.append(np.concatenate([[0], moved.cumsum()]))
    progress = np.mean([(way - way[0]) / max(way[-1] - way[0], 1e-12) for way in ways], axis=0)
    nearest = np.abs(progress[:, None] - np.linspace(0, 1, count)).argmin(axis=0)
    return [steps[i] for i in np.unique(nearest)]


PAGE_LEVELS = (5, 25, 50, 75, 95)
BINS = 48
UNITS = np.arange(4, 100, 8)  # the dozen of each layer whose densities the page shows
SHOWN = 200  # probe images, of which the page may show one


def page_data(runs: Sequence[dict], data: Split, images: np.ndarray, meta: dict) -> bytes:
    """What the page shows, as JSON in UTF-8::

        {"meta": {"data", "steps", "batch_size", "seed", "probe": number of images, "train": number of images,
                  "saturated": 2.887, "saturated_text": what that is, "levels": [5, 25, 50, 75, 95]},
         "images": {"shape": [8, 8], "pixels": base64 of uint8, 0 = paper, 255 = ink},
         "runs": [{"title", "note", "nets": {"plain": NET, "bn": NET}}, ...]}

        NET = {"optimizer", "rate", "init_std", "steps_to_90": step or null,
               "frames": [steps, the same for both networks], "accuracy": [frame] in percent,
               "at", "accuracies": every reading of the accuracy, with its step, in percent,
               "gradient": [frame][layer], the length; "update": [frame][layer], the step's change over the weights,
               "saturated": [frame][layer], the share of (unit, image) pairs,
               "views": {"everything|probe", "below|probe", "own|probe": VIEW,
                         and of "bn" also "...|batch", "...|running"}}
        VIEW = [LAYER, LAYER, LAYER]
        LAYER = {"shift": [frame], mean distance of 19 percentiles from the first frame's, in the mean over all units,
                 "edges": [low, high] of the bins; what lies outside is not counted; one pair for a run,
                 "all": PACKED (bin, frame), density of all units together,
                 "dozen": PACKED (12, bin, frame), density of each of "dozen_units", a list of their numbers,
                 "pooled": PACKED (level, frame), percentiles of all units together,
                 "units": PACKED (level, unit, frame), percentiles of each unit, held within 1.5 times the edges,
                 "low", "high": [unit][4], only in "everything|probe": the images of a unit's lowest and highest
                                inputs at the last frame}
        PACKED = {"shape": [..., frames], "scale": s, "values": [int, ...]}: in C order, along the last axis differences
                 from the frame before (the first from 0), in units of s. So compressed best.

    Args:
        runs: ``{"title": str, "note": str, "plain": Run, "bn": Run}`` each.
        images: the probe images, of which the page can show the first 200.
        meta: the name of the ``data``, and ``steps``, ``batch_size`` and ``seed`` of the experiment.
    """
    side = int(np.sqrt(images.shape[1]))
    pixels = np.round(255 * images[:SHOWN]).astype(np.uint8).tobytes()
    document = {
        "meta": {
            **meta, "probe": len(images), "train": len(data.x_train), "levels": PAGE_LEVELS,
            "saturated": SATURATED, "saturated_text": "slope under 0.05, a fifth of the largest",
        },
        "images": {"shape": [side, side], "pixels": base64.b64encode(pixels).decode()},
        "runs": [_page_run(run, data, images, meta) for run in runs],
    }  # fmt: skip
    return json.dumps(document, separators=(",", ":")).encode()


def _page_run(run: dict, data: Split, images: np.ndarray, meta: dict) -> dict:
    pair = {name: run[name] for name in ("plain", "bn")}
    frames = frames_of(list(pair.values()), images)
    rng = np.random.default_rng(meta["seed"])
    drawn = [data.x_train[rng.choice(len(data.x_train), meta["batch_size"], replace=False)] for _ in frames]
    views = {name: page_views(net, frames, images, drawn) for name, net in pair.items()}
    as_they_are = [view["everything|probe"] for view in views.values()]
    edge = float(np.ceil(max(np.percentile(np.abs(u), 99) for view in as_they_are for us in view for u in us)))
    nets = {}
    for name, net in pair.items():
        inputs, at_step = views[name]["everything|probe"], dict(zip(net.at, net.accuracies))
        nets[name] = {
            "optimizer": type(net.optimizer).__name__, "rate": net.lr, "init_std": net.init_std,
            "steps_to_90": net.steps_to(0.9), "frames": frames,
            "accuracy": _short(100 * at_step[step] for step in frames),
            "at": net.at, "accuracies": _short(100 * value for value in net.accuracies),
            "gradient": _short(net.gradient[step] for step in frames),
            "update": _short(net.update[step] for step in frames),
            "saturated": _short([np.mean(np.abs(u) > SATURATED) for u in us] for us in inputs),
            "views": {key: _view(view, edge) for key, view in views[name].items()},
        }  # fmt: skip
        for layer, u in zip(nets[name]["views"]["everything|probe"], inputs[-1]):
            order = u[:SHOWN].argsort(axis=0).T
            layer.update(low=order[:, :4].tolist(), high=order[:, -4:].tolist())
    return {"title": run["title"], "note": run["note"], "nets": nets}


def page_views(net: Run, frames: Sequence[int], images: np.ndarray, drawn: Sequence[np.ndarray]) -> dict[str, list]:
    """The inputs of the sigmoids, [frame][layer], by what moves and by the statistics normalized with, "below|batch".

    Args:
        drawn: a mini-batch for each frame.
    """
    first, views = net.kept[frames[0]], {}
    for statistics in STATISTICS if net.batch_norm else STATISTICS[:1]:
        for what in WHAT_MOVES:
            views[f"{what}|{statistics}"] = [
                sigmoid_inputs(
                    *choices(first, net.kept[step])[what],
                    images,
                    batch if statistics == "batch" else None,
                    running=statistics == "running",
                )
                for step, batch in zip(frames, drawn)
            ]
    return views


def _view(inputs: Sequence[Sequence[np.ndarray]], edge: float) -> list[dict]:
    q = np.array([percentiles(frame, [*LEVELS, *PAGE_LEVELS]) for frame in inputs])
    fine, shown = q[:, :, : len(LEVELS)], q[:, :, len(LEVELS) :].clip(-1.5 * edge, 1.5 * edge)
    shift = distance(fine[0], fine).mean(axis=-1)
    layers = []
    for i, frames in enumerate(zip(*inputs)):
        pooled = [np.percentile(u, PAGE_LEVELS) for u in frames]
        layers.append(
            {
                "shift": _short(shift[:, i]),
                "edges": [-edge, edge],
                "all": _packed([_density(u, edge) for u in frames], 0.002),
                "dozen": _packed([[_density(u[:, unit], edge) for unit in UNITS] for u in frames], 0.1),
                "dozen_units": UNITS.tolist(),
                "pooled": _packed(pooled, 0.01),
                "units": _packed(shown[:, i], edge / 64),
            }
        )
    return layers


def _density(values: np.ndarray, edge: float) -> np.ndarray:
    bins = np.floor((values.ravel() / edge + 1) * (BINS / 2)).astype(int)
    counts = np.bincount(bins[(bins >= 0) & (bins < BINS)], minlength=BINS)
    return counts / values.size / (2 * edge / BINS)


def _packed(frames, scale: float) -> dict:
    """PACKED of ``page_data``, of an array whose first axis is the frames."""
    q = np.rint(np.moveaxis(np.asarray(frames), 0, -1) / scale).astype(int)
    return {"shape": q.shape, "scale": scale, "values": np.diff(q, axis=-1, prepend=0).ravel().tolist()}


def _short(values) -> list:
    """Nested numbers, to 4 digits."""
    return [_short(value) if np.ndim(value) else float(f"{value:.4g}") for value in values]
