# %% [markdown]
# # Lesson 4: covariate shift in the data
#
# You will learn
# - why data far from the origin make gradient descent slow, and what normalizing does to the landscape of the loss;
# - what it costs when the data at test time come from another distribution than the data in training;
# - which of these shifts go away when each set is normalized by its own statistics, which do not, and which get worse.
#
# There is no batch normalization in this lesson yet: everything here happens to a *linear* classifier and its data. In
# a deep network each layer is fed by the layers below it, and meets the same two troubles: that is where S. Ioffe and
# C. Szegedy start (*Batch Normalization*, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), section 1; lesson 7).

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, SKY, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, predict, save,
    steps_to, table, train_step,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np

from minigrad import Tensor
from minigrad.optim import SGD
from tutorials.data import load_digits

args = parse(
    parser("Normalizing a linear classifier's data, and three kinds of shift."), "04_covariate_shift_in_the_data"
)
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## Part 1: data far from the origin
# Two classes of 100 numbers each, around -1 and +1, then moved to the right by 5. *Normalized* means: minus the mean,
# divided by the standard deviation. To see which of the two counts, we also do each of them alone.
#
# The classifier has two parameters, so its loss is a landscape that you can look at:
#
# $$L(w, b) = \frac{1}{N} \sum_i \log\left(1 + e^{-s_i (w x_i + b)}\right), \qquad s_i = \pm 1$$
#
# All four sets have the *same* lowest loss: whatever $w x + b$ says about one of them, some other $w$ and $b$ say about
# another. How the landscape bends is what its *Hessian* says, the matrix of second derivatives. With $p_i$ the
# predicted probability of class +1, it is
#
# $$H = \frac{1}{N} \sum_i p_i (1 - p_i) \begin{pmatrix} x_i^2 & x_i \\ x_i & 1 \end{pmatrix}$$
#
# Its eigenvalues are the curvature along the steepest and the flattest direction; their quotient is the *condition
# number*, and a number like 1,000 means a valley with steep walls and a floor that hardly slopes. With data around 5,
# raising $w$ by 1 and lowering $b$ by 5 leaves every $w x + b$ nearly where it was: that is the flat direction.
# Gradient descent stays stable as long as the learning rate is below 2 / (largest curvature). So the steepest direction
# sets the limit, and the flattest has to live with it. Each data set gets the best of four shares of its own limit.

# %%
many = predict(
    "The normalized data take fewer than 5 steps until 99 % of the way down is done, in loss. And the raw data?",
    ["about 10", "about 100", "about 1,000"], right=2,
    because="The steps grow like the condition number: about 1,000 for the raw data, a few for the normalized.",
)  # fmt: skip
which = predict(
    "Which half of normalizing is it, with these data (mean 5, standard deviation 1.4)?",
    ["subtracting the mean", "dividing by the standard deviation", "neither is enough alone"], right=0,
    because="The flat direction comes from the mean; dividing leaves it as many standard deviations away from 0.",
)  # fmt: skip


# %%
side = np.repeat([-1.0, 1.0], 100)  # the class
raw = rng.normal(side, 1) + 5
sets = {"raw": raw, "only divided": raw / raw.std(), "only centred": raw - raw.mean()}
sets["normalized"] = sets["only centred"] / raw.std()


def loss_of(x: np.ndarray, w: Tensor, b: Tensor) -> Tensor:
    return (1 + (-side * (x * w + b)).exp()).log().mean()


def hessian(x: np.ndarray, w: float, b: float) -> np.ndarray:
    features = np.stack([x, np.ones_like(x)], axis=1)
    p = 1 / (1 + np.exp(-(w * x + b)))
    return (features * (p * (1 - p))[:, None]).T @ features / len(x)


def minimum(x: np.ndarray) -> np.ndarray:
    """(w, b) of the lowest loss, by Newton's method: steps that know the Hessian."""
    place = np.zeros(2)
    for _ in range(20):
        w, b = (Tensor(value, requires_grad=True) for value in place)
        loss_of(x, w, b).backward()
        place -= np.linalg.solve(hessian(x, *place), [w.grad, b.grad])
    return place


def descend(x: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Places (steps + 1, 2) of gradient descent, and which share of the way down is done there, up to 99 %."""
    rate = share * 2 / np.linalg.eigvalsh(hessian(x, 0, 0)).max()  # the curvature is largest here: p (1 - p) is 1/4
    lowest = loss_of(x, *map(Tensor, minimum(x))).item()
    w, b = (Tensor(0.0, requires_grad=True) for _ in range(2))
    optimizer, places, done = SGD([w, b], rate), [], [0]
    while done[-1] < 0.99:
        loss = loss_of(x, w, b)
        places.append((w.item(), b.item()))
        done.append((np.log(2) - loss.item()) / (np.log(2) - lowest))  # the loss is log 2 at w = b = 0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.array(places), np.array(done[1:])


paths = {name: [descend(x, share) for share in (0.25, 0.5, 0.75, 0.95)] for name, x in sets.items()}
paths = {name: min(four, key=lambda path: len(path[0])) for name, four in paths.items()}
steps = {name: steps_to(0.99, range(len(done)), done) for name, (_, done) in paths.items()}
condition = {name: np.linalg.cond(hessian(x, *minimum(x))) for name, x in sets.items()}
lowest = {name: loss_of(x, *map(Tensor, minimum(x))).item() for name, x in sets.items()}
many.confirm([steps["raw"] < 30, 30 <= steps["raw"] < 300, steps["raw"] >= 300])
enough = [steps[name] <= 10 * steps["normalized"] for name in ("only centred", "only divided")]
which.confirm([*enough, not any(enough)])
table(["", *sets], [["condition number at the minimum", *(f"{c:,.1f}" for c in condition.values())],
                    ["steps to 99 % of the way down", *(f"{n:,}" for n in steps.values())]])  # fmt: skip

# %% [markdown]
# Normalizing treats every feature by itself, so *correlated* features stay correlated. Removing that too is whitening
# (Y. LeCun and others, *Efficient BackProp*, 1998, section 4.3). The paper (section 3) would like to whiten every
# layer's inputs, finds it too costly, and settles for normalizing. This is what that gives away with two features of
# correlation 0.95: the condition number of the Hessian at $w = b = 0$, a quarter of their second moments.

# %%
pair = 5 + np.sqrt(0.95) * rng.normal(size=(500, 1)) + np.sqrt(0.05) * rng.normal(size=(500, 2))
scale, turn = np.linalg.eigh(np.cov(pair.T))
centred = pair - pair.mean(axis=0)
treated = {"raw": pair, "normalized": centred / pair.std(axis=0), "whitened": centred @ turn / np.sqrt(scale)}
two_features = {n: np.linalg.cond(np.column_stack([x, np.ones(500)])) ** 2 for n, x in treated.items()}
table(["two correlated features", *two_features], [["condition number", *(f"{c:,.1f}" for c in two_features.values())]])

# %% [markdown]
# ## Part 2: test data from elsewhere
# A classifier is trained on one distribution and used on another. The paper calls any such change *covariate shift*.
# The field tells kinds apart, with different remedies (A. Storkey, in *Dataset Shift in Machine Learning*, 2009):
#
# 1. **Sensor shift**: another instrument. The same digits in dull light ($x/2$), or behind a grey veil ($0.4x + 0.3$).
# 2. **Covariate shift** in the strict sense: $p(x)$ changes while $p(y \mid x)$, the rule that gives the label, stays
#    (H. Shimodaira, *Improving predictive inference under covariate shift by weighting the log-likelihood function*,
#    2000). Labels follow one curve; we train on its left and test on its right.
# 3. **Label shift**, or prior shift: $p(y)$ changes while $p(x \mid y)$, what each class looks like, stays. The test
#    images arrive sorted, as ten sets of one digit each. (As a control: ten sets of the same sizes, drawn at random.)
#
# And three ways, all linear: the data as they are; normalized by the *training set's* mean and variance, always; and
# the same with the test set normalized by *its own* mean and variance. Inside a deep network that is AdaBN (Y. Li and
# others, *Revisiting Batch Normalization For Practical Domain Adaptation*, 2016,
# [arXiv 1603.04779](https://arxiv.org/abs/1603.04779)).

# %%
veil = predict(
    "Normalized by training's statistics, the classifier gets 97 % right. How many behind the grey veil?",
    ["97 %", "about 80 %", "about 50 %", "hardly more than by guessing"], right=3,
    because="Every input is off by an offset, and by a huge one in pixels at the edge, whose spread is next to 0.",
)  # fmt: skip
sorted_sets = predict(
    "Label shift: each digit in a set of its own, normalized by its own statistics. How many of the 355 are right?",
    ["97 %", "about 80 %", "less than 30 %"], right=2,
    because="What all eights have in common is what tells them from the others, and their own mean subtracts it.",
)  # fmt: skip


# %%
def normalize(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """``x``, feature by feature, minus the mean of ``like`` and over its standard deviation (the paper's epsilon)."""
    return ((x - like.mean(axis=0)) / np.sqrt(like.var(axis=0) + 1e-5)).astype(np.float32)


def train_linear(x: np.ndarray, y: np.ndarray, seed: int, rate: float):
    model = mlp([x.shape[1], y.max() + 1], batch_norm=False, rng=seed)
    optimizer = SGD(model.parameters(), rate)
    for images, labels in batches(x, y, 60, 1000, seed):
        train_step(model, optimizer, images, labels)
    return model


def best_rate(x: np.ndarray, y: np.ndarray) -> float:
    """The learning rate with the best accuracy on a validation split, every fifth training example."""
    held = np.arange(len(x)) % 5 == 0
    models = {rate: train_linear(x[~held], y[~held], args.seed, rate) for rate in (0.1, 0.3, 1.0)}
    return max(models, key=lambda rate: accuracy(models[rate], x[held], y[held]))


def draw_points(centre: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    points = rng.normal([centre, 0.5], [0.5, 1], (n, 2)).astype(np.float32)
    return points, (points[:, 1] > points[:, 0] ** 2 / 2).astype(int)


def score(x_train, y_train, seed, tests, rates):
    plain = train_linear(x_train, y_train, seed, rates[0])
    model = train_linear(normalize(x_train, x_train), y_train, seed, rates[1])
    for name, (x, y, groups) in tests.items():
        by_own = np.empty_like(x)  # each group by its own statistics
        for group in np.unique(groups):
            by_own[groups == group] = normalize(x[groups == group], x[groups == group])
        treated = [(plain, x), (model, normalize(x, x_train)), (model, by_own)]
        scores.setdefault(name, []).append([100 * accuracy(classifier, inputs, y) for classifier, inputs in treated])
    return model


def mean_and_range(values) -> str:
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


WAYS = ["as it is", "by training's statistics", "by its own statistics"]
scores, there_itself, without_edge, data = {}, [], [], load_digits()
x, y, zeros = data.x_test, data.y_test, np.zeros(1000)
lights = {"no shift": x, "dull light": 0.5 * x, "grey veil": 0.4 * x + 0.3}
inked = data.x_train.std(axis=0) > 0.06
digit_rates = best_rate(data.x_train, data.y_train), best_rate(normalize(data.x_train, data.x_train), data.y_train)
here = draw_points(-1)
plane_rates = best_rate(*here), best_rate(normalize(here[0], here[0]), here[1])
for seed in range(args.seed, args.seed + 5):
    tests = {name: (images, y, zeros[:355]) for name, images in lights.items()}
    tests |= {"one digit a set": (x, y, y), "mixed sets": (x, y, rng.permutation(y))}
    score(data.x_train, data.y_train, seed, tests, digit_rates)
    train, test = (normalize(images, data.x_train)[:, inked] for images in (data.x_train, lights["grey veil"]))
    without_edge.append(100 * accuracy(train_linear(train, data.y_train, seed, digit_rates[1]), test, y))
    here, same, there, also_there = (draw_points(centre) for centre in (-1, -1, 1, 1))
    line = score(*here, seed, {"same side": (*same, zeros), "other side": (*there, zeros)}, plane_rates)
    own = train_linear(normalize(also_there[0], also_there[0]), also_there[1], seed, plane_rates[1])
    there_itself.append(100 * accuracy(own, normalize(there[0], also_there[0]), there[1]))
scores = {name: np.array(values) for name, values in scores.items()}  # (seed, way)
print("Test accuracy in %, mean and range of five seeds (first weights, batches, and points; the 355 images stay)")
table(["", *WAYS], [[name, *map(mean_and_range, values.T)] for name, values in scores.items()])
print(
    f"Grey veil by training's statistics, without {(~inked).sum()} pixels of low spread: {mean_and_range(without_edge)}"
)
print(f"Trained on the other side, a line reaches there: {mean_and_range(there_itself)}")
mean = {name: values.mean(axis=0) for name, values in scores.items()}
same, veiled, sorted_, away = mean["no shift"], mean["grey veil"], mean["one digit a set"], mean["other side"]
veil.confirm([veiled[1] > 90, 65 < veiled[1] <= 90, 30 < veiled[1] <= 65, veiled[1] <= 30])
sorted_sets.confirm([sorted_[2] > 90, 30 <= sorted_[2] <= 90, sorted_[2] < 30])

# %% [markdown]
# - *Sensor shift.* A factor and an offset are what normalizing removes, so own statistics undo it. Training's can be
#   *worse* than none: pixels of low spread are a part of it (see the control), and all other inputs are off, too.
# - *Covariate shift.* Own statistics bring the points back, but not the rule's slope: the rest takes labels from there.
# - *Label shift.* Own statistics do harm, and the mixed sets show that it isn't the size of the sets.
#
# Batch normalization normalizes each mini-batch by its own statistics in training, so it inherits both the cure and
# the danger. Which statistics to use after training is the question of lesson 8.
#
# ## The figures
# In a the floor of the valley is so flat that 99 % of the way down is done well before the star.


# %%
def draw_landscape(ax, name: str, letter: str, colour: str) -> None:
    w, b = np.meshgrid(np.linspace(-5, 7, 121), np.linspace(-16, 3, 191))
    values = np.logaddexp(0, -side * (sets[name] * w[..., None] + b[..., None])).mean(axis=-1)
    ax.contour(w, b, values, lowest[name] + np.geomspace(0.01, 20, 12), colors="0.65", linewidths=1)
    ax.plot(*paths[name][0].T, ".-", color=colour, lw=1.5, ms=5)
    ax.plot(0, 0, "o", color=BLACK, ms=8)
    ax.plot(*minimum(sets[name]), "*", color=GREEN, ms=18, zorder=3)
    for text, at, offset in (("start", (0, 0), (-45, 10)), ("minimum", minimum(sets[name]), (12, -14))):
        ax.annotate(text, at, xytext=offset, textcoords="offset points")
    title = f"{letter}  {name}: steps {steps[name]:,},\ncondition number {condition[name]:,.0f}"
    ax.set(xlabel="weight w", ylabel="bias b", aspect="equal", title=title)


def draw_sides(ax) -> None:
    for (points, labels), colour, place in ((here, SKY, "training"), (there, PINK, "test")):
        for label, marker in ((0, "o"), (1, "^")):
            ax.plot(*points[labels == label][:100].T, marker, color=colour, ms=5, label=f"{place}, label {label}")
    grid = np.linspace(-2.6, 2.6, 100)
    ax.plot(grid, grid**2 / 2, color=BLACK, lw=3, label="the rule, the same for both")
    w, b = np.diff(line[0].weight.numpy(), axis=0)[0], np.diff(line[0].bias.numpy())[0]
    mean, std = here[0].mean(axis=0), here[0].std(axis=0)
    learned = mean[1] - std[1] * (w[0] * (grid - mean[0]) / std[0] + b) / w[1]
    ax.plot(grid, learned, "--", color=GREEN, lw=3, label="the line that was learned")
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-2.6, 2.6), ylim=(-2.6, 5), title="b  Covariate shift: the rule stays")
    ax.legend(frameon=False, ncols=3, fontsize=11, loc="upper center", columnspacing=0.8, handlelength=1.5)


def draw_scores(ax) -> None:
    for i, (way, (colour, hatch)) in enumerate(zip(WAYS, ((WITHOUT, "//"), (ORANGE, ".."), (WITH, None)), strict=True)):
        heights = np.array([values[:, i].mean() for values in scores.values()])
        ranges = np.abs([heights - [f(v[:, i]) for v in scores.values()] for f in (np.min, np.max)])
        bars = ax.bar(np.arange(len(scores)) + 0.27 * (i - 1), heights, 0.25, yerr=ranges, color=colour, hatch=hatch,
                      edgecolor="white", label=f"test set {way}" if i == 0 else f"normalized {way}")  # fmt: skip
        ax.bar_label(bars, fmt="%.0f", padding=2)
    kinds = ["355 digits", *["sensor shift"] * 2, "label shift", "control", "1,000 points", "covariate shift"]
    ax.set_xticks(range(len(scores)), [f"{name}\n({kind})" for name, kind in zip(scores, kinds, strict=True)])
    ax.set(ylabel="test accuracy (%)", ylim=(0, 128), yticks=range(0, 101, 20))
    ax.legend(frameon=False, ncols=3, loc="upper center")
    ax.set_title("c  What own statistics undo, and where they do harm (mean and range of five seeds)", loc="left")


plt.rcParams.update({"font.size": 12})
figure, axes = plt.subplots(1, 2, figsize=(12, 7), layout="constrained")
figure.suptitle("Data far from the origin make a narrow valley; normalizing them makes a bowl", fontsize=17)
draw_landscape(axes[0], "raw", "a", WITHOUT)
draw_landscape(axes[1], "normalized", "b", WITH)
path = save(figure, args, "04_covariate_shift_in_the_data")
figure = plt.figure(figsize=(15, 10), layout="constrained")
figure.suptitle("Trained here, tested there: three kinds of shift", fontsize=17)
top, bottom = figure.subfigures(2, 1, height_ratios=[1.1, 1])
left, right = top.subfigures(1, 2)
chosen = [np.flatnonzero(y == digit)[0] for digit in range(10)]
for ax, (name, images) in zip(left.subplots(3, 1), lights.items(), strict=True):
    ax.imshow(images[chosen].reshape(10, 8, 8).transpose(1, 0, 2).reshape(8, 80), cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], title=f"a  The digits: {name}")
draw_sides(right.subplots())
draw_scores(bottom.subplots())
print(f"The figures: {path}, {save(figure, args, '04_covariate_shift_in_the_data_2')}")

# %% [markdown]
# ## The claims

# %%
check(
    {
        "all four data sets have the same lowest loss, to 9 digits": np.ptp(list(lowest.values())) < 1e-9,
        "condition number and steps shrink 100-fold": min(q["raw"] / q["normalized"] for q in (condition, steps))
        >= 100,
        "centring alone does nearly all of it, dividing alone does not": enough == [True, False],
        "two correlated features keep a condition number above 15; whitened, below 1.01": two_features["normalized"]
        > 15
        and two_features["whitened"] < 1.01,
        "with training's statistics, dull light costs 10 points or more": mean["dull light"][1] <= same[1] - 10,
        "and a grey veil 40 points or more": veiled[1] <= same[1] - 40,
        "own statistics undo both, to within 1.5 points": max(abs(mean[n][2] - same[2]) for n in lights) <= 1.5,
        "the other side costs 20 points or more; own statistics regain 7 or more": away[0] <= mean["same side"][0] - 20
        and away[2] >= away[1] + 7,
        "and stay 10 points or more below a line trained there": away[2] <= np.mean(there_itself) - 10,
        "own statistics cost 60 points or more with one digit a set": sorted_[2] <= sorted_[1] - 60,
        "and at most 5 in mixed sets of the same sizes": mean["mixed sets"][2] >= mean["mixed sets"][1] - 5,
    }
)
