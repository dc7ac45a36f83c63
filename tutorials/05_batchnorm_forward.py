# %% [markdown]
# # Lesson 5: batch normalization, forward
#
# You will learn
# - what batch normalization computes, on a batch so small that you can check it with a pencil;
# - which numbers share a mean and a variance, in every layout of the input, and which variance it is;
# - what $\gamma$ and $\beta$ are for, and why the scale of the weights before the layer no longer matters.
#
# The paper is S. Ioffe and C. Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
# Covariate Shift* ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167)); this lesson is its section 3. It shows *what*
# the layer does. Whether that is good for training is a later question.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, SKY, WITH, WITHOUT, check, parse, parser, save, table,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np

from layers import BatchNorm1d, BatchNorm2d, batch_norm, cross_entropy, linear, sigmoid
from minigrad import Tensor
from tutorials.data import load_digits

options = parser("Batch normalization by hand, axis by axis, and what it is blind to.")
args = parse(options, "05_batchnorm_forward")
plt.rcParams.update({"font.size": 11, "axes.titlesize": 12})
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## Algorithm 1, with a pencil
# Two examples (the rows) and three channels (the columns). Each channel is normalized by itself, over its $m$ values
# in the mini-batch:
#
# $$\mu = \frac{1}{m}\sum_i x_i \qquad \sigma^2 = \frac{1}{m}\sum_i (x_i - \mu)^2 \qquad
# \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} \qquad y_i = \gamma \hat x_i + \beta$$
#
# Work out the first column before you run the cell: mean 2, deviations $-1$ and $1$, variance 1. The small
# $\epsilon = 10^{-5}$ is there for a channel that happens to be constant, which would otherwise divide by 0.

# %%
x = np.array([[1.0, 2.0, 3.0], [3.0, 6.0, 1.0]])
gamma, beta, eps = np.ones(3), np.zeros(3), 1e-5  # where every BatchNorm layer starts
m = len(x)

mean = x.sum(axis=0) / m
var = ((x - mean) ** 2).sum(axis=0) / m
x_hat = (x - mean) / np.sqrt(var + eps)
y = gamma * x_hat + beta

lines = {"x, example 1": x[0], "x, example 2": x[1], "mean": mean, "var": var}
lines |= {"y, example 1": y[0], "y, example 2": y[1]}
table(["", "channel 0", "channel 1", "channel 2"], [[name, *(f"{v:.6f}" for v in row)] for name, row in lines.items()])

# %% [markdown]
# Look at the last two lines: only the signs are left. Of two values, one always lies one standard deviation above
# their mean and the other one below it, whatever they were. Normalization removes where a channel's values lie and how
# widely they are spread, and of two values little else is left.
#
# ## The layer, and PyTorch
# `BatchNorm1d` does the same. On the way it updates its *running* statistics, which it will use in evaluation:
# `running = 0.9 * running + 0.1 * batch`, from the start values 0 (mean) and 1 (variance). The expected numbers come
# from PyTorch, so that two programs written by different people have to agree.

# %%
# Made by PyTorch 2.13.0: bn = torch.nn.BatchNorm1d(3).double(), then bn(x), its buffers, and bn.eval()(x).
PYTORCH = {
    "training": [[-0.9999950000, -0.9999987500, 0.9999950000], [0.9999950000, 0.9999987500, -0.9999950000]],
    "running_mean": [0.2, 0.4, 0.2],
    "running_var": [1.1, 1.7, 1.1],
    "evaluation": [[0.7627666043, 1.2271403729, 2.6696831150], [2.6696831150, 4.2949913052, 0.7627666043]],
}
layer = BatchNorm1d(3).astype(np.float64)
ours = {"training": layer(x).numpy(), "running_mean": layer.running_mean, "running_var": layer.running_var}
ours["evaluation"] = layer.eval()(x).numpy()
off_pytorch = {name: np.abs(ours[name] - np.array(PYTORCH[name])).max() for name in PYTORCH}
off_by_hand = np.abs(ours["training"] - y).max()
print(f"largest difference to the four lines by hand: {off_by_hand:.1e}; to PyTorch: {max(off_pytorch.values()):.1e}")
print(f"running_var after one batch: {layer.running_var}; 0.9 * 1 + 0.1 * var would be {0.9 + 0.1 * var}")

# %% [markdown]
# ## Two variances
# The last line shows that something else than `var` went into `running_var`. The layer divides by $m$ where it
# normalizes (algorithm 1), but keeps $\frac{m}{m-1}\sigma^2$ for later (algorithm 2, line 10; PyTorch does so, too).
# Why? A mini-batch's values lie closer to their own mean than to that of all the data, so the batch variance is too
# small, on average by the factor $\frac{m-1}{m}$. Inside training that does no harm. As an estimate of the
# population's variance it would be wrong, by half for $m = 2$.
#
# We measure it: 100 units with random weights look at all training images. For the first unit, we draw 40,000 random
# mini-batches of each size (panel d of the second figure).

# %%
data = load_digits()
images = data.x_train.astype(np.float64)
W = rng.normal(size=(100, 64))
hidden = images @ W.T  # what a hidden layer's BatchNorm gets: (images, units)
unit = hidden[:, 0]

sizes = np.array([2, 3, 4, 8, 16, 32, 64])
batch_vars = [unit[rng.integers(len(unit), size=(40_000, size))].var(axis=1).mean() for size in sizes]
biased = np.array(batch_vars) / unit.var()
unbiased = biased * sizes / (sizes - 1)

# %% [markdown]
# ## Which numbers share a mean?
# All values of one channel, over *every* other axis. A channel is one unit of a fully connected layer, or one feature
# map of a convolution: there, all positions of all images are pooled, so that the same thing is done to a feature
# wherever it appears (section 3.2), and $m$ is the batch size times the number of positions.
#
# In the figure, cells with the same number are one channel: they share one mean, one variance, one $\gamma$, one
# $\beta$. The groups of cells in the lower row are feature maps on the left, and pixels on the right, where the
# channel is the last axis. To compute it yourself, get one thing right: sum over all axes but the channel's.


# %%
def all_but(channel_axis: int, ndim: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(ndim) if axis != channel_axis)


def algorithm_1(x: np.ndarray, channel_axis: int) -> np.ndarray:
    """x_hat for any layout; ``keepdims`` makes the statistics broadcast back against x."""
    axes = all_but(channel_axis, x.ndim)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


images_nchw = np.arange(24.0).reshape(2, 3, 2, 2)
layouts = {  # shape's letters: (a batch, the channel's axis, the layer, where the figure draws each cell)
    "(N, C)": (np.arange(6.0).reshape(2, 3), 1, BatchNorm1d(3), lambda n, c: (c, 1 + 3.5 * n)),
    "(N, C, L)": (np.arange(24.0).reshape(2, 3, 4), 1, BatchNorm1d(3), lambda n, c, i: (i, c + 3.5 * n)),
    "(N, C, H, W)": (images_nchw, 1, BatchNorm2d(3), lambda n, c, h, w: (w + 2.3 * c, h + 2.7 * n)),
    "(N, H, W, C), channels_last": (
        np.moveaxis(images_nchw, 1, -1), 3, BatchNorm2d(3, channels_last=True),
        lambda n, h, w, c: (c + 3.3 * w, h + 2.7 * n),
    ),
}  # fmt: skip
# Made by PyTorch 2.13.0, in float64: running_mean and running_var of BatchNorm1d(3) after arange(6) in shape (2, 3);
# of BatchNorm1d(3) after arange(24) in shape (2, 3, 4), and the same of BatchNorm2d(3) after shape (2, 3, 2, 2).
SMALL, LARGE = [0.15, 0.25, 0.35, 1.35, 1.35, 1.35], [0.75, 1.15, 1.55, 5.1571428571, 5.1571428571, 5.1571428571]
off_layout = {}
for name, (values, axis, layer, _) in layouts.items():
    off_here = np.abs(layer.astype(np.float64)(values).numpy() - algorithm_1(values, axis)).max()
    statistics = np.concatenate([layer.running_mean, layer.running_var])
    off_layout[name] = max(off_here, np.abs(statistics - (SMALL if values.ndim == 2 else LARGE)).max())
print("layout: the layer against algorithm 1, and its statistics against PyTorch's")
print("\n".join(f"{name}: {off:.0e}" for name, off in off_layout.items()))
worst_layout = max(off_layout.values())


# %%
def draw_layout(ax, name: str) -> None:
    values, axis, _, place = layouts[name]
    for index in np.ndindex(values.shape):
        (left, top), channel = place(*index), index[axis]
        ax.add_patch(plt.Rectangle((left, top), 1, 1, facecolor=(SKY, ORANGE, PINK)[channel], edgecolor="white", lw=2))
        ax.text(left + 0.5, top + 0.55, channel, ha="center", va="center", fontsize=15)
        if not any(index[1:]):
            ax.text(left - 0.2, top + 0.55, f"example {index[0] + 1}", ha="right", va="center", fontsize=12)
    ax.set(aspect="equal", xlim=(-2.3, 7), ylim=(6.6 if values.ndim < 4 else 4.8, -0.1))
    ax.set_axis_off()
    title = f"{name}\naxes to sum over: {all_but(axis, values.ndim)}, m = {values.size // 3}"
    ax.set_title(title, loc="left", x=0.25, fontsize=14)


figure, panels = plt.subplots(2, 2, figsize=(12, 9), layout="constrained", height_ratios=[6.7, 4.9])
figure.suptitle("One mean and one variance for each channel: cells with the same number are pooled", fontsize=16)
for ax, name in zip(panels.flat, layouts, strict=True):
    draw_layout(ax, name)
print(f"\nThe first figure: {save(figure, args, '05_batchnorm_forward')}")

# %% [markdown]
# ## What gamma and beta are for
# A layer that always hands on mean 0 and variance 1 can express less than before: the inputs of a sigmoid, for
# instance, would be kept where it is almost straight. So the paper ends the layer with a scale $\gamma$ and a shift
# $\beta$, which are learned like weights, and notes that $\gamma = \sqrt{\mathrm{Var}[x]}$ and
# $\beta = \mathrm{E}[x]$ would undo the normalization (section 3). With $\epsilon$, it is $\sqrt{\sigma^2 + \epsilon}$.
#
# If it can be undone, what is gained? The mean and the width of a unit used to be a by-product of all the weights
# below. Now they are two numbers of their own, and gradient descent can reach them directly. Panels a to c of the
# second figure show the way there and back, with all training images as one batch.

# %%
mean, var = hidden.mean(axis=0), hidden.var(axis=0)
x_hat = batch_norm(hidden, None, None, training=True).numpy()
restored = batch_norm(hidden, None, None, np.sqrt(var + eps), mean, training=True).numpy()
off_restored = np.abs(restored - hidden).max()
print(f"over {len(images):,} images and 100 units: x is from {hidden.min():.1f} to {hidden.max():.1f}")
print(f"with gamma = sqrt(var + eps), beta = mean, y differs from x by at most {off_restored:.1e}")

# %% [markdown]
# ## Blind to the scale of the weights
# Multiply the weights before the layer by a number $a$, and mean and standard deviation are multiplied as well, so
# that $a$ cancels (section 3.3):
#
# $$\mathrm{BN}((aW)u) = \mathrm{BN}(Wu) \qquad
# \frac{\partial\, \mathrm{BN}((aW)u)}{\partial\, (aW)}
# = \frac{1}{a} \cdot \frac{\partial\, \mathrm{BN}(Wu)}{\partial W}$$
#
# The second half follows from the first: a loss that doesn't change when all of $W$ is stretched by $a$ changes
# $1/a$ as fast for a step of the same length. Large weights get small gradients. The paper expects from this that
# training tolerates higher learning rates.
#
# We take one layer of 100 sigmoids on 60 digits, with a linear classifier on top, and turn $a$ from 1/1000 to 1000.

# %%
u, targets = images[:60], data.y_train[:60]
V = rng.normal(0, 0.1, (10, 100))


def loss_and_gradient(a: float, normalize: bool) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss with weights a * W, its gradient with respect to a * W, and the sigmoids' inputs."""
    scaled = Tensor(a * W, requires_grad=True, name="aW")
    z = linear(u, scaled)
    if normalize:
        z = batch_norm(z, None, None, training=True)
    loss = cross_entropy(linear(sigmoid(z), V), targets)
    loss.backward()
    return loss.item(), scaled.grad, z.numpy()


scales = np.logspace(-3, 3, 25)
with_bn = [loss_and_gradient(a, normalize=True) for a in scales]
without_bn = [loss_and_gradient(a, normalize=False) for a in scales]
_, gradient_at_1, z_at_1 = loss_and_gradient(1.0, normalize=True)
_, gradient_at_100, z_at_100 = loss_and_gradient(100.0, normalize=True)
off_output = np.abs(z_at_100 - z_at_1).max()
off_gradient = np.linalg.norm(100 * gradient_at_100 - gradient_at_1) / np.linalg.norm(gradient_at_1)

# %% [markdown]
# Where does it end? At small $a$, where the variance $a^2\sigma^2$ is no longer large against $\epsilon$. There, the
# layer becomes a plain division by $\sqrt\epsilon$, the outputs shrink with $a$, and the gradient stops growing: look
# at the left ends of panels e and f.
#
# Something to find out by yourself: what does the first equation say about the angle between a unit's weights and their
# gradient? Look at `(W * gradient_at_1).sum(axis=1)`, and think of Pythagoras: what do many steps of gradient descent
# do to the length of the weights?


# %%
def draw_units(ax, values: np.ndarray, title: str, label: str) -> None:
    """Histograms of three units: those whose input has the lowest mean, the smallest width, and the highest mean."""
    styles = ("-", SKY), ("--", BLACK), (":", WITHOUT)
    for k, (style, colour) in zip((mean.argmin(), var.argmin(), mean.argmax()), styles, strict=True):
        density, edges = np.histogram(values[:, k], 24, density=True)
        ax.plot((edges[1:] + edges[:-1]) / 2, density, style, lw=2.5, color=colour, label=f"unit {k}")
    ax.set(xlabel=label, ylabel="density of images", ylim=(0, 1.2 * ax.get_ylim()[1]))
    ax.set_title(title, loc="left")
    ax.legend(frameon=False, loc="upper center", ncols=3)


def draw_variances(ax) -> None:
    ax.plot(sizes, biased, "--s", color=WITHOUT, lw=2, label="divided by m: to normalize with")
    ax.plot(sizes, unbiased, "-o", color=WITH, lw=2, label="divided by m - 1: to keep")
    ax.plot(sizes, (sizes - 1) / sizes, color="0.3", lw=1, label="(m - 1) / m", zorder=0)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, sizes)
    ax.set(xlabel="batch size m", ylabel="average batch variance\n(fraction of the population's)", ylim=(0.4, 1.1))
    ax.legend(frameon=False, loc="lower right")
    ax.set_title("d  Dividing by m is too small on average", loc="left")


def draw_scales(ax, what: int, label: str, title: str) -> None:
    norm = np.linalg.norm
    for results, style, colour, name in ((without_bn, "--", WITHOUT, "without BN"), (with_bn, "-", WITH, "with BN")):
        ax.plot(scales, [norm(r[what]) for r in results], style, color=colour, lw=2.5, label=name)
    ax.set(xscale="log", xlabel="a, which multiplies the weights", ylabel=label)
    ax.set_title(title, loc="left")


figure, panels = plt.subplots(2, 3, figsize=(15, 9), layout="constrained")
figure.suptitle("Batch normalization fixes a unit's mean and width, and forgets the scale of the weights", fontsize=16)
draw_units(panels[0, 0], hidden, "a  Three units, as the weights make them", "x")
draw_units(panels[0, 1], x_hat, "b  Normalized: one place, one width", "x_hat")
draw_units(panels[0, 2], restored, "c  gamma = std, beta = mean: as before", "y")
draw_variances(panels[1, 0])
draw_scales(panels[1, 1], 0, "loss (nats)", "e  With BN the loss hardly notices a")
draw_scales(panels[1, 2], 1, "norm of the gradient w.r.t. aW", "f  With BN the gradient is 1/a as large")
panels[1, 2].plot(scales, np.linalg.norm(gradient_at_1) / scales, ":", color=GREEN, lw=2.5, label="1/a")
panels[1, 2].set(yscale="log")
for ax in panels[1, 1:]:
    ax.legend(frameon=False)
print(f"The second figure: {save(figure, args, '05_batchnorm_forward_2')}")

# %% [markdown]
# ## What was measured

# %%
change_with, change_without = (np.ptp([run[0] for run in runs[4:]]) for runs in (with_bn, without_bn))  # a >= 1/100
at_the_left_end = np.linalg.norm(with_bn[0][1]) / (1000 * np.linalg.norm(gradient_at_1))
print()
table(
    ["", "measured"],
    [
        ["largest difference to PyTorch's outputs and statistics", f"{max(off_pytorch.values()):.1e}"],
        ["average batch variance / population's, m = 2", f"{biased[0]:.3f}"],
        ["the same times m/(m-1)", f"{unbiased[0]:.3f}"],
        ["BN((100 W)u) - BN(Wu), largest", f"{off_output:.1e}"],
        ["100 * gradient at 100 W against gradient at W, relative", f"{off_gradient:.1e}"],
        ["gradient at W/1000, as a fraction of 1000 times that at W", f"{at_the_left_end:.2f}"],
        ["change of the loss from a = 1/100 to 1000, with BN", f"{change_with:.4f}"],
        ["the same without BN", f"{change_without:.4f}"],
    ],
)

# %% [markdown]
# ## The claims
# The two differences at $a = 100$ are not 0, but of the size of $\epsilon / \sigma^2$, as the text says.

# %%
claims = {
    "algorithm 1 by hand is what the layer computes, to 1e-12": off_by_hand < 1e-12,
    "outputs and running statistics are PyTorch's, to 1e-9": max(off_pytorch.values()) < 1e-9,
    "in all four layouts outputs (algorithm 1's) and statistics (PyTorch's) agree, to 1e-9": worst_layout < 1e-9,
    "the average batch variance is (m - 1)/m of the population's, within 5 %": np.abs(unbiased - 1).max() < 0.05,
    "gamma = std and beta = mean give x back, to 1e-10": off_restored < 1e-10,
    "BN((100 W)u) = BN(Wu), to 1e-4": off_output < 1e-4,
    "the gradient at 100 W is a hundredth of that at W, to 0.01 %": off_gradient < 1e-4,
    "but epsilon keeps the gradient at W/1000 at least 10 % below 1000 times that at W": at_the_left_end < 0.9,
    "above a = 1/100 the loss changes less than a tenth as much as without BN": change_with < change_without / 10,
}
check(claims)
