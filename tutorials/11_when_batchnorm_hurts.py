# %% [markdown]
# # Lesson 11: when batch normalization hurts
#
# You will learn
# - what happens to batch normalization (BN) when a mini-batch is tiny, and which half of it fails, forward or backward;
# - why it matters that the images of a mini-batch are a random draw, and what batch renormalization does about both;
# - why networks that turn images into images often do without BN.
#
# BN relies on two things: that a mini-batch's mean and variance are about those of all data, and that nobody misses
# what it takes away. You break the first twice and the second once, each time against the network without BN.

# %%
from tutorials.comparing import LpNorm, arguments, descend, network, over, points, report, split  # before NumPy
from tutorials.lesson import BLACK, GREEN, PINK, SKY, WITH, WITHOUT, accuracy, batches, check, predict, save

import copy
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from layers import BatchNorm1d, Module, Parameter, ReLU, Sequential, batch_norm, cross_entropy, mse_loss, update_bn
from minigrad import Tensor, no_grad
from minigrad.optim import SGD, Adam
from tutorials.data import load_digits

args = arguments("Three situations in which batch normalization does harm.", "11_when_batchnorm_hurts")
data = load_digits()

# %% [markdown]
# ## Two images make a sign
# Take the smallest batch that BN accepts, two values for each channel.

# %%
sign = predict(
    "Two images, three channels: x is 3.0 and 3.1; -100 and 900; 1.000 and 1.001. What is x_hat in the first two?",
    ["-1 and 1 in both", "about 0 in the first, -1 and 1 in the second", "-0.05 and 0.05; -500 and 500"],
    right=0, because="However far apart, both are one standard deviation from the mean: only the order is left.",
)  # fmt: skip
pair = Tensor([[3.0, -100.0, 1.0], [3.1, 900.0, 1.001]], requires_grad=True)
x_hat = batch_norm(pair, None, None, training=True)
x_hat[1].sum().backward()
print("x_hat", x_hat.numpy()[1].round(3), "d x_hat / d x", pair.grad[1].round(9))
sign.confirm([np.allclose(x_hat.numpy()[1, :2], each, atol=0.01) for each in ((1, 1), (0, 1), (0.05, 500))])

# %% [markdown]
# That is the forward half. The backward half: $\hat{x}$ stays $\pm 1$ wherever you move $x$: its derivative is nearly
# 0. Except in the third channel, where the values differ by less than $\sqrt{\epsilon}$ = 0.003, it is over 100. The
# layers below get a gradient for a few units only, and a huge one.
#
# To find out which half does the harm, take them apart. *Forward*, normalize with the statistics of the mini-batch or
# with the running ones; *backward*, treat the mini-batch's as what they are, functions of $x$, or as constants. BN is
# mini-batch and functions. Running and functions is **batch renormalization** (S. Ioffe, *Batch Renormalization*,
# [arXiv 1702.03275](https://arxiv.org/abs/1702.03275)): it corrects BN's $\hat{x}$ by two constants,
#
# $$\frac{x - \mu}{\sigma} = \hat{x} \cdot r + d, \qquad
# r = \frac{\sigma_\mathcal{B}}{\sigma}, \quad d = \frac{\mu_\mathcal{B} - \mu}{\sigma},$$
#
# with the running $\mu$ and $\sigma$, so that training computes for each image what evaluation will. (The paper begins
# with BN, $r = 1$ and $d = 0$, and then gives them more and more room; we do without.)


# %%
class Normalize(BatchNorm1d):
    """BN whose forward takes the running statistics, or whose backward takes the mini-batch's as constants, or both."""

    def __init__(self, features: int, running: bool = False, constants: bool = False) -> None:
        super().__init__(features, momentum=0.01)
        self.running, self.constants = running, constants

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        a, running_std = x.numpy(), np.sqrt(self.running_var + self.eps)
        mean, std = a.mean(axis=0), np.sqrt(a.var(axis=0) + self.eps)
        r, d = std / running_std, (mean - self.running_mean) / running_std
        with no_grad():
            super().forward(x)  # updates the running statistics
        x_hat = (x - mean) / std if self.constants else batch_norm(x, None, None, training=True)
        return (x_hat * r + d if self.running else x_hat) * self.weight + self.bias


PLAIN, BN, FRESH, RENORM = "without BN", "with BN", "BN, fresh statistics", "batch renormalization"
CONSTANTS, RUNNING, TESTED = "mini-batch, constants", "running, constants", "BN, tested by class"
KINDS = {PLAIN: None, BN: Normalize, CONSTANTS: partial(Normalize, constants=True)}
KINDS |= {RENORM: partial(Normalize, running=True), RUNNING: partial(Normalize, running=True, constants=True)}
stream = partial(batches, data.x_train, data.y_train)
on_test = partial(accuracy, x=data.x_test, y=data.y_test)


def train(seed: int, norm, pairs, lr: float, more: int = 0) -> Sequential:
    """Train on these pairs (x, y); with ``more``, so many other images take part in the statistics, not in the loss."""
    model = network([64, 100, 100, 100, 10], norm, activation=ReLU, init_std=0.14, rng=seed)
    optimizer, others = SGD(model.parameters(), lr), stream(more, 10**6, [seed, 1])
    for (x, y), (other, _) in zip(pairs, others):
        descend(optimizer, cross_entropy(model(np.concatenate([x, other]))[: len(y)], y))
    return model


@no_grad()
def in_groups(model: Sequential, groups) -> float:
    """The share of right answers in training mode: each group of test images has its own statistics."""
    model = copy.deepcopy(model)
    return np.mean(np.concatenate([model(data.x_test[g]).numpy().argmax(1) == data.y_test[g] for g in groups]))


SIZES, PAIRS = (2, 3, 4, 8, 60), np.random.default_rng(0).permutation(354).reshape(177, 2)
ONE_CLASS = [np.flatnonzero(data.y_test == digit) for digit in range(10)]

# %% [markdown]
# ## Tiny batches
# Train with batches of 2 to 60 images, 400 steps each, SGD with rate 0.02; a small batch sees fewer images, so compare
# with the network without BN, which sees the same. Accuracies are those of the 355 test images (one is 0.28 %). Does
# only evaluation fail, by poor running statistics? Evaluate again with fresh ones, of 24 batches of 60, to see.


# %%
def measure(seed: int, kind, size: int, steps: int = 400, more: int = 0, lr: float = 0.02) -> list[float]:
    """Accuracy in evaluation, in training mode in pairs, and in evaluation with fresh statistics."""
    model = train(seed, kind, stream(size, steps, seed), lr, more)
    results = [on_test(model), in_groups(model, PAIRS)]
    if kind:
        update_bn(model, stream(60, 24, seed))
    return [*results, on_test(model)]


by_size = {name: np.array([over(args.seeds, measure, KINDS[name], n) for n in SIZES]) for name in (PLAIN, BN, RENORM)}
tiny = {name: values[:, 0] for name, values in by_size.items()} | {FRESH: by_size[BN][:, 2]}
report("accuracy, images a batch", SIZES, tiny, "{:.1%}")

# %% [markdown]
# With 8 images BN is ahead already; with 2 it falls apart, with fresh statistics, too. Why? Which half, forward or
# backward: the four kinds. Do the running statistics mislead? Test in training mode, in pairs. Is it the loss of only
# two images? Let 58 more take part in the statistics alone. Too few steps, or too long ones? 4,000, and a tenth.

# %%
half = predict(
    "Training in pairs: mend only the forward half (batch renormalization), or only the backward half. Which helps?",
    ["only the forward half", "only the backward half", "each one alone, about equally"],
    right=0, because="While each output depends on a random partner, a better gradient has little to work on.",
)  # fmt: skip
CONTROLS = {name: (kind, 2) for name, kind in KINDS.items()}
CONTROLS |= {"BN, 58 more for statistics": (Normalize, 2, 400, 58), "BN, 4,000 steps": (Normalize, 2, 4000)}
CONTROLS |= {"BN, 4,000, rate 0.002": (Normalize, 2, 4000, 0, 0.002)}
in_pairs = {name: over(args.seeds, measure, *how)[:2] for name, how in CONTROLS.items()}
report("trained in pairs", ["in evaluation", "tested in pairs"], in_pairs, "{:.1%}")
gap = in_pairs[RENORM][0] - in_pairs[CONSTANTS][0]
half.confirm([(gap > 0.2).all(), (gap < -0.2).all(), (abs(gap) < 0.2).all()])

# %% [markdown]
# Mend the forward half alone, and the network learns; mend the backward half alone, and it doesn't: an image's features
# depend on which partner it drew, and it is poor on pairs, too. With the forward half mended, the backward half still
# costs something. The loss of two images is enough, if 58 others steady the statistics. Seeds 0 to 4 (`--seeds 5`),
# trained in pairs, column 1: without BN 86.5% (81.4% to 91.3%); with BN 33.6% (8.7% to 51.0%); mini-batch, constants
# 13.0% (8.7% to 18.6%); batch renormalization 77.8% (74.9% to 80.8%); running, constants 91.0% (87.6% to 93.8%); BN, 58
# more for statistics 95.5% (94.4% to 96.3%); BN, 4,000 steps 48.0% (30.4% to 61.7%).
#
# ## Batches that are no random draw
# Data often come sorted: all images of one day, one patient, one class. Take batches of 60 images from 1, 2 or all 10
# classes, which take turns. In a batch of one class, what the images have in common *is* the class, and BN subtracts
# it with the mean. In the backward half, it does the same to the gradient.

# %%
best_kind = predict(
    "Batches of one class each. Which of these learns best?",
    ["BN", "batch renormalization", "running statistics, as constants in backward"],
    right=2, because="Only this one lets through what a batch's images have in common, forward and backward.",
)  # fmt: skip


def batches_of_classes(seed: int, count: int):
    """300 mini-batches (x, y) of 60 images from ``count`` classes each, which take turns."""
    rng, of_class = np.random.default_rng(seed), [np.flatnonzero(data.y_train == digit) for digit in range(10)]
    for digits in np.concatenate([rng.permutation(10) for _ in range(30 * count)]).reshape(300, count):
        rows = np.concatenate([rng.choice(of_class[digit], 60 // count, replace=False) for digit in digits])
        yield data.x_train[rows], data.y_train[rows]


def by_classes(seed: int, count: int) -> list[float]:
    models = [train(seed, kind, batches_of_classes(seed, count), 0.05) for kind in KINDS.values()]
    return [*map(on_test, models), in_groups(models[1], ONE_CLASS)]


of_classes = np.swapaxes([over(args.seeds, by_classes, count) for count in (1, 2, 10)], 0, 1)
of_classes = dict(zip([*KINDS, TESTED], of_classes))
report("accuracy, classes in a batch", (1, 2, 10), of_classes, "{:.1%}")
best_of = np.argmax([of_classes[name][0] for name in (BN, RENORM, RUNNING, CONSTANTS)], axis=0)
best_kind.confirm([(best_of == kind).all() for kind in range(3)])

# %% [markdown]
# With one class a batch, BN guesses. Batch renormalization mends the forward half; the backward half still takes out of
# the gradient what the images have in common; with that mended, too, all is well. And the good network of ten classes a
# batch guesses as soon as `eval()` is forgotten and images come class by class. Seeds 0 to 4 (`--seeds 5`), accuracy,
# classes in a batch, column 1: without BN 89.8% (87.9% to 91.8%); with BN 10.5% (4.2% to 17.2%); batch renormalization
# 76.3% (73.2% to 78.6%); running, constants 95.0% (94.4% to 95.5%).
#
# ## Where absolute values matter
# A network that *enlarges* an image must not ignore the light: half as bright in, half as bright out. B. Lim and others
# (*Enhanced Deep Residual Networks*, [arXiv 1707.02921](https://arxiv.org/abs/1707.02921), section 3) removed BN, as it
# takes from features the freedom of their range, and got better images. That is no control: it also saved 40 % of the
# memory in training, and they spent that on a larger network.
#
# Ours: digits of 4 x 4 pixels, shown as 8 x 8 blocks, are to become the 8 x 8 digits again, each dimmed by a random
# factor from 1/4 to 1. The network puts out a correction. Adam's rate is the best of three on 288 validation images;
# decibels are $-10 \log_{10}$ of the mean squared error, more is better. Controls: *layer normalization*
# ([arXiv 1607.06450](https://arxiv.org/abs/1607.06450)), with the mean and variance of one image's units; and a layer
# that only divides, by the mini-batch's root mean square.

# %%
offsets = predict(
    "Dim the test images from brightness 1 to 1/16. Whose error, relative to the brightness, grows least?",
    ["BN's", "layer normalization's", "that of the layer that only divides"],
    right=2, because="1/16 in gives 1/16 out. BN subtracts and adds fixed amounts that suit the trained brightness.",
)  # fmt: skip


class LayerNorm(Module):
    """Normalizes each image over its units; with ``biased``, a learned bias is added first, as a Linear's would."""

    def __init__(self, features: int, biased: bool = False) -> None:
        self.weight, self.bias = (Parameter(np.full(features, value), np.float32) for value in (1, 0))
        self.before = Parameter(np.zeros(features), np.float32) if biased else 0

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm((x + self.before).T, None, None, training=True).T * self.weight + self.bias


def blocks(x: np.ndarray) -> np.ndarray:
    """Images in which each 2 x 2 block of pixels has been replaced by its mean."""
    return x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2).reshape(-1, 64)


def dimmed(x: np.ndarray, rng) -> np.ndarray:
    return x * np.random.default_rng(rng).uniform(0.25, 1, (len(x), 1)).astype(x.dtype)


@no_grad()
def error(model: Sequential, x: np.ndarray) -> float:
    return float(np.sqrt(np.mean((model(blocks(x)).numpy() + blocks(x) - x) ** 2)))


def judge(model: Sequential, seed: int, x_val: np.ndarray, fresh: bool) -> tuple[float, list[float]]:
    """Validation error; decibels, also with fresh statistics if asked for, and error / brightness for test images."""
    in_range, of_brightness = dimmed(data.x_test, [seed, 1]), [error(model, data.x_test * b) / b for b in BRIGHTNESS]
    validation, errors = error(model, dimmed(x_val, 1)), [error(model, in_range)]
    if fresh:
        update_bn(model, [blocks(dimmed(x, seed)) for x, _ in stream(60, 24, seed)])
    return validation, [*(-20 * np.log10([*errors, error(model, in_range)])), *of_brightness]


def enlarge(seed: int, name: str) -> list[list[float]]:
    """What ``judge`` says after 400 and 2,000 steps at the best rate."""
    (x_train, _), (x_val, _) = split(data.x_train, data.y_train, seed)
    results: dict[int, list] = {400: [], 2000: []}
    for lr in (0.003, 0.01, 0.03):
        model = network([64, 100, 100, 64], ENLARGERS[name], activation=ReLU, init_std=0.14, rng=seed)
        optimizer, rng = Adam(model.parameters(), lr), np.random.default_rng(seed)
        for step, (x, _) in enumerate(batches(x_train, x_train, 60, 2000, seed), start=1):
            x = dimmed(x, rng)
            descend(optimizer, mse_loss(model(blocks(x)) + blocks(x), x))
            if step in results:
                results[step].append(judge(copy.deepcopy(model).eval(), seed, x_val, name == BN))
    return [min(at)[1] for at in results.values()]


BIASED, UNBIASED, DIVIDE = "layer normalization", "..., no bias before it", "only dividing"
ENLARGERS = {PLAIN: None, BN: BatchNorm1d, BIASED: partial(LayerNorm, biased=True), UNBIASED: LayerNorm}
ENLARGERS[DIVIDE] = partial(LpNorm, p=2, offsets=False)
BRIGHTNESS = 2 ** np.arange(-4, 3, dtype=np.float32)
enlarging = {name: over(args.seeds, enlarge, name) for name in ENLARGERS}
decibels = {name: values[:, 0] for name, values in enlarging.items()} | {FRESH: enlarging[BN][:, 1]}
relative = {name: values[1, 2:] for name, values in enlarging.items()}
report("decibels in range, after", ["400 steps", "2,000 steps"], decibels, "{:.2f}")
report("error / brightness at", [f"{b:g}" for b in BRIGHTNESS], relative, "{:.2f}")
grown = {name: values[0] / values[4] for name, values in relative.items()}  # from brightness 1 to 1/16
least = np.argmin([grown[name] for name in (BN, BIASED, UNBIASED, DIVIDE)], axis=0)
offsets.confirm([(least == 0).all(), np.isin(least, (1, 2)).all(), (least == 3).all()])

# %% [markdown]
# In range, more steps and fresh statistics give back most of what BN lacks: that is optimization and stale statistics,
# not lost brightness. BN *keeps* the differences between images; what erases brightness is normalizing each image,
# unless a bias before it lets it through. Out of range, BN's error grows more than without offsets (that layer's error
# is larger in range): the amounts that BN subtracts and adds suit the trained brightness.

# %%
STYLES = {PLAIN: ("s-", WITHOUT), BN: ("o-", WITH), RENORM: ("^-", GREEN), CONSTANTS: ("v-", PINK),
          RUNNING: ("D-", BLACK), BIASED: ("^-", GREEN), UNBIASED: ("v-", PINK), DIVIDE: ("D-", BLACK)}  # fmt: skip
STYLES |= dict.fromkeys((FRESH, TESTED), ("oo-", SKY))


def draw_everything():
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(15, 11), layout="constrained")
    percent = {"yscale": "linear", "ylim": (0, 1.05), "ylabel": "share of right answers"}
    points(a, SIZES, tiny, STYLES, "", xlabel="images in a training batch", **percent)
    bars = b.barh([*in_pairs], [values[0].mean() for values in in_pairs.values()], color=SKY)
    b.bar_label(bars, fmt="{:.0%}", padding=3)
    b.set(xlim=(0, 1.1), ylim=(len(bars) - 0.4, -0.6), xlabel="share of right answers")
    a.legend(loc="lower right")
    points(c, (1, 2, 10), of_classes, STYLES, "", xlabel="classes in a training batch", xlim=(-0.5, 4.3), **percent)
    points(d, ["1/16", "1/8", "1/4", "1/2", 1, 2, 4], relative, STYLES, "", ylabel="error / brightness",
           xlabel="brightness of the test images (grey: trained there)")  # fmt: skip
    d.axvspan(2, 4, color="0.92", zorder=0)
    titles = ("a  Two images are too few for BN", "b  Trained in pairs", "c  Sorted batches", "d  Enlarging")
    [ax.set_title(title, loc="left") for ax, title in zip(figure.axes, titles)]
    return figure


plt.rcParams["font.size"] = 12
print(f"\nThe figure: {save(draw_everything(), args, '11_when_batchnorm_hurts')}")

# %% [markdown]
# ## The claims

# %%
pairs, one, plain = in_pairs, {name: values[0] for name, values in of_classes.items()}, in_pairs[PLAIN][0]
behind = (decibels[PLAIN] - decibels[BN])[0], (decibels[PLAIN] - decibels[FRESH])[1]
claims = {
    "Pairs: BN ends 15 points below no BN, however evaluated": [tiny[n][0] <= plain - 0.15 for n in (BN, FRESH)],
    "... and after 4,000 steps, at either rate": [v[0] <= plain - 0.15 for name, v in pairs.items() if "4,000" in name],
    "... and on pairs, as it was trained, is right in less than half": pairs[BN][1] < 0.5,
    "... but not with 58 more in the statistics": pairs["BN, 58 more for statistics"][0] > plain - 0.01,
    "One class a batch: BN stays below 40 %, batch renormalization above 60 %": [one[BN] < 0.4, one[RENORM] > 0.6],
    "... and no BN does, too; by class in training mode, BN fails even if trained well": [
        one[PLAIN] > 0.6, of_classes[TESTED][-1] < 0.4],
    "Enlarging: BN is 0.2 dB behind after 400 steps": behind[0] >= 0.2,
    "... and at most 2/3 as far after 2,000, with fresh statistics": behind[1] <= behind[0] * 2 / 3,
    "... LayerNorm without a bias before it: 0.5 dB less": decibels[UNBIASED][1] <= decibels[BIASED][1] - 0.5,
    "At 1/16, BN's error is 1.3 times no BN's, or more": relative[BN][0] >= 1.3 * relative[PLAIN][0],
    "... and has grown 1.25 times as much as without offsets": grown[BN] >= 1.25 * grown[DIVIDE],
}  # fmt: skip
check({claim: bool(np.all(holds)) for claim, holds in claims.items()})
