# %% [markdown]
# # Lesson 8: training and evaluation
#
# You will learn
# - where the running statistics come from, what `momentum` means, and why TensorFlow's number is 1 minus PyTorch's;
# - six ways in which a well trained network fails in evaluation, or is spoilt by it, and what cures each of them;
# - why evaluation is just one multiply-add, how to freeze a layer, and how to make batch normalization disappear.
#
# In training, batch normalization (BN) uses the mean and variance of the mini-batch. In use there may be no batch: one
# image comes, and its answer should not depend on its company. So section 3.1 of the paper
# ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167)) fixes mean and variance once training is over. That makes BN
# a layer which computes one thing in training and another in use, and between the two there is room for mistakes.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, save, table, train_step,
)  # fmt: skip

import copy

import matplotlib.pyplot as plt
import numpy as np

from layers import BatchNorm1d, Linear, Module, Sequential, fold_batchnorm, update_bn
from minigrad import no_grad, softmax
from minigrad.optim import SGD
from tutorials.data import load_digits

options = parser("See what batch normalization's running statistics do, how they go wrong, and what cures them.")
args = parse(options, "08_train_and_eval")
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## One number, two names
# While it trains, a BN layer keeps running statistics for later. Each training batch moves them a little:
#
# $$\text{running} \leftarrow (1 - \text{momentum}) \cdot \text{running} + \text{momentum} \cdot \text{batch}$$
#
# That is PyTorch's convention, and this library's. TensorFlow writes
# $\text{decay} \cdot \text{running} + (1 - \text{decay}) \cdot \text{batch}$, and Keras calls *that* number
# `momentum`. PyTorch's default 0.1 is TensorFlow's 0.9; Keras's default 0.99 is 0.01 here. If you carry a setting from
# one to the other, subtract it from 1. (Take `eps` along, too: Keras's default is 1e-3, PyTorch's 1e-5.)

# %%
momentum, decay, by_decay = 0.1, 0.9, np.zeros(3)
layer = BatchNorm1d(3, momentum=momentum).astype(np.float64)
for batch in rng.normal(5, 2, (100, 60, 3)):
    layer(batch)
    by_decay = decay * by_decay + (1 - decay) * batch.mean(axis=0)
convention_error = np.abs(layer.running_mean - by_decay).max()
print(f"momentum 0.1 and decay 0.9, after 100 batches: the running means are apart by {convention_error:.1e}")

# %% [markdown]
# The running mean starts at 0 (and the variance at 1), and after $n$ batches the start still has the weight
# $(1 - \text{momentum})^n$. A large momentum forgets fast and is noisy; a small one is smooth and late. Here are three
# layers that see the same batches of 4 numbers around 5; the figure shows them in a.

# %%
traces = {m: [] for m in (0.99, 0.1, 0.01)}
followers = {m: BatchNorm1d(1, momentum=m) for m in traces}
for batch in rng.normal(5, 2, (300, 4, 1)).astype(np.float32):
    for m, follower in followers.items():
        follower(batch)
        traces[m].append(follower.running_mean[0])

# %% [markdown]
# ## Failures 1 and 2: never updated, or too slowly
# A network for the digits, trained for 300 steps with each of four momenta. 0.001 is the decay of 0.999 which was the
# default of TensorFlow 1's `tf.contrib.layers.batch_norm`; its documentation advised 0.9 for networks that do well in
# training and badly in validation. 0 stands for statistics that are never updated: so it went to whoever forgot to
# run the update operations that the same function put into a list.

# %%
data = load_digits()


def norms(model: Module) -> list[BatchNorm1d]:
    return [module for module in model.modules() if isinstance(module, BatchNorm1d)]


def test_accuracy(model: Module) -> float:
    """In percent; on a copy, because accuracy() leaves a model in training mode."""
    return 100 * accuracy(copy.deepcopy(model), data.x_test, data.y_test)


def train(momentum: float, batch_size: int = 60, steps: int = 300) -> tuple[Sequential, list[float]]:
    """A network, and its test accuracy in evaluation mode after every 10 steps."""
    network = mlp([64, 100, 100, 100, 10], batch_norm=True, rng=args.seed)
    for norm in norms(network):
        norm.momentum = momentum
    optimizer, curve = SGD(network.parameters(), lr=0.1), []
    for step, (x, y) in enumerate(batches(data.x_train, data.y_train, batch_size, steps, args.seed), start=1):
        train_step(network, optimizer, x, y)
        if step % 10 == 0:
            curve.append(test_accuracy(network))
    return network, curve


trained = {momentum: train(momentum) for momentum in (0.1, 0.01, 0.001, 0.0)}
network = trained[0.1][0]

# %% [markdown]
# Nothing is wrong with what these networks learned. In training the running statistics are written and never read,
# so all four have the same weights, to the last bit. Only evaluation reads them.

# %%
weights = [np.concatenate([p.numpy().ravel() for p in model.parameters()]) for model, _ in trained.values()]
same_weights = all(np.array_equal(weights[0], others) for others in weights)
print(f"the four networks have the same weights: {same_weights}")

# %% [markdown]
# **The cure** is the paper's algorithm 2: when training is over, estimate the statistics afresh. Send many mini-batches
# through the network, and average their means and variances:
#
# $$E[x] = E_B[\mu_B], \qquad \mathrm{Var}[x] = \frac{m}{m-1} \, E_B[\sigma_B^2]$$
#
# `update_bn(model, batches)` does that. The factor is there because the variance inside a batch is measured around the
# batch's own mean, and comes out too small. You see it best with batches of 2, where it is half of what it should be.


# %%
def re_estimated(model: Sequential, size: int = 60, count: int = 24) -> Sequential:
    """A copy of ``model`` with statistics from ``count`` training batches of ``size`` images."""
    model = copy.deepcopy(model)
    update_bn(model, batches(data.x_train, data.y_train, size, count, rng))
    return model


pairs = rng.normal(0, 2, (5000, 2, 1))  # their variance is 4
layer = BatchNorm1d(1).astype(np.float64)
update_bn(layer, list(pairs))
biased, corrected = pairs.var(axis=1).mean(), layer.running_var[0]
print(f"true variance 4; averaged over batches of 2: {biased:.2f}, by update_bn with m/(m-1): {corrected:.2f}")

# broken and cured test accuracy, by failure
cases = {
    "never updated\n(momentum 0)": (test_accuracy(trained[0.0][0]), test_accuracy(re_estimated(trained[0.0][0]))),
    "too slowly\n(0.001)": (test_accuracy(trained[0.001][0]), test_accuracy(re_estimated(trained[0.001][0]))),
}

# %% [markdown]
# ## Failure 3: too few images
# An estimate from one batch of 2 images is an estimate from 2 images. How many does it take? For three batch sizes,
# the accuracy after `update_bn` with more and more batches, each the average of ten draws (panel c).

# %%
counts = [1, 2, 4, 8, 16, 32]
after_update = {
    size: np.array([[test_accuracy(re_estimated(network, size, n)) for n in counts] for _ in range(10)])
    for size in (2, 8, 60)
}
cases["too few images\n(one batch of 2)"] = (after_update[2][:, 0].mean(), after_update[60][:, -1].mean())

# %% [markdown]
# ## Failure 4: forgetting too fast
# What a batch of 2 does to `update_bn` happens to a running average that forgets too fast. Somebody copies Keras's
# default and writes `momentum=0.99`: the running statistics are then those of the last batch. With batches of 4, in
# 600 steps, that costs several points against `momentum=0.1`. We average over the last 100 steps, because this
# failure flickers.

# %%
curves = [train(momentum, batch_size=4, steps=600)[1] for momentum in (0.99, 0.1)]
cases["decay taken\nfor momentum"] = tuple(np.mean(curve[-10:]) for curve in curves)

# %% [markdown]
# ## Four modes
# What a layer does depends on `training` (set by `train()` and `eval()`) *and* on whether it keeps statistics. We find
# out by experiment: with what did it normalize? Did its statistics move? Does the first output change when the other
# rows of the batch do? Note the last line: without running statistics, `eval()` changes nothing, and the company
# matters in use as well.


# %%
def experiment(training: bool, tracking: bool) -> list[str]:
    layer = BatchNorm1d(2, affine=False, track_running_stats=tracking).astype(np.float64)
    layer(rng.normal(3, 2, (50, 2)))  # some past, for the running statistics
    past = layer.state_dict()
    x = rng.normal(size=(8, 2))
    y = layer.train(training)(x).numpy()
    with_batch = np.allclose(y, (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + layer.eps))
    moved = any(not np.array_equal(past[key], now) for key, now in layer.state_dict().items())
    in_other_company = layer(np.concatenate([x[:1], rng.normal(size=(7, 2))])).numpy()
    return [
        "the batch" if with_batch else "running statistics",
        ("moved" if moved else "untouched") if tracking else "none kept",
        "no" if np.array_equal(in_other_company[0], y[0]) else "yes",
    ]


modes = {
    (training, tracking): experiment(training, tracking) for training in (True, False) for tracking in (True, False)
}
print()
table(["training", "track_running_stats", "normalizes with", "running statistics", "company matters"],
      [[str(training), str(tracking), *found] for (training, tracking), found in modes.items()])  # fmt: skip

# %% [markdown]
# The same with the network: the test image of which it is least sure, in 100 different companies of 59 (panel d).

# %%
with no_grad():
    logits = network.eval()(data.x_test)
    unsure = softmax(logits, axis=1).numpy().max(axis=1).argmin()
    answers = {"training mode": [], "evaluation mode": []}
    for _ in range(100):
        company = np.append(unsure, rng.choice(np.delete(np.arange(len(data.x_test)), unsure), 59, replace=False))
        for mode, model in zip(answers, (copy.deepcopy(network).train(), network), strict=True):
            answers[mode].append(softmax(model(data.x_test[company]), axis=1).numpy()[0, data.y_test[unsure]])
    alone = network(data.x_test[[unsure]]).numpy()[0]
    company_error = np.abs(alone - logits.numpy()[unsure]).max()
spread = {mode: float(np.ptp(values)) for mode, values in answers.items()}

# %% [markdown]
# ## Failure 5: statistics that move although no step is taken
# The update happens in *forward*. Not the optimizer moves the statistics but every pass in training mode; `no_grad()`
# doesn't prevent it, since no gradient is involved. So whoever wants to know how fast the trained network is, sends 20
# batches of ones through it, and forgets `eval()`, has changed it.


# %%
def time_it(model: Sequential) -> Sequential:
    """What a timing does to a model; nobody looks at the clock here."""
    with no_grad():
        for _ in range(20):
            model(np.ones((60, 64), np.float32))
    return model


forgetful, careful = time_it(copy.deepcopy(network).train()), time_it(copy.deepcopy(network).eval())
cases["timed without\neval()"] = (test_accuracy(forgetful), test_accuracy(careful))
parameters_moved = any(
    not np.array_equal(a.numpy(), b.numpy()) for a, b in zip(network.parameters(), forgetful.parameters(), strict=True)
)

# %% [markdown]
# ## Failure 6: half a freeze
# The trained network, without its last layer, becomes the body of another one with a new task: is the digit in an
# *inverted* image, $1 - x$, odd? The body shall stay as it is, since the old task still needs it. There are two things
# to stop, by two different means: `requires_grad_(False)` stops the weights, `eval()` stops the statistics. The order
# matters: `whole.train()`, which many training loops call in every epoch, puts the body back into training mode, so
# freeze after it. (The helper `accuracy` of this course also ends with `train()`.)


# %%
def new_task(freeze) -> tuple[bool, bool, float, float]:
    """Whether the body's parameters and statistics moved; the accuracy (%) in the old task and in the new one."""
    body = copy.deepcopy(network[:-1])
    before = body.state_dict()
    whole = Sequential(body, Linear(100, 2, rng=args.seed)).train()
    freeze(body)
    optimizer = SGD(whole.parameters(), lr=0.1)
    for x, y in batches(1 - data.x_train, data.y_train % 2, 60, 200, args.seed):
        train_step(whole, optimizer, x, y)
    moved = [key for key, now in body.state_dict().items() if not np.array_equal(now, before[key])]
    parameters, statistics = (any(key.endswith(ends) for key in moved) for ends in (("weight", "bias"), "running_mean"))
    old = test_accuracy(Sequential(body, network[-1]))
    return parameters, statistics, old, 100 * accuracy(whole, 1 - data.x_test, data.y_test % 2)


tried = {
    "nothing": new_task(lambda body: None),
    "requires_grad_(False)": new_task(lambda body: body.requires_grad_(False)),
    "eval()": new_task(lambda body: body.eval()),
    "both": new_task(lambda body: body.eval().requires_grad_(False)),
}
cases["frozen without\neval()"] = (tried["requires_grad_(False)"][2], tried["both"][2])
print()
table(
    ["frozen by", "parameters", "statistics", "old task", "new task"],
    [[name, *("moved" if moved else "same bits" for moved in row[:2]), *(f"{v:.1f} %" for v in row[2:])]
     for name, row in tried.items()],
)  # fmt: skip

# %% [markdown]
# Freezing has its price, in the last column: a body that may not adapt serves the new task less well.
#
# ## A batch of one
# In training, one value per channel is its own mean: $\hat{x} = 0$ whatever the image. The layer refuses. A batch of
# two is allowed and hardly better: a unit gives +1 for one image and -1 for the other, and how *much* they differ is
# lost, except where the two are so alike that $\epsilon$ shows. In evaluation, a batch of one is as good as any.

# %%
try:
    network.train()(data.x_test[:1])
    refused = False
except ValueError as error:
    refused = True
    print(f"\n{error}")
network.eval()
with no_grad():
    x_hat = np.abs(BatchNorm1d(100, affine=False)(network[0](data.x_test[:2])).numpy())
print(
    f"two images, 100 units: |x_hat| is between {x_hat.min():.4f} and {x_hat.max():.4f}, on average {x_hat.mean():.4f}"
)

# %% [markdown]
# ## Folding
# In evaluation, mean and variance are constants, so BN is one multiply-add per channel:
#
# $$y = \text{scale} \cdot x + \text{shift}, \qquad \text{scale} = \frac{\gamma}{\sqrt{\mathrm{Var}[x] + \epsilon}},
# \qquad \text{shift} = \beta - \text{scale} \cdot E[x]$$
#
# (the paper's algorithm 2, line 11). The linear layer before it is a multiply-add as well, and two of them are one.
# `fold_batchnorm` puts scale and shift into the weights and the bias. What remains computes the same without BN.

# %%
folded = fold_batchnorm(network)
with no_grad():
    folding_error = np.abs(folded(data.x_test).numpy() - logits.numpy()).max() / np.abs(logits.numpy()).max()
print(f"\n{len(network)} layers become {len(folded)}; logits apart by {folding_error:.1e} of the largest\n{folded}")

# %% [markdown]
# ## Look

# %%
LOOK = {0.99: (PINK, "-"), 0.1: (WITH, "-"), 0.01: (ORANGE, "--"), 0.001: (WITHOUT, ":"), 0.0: (BLACK, "-.")}


def draw_traces(ax) -> None:
    for m, values in traces.items():
        ax.plot(
            values, LOOK[m][1], color=LOOK[m][0], lw=1 if m == 0.99 else 2.5, label=f"momentum {m}, decay {1 - m:.2g}"
        )
    ax.axhline(5, color="0.4", lw=1)
    ax.set(xlabel="batches", ylabel="running mean", ylim=(0, 11))
    ax.legend(frameon=False, loc="upper right", fontsize=11)
    ax.set_title("a  Noisy or late: one running mean,\n    the true mean is 5", loc="left")


def draw_training(ax) -> None:
    for m, (_, curve) in trained.items():
        ax.plot(np.arange(10, 301, 10), curve, LOOK[m][1], color=LOOK[m][0], lw=2.5, label=f"momentum {m:g}")
    ax.set(xlabel="training steps", ylabel="test accuracy in evaluation (%)", ylim=(0, 130), yticks=range(0, 101, 20))
    ax.legend(frameon=False, loc="upper center", ncols=2, fontsize=11)
    ax.set_title("b  The same weights, evaluated with\n    four sets of running statistics", loc="left")


def draw_update(ax) -> None:
    for (size, values), colour, style in zip(
        after_update.items(), (WITHOUT, ORANGE, WITH), ("o:", "s--", "^-"), strict=True
    ):
        seen = size * np.array(counts)
        ax.fill_between(seen, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
        ax.plot(seen, values.mean(axis=0), style, color=colour, lw=2, ms=8, label=f"batches of {size}")
    ax.set(xscale="log", xlabel="images seen by update_bn", ylabel="test accuracy (%)", ylim=(30, 102))
    ax.legend(frameon=False, loc="lower right")
    ax.set_title("c  A few dozen images are enough\n    (mean and range of 10 draws)", loc="left")


def draw_company(ax) -> None:
    for (mode, values), colour, marker in zip(answers.items(), (WITHOUT, WITH), "o_", strict=True):
        ax.plot(values, marker, color=colour, ms=7, mew=2, label=mode)
    ax.set(
        xlabel="company (59 other images)",
        ylabel="probability of the right digit",
        ylim=(0, 1.35 * max(answers["training mode"])),
    )
    ax.legend(frameon=False, loc="upper left", ncols=2)
    ax.set_title("d  One image, 100 companies: in training\n    mode, the answer depends on them", loc="left")


def draw_cases(ax) -> None:
    for i, (label, colour, hatch) in enumerate((("broken", ORANGE, "//"), ("cured", GREEN, None))):
        bars = ax.bar(np.arange(len(cases)) + 0.4 * i - 0.2, [pair[i] for pair in cases.values()], 0.38,
                      color=colour, hatch=hatch, edgecolor="white", label=label)  # fmt: skip
        ax.bar_label(bars, fmt="%.0f", padding=2)
    ax.set_xticks(range(len(cases)), cases, fontsize=11)
    ax.set(ylabel="test accuracy (%)", ylim=(0, 125), yticks=range(0, 101, 20))
    ax.legend(frameon=False, ncols=2, loc="upper right")
    ax.set_title("e  Each failure and its cure", loc="left")


plt.rcParams.update({"font.size": 12})
figure, axes = plt.subplot_mosaic("AABBCC;DDEEEE", figsize=(16, 10), layout="constrained")
figure.suptitle("Good weights, wrong statistics: how batch normalization fails in evaluation", fontsize=17)
for letter, draw in zip("ABCDE", (draw_traces, draw_training, draw_update, draw_company, draw_cases), strict=True):
    draw(axes[letter])
path = save(figure, args, "08_train_and_eval")

# %% [markdown]
# ## What was measured

# %%
print()
table(["test accuracy", "broken", "cured"],
      [[name.replace("\n", " "), *(f"{v:.1f} %" for v in pair)] for name, pair in cases.items()])  # fmt: skip
print("\nThe unsure image's probability over 100 companies ranges over", end=" ")
print(" and ".join(f"{value:.2g} in {mode}" for mode, value in spread.items()))
print(f"The figure: {path}")

# %% [markdown]
# ## The claims
# For any seed.

# %%
right_modes = {
    (True, True): ["the batch", "moved", "yes"],
    (True, False): ["the batch", "none kept", "yes"],
    (False, True): ["running statistics", "untouched", "no"],
    (False, False): ["the batch", "none kept", "yes"],
}
accuracy_now = test_accuracy(network)
never, slowly, few, mistaken, timed, _ = cases.values()
only_weights, only_statistics, both = (tried[name] for name in ("requires_grad_(False)", "eval()", "both"))
claims = {
    "momentum 0.1 and decay 0.9 are the same, to 12 digits": convention_error < 1e-12,
    "the momentum changes no weight, not by a bit": same_weights,
    "statistics never updated, or too slowly: at most 30 % right": max(never[0], slowly[0]) <= 30,
    "update_bn brings both within 2 points of momentum 0.1":
        all(abs(cured - accuracy_now) <= 2 for _, cured in (never, slowly)),
    "over batches of 2, the plain variance is half of update_bn's": abs(corrected / biased - 2) < 1e-9,
    "and update_bn's is the true one, to a tenth": abs(corrected / 4 - 1) < 0.1,
    "statistics from 2 images cost 8 points or more": few[0] <= few[1] - 8,
    "decay taken for momentum costs 3 points or more": mistaken[0] <= mistaken[1] - 3,
    "the four modes are PyTorch's": modes == right_modes,
    "in evaluation, an image's logits are the same alone and in a batch, to 1e-5": company_error < 1e-5,
    "company moves its probability by 0.08 or more in training mode, by less than 1e-5 in evaluation":
        spread["training mode"] >= 0.08 and spread["evaluation mode"] < 1e-5,
    "a timing in training mode moves no weight and costs 10 points or more":
        not parameters_moved and timed[0] <= accuracy_now - 10,
    "a timing in evaluation mode costs nothing": timed[1] == accuracy_now,
    "frozen by requires_grad_ alone, or by eval() alone, the old task loses 10 points or more":
        max(only_weights[2], only_statistics[2]) <= accuracy_now - 10,
    "frozen by both, no bit moves": both[:3] == (False, False, accuracy_now),
    "and a body left free does better in the new task": tried["nothing"][3] > both[3],
    "a batch of one is refused in training; a batch of two gives an average |x_hat| above 0.9":
        refused and x_hat.mean() > 0.9,
    "folded, 10 layers are 7, and equal to 1e-5": len(network) == 10 and len(folded) == 7 and folding_error < 1e-5,
}  # fmt: skip
check(claims)
