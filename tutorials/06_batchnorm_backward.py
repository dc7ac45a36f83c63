# %% [markdown]
# # Lesson 6: batch normalization, backward
#
# You will learn
# - to walk the chain rule back through batch normalization, node by node, and to check each step against the tape;
# - how these steps become the paper's six lines, and the six one, which tells you what the layer *does* to a gradient;
# - what six common mistakes do to the gradient and to training, and why a network that learns proves nothing.
#
# The paper is [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), section 3. Every intermediate by name and by hand:
# that is the manner of A. Karpathy's [makemore, part 4](https://github.com/karpathy/nn-zero-to-hero).

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, WITHOUT, batches, check, parse, parser, predict, save, table, train_step,
)  # fmt: skip

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from layers import BatchNorm1d, Linear, ReLU, Sequential
from minigrad import Tensor, array_of, gradcheck, no_grad, record
from minigrad.optim import SGD
from tutorials.data import load_digits

args = parse(parser("Batch normalization backward: by hand, in one line, and wrong."), "06_batchnorm_backward")
plt.rcParams["font.size"] = 12
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## Forward, in small steps
# Eight examples of three channels: an ordinary one, one far from zero, and a narrow one, whose variance comes close to
# $\epsilon = 10^{-5}$. `retain_grad` asks the tape to keep the gradient of an intermediate result. Of all that may come
# after this layer, only `d_y` comes back, the gradient of the loss with respect to `y`; for a test, random numbers do.

# %%
m, eps = 8, 1e-5
x = Tensor(rng.normal(size=(m, 3)) * [1, 2, 0.01] + [0, 5, 0], requires_grad=True)
gamma = Tensor(rng.normal(1, 0.3, 3), requires_grad=True)
beta = Tensor(rng.normal(0, 0.3, 3), requires_grad=True)
d_y = rng.normal(size=(m, 3))
mean = x.mean(axis=0)
centered = x - mean
squared = centered**2
var = squared.mean(axis=0)
std = (var + eps).sqrt()
x_hat = centered / std
y = x_hat * gamma + beta
named = {"x": x, "mean": mean, "centered": centered, "squared": squared, "var": var, "std": std, "x_hat": x_hat}
named |= {"gamma": gamma, "beta": beta, "y": y}
for name, tensor in named.items():
    tensor.name = name
    tensor.retain_grad()
tape = y.tape()
print(tape)

# %% [markdown]
# ## Backward, by hand
# The next figure is a graph of it. Copy it onto paper and fill in its boxes, from the right to the left, by two rules:
#
# - *Broadcast forward, sum backward.* What one value does to eight rows comes back as eight gradients, which are added.
# - *Used twice, two gradients.* `centered` goes into `x_hat` and into `squared`; what comes back both ways is added.

# %%
NODES = {  # name: (place, how it is computed, its gradient)
    "x": ((0, 2), "", "d_centered + d_mean / m"), "mean": ((0, 0), "= mean(x)", "-sum(d_centered)"),
    "centered": ((3.2, 2), "= x - mean", "d_x_hat / std\n+ d_squared * 2 centered"),
    "squared": ((3.2, 0), "= centered²", "d_var / m"), "var": ((6.4, 0), "= mean(squared)", "d_std / (2 std)"),
    "std": ((9.6, 0), "= sqrt(var + eps)", "sum(d_x_hat * -centered) / std²"),
    "x_hat": ((9.6, 2), "= centered / std", "d_y * gamma"), "y": ((12.8, 2), "= x_hat * gamma + beta", "given"),
    "gamma": ((12.8, 4), "", "sum(d_y * x_hat)"), "beta": ((12.8, 0), "", "sum(d_y)"),
}  # fmt: skip
EDGES = "x-mean x-centered mean-centered centered-squared squared-var var-std std-x_hat centered-x_hat x_hat-y gamma-y"
EDGES = [edge.split("-") for edge in f"{EDGES} beta-y".split()]


def draw_graph(name: str, title: str, values: dict[str, np.ndarray] | None = None) -> None:
    figure, ax = plt.subplots(figsize=(16, 7.5), layout="constrained")
    boxes = {}
    for node, ((column, row), formula, rule) in NODES.items():
        boxes[node] = ax.add_patch(Rectangle((column - 1.42, row - 0.5), 2.84, 1, fc="white", ec="0.3", zorder=2))
        ax.text(column, row + 0.3, f"{node} {formula}", ha="center", va="center", weight="bold")
        text = f"{rule}\n= {values[node].flat[0]:.3g}" if values else f"d_{node} = ?"
        ax.text(column, row - 0.15, text, ha="center", va="center", color=WITHOUT)
    for pair in EDGES:
        for (a, b), style, colour in ((pair, "-", BLACK), (pair[::-1], "--", WITHOUT)):
            ax.annotate("", NODES[b][0], NODES[a][0], arrowprops={
                "patchA": boxes[a], "patchB": boxes[b], "connectionstyle": "arc3,rad=0.12", "arrowstyle": "-|>",
                "mutation_scale": 20, "lw": 2, "ls": style, "color": colour, "shrinkA": 2, "shrinkB": 2})  # fmt: skip
    ax.text(
        -1.3, 3.8, "Black, solid: forward.\nOrange, dashed: backward.\nWhere two arrive, they are added.", fontsize=15
    )
    ax.set(xlim=(-1.5, 14.3), ylim=(-0.6, 4.6))
    ax.set_axis_off()
    ax.set_title(title, fontsize=19)
    print(f"The graph: {save(figure, args, name)}")


draw_graph("06_batchnorm_backward_to_fill_in", "Fill in the gradients, from the right to the left (d_y is given)")
ways = predict(
    "Along the orange arrows, how many different ways lead from y to x?", right=4, within=0,
    because="To centered directly, or over std, var and squared; from there to x directly, or over mean.",
)  # fmt: skip

# %%
X, C, S, X_hat, G = x.data, centered.data, std.data, x_hat.data, gamma.data  # plain arrays from here on
hand = {"y": d_y}
hand["beta"] = hand["y"].sum(axis=0)
hand["gamma"] = (hand["y"] * X_hat).sum(axis=0)
hand["x_hat"] = hand["y"] * G
hand["std"] = (hand["x_hat"] * -C / S**2).sum(axis=0)
hand["var"] = hand["std"] / (2 * S)
hand["squared"] = np.ones_like(C) * hand["var"] / m
hand["centered"] = hand["x_hat"] / S + hand["squared"] * 2 * C
hand["mean"] = -hand["centered"].sum(axis=0)
hand["x"] = hand["centered"] + hand["mean"] / m
y.backward(d_y)  # the tape's turn


def off(mine: dict[str, np.ndarray]) -> float:
    """The largest difference to the tape's gradient, relative to the largest value in it."""
    return max(np.abs(d - named[name].grad).max() / np.abs(named[name].grad).max() for name, d in mine.items())


def count_ways(node: str) -> int:
    return 1 if node == "y" else sum(count_ways(end) for start, end in EDGES if start == node)


ways.confirm(count_ways("x"))
draw_graph("06_batchnorm_backward", "The gradients, and their first numbers: channel 0, first example", hand)
print(f"And a page to step through it: {tape.to_html(args.out / '06_batchnorm_backward.html', d_y)}")

# %% [markdown]
# ## The paper's six lines
# Two of your lines, `std` and `var`, become the paper's second; `squared`, `centered` and `mean` its third and fourth.
# With $d_x$ for $\partial\ell / \partial x$, and $v = \sigma^2 + \epsilon$:
#
# $$d_{\hat x_i} = d_{y_i} \gamma \qquad
# d_{\sigma^2} = \sum_i d_{\hat x_i} (x_i - \mu) \cdot \left(-\tfrac12\right) v^{-3/2} \qquad
# d_\mu = \sum_i d_{\hat x_i} \cdot \frac{-1}{\sqrt v} + d_{\sigma^2} \cdot \frac{\sum_i -2 (x_i - \mu)}{m}$$
# $$d_{x_i} = d_{\hat x_i} \frac{1}{\sqrt v} + d_{\sigma^2} \frac{2 (x_i - \mu)}{m} + d_\mu \frac1m \qquad
# d_\gamma = \sum_i d_{y_i} \hat x_i \qquad d_\beta = \sum_i d_{y_i}$$
#
# `layers.batch_norm_backward` has these lines, and so has this function. Its argument `mistake` is for later.


# %%
def six_lines(d_y: np.ndarray, x: np.ndarray, gamma: np.ndarray, mistake: str = "") -> dict[str, np.ndarray]:
    """The six gradients of the paper's section 3, or what becomes of them with a mistake."""
    m, centered = len(x), x - x.mean(axis=0)
    var = (centered**2).sum(axis=0) / (m - 1 if mistake == "unbiased variance" else m)
    std = np.sqrt(var) + eps if mistake == "eps outside the root" else np.sqrt(var + eps)
    total = partial(np.mean if mistake == "averaged, not summed" else np.sum, axis=0)
    d_x_hat = d_y * gamma
    d_var = total(d_x_hat * centered) * -1 / 2 * std**-3
    d_var = d_var * (mistake not in ("variance taken as constant", "both taken as constant"))
    d_mean = total(d_x_hat) * -1 / std + d_var * total(-2 * centered) / m
    d_mean = d_mean * (mistake not in ("mean taken as constant", "both taken as constant"))
    d_x = d_x_hat / std + d_var * 2 * centered / m + d_mean / m
    d_gamma = total(d_y * centered / std)
    d_beta = total(d_y)
    return {"x_hat": d_x_hat, "var": d_var, "mean": d_mean, "x": d_x, "gamma": d_gamma, "beta": d_beta}


# %% [markdown]
# ## One line
# Put the second and third line into the fourth; $\sum_i (x_i - \mu)$ is 0. What remains is
#
# $$d_{x_i} = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}
# \left( d_{y_i} - \frac1m \sum_j d_{y_j} - \hat x_i \, \frac1m \sum_j d_{y_j} \hat x_j \right)$$
#
# This one you can read: from the gradient that arrives, subtract its mean, then subtract its part along $\hat x$.

# %%
zero_sum = predict(
    "For one channel, what is the sum of d_x over the batch?",
    ["the sum of d_y", "gamma / std times the sum of d_y", "0", "it depends on the loss"], right=2,
    because="The same number added to all examples doesn't change y, so the loss can't notice.",
)  # fmt: skip
pair = predict(
    "A batch of two examples, x = 1 and 3, gamma = 1. The gradients 5 and -2 arrive at y. What arrives at x, about?",
    ["5 and -2", "3.5 and -3.5", "1.5 and 1.5", "0 and 0"], right=3,
    because="Without its mean, d_y is 3.5 and -3.5: all of it along x_hat = -1 and 1, so it is subtracted, too.",
)  # fmt: skip


# %%
def one_line(d_y: np.ndarray, x: np.ndarray, gamma: np.ndarray) -> dict[str, np.ndarray]:
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    d_x = gamma / std * (d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0))
    return {"x": d_x, "gamma": (d_y * x_hat).sum(axis=0), "beta": d_y.sum(axis=0)}


d_x = one_line(d_y, X, G)["x"]
totals = d_y.sum(axis=0), G / S * d_y.sum(axis=0), 0
zero_sum.confirm([np.allclose(d_x.sum(axis=0), total) for total in totals].index(True))
d_pair = one_line(np.array([[5.0], [-2.0]]), np.array([[1.0], [3.0]]), np.ones(1))["x"].round(2)
pair.confirm([(5, -2), (3.5, -3.5), (1.5, 1.5), (0, 0)].index(tuple(d_pair[:, 0])))
left = (d_x * X_hat).sum(axis=0) / (G / S * (d_y * X_hat).sum(axis=0))  # of the part along x_hat
worst = [off(d) for d in (hand, six_lines(d_y, X, G), one_line(d_y, X, G))]
print("largest difference to the tape, by hand, in six lines, in one line:", *(f"{value:.0e}" for value in worst))

# %% [markdown]
# To stretch all examples about their mean doesn't change $y$ either, but for $\epsilon$. And a batch of two, of which
# BN leaves only the signs, sends back nothing.
#
# ## Six common mistakes, and gradcheck
# Tape and hand could agree and both be wrong. `gradcheck` knows no calculus: it changes each input a little, and looks
# what the output does. `record` puts batch normalization on the tape with any backward that you like. Some mistakes:
#
# - *mean, variance, or both taken as constant*: what comes back through the statistics is forgotten;
# - *averaged, not summed*: sums over the batch written as means; *unbiased variance*: $m - 1$ for $m$, backward only;
# - *eps outside the root*: $\sqrt{\sigma^2} + \epsilon$ in place of $\sqrt{\sigma^2 + \epsilon}$.

# %%
overlooked = predict(
    "Without the narrow channel, one of the mistakes passes gradcheck. Which one?",
    ["variance taken as constant", "averaged, not summed", "unbiased variance", "eps outside the root"], right=3,
    because="eps is far below an ordinary variance. A check is as good as its inputs: few, odd, close to trouble.",
)  # fmt: skip


# %%
def batch_norm_with(backward, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """A batch normalization whose gradients come from ``backward(d_y, x, gamma)``, right or wrong."""
    a, g = array_of(x), array_of(gamma)
    centered = a - a.mean(axis=0)
    y = g * centered / np.sqrt((centered**2).mean(axis=0) + eps) + array_of(beta)

    def vjp(d_y, needs, a, g):
        return tuple(backward(d_y, a, g)[name] for name in ("x", "gamma", "beta"))

    return record("batch_norm", y, (x, gamma, beta), vjp, "on trial", saved=(a, g))


def passes(backward, channels: int = 3) -> bool:
    """Whether gradcheck accepts it on our batch, or on the first ``channels`` of its channels."""
    inputs = [Tensor(t.data[..., :channels].copy(), requires_grad=True) for t in (x, gamma, beta)]
    return gradcheck(partial(batch_norm_with, backward), inputs, raise_exception=False)


MISTAKES = ("mean taken as constant", "variance taken as constant", "both taken as constant", "averaged, not summed",
            "unbiased variance", "eps outside the root")  # fmt: skip
rules = {name: partial(six_lines, mistake=name) for name in ("right", *MISTAKES)}
accepted = {name: (passes(rule), passes(rule, channels=2)) for name, rule in rules.items()}
overlooked.confirm(overlooked.choices.index(*(name for name in MISTAKES if accepted[name][1])))

# %% [markdown]
# ## Training with a wrong gradient
# Three hidden layers, 250 steps, from the same weights, on the same mini-batches. The layers before BN keep their
# biases, which BN cancels, for the paper's question (section 2): what becomes of them if the mean is taken as constant?

# %%
learning = predict(
    "At a rate of 0.1, in how many of the six do networks learn (40 % of the test images right; chance is 10 %)?",
    ["none", "two", "four", "all six"], right=3,
    because="A direction 50 degrees off still goes downhill. That a network learns proves nothing about its gradients.",
)  # fmt: skip


# %%
class BatchNorm(BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return batch_norm_with(self.rule, x, self.weight, self.bias)


def train(rule, rate: float, seed: int) -> np.ndarray:
    """Loss (last 50 steps), how far the first bias went, validation and test accuracy, first gradient's direction."""
    rng, layers, losses, gradients = np.random.default_rng(seed), [], [], []
    for fan_in in (64, 50, 50):
        layers += [Linear(fan_in, 50, rng=rng), BatchNorm(50), ReLU()]
        layers[-2].rule = rule
    network = Sequential(*layers, Linear(50, 10, rng=rng))
    bias, optimizer = network[0].bias.numpy().copy(), SGD(network.parameters(), rate)
    for images, labels in batches(data.x_train[288:], data.y_train[288:], 60, 250, seed):
        losses.append(train_step(network, optimizer, images, labels))
        gradients.append(network[0].weight.grad.ravel())
    with no_grad():  # normalized with the statistics of these images themselves
        right = [100 * np.mean(network(x).numpy().argmax(axis=1) == y) for x, y in (VALID, TEST)]
    way, first = np.linalg.norm(network[0].bias.numpy() - bias), gradients[0] / np.linalg.norm(gradients[0])
    return np.array([np.mean(losses[-50:]), way, *right, *first])


data, RATES, SEEDS = load_digits(), (0.1, 1.0), range(5 * args.seed, 5 * args.seed + 5)
VALID, TEST = (data.x_train[:288], data.y_train[:288]), (data.x_test, data.y_test)
trials = [(name, rate) for name in rules for rate in RATES]
runs = {(name, rate): np.array([train(rules[name], rate, seed) for seed in SEEDS]).T for name, rate in trials}
mean_of = {key: values.mean(axis=1) for key, values in runs.items()}
best = {name: max(RATES, key=lambda rate: mean_of[name, rate][2]) for name in rules}
learning.confirm([0, 2, 4, 6].index(sum(mean_of[name, 0.1][3] >= 40 for name in MISTAKES)))
right = runs["right", 0.1][4:, 0]
angle = {name: np.degrees(np.arccos(min(runs[name, 0.1][4:, 0] @ right, 1.0))) for name in rules}
table(
    ["backward", "gradcheck", "not narrow", "angle", "loss at 0.1", "at 1", "better", "test %", "range", "bias moved"],
    [[name, *(("rejects", "accepts")[a] for a in accepted[name]), f"{angle[name]:.1f}°",
      *(f"{mean_of[name, rate][0]:.3f}" for rate in RATES), f"{b:g}", f"{mean_of[name, b][3]:.1f}",
      "{:.1f} - {:.1f}".format(*np.sort(runs[name, b][3])[[0, -1]]), f"{mean_of[name, 0.1][1]:.0e}"]
     for name, b in best.items()],
)  # fmt: skip

# %% [markdown]
# Five seeds; 355 test images, so one is 0.28 points; the test accuracy is that of the rate which was better on 288
# validation images. At the rate 0.1, the loss of four is much higher. Is it the gradient? Mostly the rate: with 1,
# a constant mean or variance ends close to the right gradient, and only *averaged, not summed* stays clearly behind.
# The last two mistakes leave no trace at all. Gradcheck finds all six, and the last one only in the narrow channel.
#
# ## The claims

# %%
no_mean = MISTAKES[0], *MISTAKES[2:4]
ratio = {name: mean_of[name, 0.1][0] / mean_of["right", 0.1][0] for name in rules}
behind = {name: mean_of["right", best["right"]][3] - mean_of[name, best[name]][3] for name in rules}
claims = {
    "by hand, in six lines and in one, the gradients are the tape's, to 1e-10": max(worst) < 1e-10,
    "eps / (var + eps) of the part along x_hat is left, to 0.1 %": np.allclose(left * (var.data + eps), eps, rtol=1e-3),
    "finite differences confirm the six lines and the one": accepted["right"][0] and passes(one_line),
    "gradcheck rejects each of the six mistakes": not any(accepted[name][0] for name in MISTAKES),
    "a constant mean turns the first gradient by over 20 degrees": min(angle[name] for name in no_mean) > 20,
    "and moves the first bias by over 1, the right gradient by 0.001 at most":
        min(mean_of[name, 0.1][1] for name in no_mean) > 1 and mean_of["right", 0.1][1] < 1e-3,
    "at rate 0.1, four mistakes leave 1.5 times the loss or more": min(ratio[name] for name in MISTAKES[:4]) > 1.5,
    "two change it by less than 25 %": max(abs(ratio[name] - 1) for name in MISTAKES[4:]) < 0.25,
    "at its better rate, a constant mean or variance costs less than 3 points": max(map(behind.get, MISTAKES[:3])) < 3,
    "sums written as means cost 3 points or more": behind["averaged, not summed"] >= 3,
}  # fmt: skip
check(claims)
