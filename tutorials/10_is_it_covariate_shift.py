# %% [markdown]
# # Lesson 10: is it covariate shift?
#
# You will learn
# - the counter-argument: a network with batch normalization (BN) learns fast even if you make its inputs shift;
# - another way to put a number on covariate shift, by what it does to gradients, and how much depends on the setting;
# - what else BN changes: how far ahead a gradient can be trusted.
#
# In lesson 7, BN reduced the shift of the sigmoids' inputs, and the network learned faster. Both at once; but does the
# one *cause* the other? S. Santurkar and others, *How Does Batch Normalization Help Optimization?*
# ([arXiv 1805.11604](https://arxiv.org/abs/1805.11604)), say no: BN helps because it makes the loss smoother. They
# trained convolutional networks on CIFAR-10. You will repeat their three experiments on a network and a data set that
# are far smaller, and see which of their findings you can confirm, and which not.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    GREEN, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, save, table, train_step,
)  # fmt: skip

import copy
import functools

import matplotlib.pyplot as plt
import numpy as np

from layers import BatchNorm1d, Module, ReLU, Sequential, Sigmoid, cross_entropy
from minigrad import Tensor, no_grad
from minigrad.optim import SGD
from tutorials.data import load_digits

options = parser("Three experiments on why batch normalization helps.")
options.add_argument("--lr", type=float, default=0.05, help="learning rate; in setting B, BN gets 10 times it")
args = parse(options, "10_is_it_covariate_shift")
data, STEPS, SIZES = load_digits(), 300, [64, 100, 100, 100, 10]
RELU = {"activation": ReLU, "init_std": 0.14, "rng": args.seed}  # at this scale plain networks train well: lesson 9
watched_at = np.arange(1, STEPS, 15)
plt.rcParams["font.size"] = 12

# %% [markdown]
# ## Experiment 1: put the shift back
# If BN helps because it keeps distributions in place, then moving them about must undo the help. So put a layer behind
# each BN that gives each unit another mean and another scale, drawn afresh in every training step: the mean up to 1
# (a whole standard deviation of BN's output) up or down, the scale up to half more or less. The layer above can't
# foresee what comes. In the paper's section 2.1 each image gets noise of its own, from a distribution that changes in
# every step; here the whole mini-batch gets the same, so that each step sees nothing but another distribution.


# %%
class RandomShift(Module):
    """In training, y = scale * x + shift with a random scale and shift for each unit, another in every step."""

    def __init__(self, rng) -> None:
        self.rng = np.random.default_rng(rng)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        scale, shift = self.rng.uniform(0.5, 1.5, x.shape[1]), self.rng.uniform(-1, 1, x.shape[1])
        return x * scale.astype(x.dtype) + shift.astype(x.dtype)


def with_random_shifts(network: Sequential) -> Sequential:
    layers = []
    for layer in network:
        layers += [layer, RandomShift([args.seed, len(layers)])] if isinstance(layer, BatchNorm1d) else [layer]
    return Sequential(*layers)


networks = {
    "without BN": mlp(SIZES, batch_norm=False, **RELU),
    "with BN": mlp(SIZES, batch_norm=True, **RELU),
    "BN + random shifts": with_random_shifts(mlp(SIZES, batch_norm=True, **RELU)),
}

# %% [markdown]
# As in lesson 7, we watch the percentiles of what reaches each activation. Here the question is how far they move
# *from one step to the next*, as training sees it, noise included. Distances are in standard deviations of that
# unit's input, because the plain network's units have very different scales.


# %%
@no_grad()
def relu_inputs(network: Sequential) -> list[np.ndarray]:
    """What reaches each activation in training mode. A copy does the work, and the running statistics stay."""
    inputs, h = [], Tensor(data.x_test)
    for layer in copy.deepcopy(network):
        if isinstance(layer, ReLU):
            inputs.append(h.numpy())
        h = layer(h)
    return inputs


def moved(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    """Mean distance of equal percentiles over all units of all layers, in standard deviations."""
    levels, distances = np.arange(5, 100, 5), []
    for u, v in zip(before, after, strict=True):
        distance = np.abs(np.percentile(v, levels, axis=0) - np.percentile(u, levels, axis=0)).mean(axis=0)
        distances.append(np.mean(distance / (u.std(axis=0) + 1e-8)))
    return float(np.mean(distances))


shift, test_accuracy = {}, {}
for name, network in networks.items():
    optimizer, shift[name], test_accuracy[name] = SGD(network.parameters(), args.lr), [], []
    for step, (x, y) in enumerate(batches(data.x_train, data.y_train, 60, STEPS, args.seed), start=1):
        before = relu_inputs(network) if step in watched_at else None
        train_step(network, optimizer, x, y)
        if before:
            shift[name].append(moved(before, relu_inputs(network)))
        test_accuracy[name].append(accuracy(network, data.x_test, data.y_test))


def settled(accuracies: list[float]) -> int:
    """The step from which on the test accuracy stays at 90 % or more; STEPS + 1 if it doesn't."""
    below = np.flatnonzero(np.array(accuracies) < 0.9)
    return int(below[-1]) + 2 if len(below) else 1


needed = {name: settled(values) for name, values in test_accuracy.items()}
mean_shift = {name: float(np.mean(values)) for name, values in shift.items()}
table(
    ["experiment 1", *networks],
    [
        ["step from which accuracy stays above 90 %", *needed.values()],
        ["movement from step to step (std)", *(f"{value:.3f}" for value in mean_shift.values())],
        ["final test accuracy", *(f"{values[-1]:.1%}" for values in test_accuracy.values())],
    ],
)

# %% [markdown]
# The shifted network's inputs move several times as far in each step as the plain network's, and yet it learns faster.
# So steady input distributions are not what BN's speed rests on, here as in the paper. Two reservations. These shifts
# roll dice, while the drift of lesson 7 keeps its direction for thousands of steps; a network may average the one out
# and not the other. And they do cost something: without them, BN is faster still.

# %% [markdown]
# ## Experiment 2: how far can a gradient be trusted?
# A gradient describes the loss at one point; a step of gradient descent bets that it holds for a while. So take a
# mini-batch, go along its gradient by 1/4, 1/2, 1, 2 and 4 times the learning rate, and look at the loss there and at
# how much the gradient has changed (the paper's section 3.2; "gradient predictiveness"):
#
# $$\left\| \nabla L(\theta - \eta \nabla L(\theta)) - \nabla L(\theta) \right\|_2$$
#
# Small and steady is good: the step does what it promised. BN makes gradients smaller as well, and a small vector can't
# change by much, so the table also divides by the length of the first gradient.


# %%
def gradient(network: Sequential, x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """The loss, and its gradient with respect to each parameter."""
    network.zero_grad()
    loss = cross_entropy(network(x), y)
    loss.backward()
    return loss.item(), [p.grad for p in network.parameters()]


def length(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum((a**2).sum() for a in arrays)))


def along_gradient(network: Sequential, lr: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """For each distance: the loss, the change of the gradient, and that relative to the gradient: (5, 3)."""
    network = copy.deepcopy(network)
    parameters, result = list(network.parameters()), []
    _, before = gradient(network, x, y)
    start = [p.data.copy() for p in parameters]
    for factor in (0.25, 0.5, 1, 2, 4):
        for p, origin, g in zip(parameters, start, before, strict=True):
            p.data = origin - factor * lr * g
        loss, after = gradient(network, x, y)
        change = length([a - b for a, b in zip(after, before, strict=True)])
        result.append([loss, change, change / length(before)])
    return np.array(result)


# %% [markdown]
# ## Experiment 3: covariate shift, seen by the gradient
# The paper's section 2.2 defines internal covariate shift anew. What a layer's weights $W_i$ care about is their
# gradient. Let the layers *below* take their step, and nothing else: how much does the gradient of $W_i$ change?
#
# $$G = \nabla_{W_i} L(W_1^{t}, \dots, W_{i-1}^{t}, W_i^{t}, \dots, W_k^{t}), \qquad
# G' = \nabla_{W_i} L(W_1^{t+1}, \dots, W_{i-1}^{t+1}, W_i^{t}, \dots, W_k^{t})$$
#
# They report $\|G - G'\|_2$ and the cosine of the angle between $G$ and $G'$: 1 if the layers below made no
# difference to the direction, 0 if they made the gradient worthless.


# %%
def gradient_shift(network: Sequential, lr: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """For each Linear but the first: the length of G - G', that relative to G, and the cosine: (3 layers, 3)."""
    network, result = copy.deepcopy(network), []
    _, before = gradient(network, x, y)
    for i, p in enumerate(network.parameters()):  # from the bottom up: those below p have taken their step already
        if p.ndim == 2 and i:
            old, new = before[i], gradient(network, x, y)[1][i]
            difference = length([old - new])
            cosine = (old * new).sum() / (length([old]) * length([new]) + 1e-20)
            result.append([difference, difference / (length([old]) + 1e-20), cosine])
        p.data = p.data - lr * before[i]
    return np.array(result)


# %% [markdown]
# ## Three settings
# At which learning rate should one compare? At the same, or each network at one that suits it? We do both: A and B. C
# is the setting of lesson 7, small weights and sigmoids, in which the plain network hardly gets anywhere. In each we
# train both networks, and do experiments 2 and 3 every 15 steps.

# %%
SIGMOID = {"activation": Sigmoid, "init_std": 0.1, "rng": args.seed}


@functools.cache  # A and B share the plain network
def run(how: str, with_bn: bool, lr: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Train; experiment 2 as (time, distance, value), experiment 3 as (time, layer, value), and ``settled``."""
    network = mlp(SIZES, batch_norm=with_bn, **{"relu": RELU, "sigmoid": SIGMOID}[how])
    optimizer, landscape, shifts, accuracies = SGD(network.parameters(), lr), [], [], []
    for step, (x, y) in enumerate(batches(data.x_train, data.y_train, 60, STEPS, args.seed), start=1):
        if step in watched_at:
            landscape.append(along_gradient(network, lr, x, y))
            shifts.append(gradient_shift(network, lr, x, y))
        train_step(network, optimizer, x, y)
        accuracies.append(accuracy(network, data.x_test, data.y_test))
    return np.array(landscape), np.array(shifts), settled(accuracies)


SETTINGS = {
    "A": "ReLU, both at the same learning rate",
    "B": "ReLU, with BN at 10 times the learning rate",
    "C": "lesson 7's sigmoids and weights, both at the same learning rate",
}
runs = {
    ("A", False): run("relu", False, args.lr),
    ("A", True): run("relu", True, args.lr),
    ("B", False): run("relu", False, args.lr),
    ("B", True): run("relu", True, 10 * args.lr),
    ("C", False): run("sigmoid", False, args.lr),
    ("C", True): run("sigmoid", True, args.lr),
}
# Medians over the times; for the shift then the mean over the three layers.
spread = {key: float(np.median(np.ptp(landscape[..., 0], axis=1))) for key, (landscape, _, _) in runs.items()}
turned = {key: float(np.median(landscape[:, -1, 2])) for key, (landscape, _, _) in runs.items()}
shift_of_gradient = {key: np.median(shifts, axis=0).mean(axis=0) for key, (_, shifts, _) in runs.items()}
steps_needed = {key: steps for key, (_, _, steps) in runs.items()}

# %% [markdown]
# ## The figure
# a and b are experiment 1, c and d experiment 2 in setting A, e and f experiment 3. In c and d, a band reaches from the
# smallest to the largest value met along the gradient: a narrow band is a loss without surprises.


# %%
STYLES = {"without BN": ("--", WITHOUT), "with BN": ("-", WITH), "BN + random shifts": ("-.", GREEN)}


def draw_lines(ax, x, series: dict, ylabel: str, title: str) -> None:
    for name, (style, colour) in STYLES.items():
        ax.plot(x, series[name], style, color=colour, lw=2, label=name)
    ax.set(xlabel="training steps", ylabel=ylabel)
    ax.set_title(title, loc="left")


def draw_band(ax, column: int, ylabel: str, title: str) -> None:
    for with_bn, (name, hatch) in enumerate({"without BN": "//", "with BN": None}.items()):
        values, colour = runs["A", with_bn][0][..., column], STYLES[name][1]
        low, high = values.min(axis=1), values.max(axis=1)
        ax.fill_between(watched_at, low, high, fc=colour, alpha=0.4, hatch=hatch, ec=colour, label=name)
    ax.set(xlabel="training steps", ylabel=ylabel, yscale="log")
    ax.set_title(title, loc="left")
    ax.legend()


def draw_shift(ax, column: int, ylabel: str, title: str) -> None:
    for with_bn, name in enumerate(["without BN", "with BN"]):
        values = [shift_of_gradient[setting, with_bn][column] for setting in SETTINGS]
        bars = ax.bar(np.arange(3) + 0.4 * with_bn - 0.2, values, 0.38, color=STYLES[name][1], label=name,
                      hatch=None if with_bn else "//", edgecolor="white")  # fmt: skip
        ax.bar_label(bars, fmt="%.2g", padding=2)
    ax.set_xticks(range(3), ["A: same\nrate", "B: BN at 10\ntimes the rate", "C: lesson 7's\nsigmoids"])
    ax.set(ylabel=ylabel)
    ax.margins(y=0.2)
    ax.set_title(title, loc="left")


def draw_everything():
    figure, ((a, c, e), (b, d, f)) = plt.subplots(2, 3, figsize=(17, 10), layout="constrained")
    figure.suptitle("Is it covariate shift? Three experiments", fontsize=17)
    percent = {name: 100 * np.array(values) for name, values in test_accuracy.items()}
    steps = np.arange(1, STEPS + 1)
    draw_lines(a, steps, percent, "test accuracy (%)", "a  BN learns fast even if its inputs shift ...")
    draw_lines(b, watched_at, shift, "shift from one step to the next (std)", "b  ... farther a step than without BN")
    a.legend(loc="lower right")
    b.set_yscale("log")
    draw_band(c, 0, "loss along the gradient", "c  BN: the loss holds no surprises ...")
    draw_band(d, 1, "L2 change of the gradient", "d  ... and the gradient changes less")
    draw_shift(e, 1, "|G' - G| / |G|", "e  Gradient shift: less or more with BN ...")
    draw_shift(f, 2, "cosine of G and G'", "f  ... depends on the setting (1 is no shift)")
    e.legend()
    return figure


path = save(draw_everything(), args, "10_is_it_covariate_shift")

# %% [markdown]
# ## What was measured

# %%
header = ["", *(f"{setting}, {name}" for setting in SETTINGS for name in ("without", "with"))]
labels = ("gradient shift, L2", "gradient shift, relative", "cosine of G and G'")
print()
for setting, what in SETTINGS.items():
    print(f"{setting}: {what}")
print()
table(
    header,
    [
        ["spread of the loss along the gradient", *(f"{value:.3f}" for value in spread.values())],
        ["change of the gradient at 4 rates, relative", *(f"{value:.2f}" for value in turned.values())],
        *([label, *(f"{v[i]:.3f}" for v in shift_of_gradient.values())] for i, label in enumerate(labels)),
        ["step from which accuracy stays above 90 %", *(n if n <= STEPS else "never" for n in steps_needed.values())],
    ],
)
print(f"\nThe figure: {path}")

# %% [markdown]
# ## How this sits with the two papers
# - *Experiment 1* sides with Santurkar and others: BN with shifting inputs still beats no BN.
# - *Experiment 2* sides with them in A: with BN the loss along the gradient varies less, and the gradient changes far
#   less. In C the spread of the loss is no smaller with BN; there the plain network sits on a plateau, and a plateau is
#   smooth, too.
# - *Experiment 3* is divided. They found that with BN the gradient shifts about as much as without, or more. In A it
#   shifts much less, by all three measures. In C it shifts several times as much with BN, yet only the network with BN
#   learns. B is the most telling: relative to the gradient the shift is as large as without BN or larger (in length it
#   is smaller, as the gradients are), and the network with BN gets there in about a tenth of the steps.
#
# So a fast learner can have much of this shift, and a slow one little. Be careful with A, though. A gradient that
# changes little along a whole step (experiment 2) also changes little along that part of the step which the layers
# below take (experiment 3). The two don't measure independent things, and neither says which causes the other. How
# far BN leads in A depends on the learning rate as well: try `--lr 0.1`, near the largest that the plain network
# bears, and `--lr 0.02`.
#
# What remains of the first paper's explanation? BN does reduce the drift of distributions, and does speed up training
# (lesson 7). That the second *needs* the first is what experiment 1 speaks against; on a few hundred steps of a small
# network on small digits, no more and no less.

# %% [markdown]
# ## The claims

# %%
relative = {key: values[1] for key, values in shift_of_gradient.items()}
plain_shift, random_shift = mean_shift["without BN"], mean_shift["BN + random shifts"]
claims = {
    "1: random shifts move the inputs at least 5 times as far a step as no BN": random_shift >= 5 * plain_shift,
    "1: with them, BN still settles above 90 % sooner": needed["BN + random shifts"] < needed["without BN"],
    "1: they do slow BN down": needed["BN + random shifts"] > needed["with BN"],
    "2A: the loss along the gradient spreads at most 2/3 as much with BN": spread["A", 1] <= spread["A", 0] * 2 / 3,
    "2A: the gradient changes, relative to itself, at most half as much with BN": turned["A", 1] <= turned["A", 0] / 2,
    "3A: the gradient shifts at most 2/3 as much with BN": relative["A", 1] <= relative["A", 0] * 2 / 3,
    "3B: with BN at 10 times the rate, at least 2/3 as much": relative["B", 1] >= relative["B", 0] * 2 / 3,
    "3B: and BN settles in at most a third of the steps": steps_needed["B", 1] <= steps_needed["B", 0] / 3,
    "3C: the gradient shifts at least 4 times as much with BN": relative["C", 1] >= 4 * relative["C", 0],
    "3C: and only with BN does it learn": steps_needed["C", 1] <= STEPS < steps_needed["C", 0],
}
check(claims, strict=args.lr == options.get_default("lr"))
