"""Internal covariate shift, taken apart: networks in training, moments kept of them, and what moves their inputs.

Lesson 7 tells the story; here is its machinery. A ``Run`` trains a network and keeps its hidden layers at some steps.
From two moments, ``sigmoid_inputs`` makes the inputs of the sigmoids of a network whose layers *below* are those of one
moment and whose *own* layer is that of another, which is how the two causes of a shift are told apart. ``page_data``
puts all of it together for the page. Nothing here draws, and arrays are NumPy's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from layers import BatchNorm1d, Linear, Sequential, Sigmoid
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


class Setting(NamedTuple):
    """How a network is trained: the optimizer, its learning rate, the standard deviation of the first weights."""

    optimizer: type
    lr: float
    init_std: float

    def __str__(self) -> str:
        return f"{self.optimizer.__name__} {self.lr:g} from std {self.init_std:g}"


class Run:
    """A network of three hidden layers of 100 sigmoids in training, and what is kept of it.

    Attributes:
        at, accuracies: the steps after which the accuracy was read, and what it was.
        kept: for the same steps, the hidden layers.
        gradient, update: for the same steps and of each hidden layer's weights, the gradient's length, and the length
            of the change that the step made, relative to that of the weights before it.
    """

    def __init__(self, data: Split, batch_norm: bool, setting: Setting, seed: int = 0):
        sizes = [data.x_train.shape[1], 100, 100, 100, 10]
        self.setting, self.batch_norm = setting, batch_norm
        self.network = mlp(sizes, batch_norm=batch_norm, activation=Sigmoid, init_std=setting.init_std, rng=seed)
        self.optimizer = setting.optimizer(self.network.parameters(), setting.lr)
        self._weights = [module.weight for module in self.network if isinstance(module, Linear)][:-1]
        self._before: list[np.ndarray] = []
        self.at: list[int] = []
        self.accuracies: list[float] = []
        self.kept: dict[int, list[Layer]] = {}
        self.gradient: dict[int, list[float]] = {}
        self.update: dict[int, list[float]] = {}

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        """Train on a mini-batch."""
        self._before = [weight.numpy().copy() for weight in self._weights]
        train_step(self.network, self.optimizer, x, y)

    def read(self, step: int, x: np.ndarray, y: np.ndarray, keep: bool = True) -> float:
        """Note the accuracy on these images after a step, and return it; with ``keep``, note all else, too."""
        self.at.append(step)
        self.accuracies.append(accuracy(self.network, x, y))
        if keep:
            self.kept[step] = hidden_layers(self.network)
            self.gradient[step] = [float(np.linalg.norm(weight.grad)) for weight in self._weights]
            self.update[step] = [
                float(np.linalg.norm(weight.numpy() - old) / np.linalg.norm(old))
                for old, weight in zip(self._before, self._weights)
            ]
        return self.accuracies[-1]

    def steps_to(self, level: float) -> int | None:
        """The first reading at which the accuracy was ``level`` or more; None if it never was."""
        return steps_to(level, self.at, self.accuracies)

    @property
    def first(self) -> list[Layer]:
        """The hidden layers at the first reading."""
        return self.kept[self.at[0]]

    @property
    def last(self) -> list[Layer]:
        """The hidden layers at the last reading."""
        return self.kept[self.at[-1]]


def pairs(steps: int) -> list[int]:
    """About fifteen steps, by their logarithm, after each of which and after the next we look at the layers."""
    return [int(step) for step in readings(steps)[5:-1:12]]


def moments(steps: int) -> set[int]:
    """All steps after which a ``Run`` is read: the lessons' ``readings``, and the second ones of ``pairs``."""
    return {int(step) for step in readings(steps)} | {step + 1 for step in pairs(steps)}


def train(run: Run, data: Split, steps: int, batch_size: int, seed: int) -> Run:
    """Train to the end, and read it on the test images."""
    to_read = moments(steps)
    for step, (x, y) in enumerate(batches(data.x_train, data.y_train, batch_size, steps, seed), start=1):
        run.step(x, y)
        if step in to_read:
            run.read(step, data.x_test, data.y_test)
    return run


# Choosing a setting.

STDS = (0.1, 0.3, 0.5)
RATES = {SGD: (0.1, 0.3, 1, 3, 10), Adam: (0.001, 0.003, 0.01, 0.03, 0.1)}
LONGEST_TRIAL = 1500
SETTINGS = [Setting(optimizer, lr, std) for optimizer, rates in RATES.items() for std in STDS for lr in rates]


def try_out(
    data: Split, batch_norm: bool, setting: Setting, steps: int, batch_size: int, seed: int
) -> tuple[float, float]:
    """Steps to 90 % of the validation images (the first 1,000), inf if not in ``steps``; and the error rate.

    The smaller, the better: of two settings that never get there, the one that came closest.
    """
    run, to_read = Run(data, batch_norm, setting, seed), set(readings(steps))
    for step, (x, y) in enumerate(batches(data.x_train, data.y_train, batch_size, steps, seed), start=1):
        run.step(x, y)
        if step in to_read and run.read(step, data.x_val[:1000], data.y_val[:1000], keep=False) >= 0.9:
            return step, 1 - run.accuracies[-1]
    return np.inf, 1 - max(run.accuracies)


def best(tried: dict[Setting, tuple[float, float]], optimizer: type) -> Setting:
    """The setting of an optimizer with the fewest steps."""
    return min((setting for setting in tried if setting.optimizer is optimizer), key=tried.__getitem__)


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


def standardized(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each unit's inputs with their mean taken away and divided by their standard deviation: only the shape is left."""
    return [(u - u.mean(axis=0)) / (u.std(axis=0) + 1e-12) for u in inputs]


def shape_shift(run: Run, images: np.ndarray) -> np.ndarray:
    """How far each hidden layer's inputs moved in shape alone, in standard deviations: (layer,)."""
    before, after = (percentiles(standardized(sigmoid_inputs(now, now, images))) for now in (run.first, run.last))
    return distance(before, after).mean(axis=-1)


def step_to_step(run: Run, images: np.ndarray, statistics: str, draw: Callable[[], np.ndarray]) -> np.ndarray:
    """How far the inputs move in one step, with batch normalization's ``statistics`` being one of ``STATISTICS``.

    Args:
        draw: makes a mini-batch of training images, one for each moment.

    Returns:
        In units of the sigmoid's input, and in standard deviations of the unit's input: means over all units of the
        hidden layers, and over the pairs of successive steps that were read; nan if there are none.
    """
    moved = []
    for step in run.at:
        if step + 1 not in run.kept:
            continue
        before, after = (
            sigmoid_inputs(now, now, images, draw() if statistics == "batch" else None, statistics == "running")
            for now in (run.kept[step], run.kept[step + 1])
        )
        far = distance(percentiles(before), percentiles(after))
        moved.append([far.mean(), np.mean(far / (np.std(before, axis=1) + 1e-12))])
    return np.mean(moved, axis=0) if moved else np.full(2, np.nan)


def drawer(data: Split, batch_size: int, seed: int) -> Callable[[], np.ndarray]:
    """A function that draws a mini-batch of training images."""
    rng = np.random.default_rng(seed)
    return lambda: data.x_train[rng.choice(len(data.x_train), batch_size, replace=False)]


# The lesson's tables.

NAMES = ("without BN", "with BN")
Tables = dict[str, dict[str, tuple]]  # by the table's name and the row's: the row's numbers
WAYS = {  # rows of the table of steps
    None: "the lesson's setting",
    SGD: "each at its own best with SGD",
    Adam: "each at its own best with Adam",
}


def numbers(
    pairs_of_runs: dict[type | None, dict[str, Run]], images: np.ndarray, data: Split, batch_size: int
) -> Tables:
    """All that the lesson measures, of trained pairs of networks: by None the lesson's, by optimizer each one's best.

    Returns:
        "steps" to 90 % of the test images: without BN, with BN, how many times as many; "shift" by what was replaced,
        for each hidden layer: without BN, with BN; "step to step": in units of the sigmoid's input, in standard
        deviations.
    """
    runs, steps = pairs_of_runs[None], {}
    for way, pair in pairs_of_runs.items():
        plain, bn = (pair[name].steps_to(0.9) or np.inf for name in NAMES)
        steps[WAYS[way]] = (plain, bn, plain / bn if bn < np.inf else np.nan)
    moved = [decomposition(runs[name].first, runs[name].last, images) for name in NAMES]
    for run, causes in zip(runs.values(), moved):
        causes["shape alone (std)"] = shape_shift(run, images)
    shift = {
        f"{what}, layer {layer + 1}": tuple(float(causes[what][layer]) for causes in moved)
        for what in moved[0]
        for layer in range(3)
    }
    draw = drawer(data, batch_size, 0)
    movement = {NAMES[0]: step_to_step(runs[NAMES[0]], images, "probe", draw)}
    for statistics in STATISTICS:
        movement[f"{NAMES[1]}, {statistics}"] = step_to_step(runs[NAMES[1]], images, statistics, draw)
    return {
        "steps": steps,
        "shift": shift,
        "step to step": {row: tuple(map(float, values)) for row, values in movement.items()},
    }


def experiment(data: Split, images: np.ndarray, setting: Setting, steps: int, batch_size: int, seed: int) -> Tables:
    """The whole of lesson 7 for a seed, in one go: see ``numbers``."""
    found = {
        None: {name: train(Run(data, name == NAMES[1], setting, seed), data, steps, batch_size, seed) for name in NAMES}
    }
    short = min(steps, LONGEST_TRIAL)
    for optimizer in RATES:
        found[optimizer] = {}
        for name in NAMES:
            candidates = [candidate for candidate in SETTINGS if candidate.optimizer is optimizer]
            tried = {s: try_out(data, name == NAMES[1], s, short, batch_size, seed) for s in candidates}
            run = Run(data, name == NAMES[1], best(tried, optimizer), seed)
            found[optimizer][name] = train(run, data, short, batch_size, seed)
    return numbers(found, images, data, batch_size)


def over_seeds(tables: Sequence[Tables]) -> Tables:
    """The same tables with (mean, smallest, largest) in the place of each number."""
    return {
        name: {
            row: tuple(
                (float(np.mean(values)), float(np.min(values)), float(np.max(values)))
                for values in zip(*(table[name][row] for table in tables))
            )
            for row in rows
        }
        for name, rows in tables[0].items()
    }


HEADERS = {
    "steps": ("without BN", "with BN", "times as many"),
    "shift": ("without BN", "with BN"),
    "step to step": ("units of input", "standard deviations"),
}


def rows_of(rows: dict[str, tuple], seeds: dict[str, tuple] | None = None) -> list[list[str]]:
    """A table's rows as texts; with ``seeds``, and for (mean, smallest, largest), the range of seeds in brackets."""
    texts = []
    for row, values in rows.items():
        ranges = seeds[row] if seeds else values
        cells = []
        for value, several in zip(values, ranges):
            value = value[0] if isinstance(value, tuple) else value
            between = f" ({_text(several[1])} to {_text(several[2])})" if isinstance(several, tuple) else ""
            cells.append(_text(value) + between)
        texts.append([row, *cells])
    return texts


def _text(value: float) -> str:
    if not np.isfinite(value):
        return "never" if value > 0 else "-"
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2f}" if value >= 0.05 else f"{value:.4f}"


# What ``--seeds 5`` of the lesson measured with its other options left alone: (mean, smallest, largest).
# fmt: off
FIVE_SEEDS: Tables = {
    "steps": {
        "the lesson's setting": ((4634, 4452, 5006), (38.4, 31, 43), (122, 112.9, 149.3)),
        "each at its own best with SGD": ((119.6, 90, 128), (16.6, 16, 17), (7.224, 5.294, 8)),
        "each at its own best with Adam": ((41.4, 34, 48), (13.6, 12, 17), (3.082, 2.412, 3.583)),
    },
    "shift": {
        "everything, layer 1": ((0.6302, 0.5944, 0.6783), (0.09591, 0.09374, 0.09805)),
        "everything, layer 2": ((0.7794, 0.7627, 0.796), (0.1028, 0.09997, 0.1063)),
        "everything, layer 3": ((1.115, 1.076, 1.159), (0.407, 0.4034, 0.4176)),
        "below, layer 1": ((0, 0, 0), (0, 0, 0)),
        "below, layer 2": ((0.1558, 0.1427, 0.1666), (0.07299, 0.07151, 0.07585)),
        "below, layer 3": ((0.2079, 0.1954, 0.2184), (0.08667, 0.08341, 0.09037)),
        "below, late weights, layer 1": ((0, 0, 0), (0, 0, 0)),
        "below, late weights, layer 2": ((0.5551, 0.5234, 0.5815), (0.07729, 0.07187, 0.07966)),
        "below, late weights, layer 3": ((0.9648, 0.9368, 0.9869), (0.158, 0.1429, 0.1717)),
        "own, layer 1": ((0.6302, 0.5944, 0.6783), (0.09591, 0.09374, 0.09805)),
        "own, layer 2": ((0.5131, 0.4482, 0.5587), (0.07791, 0.0744, 0.0827)),
        "own, layer 3": ((0.5631, 0.4717, 0.6164), (0.315, 0.3079, 0.3272)),
        "shape alone (std), layer 1": ((0.09309, 0.08641, 0.09729), (0.06817, 0.06495, 0.07227)),
        "shape alone (std), layer 2": ((0.1066, 0.1026, 0.113), (0.08381, 0.08122, 0.08755)),
        "shape alone (std), layer 3": ((0.1167, 0.109, 0.1296), (0.1144, 0.1103, 0.1246)),
    },
    "step to step": {
        "without BN": ((0.003687, 0.003406, 0.003868), (0.2003, 0.1886, 0.2149)),
        "with BN, probe": ((0.007726, 0.007422, 0.008017), (0.007561, 0.007283, 0.007847)),
        "with BN, batch": ((0.1681, 0.1668, 0.1697), (0.1631, 0.1612, 0.1646)),
        "with BN, running": ((0.0187, 0.01827, 0.01942), (0.1106, 0.1066, 0.1161)),
    },
}
# fmt: on


# Frames, and the page.


def frames_of(runs: Sequence[Run], images: np.ndarray, count: int = 60) -> list[int]:
    """``count`` of the kept steps, so spaced that something happens between each and the next.

    Each is as far from the next in the mean of three measures, of which each grows from 0 to 1 over the training: the
    logarithm of the step, and the way that the median of each unit has gone, in the one network and in the other.
    """
    steps = sorted(runs[0].kept)
    ways = [np.log(steps)]
    for run in runs:
        medians = np.array([percentiles(sigmoid_inputs(*2 * [run.kept[s]], images), [50]) for s in steps])
        moved = np.abs(np.diff(medians, axis=0)).mean(axis=(1, 2, 3))
        ways.append(np.concatenate([[0], moved.cumsum()]))
    progress = np.mean([(way - way[0]) / max(way[-1] - way[0], 1e-12) for way in ways], axis=0)
    nearest = np.abs(progress[:, None] - np.linspace(0, 1, count)).argmin(axis=0)
    return [steps[i] for i in np.unique(nearest)]


PAGE_LEVELS = (5, 15, 30, 50, 70, 85, 95)
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
               "views": {"everything|probe", "below|probe", "own|probe", "late|probe": VIEW,
                         and of "bn" also "...|batch", "...|running"}}
        VIEW = [LAYER, LAYER, LAYER]
        LAYER = {"shift": [frame], mean distance of 19 percentiles from the first frame's, in the mean over all units,
                 "edges": [low, high] of the bins; what lies outside is not counted; one pair for a run,
                 "all": PACKED (bin, frame), density of all units together,
                 "dozen_units": the numbers of the dozen units that the page shows together,
                 "pooled": PACKED (level, frame), percentiles of all units together,
                 "units": PACKED (level, unit, frame), percentiles of each unit, held within 1.5 times the edges,
                 "low", "high": [unit][4], only in "everything|probe": the images of a unit's lowest and highest
                                inputs at the last frame}
        PACKED = {"shape": [..., frames], "scale": s, "values": text}: in C order, along the last axis differences from
                 the frame before (the first from 0), in units of s; 0, -1, 1, -2, 2, ... are the letters from "#" on.
                 So compressed best.

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
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _page_run(run: dict, data: Split, images: np.ndarray, meta: dict) -> dict:
    pair = {name: run[name] for name in ("plain", "bn")}
    frames = frames_of(list(pair.values()), images)
    draw = drawer(data, meta["batch_size"], meta["seed"])
    drawn = [draw() for _ in frames]
    views = {name: page_views(net, frames, images, drawn) for name, net in pair.items()}
    as_they_are = [view["everything|probe"] for view in views.values()]
    edge = float(np.ceil(max(np.percentile(np.abs(u), 99) for view in as_they_are for us in view for u in us)))
    nets = {}
    for name, net in pair.items():
        inputs, at_step = views[name]["everything|probe"], dict(zip(net.at, net.accuracies))
        nets[name] = {
            "optimizer": net.setting.optimizer.__name__, "rate": net.setting.lr, "init_std": net.setting.init_std,
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

    "late" is "below", seen through the weights of the last frame.

    Args:
        drawn: a mini-batch for each frame.
    """
    first, last, views = net.kept[frames[0]], net.kept[frames[-1]], {}
    for statistics in STATISTICS if net.batch_norm else STATISTICS[:1]:
        for what in (*WHAT_MOVES, "late"):
            views[f"{what}|{statistics}"] = [
                sigmoid_inputs(
                    *{**choices(first, net.kept[step]), "late": (net.kept[step], last)}[what],
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
        pooled = [percentiles([u.reshape(-1, 1)], PAGE_LEVELS)[0, :, 0] for u in frames]
        layers.append(
            {
                "shift": _short(shift[:, i]),
                "edges": [-edge, edge],
                "all": _packed([_density(u, edge) for u in frames], 0.002),
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
    differences = np.diff(q, axis=-1, prepend=0).ravel()
    codes = 35 + np.where(differences < 0, -2 * differences - 1, 2 * differences)
    return {"shape": q.shape, "scale": scale, "values": "".join(map(chr, codes.tolist()))}


def _short(values) -> list:
    """Nested numbers, to 4 digits."""
    return [_short(value) if np.ndim(value) else float(f"{value:.4g}") for value in values]
