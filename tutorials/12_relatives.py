# %% [markdown]
# # Lesson 12: the relatives
#
# You will learn
# - that layer, instance and group normalization are `batch_norm` over other sets of numbers, one line each;
# - which failures of batch normalization (BN) in lesson 11 they cure, and what they cost;
# - over what BN normalizes after a convolution, and why small batches then matter less.
#
# Layer normalization is from J. Ba and others, 2016 ([arXiv 1607.06450](https://arxiv.org/abs/1607.06450)), instance
# normalization from D. Ulyanov and others, 2016 ([arXiv 1607.08022](https://arxiv.org/abs/1607.08022)), group
# normalization from Y. Wu and K. He, 2018 ([arXiv 1803.08494](https://arxiv.org/abs/1803.08494)).

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    GREEN, ORANGE, PINK, SKY, WITH, WITHOUT, accuracy, batches, check, heat_map, mlp, parse, parser, predict, save,
    table,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np

from layers import (
    BatchNorm1d, BatchNorm2d, BatchNorm3d, Flatten, Linear, Module, Parameter, ReLU, Sequential, batch_norm,
    fold_batchnorm, linear, relu, update_bn,
)  # fmt: skip
from minigrad import Tensor, concatenate
from tutorials.data import load_digits
from tutorials.trials import Trial, hold_out, text, try_out

options = parser("Layer, instance and group normalization, ghost batches, and a convolution.")
options.add_argument("--seeds", type=int, default=1, help="how many seeds the means and ranges are over")
args = parse(options, "12_relatives")
data, SEEDS = load_digits(), range(args.seed, args.seed + args.seeds)
FIT, _ = hold_out(data)
plt.rcParams["font.size"] = 12

# %% [markdown]
# ## One function, other sets
# BN cuts the numbers of a batch (N, C, H, W) into C sets, one for each channel, and gives each set mean 0, variance 1.
# Other sets make another normalization; the arithmetic, and the six lines of its backward, stay. `batch_norm` makes
# a set of each index of the second axis, so `reshape(1, sets, -1)` lets it normalize sets of values that follow each
# other in memory. (Of units, (N, C), instance normalization leaves nothing: a set is a single number.) `Norm` adds
# $\gamma$ and $\beta$ for each channel.


# %%
def in_sets(x: Tensor, sets: int) -> Tensor:
    """x_hat, if the values of x, in their order, are cut into this number of sets."""
    return batch_norm(x.reshape(1, sets, -1), None, None, training=True).reshape(*x.shape)


def layer_norm(x: Tensor) -> Tensor:
    return in_sets(x, x.shape[0])  # a set for each example


def instance_norm(x: Tensor) -> Tensor:
    return in_sets(x, x.shape[0] * x.shape[1])  # for each channel of each example


def group_norm(x: Tensor, groups: int = 4) -> Tensor:
    return in_sets(x, x.shape[0] * groups)  # for each group of channels of each example


class Norm(Module):
    """gamma * x_hat + beta, with the x_hat of one of these functions."""

    def __init__(self, function, channels: int) -> None:
        self.function = function
        self.weight, self.bias = Parameter(np.ones(channels), np.float32), Parameter(np.zeros(channels), np.float32)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))
        return self.function(x) * self.weight.reshape(*shape) + self.bias.reshape(*shape)


# %%
how_many = predict(
    "32 images with 16 channels of 8 x 8: from how many numbers is each of BN's means taken?", right=2048, within=0,
    because="All positions of all images, 32 * 8 * 8: the BN paper's effective mini-batch, m' = m p q (section 3.2).",
)  # fmt: skip

# %% [markdown]
# Are these the means over the axes that they should be over? And how many numbers are in one of BN's sets? That shows
# in its running variance, which gets the factor $m/(m-1)$. (`tests/golden` holds all of it to PyTorch's values.)

# %%
x = np.random.default_rng(args.seed).normal(size=(32, 16, 8, 8))
off = []
for function, axes in ((layer_norm, (1, 2, 3)), (instance_norm, (2, 3))):
    x_hat = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    off.append(np.abs(function(Tensor(x)).numpy() - x_hat).max())
print(f"largest difference to means and variances over axes: {max(off):.0e}")
shapes = {BatchNorm1d: (32, 16, 64), BatchNorm2d: (32, 16, 8, 8), BatchNorm3d: (32, 16, 4, 4, 4)}
for kind, shape in shapes.items():
    layer = kind(16, momentum=1.0, dtype=np.float64)
    layer(x.reshape(shape))
    factor = layer.running_var[0] / x[:, 0].var()
    print(f"{kind.__name__} of {shape}: kept variance {layer.running_var[0]:.6f}, m' = {factor / (factor - 1):.0f}")
    how_many.confirm(np.round(factor / (factor - 1)))

# %% [markdown]
# ## Batches of 2, batches of one class, and ghosts
# In lesson 11, BN failed on batches of 2 images, and of one class. We train its networks again, also with layer (LN)
# and group normalization (GN, 4 groups of 25 units). Of a batch of 2, two things are small: the sets that are
# normalized and the number of images that a step's gradient is averaged over. *Ghost batches* (E. Hoffer and others,
# 2017, [arXiv 1705.08741](https://arxiv.org/abs/1705.08741)) separate them: 60 images a step, in sets of 2.


# %%
class GhostBatchNorm(BatchNorm1d):
    """BN that normalizes each two images of a training batch by themselves."""

    def forward(self, x: Tensor) -> Tensor:
        y, (n, units) = super().forward(x), x.shape  # in training, only for its running statistics
        if not self.training:
            return y
        sets = x.reshape(n // 2, 2, units).swapaxes(0, 1).reshape(2, -1)
        x_hat = batch_norm(sets, None, None, training=True).reshape(2, n // 2, units).swapaxes(0, 1)
        return x_hat.reshape(n, units) * self.weight + self.bias


def normalization(name: str, channels: int, its_batch_norm=BatchNorm1d) -> Module:
    functions = {"LN": layer_norm, "IN": instance_norm, "GN": group_norm}
    layers = {"without": lambda channels: Sequential(), "BN": its_batch_norm, "ghosts": GhostBatchNorm}
    return Norm(functions[name], channels) if name in functions else layers[name](channels)


def fully_connected(name: str, seed: int) -> Sequential:
    plain = mlp([64, 100, 100, 100, 10], batch_norm=False, activation=ReLU, init_std=0.14, rng=seed)
    pairs = ([normalization(name, 100), part] if isinstance(part, ReLU) else [part] for part in plain)
    return Sequential(*(part for pair in pairs for part in pair))


# %% [markdown]
# `try_out` gives each network the learning rate with which it is the first to reach 90 % of 288 validation images, held
# out of the training images, or comes closest to it. It trains with each seed, and counts on the 355 test images.


# %%
def one_class(steps: int, seed: int):
    """Batches of 60 images of one class; the classes take turns."""
    rng, (x, y) = np.random.default_rng(seed), FIT
    for step in range(steps):
        rows = rng.choice(np.flatnonzero(y == step % 10), 60, replace=False)
        yield x[rows], y[rows]


STREAMS = {
    "batches of 2": lambda *how: batches(*FIT, 2, *how),
    "one class a batch": one_class,
    "batches of 60": lambda *how: batches(*FIT, 60, *how),
}


def trial(make, name: str, where: str, rates=(0.02, 0.1, 0.2, 0.5)) -> Trial:
    return try_out(lambda seed: make(name, seed), STREAMS[where], rates, 400, SEEDS, data)


# %%
by_ghosts = predict(
    "60 images a step, and BN in sets of 2. Will the network learn?",
    ["yes: only a step's gradient was too noisy", "hardly: sets of 2 do the harm"], right=1,
    because="Its steps average over 60 images now, and it stays far below all the others.",
)  # fmt: skip
first = predict(
    "With 60 images a batch, which network is the first to reach 90 %?", ["without", "BN", "LN", "GN"], right=1,
    because="The relatives are ahead of no normalization, but get only a part of what BN gets from a good batch.",
)  # fmt: skip

# %%
NAMES = ("without", "BN", "LN", "GN")
trials = {(name, where): trial(fully_connected, name, where) for where in STREAMS for name in NAMES}
trials["ghosts", "batches of 60"] = trial(fully_connected, "ghosts", "batches of 60")
mean = {key: np.mean(found.accuracy) for key, found in trials.items()}
rows = []
for name in (*NAMES, "ghosts"):
    found = [text(trials[name, where].accuracy) if (name, where) in trials else "" for where in STREAMS]
    rows.append([name, *found, text(trials[name, "batches of 60"].steps, "{:.0f}").replace("inf", "never")])
table(["test accuracy", *STREAMS, "steps to 90 %, batches of 60"], rows)
by_ghosts.confirm([mean["ghosts", "batches of 60"] > 0.9, mean["ghosts", "batches of 60"] < 0.8])
needed = [np.mean(trials[name, "batches of 60"].steps) for name in NAMES]
first.confirm(int(np.argmin(needed)))

# %% [markdown]
# Small sets are BN's problem, not few images in a step (lesson 6: in a set of two, only signs are left, and no gradient
# gets through). LN and GN normalize each image by itself, whatever else is in its batch: over five seeds, with 2 images
# a batch they do about as well as no normalization. With 60, none is as fast as BN. `--seeds 5`, mean and range:
#
# | | batches of 2 | one class a batch | batches of 60 | steps to 90 %, batches of 60 |
# | --- | --- | --- | --- | --- |
# | without | 86.2% (83.1% to 88.7%) | 93.7% (89.0% to 96.1%) | 97.1% (96.6% to 97.5%) | 46 (38 to 50) |
# | BN | 35.5% (28.2% to 43.9%) | 8.1% (5.9% to 12.1%) | 97.6% (96.9% to 97.7%) | 11 (10 to 13) |
# | LN | 88.5% (81.7% to 92.7%) | 95.5% (94.9% to 96.1%) | 97.1% (96.6% to 97.5%) | 31 (30 to 34) |
# | GN | 87.8% (83.9% to 93.2%) | 95.9% (94.9% to 96.6%) | 97.1% (96.9% to 97.5%) | 32 (26 to 37) |
#
# ## What it costs: light, and folding
# Train on the images as they are, then test with a quarter of the light. Where nothing is added before LN,
# $\mathrm{LN}(aWu) = \mathrm{LN}(Wu)$: the scale cancels. BN's running statistics belong to the old light, until
# `update_bn` estimates new ones, here on training images with a quarter of the light.

# %%
at_night = predict(
    "Which network loses most at a quarter of the light?", ["without", "BN", "LN", "GN"], right=1,
    because="It subtracts and divides by what suited the old light. The one without normalization loses little, too.",
)  # fmt: skip

# %%
trained = {name: trials[name, "batches of 60"].networks for name in NAMES}
layers_left = {name: len(list(fold_batchnorm(trained[name][0]))) for name in NAMES}
dim, in_the_dark = data.x_test / 4, {}
for name in (*NAMES, "BN, new statistics"):
    if "new" in name:
        for network in trained["BN"]:
            update_bn(network, [FIT[0] / 4])
    in_the_dark[name] = [accuracy(network, dim, data.y_test) for network in trained[name.split(",")[0]]]
print("at a quarter of the light:", ", ".join(f"{name} {text(values)}" for name, values in in_the_dark.items()))
lost = {name: mean[name.split(",")[0], "batches of 60"] - np.mean(values) for name, values in in_the_dark.items()}
at_night.confirm(int(np.argmax([lost[name] for name in NAMES])))

first_layer = trained["LN"][0][0]
change = []
for bias in (None, first_layer.bias):
    light, dark = (layer_norm(linear(u, first_layer.weight, bias)).numpy() for u in (data.x_test, dim))
    change.append(np.abs(light - dark).max())
print(f"LN(Wu) changes by at most {change[0]:.4f}, LN(Wu + b) by {change[1]:.2f}; layers after folding: {layers_left}")

# %% [markdown]
# Two costs. The brightness is lost at the first LN if no bias comes before it, and tasks such as lesson 11's enlarging
# need it. A bias before BN is cancelled and useless; a bias before LN is not: keep it. And the BN of evaluation is a
# fixed multiply-add that folds into the Linear before it (lesson 8); LN must see each image first.
#
# ## After a convolution
# A 3 x 3 convolution is a sum of nine shifted Linear: a pixel of the result sees nine of the image. BN's statistics run
# over N, H and W, so that already 2 images of 8 x 8 pixels give sets of 128 numbers.


# %%
def convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Shapes: x (N, C, H, W), zeros around it; weight (out, C, 3, 3), bias (out,); result (N, out, H, W)."""
    n, channels, height, width = x.shape
    rows, columns = np.zeros((n, 1, width, channels), x.dtype), np.zeros((n, height + 2, 1, channels), x.dtype)
    x = concatenate([rows, x.transpose(0, 2, 3, 1), rows], axis=1)  # linear works on the last axis
    x, y = concatenate([columns, x, columns], axis=2), bias
    for i, j in np.ndindex(3, 3):
        y = y + linear(x[:, i : i + height, j : j + width], weight[:, :, i, j])
    return y.transpose(0, 3, 1, 2)


class Stage(Module):
    """Convolution of side x side pixels, normalization, ReLU, and the largest of each 2 x 2 pixels."""

    def __init__(self, name: str, channels: int, features: int, side: int, rng: np.random.Generator) -> None:
        scale = np.sqrt(2 / (9 * channels))  # keeps the size of what goes through a ReLU: lesson 3
        self.weight = Parameter(rng.normal(0, scale, (features, channels, 3, 3)), np.float32)
        self.bias = Parameter(np.zeros(features), np.float32)
        self.norm, self.side = normalization(name, features, BatchNorm2d), side

    def forward(self, x) -> Tensor:
        images = x.reshape(x.shape[0], -1, self.side, self.side)
        y = relu(self.norm(convolution(images, self.weight, self.bias)))
        return y.reshape(*y.shape[:2], self.side // 2, 2, self.side // 2, 2).max(axis=(3, 5))


def convolutional(name: str, seed: int) -> Sequential:
    rng = np.random.default_rng(seed)
    return Sequential(Stage(name, 1, 8, 8, rng), Stage(name, 8, 16, 4, rng), Flatten(), Linear(64, 10, rng=rng))


positions = predict(
    "Batches of 2 images again, 8 x 8 and then 4 x 4 pixels. How does BN do?",
    ["it fails as before", "like the others"], right=1,
    because="A set has m' = 128 and then 32 numbers, not 2, although those of neighbouring pixels are much alike.",
)  # fmt: skip

# %%
pixels = {name: trial(convolutional, name, "batches of 2", (0.02, 0.1)).accuracy for name in (*NAMES, "IN")}
print("convolutions, batches of 2:", ", ".join(f"{name} {text(values)}" for name, values in pixels.items()))
positions.confirm([np.mean(pixels["BN"]) < 0.5, np.mean(pixels["BN"]) > 0.75])

# %% [markdown]
# Five seeds: BN 90.6% (88.2% to 92.7%), IN 90.5% (87.3% to 94.4%), without 86.5%, GN 82.6%, LN 82.3%.
#
# ## The figure

# %%
COLOURS = {"without": WITHOUT, "BN": WITH, "LN": GREEN, "GN": ORANGE, "IN": PINK, "ghosts": SKY}
SETS = {
    "BN: a set is a channel": [*range(4)] * 4, "LN: an image": np.repeat(range(4), 4),
    "IN: a channel of an image": range(16), "GN: 2 channels of an image": np.repeat(range(8), 2),
}  # fmt: skip
groups = {where: {name: value for (name, w), value in mean.items() if w == where} for where in STREAMS}
groups["convolutions, batches of 2"] = {name: np.mean(values) for name, values in pixels.items()}

figure = plt.figure(figsize=(16, 10), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[4, 6])
top.suptitle("Who shares a mean and a variance: the cells with the same number", fontsize=16)
for ax, (title, sets) in zip(top.subplots(1, 4), SETS.items()):
    heat_map(ax, np.reshape(sets, (4, 4)).T + 1, [], [], "{:.0f}")
    ax.set(title=title, xlabel="4 images", ylabel="4 channels (all pixels)")
ax, place, ticks = bottom.subplots(), 0.0, []
for group in groups.values():
    places = place + np.arange(len(group))
    bars = ax.bar(places, [100 * value for value in group.values()], 0.9, color=[COLOURS[name] for name in group])
    ax.bar_label(bars, [f"{name}\n{100 * value:.0f}" for name, value in group.items()])
    ticks, place = [*ticks, places.mean()], places[-1] + 1.7
ax.set_xticks(ticks, groups)
ax.set(ylim=(0, 115), ylabel="test accuracy (%)", title="BN needs sets of more than 2 numbers, of several classes")
print(f"\nThe figure: {save(figure, args, '12_relatives')}")

# %% [markdown]
# ## The claims

# %%
two, one, sixty = ({name: mean[name, where] for name in NAMES} for where in STREAMS)
claims = {
    "the relatives are means and variances over other axes, to 1e-12": max(off) < 1e-12,
    "batches of 2: BN stays below 65 %": two["BN"] < 0.65,
    "one class a batch: BN stays below 40 %": one["BN"] < 0.4,
    "... LN and GN get above 75 and 85 %": min(two["LN"], two["GN"]) > 0.75 and min(one["LN"], one["GN"]) > 0.85,
    "60 images a step in sets of 2: BN stays below 80 %": mean["ghosts", "batches of 60"] < 0.8,
    "batches of 60: all four get above 90 %": min(sixty.values()) > 0.9,
    "... BN in fewer steps to 90 % than any other": needed.pop(1) < min(needed),
    "a quarter of the light costs BN 20 points or more, and 2 at most with new statistics": lost.pop("BN") > 0.2
    and lost.pop("BN, new statistics") < 0.02,
    "... and the others 10 at most": max(lost.values()) < 0.1,
    "LN(Wu / 4) = LN(Wu), and not with a bias": change[0] < 0.01 < 0.1 < change[1],
    "of 10 layers, folding leaves 7 with BN, 10 with LN": (layers_left["BN"], layers_left["LN"]) == (7, 10),
    "convolutions, batches of 2: BN gets above 75 %": np.mean(pixels["BN"]) > 0.75,
}
check(claims)
