# %% [markdown]
# # Lesson 6: batch normalization, backward
#
# You will learn
# - to walk the chain rule back through batch normalization, node by node, and to check each step against the tape;
# - how these steps become the paper's six lines, and the six lines become one, which tells you what the layer *does*
#   to a gradient;
# - what the classic mistakes do to the gradient and to training, and why a network that learns proves nothing.
#
# The paper is S. Ioffe and C. Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
# Covariate Shift* ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167)); the six lines are in its section 3. The
# manner of the first part, every intermediate by name and by hand, is that of A. Karpathy's
# [makemore, part 4](https://github.com/karpathy/nn-zero-to-hero).

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, SKY, WITH, WITHOUT, batches, check, parse, parser, save, table, train_step,
)  # fmt: skip

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

from layers import Linear, Module, Parameter, ReLU, Sequential, cross_entropy
from minigrad import Tensor, array_of, gradcheck, no_grad, record
from minigrad.optim import SGD
from tutorials.data import load_digits

options = parser("The gradient of batch normalization: by hand, in six lines, in one, and wrong.")
args = parse(options, "06_batchnorm_backward")
plt.rcParams.update({"font.size": 12, "axes.titlesize": 13})
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## Forward, in small steps
# Eight examples of three channels: an ordinary one, one far from zero, and a narrow one, whose variance comes
# close to $\epsilon = 10^{-5}$; it will prove its worth. Each step gets a name, and `retain_grad` asks the tape to keep
# the gradient of an intermediate result. Of all that may come after this layer, only `d_y` comes back, the gradient of
# the loss with respect to `y`; so for a test, random numbers do.

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
y.backward(d_y)

# %% [markdown]
# ## Backward, by hand
# Read the tape from its end. Two rules do nearly all the work:
#
# - *Broadcast forward, sum backward.* `beta` has 3 values and is added to 8 rows. Each of the 8 uses sends a gradient,
#   and they add up.
# - *Used twice, two gradients.* `centered` goes into `x_hat` and into `squared`; `x` into `mean` and into `centered`.
#   What comes back along the two ways is added.
#
# The figure shows the ways. Try each line yourself before you read it.

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


def off(mine: np.ndarray, name: str) -> float:
    """The largest difference to the tape's gradient, relative to the largest value in it."""
    return np.abs(mine - named[name].grad).max() / np.abs(named[name].grad).max()


off_node = {name: off(d, name) for name, d in hand.items()}
print()
table(["gradient of", "shape", "by hand - by tape"], [[n, named[n].shape, f"{v:.0e}"] for n, v in off_node.items()])

# %%
NODES = {  # name: (place, how it is computed, its gradient)
    "x": ((0, 2), "", "d_centered + d_mean / m"),
    "mean": ((0, 0), "= mean(x)", "-sum(d_centered)"),
    "centered": ((3.2, 2), "= x - mean", "d_x_hat / std\n+ d_squared * 2 centered"),
    "squared": ((3.2, 0), "= centered²", "d_var / m"),
    "var": ((6.4, 0), "= mean(squared)", "d_std / (2 std)"),
    "std": ((9.6, 0), "= sqrt(var + eps)", "sum(d_x_hat * -centered)\n/ std²"),
    "x_hat": ((9.6, 2), "= centered / std", "d_y * gamma"),
    "y": ((12.8, 2), "= x_hat * gamma + beta", "from the layers above"),
    "gamma": ((12.8, 4), "", "sum(d_y * x_hat)"),
    "beta": ((12.8, 0), "", "sum(d_y)"),
}
EDGES = """x-mean x-centered mean-centered centered-squared squared-var var-std std-x_hat centered-x_hat
x_hat-y gamma-y beta-y""".split()


def draw_graph(ax) -> None:
    boxes = {}
    for name, ((column, row), formula, gradient) in NODES.items():
        boxes[name] = ax.add_patch(Rectangle((column - 1.3, row - 0.5), 2.6, 1, fc="white", ec="0.3", lw=1.5, zorder=2))
        ax.text(column, row + 0.27, f"{name} {formula}", ha="center", va="center", fontsize=12, weight="bold")
        ax.text(column, row - 0.18, gradient, ha="center", va="center", fontsize=13, color=WITHOUT)
    for start, end in (edge.split("-") for edge in EDGES):
        for a, b, style, colour in ((start, end, "-", BLACK), (end, start, "--", WITHOUT)):
            ax.add_patch(FancyArrowPatch(
                NODES[a][0], NODES[b][0], patchA=boxes[a], patchB=boxes[b], connectionstyle="arc3,rad=0.12",
                arrowstyle="-|>", mutation_scale=20, lw=2, ls=style, color=colour, shrinkA=2, shrinkB=2,
            ))  # fmt: skip
    ax.text(-1.3, 4.3, "Black, solid: forward. Each box names its value and says how it is computed.", fontsize=15)
    ax.text(-1.3, 3.9, "Red, dashed: backward. Below the name, the gradient.", fontsize=15, color=WITHOUT)
    ax.text(-1.3, 3.5, "Where two red arrows arrive, their gradients are added.", fontsize=15, color=WITHOUT)
    ax.set(xlim=(-1.4, 14.2), ylim=(-0.6, 4.6))
    ax.set_axis_off()


figure, ax = plt.subplots(figsize=(16, 7.5), layout="constrained")
figure.suptitle("Batch normalization as a graph, and the gradients that flow back through it", fontsize=19)
draw_graph(ax)
print(f"\nThe first figure: {save(figure, args, '06_batchnorm_backward')}")
print(f"And a page to step through it: {tape.to_html(args.out / '06_batchnorm_backward.html', d_y)}")

# %% [markdown]
# ## The paper's six lines
# The paper goes back in larger steps. It knows `d_x_hat`, `d_var` and `d_mean`, and doesn't name what is between. Two
# of your lines, `std` and `var`, become its second; `squared`, `centered` and `mean` become the third and the fourth:
#
# $$\begin{aligned}
# \frac{\partial\ell}{\partial\hat x_i} &= \frac{\partial\ell}{\partial y_i}\,\gamma \\
# \frac{\partial\ell}{\partial\sigma^2} &= \sum_i \frac{\partial\ell}{\partial\hat x_i}\,(x_i - \mu) \cdot
#     \left(-\tfrac12\right)(\sigma^2 + \epsilon)^{-3/2} \\
# \frac{\partial\ell}{\partial\mu} &= \sum_i \frac{\partial\ell}{\partial\hat x_i} \cdot
#     \frac{-1}{\sqrt{\sigma^2 + \epsilon}} + \frac{\partial\ell}{\partial\sigma^2} \cdot
#     \frac{\sum_i -2 (x_i - \mu)}{m} \\
# \frac{\partial\ell}{\partial x_i} &= \frac{\partial\ell}{\partial\hat x_i} \cdot
#     \frac{1}{\sqrt{\sigma^2 + \epsilon}} + \frac{\partial\ell}{\partial\sigma^2} \cdot
#     \frac{2 (x_i - \mu)}{m} + \frac{\partial\ell}{\partial\mu} \cdot \frac1m \\
# \frac{\partial\ell}{\partial\gamma} &= \sum_i \frac{\partial\ell}{\partial y_i}\,\hat x_i \qquad
# \frac{\partial\ell}{\partial\beta} = \sum_i \frac{\partial\ell}{\partial y_i}
# \end{aligned}$$
#
# The function below is these lines (`layers.batch_norm_backward` has them without the mistakes). Its argument `mistake`
# is for later; leave it out, and the six lines are right.


# %%
def six_lines(d_y: np.ndarray, x: np.ndarray, gamma: np.ndarray, mistake: str = "") -> dict[str, np.ndarray]:
    """The six gradients of the paper's section 3, or what becomes of them with a mistake."""
    m, centered = len(x), x - x.mean(axis=0)
    var = (centered**2).sum(axis=0) / (m - 1 if mistake == "unbiased variance" else m)
    std = np.sqrt(var) + eps if mistake == "eps outside the root" else np.sqrt(var + eps)
    total = partial(np.mean if mistake == "averaged, not summed" else np.sum, axis=0)

    d_x_hat = d_y * gamma
    d_var = total(d_x_hat * centered) * -1 / 2 * std**-3
    if mistake in ("variance taken as constant", "both taken as constant"):
        d_var = np.zeros_like(d_var)
    d_mean = total(d_x_hat) * -1 / std + d_var * total(-2 * centered) / m
    if mistake in ("mean taken as constant", "both taken as constant"):
        d_mean = np.zeros_like(d_mean)
    d_x = d_x_hat / std + d_var * 2 * centered / m + d_mean / m
    d_gamma = total(d_y * centered / std)
    d_beta = total(d_y)
    return {"x_hat": d_x_hat, "var": d_var, "mean": d_mean, "x": d_x, "gamma": d_gamma, "beta": d_beta}


off_six = {name: off(d, name) for name, d in six_lines(d_y, X, G).items()}
print("six lines against the tape:", ", ".join(f"{name} {value:.0e}" for name, value in off_six.items()))

# %% [markdown]
# ## One line
# Put the second and third line into the fourth. $\sum_i (x_i - \mu)$ is 0, and $x_i - \mu$ divided by
# $\sqrt{\sigma^2 + \epsilon}$ is $\hat x_i$. What remains is
#
# $$\frac{\partial\ell}{\partial x_i} = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} \left(
# d_{y,i} - \frac1m \sum_j d_{y,j} - \hat x_i \, \frac1m \sum_j d_{y,j} \, \hat x_j \right)
# \qquad d_y = \frac{\partial\ell}{\partial y}$$
#
# This one you can read. From the gradient that arrives, subtract its mean, then subtract its part along $\hat x$.
# Why just these two? To add the same number to all examples, or to stretch all of them about their mean, doesn't
# change $y$, so the loss can't notice, and the gradient has no part in these two directions: it sums to 0 over the
# batch, and is at right angles to $\hat x$. The latter holds up to $\epsilon$: of the part along $\hat x$, the fraction
# $\epsilon / (\sigma^2 + \epsilon)$ is left, next to nothing in an ordinary channel and a good deal in the narrow one.


# %%
def one_line(d_y: np.ndarray, x: np.ndarray, gamma: np.ndarray) -> dict[str, np.ndarray]:
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    d_x = gamma / std * (d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0))
    return {"x": d_x, "gamma": (d_y * x_hat).sum(axis=0), "beta": d_y.sum(axis=0)}


off_one = {name: off(d, name) for name, d in one_line(d_y, X, G).items()}
d_x = one_line(d_y, X, G)["x"]
sum_over_batch = np.abs(d_x.sum(axis=0)).max() / np.abs(d_x).max()
left = (d_x * X_hat).sum(axis=0) / (G / S * (d_y * X_hat).sum(axis=0))  # of the part along x_hat
left_expected = eps / (var.data + eps)
print(f"one line against the tape: {max(off_one.values()):.0e}; d_x sums to {sum_over_batch:.0e} of its largest value")
rows = {"variance of x": var.data, "left of the part along x_hat": left, "eps / (var + eps)": left_expected}
table(["channel", "ordinary", "far", "narrow"], [[name, *(f"{v:.2g}" for v in row)] for name, row in rows.items()])

# %% [markdown]
# ## Finite differences
# Tape and hand could agree and both be wrong. `gradcheck` is a judge who knows no calculus: it changes each input a
# little, and looks what the output does. `record` puts an operation of your own on the tape, here batch normalization
# with any backward that you like: one function for the gradients of all three inputs, and what it needs in `saved`.


# %%
def batch_norm_with(backward):
    """A batch normalization whose gradients come from ``backward(d_y, x, gamma)``, right or wrong."""

    def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        a, g = array_of(x), array_of(gamma)
        centered = a - a.mean(axis=0)
        y = g * centered / np.sqrt((centered**2).mean(axis=0) + eps) + array_of(beta)

        def vjp(d_y, needs, a, g):
            d = backward(d_y, a, g)
            return d["x"], d["gamma"], d["beta"]

        return record("batch_norm", y, (x, gamma, beta), vjp, "on trial", saved=(a, g))

    return batch_norm


def passes(backward, channels: int = 3) -> bool:
    """Whether gradcheck accepts it on our batch, or on the first ``channels`` of its channels."""
    inputs = [Tensor(t.data[..., :channels].copy(), requires_grad=True) for t in (x, gamma, beta)]
    return gradcheck(batch_norm_with(backward), inputs, raise_exception=False)


accepted_right = {"six lines": passes(six_lines), "one line": passes(one_line)}
print(f"accepted by gradcheck: {accepted_right}")

# %% [markdown]
# ## The classic mistakes
# - *mean, variance, or both taken as constant*: what comes back through the statistics is forgotten;
# - *averaged, not summed*: the sums over the batch written as means. That makes the terms that come back through the
#   statistics $m$ times too small, so nearly forgotten, and those of $\gamma$ and $\beta$, too;
# - *unbiased variance*: forward divides by $m$, backward by $m - 1$;
# - *eps outside the root*: $\sqrt{\sigma^2} + \epsilon$ in place of $\sqrt{\sigma^2 + \epsilon}$.
#
# First question: does gradcheck notice, on all three channels, and on the first two only?

# %%
MISTAKES = {  # how the figure draws each
    "mean taken as constant": ("--", WITHOUT), "variance taken as constant": ("-.", WITH),
    "both taken as constant": (":", PINK), "averaged, not summed": ((0, (5, 1, 1, 1, 1, 1)), ORANGE),
    "unbiased variance": ("s", GREEN), "eps outside the root": ("^", SKY),
}  # fmt: skip
rules = {"right": six_lines} | {mistake: partial(six_lines, mistake=mistake) for mistake in MISTAKES}
accepted = {name: passes(rule) for name, rule in rules.items()}
accepted_without_narrow = {name: passes(rule, channels=2) for name, rule in rules.items()}

# %% [markdown]
# Second question: how wrong is the gradient where it counts? We take a network with three hidden layers on the digits,
# and look at the gradient of the first layer's weights, which has come through three batch normalizations: its angle
# with the right one, and its size.
#
# Third question: does the network learn? 250 steps from the same weights, on the same mini-batches. The layers before
# BN keep their biases this time, although BN cancels them, for the sake of a thought experiment in the paper (section
# 2): if the gradient ignores that the mean depends on the bias, the bias keeps growing, to no effect on the output.


# %%
class BatchNorm(Module):
    def __init__(self, features: int, backward) -> None:
        self.weight, self.bias = Parameter(np.ones(features), np.float32), Parameter(np.zeros(features), np.float32)
        self.function = batch_norm_with(backward)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight, self.bias)


def network_with(backward) -> Sequential:
    rng, layers = np.random.default_rng(args.seed), []
    for fan_in in (64, 50, 50):
        layers += [Linear(fan_in, 50, rng=rng), BatchNorm(50, backward), ReLU()]
    return Sequential(*layers, Linear(50, 10, rng=rng))


data = load_digits()
first_gradient, losses, bias_moved, test_accuracy = {}, {}, {}, {}
for name, rule in rules.items():
    network = network_with(rule)
    first = network[0]
    cross_entropy(network(data.x_train[:60]), data.y_train[:60]).backward()
    first_gradient[name] = first.weight.grad.ravel().astype(np.float64)
    start, optimizer = first.bias.numpy().copy(), SGD(network.parameters(), lr=0.1)
    losses[name], bias_moved[name] = [], []
    for images, labels in batches(data.x_train, data.y_train, 60, 250, args.seed):
        losses[name].append(train_step(network, optimizer, images, labels))
        bias_moved[name].append(np.linalg.norm(first.bias.numpy() - start))
    with no_grad():  # normalized with the test images' own statistics
        test_accuracy[name] = np.mean(network(data.x_test).numpy().argmax(axis=1) == data.y_test)

reference = first_gradient["right"]
size = {name: np.linalg.norm(d) / np.linalg.norm(reference) for name, d in first_gradient.items()}
cosine = {name: d @ reference / np.linalg.norm(d) / np.linalg.norm(reference) for name, d in first_gradient.items()}
angle = {name: np.degrees(np.arccos(min(c, 1.0))) for name, c in cosine.items()}
final = {name: np.mean(values[-50:]) for name, values in losses.items()}


# %%
def draw_runs(ax, measured: dict[str, list], smooth: int) -> None:
    """One line for each rule; the two that run on top of the right one as marks on it."""
    for name, values in measured.items():
        style, colour = MISTAKES.get(name, ("-", BLACK))
        smoothed = np.convolve(values, np.ones(smooth) / smooth, "valid")
        steps = np.arange(len(smoothed)) + smooth
        if style in ("s", "^"):
            ax.plot(steps, smoothed, style, color=colour, ms=7, markevery=(20 if style == "s" else 45, 50), label=name)
        else:
            ax.plot(steps, smoothed, ls=style, color=colour, lw=2.5, label=name)
    ax.set(xlabel="training steps", xlim=(0, 250))


figure, (runs, bars, biases) = plt.subplots(1, 3, figsize=(17, 7), layout="constrained", width_ratios=[4, 3, 3])
figure.suptitle("Wrong gradients of batch normalization: each of the networks learns something", fontsize=17)
draw_runs(runs, losses, smooth=20)
runs.set(yscale="log", ylabel="training loss (nats, mean of 20 steps)")
runs.set_title("a  Learning: four mistakes slow it down, two don't show", loc="left")
runs.legend(frameon=False, loc="lower left")
drawn = bars.barh(list(MISTAKES), [angle[name] for name in MISTAKES], color=[c for _, c in MISTAKES.values()])
labels = [f"{angle[name]:.1f}°, size x {size[name]:.2f}" for name in MISTAKES]
bars.bar_label(drawn, labels, padding=4)
bars.invert_yaxis()
bars.set(xlabel="angle to the right gradient (degrees)", xlim=(0, 150))
bars.set_title("b  Gradient of the first weights, at the start", loc="left")
draw_runs(biases, bias_moved, smooth=1)
biases.set_ylabel("distance of the first bias from its start")
biases.set_title("c  A bias that BN cancels should not move", loc="left")
print(f"The second figure: {save(figure, args, '06_batchnorm_backward_2')}")

# %% [markdown]
# ## What was measured

# %%
print()
verdict = {True: "accepts", False: "rejects"}
table(
    ["backward", "gradcheck", "without narrow", "angle", "size", "final loss", "test accuracy", "bias moved"],
    [
        [name, verdict[accepted[name]], verdict[accepted_without_narrow[name]], f"{angle[name]:.2f}°",
         f"{size[name]:.3f}", f"{final[name]:.4f}", f"{test_accuracy[name]:.1%}", f"{bias_moved[name][-1]:.1e}"]
        for name in rules
    ],
)  # fmt: skip

# %% [markdown]
# Read the right half: every network learns, the one with a constant variance is as good on the test images as the
# right one, and the last two mistakes leave no trace at all. A network that learns proves nothing about its gradients.
#
# Then the left half: gradcheck finds each mistake, but the last one only in the narrow channel; elsewhere, $\epsilon$
# is too small against the variance to matter. A check is as good as its inputs: make them few, odd, and close to where
# the formula could break.
#
# ## The claims

# %%
no_mean = ("mean taken as constant", "both taken as constant", "averaged, not summed")
slower, unseen = (*no_mean, "variance taken as constant"), ("unbiased variance", "eps outside the root")
worst = max(max(offs.values()) for offs in (off_node, off_six, off_one))
loss_ratio = {name: final[name] / final["right"] for name in rules}
bias_end = {name: values[-1] for name, values in bias_moved.items()}
claims = {
    "node by node, in six lines and in one, the gradients are the tape's, to 1e-10": worst < 1e-10,
    "finite differences confirm the six lines and the one": all(accepted_right.values()),
    "the gradient sums to 0 over the batch, to 1e-12 of its largest value": sum_over_batch < 1e-12,
    "it is at right angles to x_hat but for 1/1000 where the variance is large": np.abs(left[:2]).max() < 1e-3,
    "eps / (var + eps) of its part along x_hat is left, to 0.1 %": np.allclose(left, left_expected, rtol=1e-3, atol=0),
    "gradcheck rejects each of the six mistakes": not any(accepted[name] for name in MISTAKES),
    "without the narrow channel it accepts eps outside the root": accepted_without_narrow["eps outside the root"],
    "a constant mean turns the first gradient by more than 20 degrees": min(angle[name] for name in no_mean) > 20,
    "and moves the first bias by more than 1": min(bias_end[name] for name in no_mean) > 1,
    "which the right gradient moves by less than 0.001": bias_end["right"] < 1e-3,
    "four mistakes leave a training loss of 1.5 times or more": min(loss_ratio[name] for name in slower) > 1.5,
    "two change it by less than 25 %": max(abs(loss_ratio[name] - 1) for name in unseen) < 0.25,
    "yet each network gets more than a quarter of the test images right": min(test_accuracy.values()) > 0.25,
}
check(claims)
