# %% [markdown]
# # Lesson 11: when batch normalization hurts
#
# You will learn
# - what happens to batch normalization (BN) when a mini-batch is tiny;
# - why it matters that the images of a mini-batch are a random draw;
# - why networks that turn images into images often do without it.
#
# BN makes two promises to itself: that the mean and variance of the mini-batch are about those of all data, and that
# nobody will miss what the normalization takes away. Here you break the first promise twice and the second once, and
# measure each time against the same network without BN, from the same weights and on the same batches.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    SKY, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, save, table, train_step,
)  # fmt: skip

import copy

import matplotlib.pyplot as plt
import numpy as np

from layers import ReLU, Sequential, batch_norm, mse_loss, update_bn
from minigrad import no_grad
from minigrad.optim import SGD, Adam
from tutorials.data import load_digits

args = parse(parser("Three situations in which batch normalization does harm."), "11_when_batchnorm_hurts")
data, NAMES = load_digits(), ("without BN", "with BN")
plt.rcParams["font.size"] = 12


def classifier(name: str) -> Sequential:
    return mlp([64, 100, 100, 100, 10], batch_norm=name == "with BN", activation=ReLU, init_std=0.14, rng=args.seed)


# %% [markdown]
# ## Two images make a sign
# Take the smallest batch that BN accepts, two values for each channel. Their mean is halfway between them, and both
# are one standard deviation away from it. So $\hat{x}$ is $+1$ for the larger and $-1$ for the smaller, however far
# apart they are. The only thing left of the first column below, where the values are alike, and of the second, where
# they are worlds apart, is which is larger.

# %%
pair = np.array([[3.0, -100.0], [3.1, 900.0]])
signs = batch_norm(pair, None, None, training=True).numpy()
print(f"{pair}\nbecomes\n{signs.round(3)}\n")

# %% [markdown]
# ## Tiny batches
# Train with batches of 2, 3, 4, 8 and 60 images, 400 steps each, plain SGD with learning rate 0.02. A small batch sees
# fewer images in 400 steps; so compare with the network without BN, which sees the same ones.
#
# When BN fails here, is it in training or only in the running statistics that evaluation uses? To tell, we evaluate a
# second time with the statistics of 24 batches of 60 images, estimated afresh by `update_bn`.

# %%
SIZES = (2, 3, 4, 8, 60)
tiny = {name: [] for name in (*NAMES, "with BN, fresh statistics")}
for size in SIZES:
    for name in NAMES:
        network = classifier(name)
        optimizer = SGD(network.parameters(), lr=0.02)
        for x, y in batches(data.x_train, data.y_train, size, 400, args.seed):
            train_step(network, optimizer, x, y)
        tiny[name].append(accuracy(network, data.x_test, data.y_test))
    update_bn(network, batches(data.x_train, data.y_train, 60, 24, args.seed))  # the loop's last: the one with BN
    tiny["with BN, fresh statistics"].append(accuracy(network, data.x_test, data.y_test))

table(
    ["test accuracy, images a batch", *SIZES],
    [[name, *(f"{value:.1%}" for value in values)] for name, values in tiny.items()],
)

# %% [markdown]
# With 8 images BN is ahead already; with 2 it falls apart. Fresh statistics don't mend it: a network that saw nothing
# but signs in training has not learned what to do with sizes, which it meets in evaluation. Y. Wu and K. He, *Group
# Normalization* ([arXiv 1803.08494](https://arxiv.org/abs/1803.08494)), met this where large images leave room for only
# a few of them in memory, and normalize within each image instead.

# %% [markdown]
# ## Batches that are no random draw
# Data often come sorted: all images of one day, one patient, one class. Take batches of 60 images from only 1, 2 or
# all 10 classes, the classes taking turns, so that in the end every class has been seen equally often.
#
# In a batch of one class, what the images have in common *is* the class, and what BN subtracts, the batch's mean, is
# what they have in common. And the running statistics, averages over classes, are none that the network ever trained
# with.


# %%
def batches_of_classes(count: int, steps: int):
    """Mini-batches (x, y) of 60 images from ``count`` classes, which take turns."""
    rng, classes = np.random.default_rng(args.seed), np.empty(0, dtype=int)
    of_class = [np.flatnonzero(data.y_train == digit) for digit in range(10)]
    for _ in range(steps):
        if not len(classes):
            classes = rng.permutation(10)
        chosen, classes = classes[:count], classes[count:]
        rows = np.concatenate([rng.choice(of_class[digit], 60 // count, replace=False) for digit in chosen])
        yield data.x_train[rows], data.y_train[rows]


COUNTS = (1, 2, 10)
by_class, trained = {name: [] for name in NAMES}, {}
for count in COUNTS:
    for name in NAMES:
        network = classifier(name)
        optimizer = SGD(network.parameters(), lr=0.05)
        for x, y in batches_of_classes(count, 300):
            train_step(network, optimizer, x, y)
        by_class[name].append(accuracy(network, data.x_test, data.y_test))
        trained[count, name] = network

print()
table(
    ["test accuracy, classes in a batch", *COUNTS],
    [[name, *(f"{value:.1%}" for value in values)] for name, values in by_class.items()],
)

# %% [markdown]
# Two classes in a batch are enough to save BN here: their difference survives the subtraction. Real data are seldom as
# cleanly sorted as with one class; but if yours come in some order, shuffle them, all the more so with BN.
#
# The same trap waits after training. The network that learned from all ten classes is a good one. Forget `eval()`, so
# that it normalizes with the batch, and give it test images in random batches: it loses a point or two. Give it
# the test images class by class: it becomes a guesser.


# %%
@no_grad()
def accuracy_with_batch_statistics(network: Sequential, groups: list[np.ndarray]) -> float:
    """The share of right answers when each group of test images is normalized with its own statistics."""
    network, right = copy.deepcopy(network).train(), 0
    for rows in groups:
        right += (network(data.x_test[rows]).numpy().argmax(axis=1) == data.y_test[rows]).sum()
    return float(right / len(data.x_test))


order = np.random.default_rng(args.seed).permutation(len(data.x_test))
good = trained[10, "with BN"]
at_test = {
    "evaluation mode": by_class["with BN"][-1],
    "training mode,\nrandom batches": accuracy_with_batch_statistics(good, np.array_split(order, 10)),
    "training mode,\none class a batch": accuracy_with_batch_statistics(
        good, [np.flatnonzero(data.y_test == digit) for digit in range(10)]
    ),
}
print()
table(["one network with BN, tested in", "accuracy"], [[k.replace("\n", " "), f"{v:.1%}"] for k, v in at_test.items()])

# %% [markdown]
# ## Where absolute values matter
# A class doesn't change if you dim the light, and it does a classifier good to ignore the light. A network that
# *enlarges* an image must not ignore it: half as bright in, half as bright out. B. Lim and others, *Enhanced Deep
# Residual Networks for Single Image Super-Resolution* ([arXiv 1707.02921](https://arxiv.org/abs/1707.02921), section
# 3.1), removed BN from their network: normalizing features takes away their freedom of range. Their images got better.
#
# Our version: digits of 4 x 4 pixels, each the mean of 2 x 2, shown as 8 x 8 blocks, are to become the 8 x 8 digits
# again. Each training image is dimmed by a random factor from 1/4 to 1. The network puts out a correction, which is
# added to the blocks. We train with Adam at three learning rates and keep, for each of the two networks, the one with
# the lowest training loss at the end.


# %%
def blocks(x: np.ndarray) -> np.ndarray:
    """Images in which each 2 x 2 block of pixels has been replaced by its mean."""
    means = x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    return means.repeat(2, axis=1).repeat(2, axis=2).reshape(-1, 64)


def dimmed(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x * rng.uniform(0.25, 1, (len(x), 1)).astype(x.dtype)


def enlarger(name: str, lr: float) -> tuple[float, Sequential]:
    """A trained network, and the mean loss of its last 50 steps."""
    network = mlp([64, 100, 100, 64], batch_norm=name == "with BN", activation=ReLU, init_std=0.14, rng=args.seed)
    optimizer, rng, losses = Adam(network.parameters(), lr), np.random.default_rng(args.seed), []
    for x, _ in batches(data.x_train, data.y_train, 60, 400, args.seed):
        x = dimmed(x, rng)
        loss = mse_loss(network(blocks(x)) + blocks(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-50:])), network.eval()


RATES = (0.003, 0.01, 0.03)
enlargers = {name: min(((*enlarger(name, lr), lr) for lr in RATES), key=lambda run: run[0]) for name in NAMES}

# %% [markdown]
# How good are they on test images dimmed like the training images? The usual measure is the peak signal-to-noise ratio,
# $-10 \log_{10}$ of the mean squared error for pixels from 0 to 1, in decibels; more is better.
#
# And beyond? Make the test images up to four times as bright or sixteen times as dim. The error should grow and shrink
# with the image, so we divide the root of the mean squared error by the brightness: a level line is what we want. A
# network of linear layers and ReLUs comes close to it by itself: without its biases, $f(ax) = a f(x)$ for every
# $a > 0$. BN can't do that: it subtracts and adds *fixed* amounts that suit the brightness it was trained at.


# %%
@no_grad()
def enlarged(name: str, x: np.ndarray) -> np.ndarray:
    return enlargers[name][1](blocks(x)).numpy() + blocks(x)


def rms_error(name: str, x: np.ndarray) -> float:
    return float(np.sqrt(np.mean((enlarged(name, x) - x) ** 2)))


BRIGHTNESS = 2.0 ** np.arange(-4, 2.1)
test_images = dimmed(data.x_test, np.random.default_rng([args.seed, 1]))
psnr = {name: -20 * np.log10(rms_error(name, test_images)) for name in NAMES}
relative_error = {
    name: np.array([rms_error(name, data.x_test * np.float32(b)) / b for b in BRIGHTNESS]) for name in NAMES
}
print()
table(
    ["enlarging", "learning rate", "dB in range", *(f"error at {b:g}" for b in BRIGHTNESS[[0, 2, 4, 6]])],
    [
        [name, enlargers[name][2], f"{psnr[name]:.2f}", *(f"{e:.3f}" for e in relative_error[name][[0, 2, 4, 6]])]
        for name in NAMES
    ],
)

# %% [markdown]
# ## The figure
# In e, one test image at two brightnesses; the grey scale of each row ends at its brightness, so that perfect pictures
# would be alike. In the dim row you see BN's fixed amounts, drawn over the digit.

# %%
STYLES = {"without BN": ("s--", WITHOUT), "with BN": ("o-", WITH), "with BN, fresh statistics": ("^:", SKY)}


def draw_tiny(ax) -> None:
    for name, (style, colour) in STYLES.items():
        ax.plot(range(len(SIZES)), 100 * np.array(tiny[name]), style, color=colour, lw=2, ms=8, label=name)
    ax.set_xticks(range(len(SIZES)), SIZES)
    ax.set(xlabel="images in a training batch", ylabel="test accuracy (%)", ylim=(0, 105))
    ax.set_title("a  Two images are too few for BN", loc="left")
    ax.legend(loc="lower right")


def draw_classes(ax) -> None:
    for offset, hatch, name in ((-0.2, "//", NAMES[0]), (0.2, None, NAMES[1])):
        bars = ax.bar(np.arange(3) + offset, 100 * np.array(by_class[name]), 0.38, color=STYLES[name][1], hatch=hatch,
                      edgecolor="white", label=name)  # fmt: skip
        ax.bar_label(bars, fmt="%.0f", padding=2)
    ax.set_xticks(range(3), COUNTS)
    ax.set(xlabel="classes in a training batch", ylabel="test accuracy (%)", ylim=(0, 130))
    ax.set_title("b  One class a batch: BN learns next to nothing", loc="left")
    ax.legend(ncols=2, loc="upper center")


def draw_at_test(ax) -> None:
    bars = ax.bar(range(3), [100 * value for value in at_test.values()], 0.6, color=WITH)
    ax.bar_label(bars, fmt="%.0f", padding=2)
    ax.set_xticks(range(3), at_test, fontsize=11)
    ax.set(ylabel="test accuracy (%)", ylim=(0, 115))
    ax.set_title("c  Test images judged by their company", loc="left")


def draw_error(ax) -> None:
    for name in NAMES:
        ax.loglog(BRIGHTNESS, relative_error[name], STYLES[name][0], color=STYLES[name][1], lw=2, ms=8, label=name)
    ax.axvspan(0.25, 1, color="0.9", zorder=0, label="trained here")
    ax.set_xticks(BRIGHTNESS, ["1/16", "1/8", "1/4", "1/2", "1", "2", "4"])
    ax.set_yticks([0.1, 0.2, 0.5, 1], ["0.1", "0.2", "0.5", "1"])
    ax.minorticks_off()
    ax.set(xlabel="brightness of the test images", ylabel="error / brightness")
    ax.set_title("d  Enlarging images: BN is bound to one brightness", loc="left")
    ax.legend()


def draw_images(figure) -> None:
    figure.suptitle("e  Enlarging a dimmed image: in range (1/2, top) and out of it (1/16, bottom)", fontsize=14)
    for row, brightness in zip(figure.subplots(2, 4), (1 / 2, 1 / 16), strict=True):
        x = data.x_test[:1] * np.float32(brightness)
        pictures = {"input: 4 x 4": blocks(x), **{name: enlarged(name, x) for name in NAMES}, "the truth: 8 x 8": x}
        for ax, (name, picture) in zip(row, pictures.items(), strict=True):
            ax.imshow(picture.reshape(8, 8), cmap="gray", vmin=0, vmax=brightness)
            ax.set_title(name)
            ax.set_axis_off()


def draw_everything():
    figure = plt.figure(figsize=(17, 10), layout="constrained")
    top, bottom = figure.subfigures(2, 1)
    for ax, draw in zip(top.subplots(1, 3), (draw_tiny, draw_classes, draw_at_test), strict=True):
        draw(ax)
    left, right = bottom.subfigures(1, 2, width_ratios=[2, 3])
    draw_error(left.subplots())
    draw_images(right)
    return figure


print(f"\nThe figure: {save(draw_everything(), args, '11_when_batchnorm_hurts')}")

# %% [markdown]
# ## The claims
# Be careful with the decibels: inside the range of training, BN's disadvantage is that of these 400 steps. With 2,000,
# half of it is gone; outside the range, much of it stays. And other tasks on images may have their own answer: measure.

# %%
dim, bright = (relative_error["with BN"][i] / relative_error["without BN"][i] for i in (0, -1))
level = relative_error["without BN"][-1] / relative_error["without BN"][4]
lead = {name: np.array(values) - tiny["without BN"] for name, values in tiny.items()}
claims = {
    "Of two values BN keeps only which is larger": np.allclose(signs, [[-1, -1], [1, 1]], atol=0.01),
    "Batches of 2: BN ends at least 15 points below no BN": lead["with BN"][0] <= -0.15,
    "... also with fresh statistics": lead["with BN, fresh statistics"][0] <= -0.15,
    "Batches of 60: BN ends no more than 1 point below": lead["with BN"][-1] >= -0.01,
    "One class a batch: BN stays below 40 %": by_class["with BN"][0] < 0.4,
    "... and the network without it gets above 70 %": by_class["without BN"][0] > 0.7,
    "Ten classes a batch: BN gets above 90 %": by_class["with BN"][-1] > 0.9,
    "Batch statistics of one class take the good network below 40 %": at_test["training mode,\none class a batch"]
    < 0.4,
    "Enlarging, in range: BN is worse by at least 0.2 dB": psnr["with BN"] <= psnr["without BN"] - 0.2,
    "At 1/16 of the brightness, BN's error is at least 1.3 times the other's": dim >= 1.3,
    "At 4 times the brightness, at least 1.1 times": bright >= 1.1,
    "Without BN, the relative error at 4 is within 5 % of that at 1": abs(level - 1) < 0.05,
}
check(claims)
