# %% [markdown]
# # Lesson 4: covariate shift in the data
#
# You will learn
# - why data far from the origin make gradient descent slow, and what normalizing does to the landscape of the loss;
# - what it costs when the data at test time come from another distribution than the data in training;
# - which of these shifts go away when each set is normalized by its own statistics, which do not, and which get worse.
#
# There is no batch normalization in this lesson yet. Everything here happens to a *linear* classifier and to the data
# it is fed. In a deep network each layer is fed by the layers below it, and meets the same two troubles: that is the
# observation from which S. Ioffe and C. Szegedy start in section 1 of *Batch Normalization*
# ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167)), and lesson 7 is about it.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, SKY, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, save, table,
    train_step,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np

from minigrad import Tensor
from minigrad.optim import SGD
from tutorials.data import load_digits

options = parser("See what normalizing does for a linear classifier, and what a shift between train and test costs.")
args = parse(options, "04_covariate_shift_in_the_data")
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## Part 1: data far from the origin
# Two classes of 100 numbers each, around -1 and +1, then moved to the right by 5. Think of any quantity whose zero is
# far away: temperatures in kelvin, years, pixels that are never black. *Normalized* means: minus the mean, divided by
# the standard deviation.

# %%
around_zero = np.concatenate([rng.normal(-1, 1, 100), rng.normal(1, 1, 100)])
side = np.repeat([-1.0, 1.0], 100)  # the class
raw = around_zero + 5
normalized = (raw - raw.mean()) / raw.std()

# %% [markdown]
# The classifier has two parameters, so its loss is a landscape that you can look at:
#
# $$L(w, b) = \frac{1}{N} \sum_i \log\left(1 + e^{-s_i (w x_i + b)}\right), \qquad s_i = \pm 1$$
#
# Both data sets have the *same* lowest loss: whatever $w x + b$ says about the raw data, some other $w$ and $b$ say
# about the normalized. Normalizing changes the road, not the destination.


# %%
def loss_of(x: np.ndarray, w: Tensor, b: Tensor) -> Tensor:
    return (1 + (-side * (x * w + b)).exp()).log().mean()


def gradient(x: np.ndarray, w: float, b: float) -> np.ndarray:
    w, b = Tensor(float(w), requires_grad=True), Tensor(float(b), requires_grad=True)
    loss_of(x, w, b).backward()
    return np.array([w.grad, b.grad])


# %% [markdown]
# ## The curvature
# How a landscape bends is what its *Hessian* says, the matrix of second derivatives. With $p_i$ the predicted
# probability of class +1, it is
#
# $$H = \frac{1}{N} \sum_i p_i (1 - p_i) \begin{pmatrix} x_i^2 & x_i \\ x_i & 1 \end{pmatrix}$$
#
# and it contains nothing but the data and $p_i$. Its eigenvalues are the curvature along the steepest and the flattest
# direction; their quotient is the *condition number*, and a number like 1,000 means a valley with steep walls and a
# floor that hardly slopes. With data around 5, raising $w$ by 1 and lowering $b$ by 5 leaves every $w x + b$ nearly
# where it was: that is the flat direction.


# %%
def hessian(x: np.ndarray, w: float, b: float) -> np.ndarray:
    features = np.stack([x, np.ones_like(x)], axis=1)
    p = 1 / (1 + np.exp(-(w * x + b)))
    return (features * (p * (1 - p))[:, None]).T @ features / len(x)


def minimum(x: np.ndarray) -> np.ndarray:
    """(w, b) of the lowest loss, by Newton's method: steps that know the Hessian."""
    place = np.zeros(2)
    for _ in range(20):
        place -= np.linalg.solve(hessian(x, *place), gradient(x, *place))
    return place


# The engine knows only first derivatives; differences of them must give the same matrix.
nudge = 1e-5
by_differences = [(gradient(raw, *(0.1 + h)) - gradient(raw, *(0.1 - h))) / (2 * nudge) for h in nudge * np.eye(2)]
hessian_error = np.abs(by_differences - hessian(raw, 0.1, 0.1)).max() / np.abs(hessian(raw, 0.1, 0.1)).max()
print(f"formula and differences of the engine's gradients: apart by {hessian_error:.1e} of the largest entry")

# %% [markdown]
# ## Descent
# Gradient descent stays stable as long as the learning rate is below 2 / (largest curvature). So the steepest
# direction sets the speed limit, and the flattest direction has to live with it. To be fair to both, each data set
# gets the same share of its own limit: 1.5 / (largest curvature). The curvature is largest at the start,
# $w = b = 0$, because there $p(1-p)$ has its largest value, 1/4, for every example.
#
# We count the steps until 99 % of the way down is done, in loss.


# %%
def rate_for(x: np.ndarray) -> float:
    return 1.5 / np.linalg.eigvalsh(hessian(x, 0, 0)).max()


def descend(x: np.ndarray, rate: float, left: float = 0.01, most: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Places (steps + 1, 2) and losses (steps + 1,) of gradient descent, until only ``left`` of the way is left."""
    lowest = loss_of(x, *map(Tensor, minimum(x))).item()
    w, b = Tensor(0.0, requires_grad=True), Tensor(0.0, requires_grad=True)
    optimizer = SGD([w, b], rate)
    places, losses = [], []
    while True:
        loss = loss_of(x, w, b)
        places.append((w.item(), b.item()))
        losses.append(loss.item())
        if losses[-1] - lowest <= left * (losses[0] - lowest) or len(losses) > most:
            return np.array(places), np.array(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


sets = {"raw": raw, "normalized": normalized}
paths = {name: descend(x, rate_for(x)) for name, x in sets.items()}
condition = {name: np.linalg.cond(hessian(x, *minimum(x))) for name, x in sets.items()}
steps = {name: len(losses) - 1 for name, (_, losses) in paths.items()}
lowest = {name: loss_of(x, *map(Tensor, minimum(x))).item() for name, x in sets.items()}

# %% [markdown]
# Could the raw data not simply use the larger learning rate that suits the normalized data? You see below what happens
# then: the loss climbs above its start and stays there. And move the data further away yourself, from 5 to 10: the
# condition number grows about 15-fold. (Far out, the largest curvature grows like the distance squared and the
# smallest shrinks by the same factor.)

# %%
_, too_fast = descend(raw, rate_for(normalized), left=0, most=100)
print(f"raw data at the normalized data's learning rate: loss {too_fast[0]:.2f} at first,", end=" ")
print(f"{too_fast[50:].mean():.1f} on average from step 50 to 100")

# %% [markdown]
# ## Look
# Both landscapes are drawn to the same scale. In a, follow the path: it zigzags between the walls at first, and then
# creeps along the floor of the valley. It stops short of the star, because the floor is so flat that 99 % of the way
# down is done before. In b there is no valley.


# %%
def draw_landscape(ax, name: str, letter: str, colour: str) -> None:
    w, b = np.meshgrid(np.linspace(-5, 7, 121), np.linspace(-16, 3, 191))
    margins = side * (sets[name] * w[..., None] + b[..., None])
    values = np.logaddexp(0, -margins).mean(axis=-1)
    levels = lowest[name] + np.geomspace(0.01, 20, 12)
    ax.contour(w, b, values, levels, colors="0.65", linewidths=1)
    ax.plot(*paths[name][0].T, ".-", color=colour, lw=1.5, ms=5)
    ax.plot(0, 0, "o", color=BLACK, ms=8)
    ax.plot(*minimum(sets[name]), "*", color=GREEN, ms=18, zorder=3)
    ax.annotate("start", (0, 0), xytext=(-12, 10), textcoords="offset points", ha="right", fontsize=12)
    ax.annotate("minimum", minimum(sets[name]), xytext=(12, -14), textcoords="offset points", fontsize=12)
    ax.set(xlabel="weight w", ylabel="bias b", aspect="equal")
    ax.set_title(f"{letter}  {name}: {steps[name]:,} steps\n    condition number {condition[name]:,.0f}", loc="left")


def draw_zigzag(ax) -> None:
    inset = ax.inset_axes((0.06, 0.05, 0.42, 0.32))
    inset.plot(*paths["raw"][0][:16].T, ".-", color=WITHOUT, ms=6)
    inset.plot(0, 0, "o", color=BLACK, ms=7)
    inset.set(xticks=[], yticks=[])
    inset.margins(0.15)
    inset.set_title("first 15 steps, enlarged", fontsize=11)


def draw_losses(ax) -> None:
    for (name, (_, losses)), colour, style in zip(paths.items(), (WITHOUT, WITH), ("--", "-"), strict=True):
        ax.plot(losses, style, color=colour, lw=2.5, label=name)
        ax.plot(len(losses) - 1, losses[-1], "o", color=colour, ms=8)
    ax.axhline(lowest["raw"], color="0.5", lw=1, label="the minimum, the same for both")
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlabel="steps (logarithmic from 1 on)", ylabel="loss", xlim=(-0.1, 5000), ylim=(0.9 * losses[-1], 0.78))
    ax.legend(frameon=False, loc="upper right", fontsize=11)
    ax.set_title("c  The same way down, at two speeds", loc="left")


plt.rcParams.update({"font.size": 12})
figure, axes = plt.subplots(1, 3, figsize=(15, 7), layout="constrained", width_ratios=[1, 1, 1.25])
figure.suptitle("Data far from the origin make a narrow valley; normalizing them makes a bowl", fontsize=17)
draw_landscape(axes[0], "raw", "a", WITHOUT)
draw_zigzag(axes[0])
draw_landscape(axes[1], "normalized", "b", WITH)
draw_losses(axes[2])
path = save(figure, args, "04_covariate_shift_in_the_data")

# %% [markdown]
# ## What normalizing leaves behind
# Normalizing treats every feature by itself, so *correlated* features stay correlated. Removing that too is called
# whitening; Y. LeCun, L. Bottou, G. Orr and K.-R. Müller (*Efficient BackProp*, 1998, section 4.3) recommend it for
# a network's inputs. The paper (section 3) would like to whiten every layer's inputs, finds that too costly, and
# settles for normalizing. Here is what that gives away with two features of correlation 0.95: the condition number of
# the Hessian at $w = b = 0$, which is a quarter of the features' second moments.

# %%
hidden, own = rng.normal(size=(500, 1)), rng.normal(size=(500, 2))
pair = 5 + np.sqrt(0.95) * hidden + np.sqrt(0.05) * own
centred = pair - pair.mean(axis=0)
scale, turn = np.linalg.eigh(np.cov(centred.T))
treated = {"raw": pair, "normalized": centred / pair.std(axis=0), "whitened": centred @ turn / np.sqrt(scale)}
moments = {name: np.column_stack([x, np.ones(500)]) for name, x in treated.items()}
two_features = {name: np.linalg.cond(f.T @ f) for name, f in moments.items()}
table(["two correlated features", *two_features], [["condition number", *(f"{c:,.1f}" for c in two_features.values())]])

# %% [markdown]
# ## Part 2: test data from elsewhere
# A classifier is trained on one distribution and used on another. H. Shimodaira (*Improving predictive inference under
# covariate shift*, 2000) calls it *covariate shift* when $p(x)$ changes while $p(y \mid x)$, the rule that gives the
# label, stays. The paper uses the term more broadly, for any change of a learner's input distribution. We look at
# three kinds, because they need different medicine:
#
# 1. **The instrument changed.** The same digits in dull light (contrast halved), or behind a grey veil ($0.4x + 0.3$).
# 2. **The place changed.** Shimodaira's shift: labels follow one curve; we train on its left and test on its right.
# 3. **The mixture changed.** The same kind of digits, but only eights arrive.
#
# And three classifiers, all linear. One sees the data as they are. One sees them normalized *by the training set's*
# mean and variance, always. The third is the second with another treatment of the test set: normalized *by its own*
# mean and variance. The formula is the paper's, with its $\epsilon$ for pixels that never change.


# %%
def normalize(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """``x``, feature by feature, minus the mean of ``like`` and over its standard deviation."""
    return ((x - like.mean(axis=0)) / np.sqrt(like.var(axis=0) + 1e-5)).astype(np.float32)


def train_linear(x: np.ndarray, y: np.ndarray):
    model = mlp([x.shape[1], y.max() + 1], batch_norm=False, rng=args.seed)
    optimizer = SGD(model.parameters(), lr=0.1)
    for images, labels in batches(x, y, 60, 1500, args.seed):
        train_step(model, optimizer, images, labels)
    return model


WAYS = ["as it is", "by training's statistics", "by its own statistics"]
scores = {}  # test set: accuracy for each of the three ways


def score(x_train: np.ndarray, y_train: np.ndarray, tests: dict[str, tuple[np.ndarray, np.ndarray]]):
    plain, model = train_linear(x_train, y_train), train_linear(normalize(x_train, x_train), y_train)
    for name, (x, y) in tests.items():
        treated = [(plain, x), (model, normalize(x, x_train)), (model, normalize(x, x))]
        scores[name] = [accuracy(classifier, inputs, y) for classifier, inputs in treated]
    return model


data = load_digits()
x, y = data.x_test, data.y_test
lights = {"as in training": x, "dull light": 0.5 * x, "grey veil": 0.4 * x + 0.3}
score(data.x_train, data.y_train, {name: (images, y) for name, images in lights.items()} | {
    "only eights": (x[y == 8], y[y == 8])
})  # fmt: skip

# %% [markdown]
# The second kind, in a plane: label 1 above the curve $x_2 = x_1^2 / 2$, label 0 below it. A line can follow the curve
# well enough in either place, just not the same line.


# %%
def draw_points(centre: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    points = rng.normal([centre, 0.5], [0.5, 1], (n, 2)).astype(np.float32)
    return points, (points[:, 1] > points[:, 0] ** 2 / 2).astype(int)


here, there, also_there = draw_points(-1), draw_points(1), draw_points(1)
line = score(*here, {"same place": draw_points(-1), "another place": there})
trained_there = accuracy(train_linear(normalize(also_there[0], also_there[0]), also_there[1]),
                         normalize(there[0], also_there[0]), there[1])  # fmt: skip

# %% [markdown]
# ## Look again


# %%
def draw_lights(panel) -> None:
    chosen = [np.flatnonzero(y == digit)[0] for digit in range(10)]
    for ax, (name, images) in zip(panel.subplots(3, 1), lights.items(), strict=True):
        strip = images[chosen].reshape(10, 8, 8).transpose(1, 0, 2).reshape(8, 80)
        ax.imshow(strip, cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=name)
    panel.suptitle("a  The instrument changed: the same digits in three lights", fontsize=13)


def draw_places(ax) -> None:
    for (points, labels), colour, place in ((here, SKY, "training"), (there, PINK, "test")):
        for label, marker in ((0, "o"), (1, "^")):
            shown = points[labels == label][:100]
            ax.plot(*shown.T, marker, color=colour, ms=5, alpha=0.8, label=f"{place}, label {label}")
    grid = np.linspace(-2.6, 2.6, 100)
    ax.plot(grid, grid**2 / 2, color=BLACK, lw=3, label="the rule, the same for both")
    w, b = line[0].weight.numpy()[1] - line[0].weight.numpy()[0], np.diff(line[0].bias.numpy())[0]
    mean, std = here[0].mean(axis=0), here[0].std(axis=0)
    ax.plot(grid, mean[1] - std[1] * (w[0] * (grid - mean[0]) / std[0] + b) / w[1], "--", color=GREEN, lw=3,
            label="the line that was learned")  # fmt: skip
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-2.6, 2.6), ylim=(-2.6, 5))
    ax.legend(frameon=False, ncols=3, fontsize=11, loc="upper center", columnspacing=0.8, handlelength=1.5)
    ax.set_title("b  The place changed: the rule stays, the line is wrong there", loc="left", fontsize=13)


def draw_scores(ax) -> None:
    looks = ((WITHOUT, "//"), (ORANGE, ".."), (WITH, None))
    for i, (way, (colour, hatch)) in enumerate(zip(WAYS, looks, strict=True)):
        heights = [100 * values[i] for values in scores.values()]
        bars = ax.bar(np.arange(len(scores)) + 0.27 * (i - 1), heights, 0.25, color=colour, hatch=hatch,
                      edgecolor="white", label=f"test set {way}" if i == 0 else f"normalized {way}")  # fmt: skip
        ax.bar_label(bars, fmt="%.0f", padding=2)
    kinds = {"dull light": "instrument", "grey veil": "instrument", "only eights": "mixture", "another place": "place"}
    ax.set_xticks(range(len(scores)), [f"{name}\n({kinds.get(name, 'no shift')})" for name in scores])
    ax.axvline(3.5, ymax=0.84, color="0.7", lw=1)
    ax.set(ylabel="test accuracy (%)", ylim=(0, 128), yticks=range(0, 101, 20))
    ax.legend(frameon=False, ncols=3, loc="upper center")
    ax.set_title("c  Own statistics undo a change of instrument, not one of place; with another mixture they do harm",
                 loc="left", fontsize=13)  # fmt: skip


figure = plt.figure(figsize=(14, 10), layout="constrained")
figure.suptitle("Trained here, tested there: three kinds of shift", fontsize=17)
top, bottom = figure.subfigures(2, 1, height_ratios=[1.1, 1])
left, right = top.subfigures(1, 2)
draw_lights(left)
draw_places(right.subplots())
draw_scores(bottom.subplots())
path_2 = save(figure, args, "04_covariate_shift_in_the_data_2")

# %% [markdown]
# ## What was measured

# %%
print()
rows = [
    ["condition number at the minimum", *(f"{value:,.1f}" for value in condition.values())],
    ["steps to 99 % of the way down", *(f"{value:,}" for value in steps.values())],
    ["loss at the minimum", *(f"{value:.6f}" for value in lowest.values())],
]
table(["part 1", *sets], rows)
print()
table(["part 2: test accuracy", *WAYS], [[name, *(f"{v:.1%}" for v in values)] for name, values in scores.items()])
print(f"\nTrained at the other place, a line reaches {trained_there:.1%} there. The figures: {path}, {path_2}")

# %% [markdown]
# What to make of part 2:
#
# - *Instrument.* A factor and an offset are just what normalizing removes, so with its own statistics the test set is
#   back where it was. The training set's statistics can be *worse* than none: pixels at the edge that are never
#   or hardly ever inked are divided by next to nothing, so that a grey veil becomes a huge number.
# - *Place.* Own statistics bring the points back to where the line was learned, but not the slope of the rule. They
#   regain a part; the rest takes labels from the new place.
# - *Mixture.* Nothing was wrong with the eights, until they were normalized so that their mean was that of all
#   digits. What all eights share is what tells them from the others, and the own mean subtracts it.
#
# Batch normalization normalizes each mini-batch by its own statistics in training, so it inherits both the cure and
# the danger. Which statistics to use after training is the question of lesson 8.
#
# ## The claims
# For any seed.

# %%
scores = {name: 100 * np.array(values) for name, values in scores.items()}
as_is, by_training, by_own = range(3)
same, eights, away = scores["as in training"], scores["only eights"], scores["another place"]
claims = {
    "raw and normalized data have the same lowest loss, to 9 digits": abs(lowest["raw"] - lowest["normalized"]) < 1e-9,
    "the Hessian's formula agrees with the engine's gradients": hessian_error < 1e-6,
    "normalizing shrinks the condition number at least 100-fold": condition["raw"] >= 100 * condition["normalized"],
    "normalizing shrinks the steps at least 100-fold": steps["raw"] >= 100 * steps["normalized"],
    "at the normalized data's learning rate, the raw data's loss triples": too_fast[50:].mean() >= 3 * too_fast[0],
    "two correlated features keep a condition number above 15, normalized": two_features["normalized"] > 15,
    "whitened, they have one below 1.01": two_features["whitened"] < 1.01,
    "dull light costs 10 points or more with training's statistics":
        scores["dull light"][by_training] <= same[by_training] - 10,
    "a grey veil costs 40 points or more with training's statistics":
        scores["grey veil"][by_training] <= same[by_training] - 40,
    "own statistics undo both, to within 1.5 points":
        all(abs(scores[name][by_own] - same[by_own]) <= 1.5 for name in ("dull light", "grey veil")),
    "another place costs 20 points or more": away[as_is] <= scores["same place"][as_is] - 20,
    "there, own statistics regain 7 points or more": away[by_own] >= away[by_training] + 7,
    "and stay 10 points or more below a line trained there": away[by_own] <= 100 * trained_there - 10,
    "own statistics cost 25 points or more on eights alone": eights[by_own] <= eights[by_training] - 25,
}  # fmt: skip
check(claims)
