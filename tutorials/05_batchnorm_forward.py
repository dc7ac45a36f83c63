# %% [markdown]
# # Lesson 5: batch normalization, forward
#
# You will learn
# - what batch normalization computes, on a batch so small that you can check it with a pencil;
# - which numbers share a mean and a variance, in every layout of the input, and which variance it is;
# - what $\gamma$ and $\beta$ are for, and why weight decay before the layer is nothing but a learning rate.
#
# The paper is S. Ioffe and C. Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
# Covariate Shift* ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167)); this lesson is its section 3.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, SKY, WITH, WITHOUT, batches, check, parse, parser, predict, save, table,
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
# At the start $\gamma = 1$ and $\beta = 0$. The small $\epsilon = 10^{-5}$ is there for a channel that happens to be
# constant, which would otherwise divide by 0.

# %%
x = np.array([[1.0, 2.0, 3.0], [3.0, 6.0, 1.0]])
pencil = predict(
    "Channel 1 holds 2 and 6. Take a pencil: what is y, to two decimals?",
    ["-2 and 2", "-1 and 1", "-0.5 and 0.5", "0 and 1"], right=1,
    because="The mean is 4, the deviations are -2 and 2, the variance is 4 and its root 2.",
)  # fmt: skip

# %%
gamma, beta, eps, m = np.ones(3), np.zeros(3), 1e-5, len(x)
mean = x.sum(axis=0) / m
var = ((x - mean) ** 2).sum(axis=0) / m
x_hat = (x - mean) / np.sqrt(var + eps)
y = gamma * x_hat + beta
pencil.confirm([(-2, 2), (-1, 1), (-0.5, 0.5), (0, 1)].index(tuple(y[:, 1].round(2))))
names = ("x, example 1", "x, example 2", "mean", "var", "y, example 1", "y, example 2")
rows = zip(names, (*x, mean, var, *y), strict=True)
table(["", "channel 0", "channel 1", "channel 2"], [[name, *(f"{v:.6f}" for v in row)] for name, row in rows])

# %% [markdown]
# Look at the last two lines: only the signs are left. Normalization removes where a channel's values lie and how widely
# they are spread, and of two values little else is left.
#
# ## The layer, PyTorch, and two variances
# `BatchNorm1d` does the same. On the way it updates its *running* statistics, which it will use in evaluation:
# `running = 0.9 * running + 0.1 * batch`, from the start values 0 (mean) and 1 (variance). The expected numbers come
# from PyTorch, so that two programs written by different people have to agree.

# %%
kept = predict(
    "Channel 1 has the variance 4 in the first batch. What is its running_var afterwards?",
    ["1.3 = 0.9 * 1 + 0.1 * 4", "1.7 = 0.9 * 1 + 0.1 * 8", "4"], right=1,
    because="It divides by m = 2 where it normalizes, but by m - 1 = 1 in what it keeps; the text below says why.",
)  # fmt: skip

# %%
# Made by PyTorch 2.13.0: bn = torch.nn.BatchNorm1d(3).double(), then bn(x), and its buffers.
PYTORCH = [[-0.9999950000, -0.9999987500, 0.9999950000], [0.9999950000, 0.9999987500, -0.9999950000]]
PYTORCH += [[0.2, 0.4, 0.2], [1.1, 1.7, 1.1]]
layer = BatchNorm1d(3).astype(np.float64)
off_by_hand = np.abs(layer(x).numpy() - y).max()
off_pytorch = np.abs(np.vstack([y, layer.running_mean, layer.running_var]) - PYTORCH).max()
kept.confirm([1.3, 1.7, 4].index(layer.running_var[1].round(6)))
print(f"largest difference to the four lines by hand: {off_by_hand:.1e}; to PyTorch: {off_pytorch:.1e}")

# %% [markdown]
# It keeps $\frac{m}{m-1}\sigma^2$ (algorithm 2, line 10; PyTorch, too), because a mini-batch's values lie closer to
# their own mean than to that of all the data, so that $\sigma^2$ is too small, on average by the factor
# $\frac{m-1}{m}$: as an estimate of the population's variance it would be wrong, by half for $m = 2$. We measure it:
# 100 units with random weights look at all training images, and for the first unit we draw 40,000 random mini-batches
# of each size (panel c of the second figure).

# %%
data = load_digits()
images = data.x_train.astype(np.float64)
W = rng.normal(size=(100, 64))
hidden = images @ W.T  # what a hidden layer's BatchNorm gets: (images, units)
sizes, unit = np.array([2, 3, 4, 8, 16, 32, 64]), hidden[:, 0]
batch_vars = [unit[rng.integers(len(unit), size=(40_000, size))].var(axis=1).mean() for size in sizes]
biased = np.array(batch_vars) / unit.var()
unbiased = biased * sizes / (sizes - 1)

# %% [markdown]
# ## Which numbers share a mean?
# All values of one channel, over *every* other axis. A channel is one unit of a fully connected layer, or one feature
# map of a convolution: there, all positions of all images are pooled, so that the same thing is done to a feature
# wherever it appears (section 3.2), and $m$ is the batch size times the number of positions.

# %%
pooled = predict(
    "Two images of three feature maps, 2 by 2 pixels each: shape (2, 3, 2, 2). How many values share one mean?",
    ["2", "4", "8", "24"], right=2, because="2 images times 4 positions, for each of the 3 feature maps.",
)  # fmt: skip


# %%
def algorithm_1(x: np.ndarray, channel_axis: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """x_hat for any layout, and the axes to sum over; with ``keepdims``, statistics broadcast back against x."""
    axes = tuple(axis for axis in range(x.ndim) if axis != channel_axis)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps), axes


nchw = np.arange(24.0).reshape(2, 3, 2, 2)
layouts = {  # shape's letters: (a batch, the channel's axis, the layer, where the figure draws each cell)
    "(N, C)": (np.arange(6.0).reshape(2, 3), 1, BatchNorm1d(3), lambda n, c: (c, 1 + 3.5 * n)),
    "(N, C, L)": (nchw.reshape(2, 3, 4), 1, BatchNorm1d(3), lambda n, c, i: (i, c + 3.5 * n)),
    "(N, C, H, W)": (nchw, 1, BatchNorm2d(3), lambda n, c, h, w: (w + 2.3 * c, h + 2.7 * n)),
    "(N, H, W, C)": (np.moveaxis(nchw, 1, -1), 3, BatchNorm2d(3, channels_last=True),
                                    lambda n, h, w, c: (c + 3.3 * w, h + 2.7 * n)),
}  # fmt: skip
worst_layout = max(
    np.abs(layer.astype(np.float64)(values).numpy() - algorithm_1(values, axis)[0]).max()
    for values, axis, layer, _ in layouts.values()
)
pooled.confirm([2, 4, 8, 24].index(nchw.size // nchw.mean(algorithm_1(nchw, 1)[1]).size))
print(f"in four layouts, the layer differs from algorithm 1 by at most {worst_layout:.0e}")

# %%
figure, panels = plt.subplots(2, 2, figsize=(12, 9), layout="constrained", height_ratios=[6.7, 4.9])
figure.suptitle("One mean and one variance for each channel: cells with the same number are pooled", fontsize=16)
for ax, (name, (values, axis, _, place)) in zip(panels.flat, layouts.items(), strict=True):
    for index in np.ndindex(values.shape):
        (left, top), channel = place(*index), index[axis]
        ax.add_patch(plt.Rectangle((left, top), 1, 1, facecolor=(SKY, ORANGE, PINK)[channel], edgecolor="white", lw=2))
        ax.text(left + 0.5, top + 0.55, channel, ha="center", va="center", fontsize=15)
        if not any(index[1:]):
            ax.text(left - 0.2, top + 0.55, f"example {index[0] + 1}", ha="right", va="center", fontsize=12)
    ax.set(aspect="equal", xlim=(-2.3, 7), ylim=(6.6 if values.ndim < 4 else 4.8, -0.1))
    ax.set_axis_off()
    title = f"{name}\naxes to sum over: {algorithm_1(values, axis)[1]}, m = {values.size // 3}"
    ax.set_title(title, loc="left", x=0.25, fontsize=14)
print(f"The first figure: {save(figure, args, '05_batchnorm_forward')}")

# %% [markdown]
# ## What gamma and beta are for
# A layer that always hands on mean 0 and variance 1 can express less than before: the inputs of a sigmoid, for
# instance, would be kept where it is almost straight. So the paper ends the layer with a scale $\gamma$ and a shift
# $\beta$, which are learned like weights, and could undo the normalization (section 3): which ones do?

# %%
undo = predict(
    "Which gamma and beta give x back, exactly?",
    ["1 and 0", "var and mean", "sqrt(var) and mean", "sqrt(var + eps) and mean"], right=3,
    because="Undo the division, then the subtraction. The paper leaves out eps here; var is sqrt(var) times too much.",
)  # fmt: skip

# %%
mean, var = hidden.mean(axis=0), hidden.var(axis=0)
x_hat = batch_norm(hidden, None, None, training=True).numpy()
gammas = np.ones(100), var, np.sqrt(var), np.sqrt(var + eps)
off_restored = [
    np.abs(batch_norm(hidden, None, None, gamma, beta, training=True).numpy() - hidden).max()
    for gamma, beta in zip(gammas, (np.zeros(100), mean, mean, mean), strict=True)
]
undo.confirm(int(np.argmin(off_restored)))
print(f"x is from {hidden.min():.1f} to {hidden.max():.1f}; y differs from it by at most", *np.round(off_restored, 6))

# %% [markdown]
# If it can be undone, what is gained? The mean and the width of a unit used to be a by-product of all the weights
# below. Now they are two numbers of their own, and gradient descent can reach them directly.
#
# ## Blind to the scale of the weights
# Multiply the weights before the layer by a number $a$, and mean and standard deviation are multiplied as well, so
# that $a$ cancels (section 3.3): $\mathrm{BN}((aW)u) = \mathrm{BN}(Wu)$. We take one layer of 100 sigmoids on 60
# digits, with a linear classifier on top, and turn $a$ from 1/1000 to 1000.

# %%
hundredfold = predict(
    "All weights before a BN are multiplied by 100. The gradient of the loss with respect to them becomes ...",
    ["100 times as large", "the same", "100 times as small", "10,000 times as small"], right=2,
    because="The loss stays, and a change of a weight must now be 100 times as large to have the same effect.",
)  # fmt: skip

# %%
V = rng.normal(0, 0.1, (10, 100))


def run(u: np.ndarray, targets: np.ndarray, weights: np.ndarray, top: np.ndarray, normalize: bool) -> tuple:
    """The loss, its gradients with respect to the layer's weights and the classifier's, and the sigmoids' inputs."""
    w, v = Tensor(weights, requires_grad=True), Tensor(top, requires_grad=True)
    z = batch_norm(linear(u, w), None, None, training=True) if normalize else linear(u, w)
    loss = cross_entropy(linear(sigmoid(z), v), targets)
    loss.backward()
    return loss.item(), w.grad, v.grad, z.numpy()


scales, fixed = np.logspace(-3, 3, 25), (images[:60], data.y_train[:60])
sweep = {normalize: [run(*fixed, a * W, V, normalize) for a in scales] for normalize in (False, True)}
widths = {normalize: np.array([z.std() for *_, z in runs]) for normalize, runs in sweep.items()}
norms = {normalize: np.array([np.linalg.norm(d) for _, d, *_ in runs]) for normalize, runs in sweep.items()}
(_, d_1, _, z_1), (_, d_100, _, z_100) = run(*fixed, W, V, True), run(*fixed, 100 * W, V, True)
off_output, off_gradient = np.abs(z_100 - z_1).max(), np.linalg.norm(100 * d_100 - d_1) / np.linalg.norm(d_1)
hundredfold.confirm([100, 1, 0.01, 0.0001].index((np.linalg.norm(d_100) / np.linalg.norm(d_1)).round(5)))
print(f"BN((100 W)u) differs from BN(Wu) by at most {off_output:.1e}, 100 times the gradient by {off_gradient:.1e}")

# %% [markdown]
# Only where the variance $a^2\sigma^2$ isn't large against $\epsilon$, at small $a$, do outputs shrink with $a$, and
# the gradient stops growing (the left ends of panels d and e).
#
# ## What follows for learning
# The loss doesn't change if one unit's weights $w$ are stretched. So what is the angle between $w$ and its gradient?

# %%
angle = predict(
    "The angle between a unit's weights and their gradient, in degrees?", right=90, within=1,
    because="A step along w changes nothing, so the gradient has no part along w.",
)  # fmt: skip
length = predict(
    "Think of Pythagoras: after a step of plain gradient descent, each unit's vector of weights is ...",
    ["longer", "shorter", "longer for some units, shorter for others"], right=0,
    because="The step is at right angles to w, so |w|^2 grows by |step|^2: a length can only grow.",
)  # fmt: skip

# %% [markdown]
# The gradient is proportional to $1/|w|$ and the outputs see only $w/|w|$, so what a learning rate $\eta$ does to them
# is that of an *effective learning rate* $\eta/|w|^2$, which falls while the weights grow. Weight decay $\lambda$ makes
# them shorter, so it keeps that rate up, and this is all that it does here: T. van Laarhoven, *L2 Regularization versus
# Batch and Weight Normalization*, 2017 ([arXiv 1706.05350](https://arxiv.org/abs/1706.05350)).
#
# That can be put to the test. Write $c = 1 - \eta\lambda$. If only the direction of $w$ counts, then a network without
# weight decay whose learning rate starts at $\eta/c$ and grows by $1/c^2$ in each step must compute the same: its
# weights are the others divided by $c^t$. (Z. Li and S. Arora, *An Exponential Learning Rate Schedule for Deep
# Learning*, [arXiv 1910.07454](https://arxiv.org/abs/1910.07454).) The control is the same without BN.

# %%
same = predict(
    "Weight decay against a growing learning rate: in which network do the losses of 300 steps differ?",
    ["in both", "only in that without BN", "only in that with BN", "in none"], right=1,
    because="Only before a BN does the length of the weights not count. Elsewhere, weight decay does more.",
)  # fmt: skip


# %%
def learn(normalize: bool, rate: float, decay: float = 0.0, growth: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The loss in each of 300 steps, and the length of each unit's weights before the first and after every step."""
    w, top, losses, lengths = W / 10, V, [], [np.linalg.norm(W / 10, axis=1)]
    for u, targets in batches(images, data.y_train, 60, 300, args.seed):
        loss, d_w, d_top, _ = run(u, targets, w, top, normalize)
        w, top = w - rate * (d_w + decay * w), top - 0.5 * d_top
        rate *= growth
        losses.append(loss)
        lengths.append(np.linalg.norm(w, axis=1))
    return np.array(losses), np.array(lengths)


RATE, DECAY = 1.0, 0.01
c = 1 - RATE * DECAY
ways = {"constant rate": (RATE,), "weight decay": (RATE, DECAY), "growing rate": (RATE / c, 0.0, c**-2)}
learned = {(normalize, way): learn(normalize, *how) for normalize in (True, False) for way, how in ways.items()}
losses = {key: loss for key, (loss, _) in learned.items()}
apart = {k: np.abs(losses[k, "weight decay"] - losses[k, "growing rate"]).max() for k in (True, False)}
cosines = (W * d_1).sum(axis=1) / np.linalg.norm(W, axis=1) / np.linalg.norm(d_1, axis=1)
angle.confirm(np.degrees(np.arccos(cosines)).mean())
length.confirm([1, 0].index(np.mean(np.diff(learned[True, "constant rate"][1], axis=0) > 0)))
same.confirm(3 - 2 * (apart[False] > 0.1) - (apart[True] > 0.1))
print(f"decay or growing rate: losses differ by at most {apart[True]:.4f} with BN, {apart[False]:.2f} without")

# %% [markdown]
# Panel f shows the lengths. With a constant rate they only grow; weight decay shortens them until its pull and the
# growth by Pythagoras are equal, and there the effective rate stays. The dotted line computes what the dashed one does.

# %%
figure, ((a, b, c), (d, e, f)) = plt.subplots(2, 3, figsize=(15, 9), layout="constrained")
figure.suptitle("Batch normalization fixes a unit's mean and width, and forgets the scale of the weights", fontsize=16)
units = {mean.argmin(): ("-", SKY), var.argmin(): ("--", BLACK), mean.argmax(): (":", WITHOUT)}
for ax, values, label in ((a, hidden, "x"), (b, x_hat, "x_hat")):
    for k, (style, colour) in units.items():  # the lowest mean, the smallest width, the highest mean
        density, edges = np.histogram(values[:, k], 24, density=True)
        ax.plot((edges[1:] + edges[:-1]) / 2, density, style, lw=2.5, color=colour, label=f"unit {k}")
    ax.set(xlabel=label, ylabel="density of images", ylim=(0, 1.2 * ax.get_ylim()[1]))
a.set_title("a  Three units, as the weights make them")
b.set_title("b  Normalized: one place, one width")
c.plot(sizes, biased, "--s", color=WITHOUT, lw=2, label="divided by m: to normalize with")
c.plot(sizes, unbiased, "-o", color=WITH, lw=2, label="divided by m - 1: to keep")
c.set_xscale("log", base=2)
c.set_xticks(sizes, sizes)
c.set(title="c  Dividing by m is too small on average", xlabel="batch size m", ylim=(0, 1.1))
c.set_ylabel("average batch variance / population's")
for normalize, style, colour, label in ((False, "--", WITHOUT, "without BN"), (True, "-", WITH, "with BN")):
    d.loglog(scales, widths[normalize], style, color=colour, lw=2.5, label=label)
    e.loglog(scales, norms[normalize], style, color=colour, lw=2.5, label=label)
e.loglog(scales, np.linalg.norm(d_1) / scales, ":", color=BLACK, lw=1.5, label="1/a")
d.set(title="d  The sigmoids' inputs: BN divides a out", ylabel="standard deviation", xlabel="a, which multiplies W")
e.set(
    title="e  The gradient: with BN, it is 1/a as large", ylabel="norm of the gradient", xlabel="a, which multiplies W"
)
for way, style, colour in zip(ways, ("-", "--", ":"), (WITH, PINK, GREEN), strict=True):
    f.semilogy(learned[True, way][1].mean(axis=1), style, color=colour, lw=2.5, label=way)
f.set(title="f  With BN: weights grow unless they decay", xlabel="training steps", ylabel="length of a unit's weights")
f.set_yticks([0.3, 0.5, 1, 2, 5], ["0.3", "0.5", "1", "2", "5"])
f.minorticks_off()
for ax in figure.axes:
    ax.legend(frameon=False)
print(f"The second figure: {save(figure, args, '05_batchnorm_forward_2')}")

# %% [markdown]
# ## The claims

# %%
left_end = norms[True][0] / (1000 * np.linalg.norm(d_1))
claims = {
    "algorithm 1 by hand is what the layer computes, to 1e-12": off_by_hand < 1e-12,
    "outputs and running statistics are PyTorch's, to 1e-9": off_pytorch < 1e-9,
    "in all four layouts, the layer's outputs are algorithm 1's, to 1e-12": worst_layout < 1e-12,
    "the average batch variance is (m - 1)/m of the population's, within 5 %": np.abs(unbiased - 1).max() < 0.05,
    "BN((100 W)u) = BN(Wu), to 1e-4, and the gradient is a hundredth": max(off_output, off_gradient) < 1e-4,
    "but eps keeps the gradient at W/1000 at least 10 % below 1000 times that at W": left_end < 0.9,
    "with BN, weight decay is a growing learning rate: losses equal to 0.01": apart[True] < 0.01,
    "without BN it is not: they differ by more than 0.5": apart[False] > 0.5,
}
check(claims)
