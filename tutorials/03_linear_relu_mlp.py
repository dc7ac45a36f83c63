# %% [markdown]
# # Lesson 3: Linear, ReLU, and a network of them
#
# You will learn
# - how the backward of Linear and of ReLU follow from their definitions, and how a whole network's follows from theirs;
# - what such a network does with two spirals, and how a unit dies;
# - why a deep network's signals vanish or explode, and by which factor in each layer.
#
# Run it as a script, `python tutorials/03_linear_relu_mlp.py`, or cell by cell.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, save, table, train_step,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from layers import Linear, ReLU, Sequential, cross_entropy, linear, relu, sigmoid
from minigrad import Tensor, no_grad
from minigrad.optim import SGD
from tutorials.data import two_spirals

args = parse(parser("Linear and ReLU by hand, an MLP on two spirals, dead units, depth."), "03_linear_relu_mlp")
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## Linear, backward
# A Linear layer takes a batch $X$ of $N$ rows to $Y = X W^\top + b$, or, written out with $n$ for the row, $i$ for the
# input and $o$ for the output, $Y_{no} = \sum_i X_{ni} W_{oi} + b_o$. Its backward is given $G$, the derivatives
# $G_{no} = \partial L / \partial Y_{no}$ of the loss, and has to find those for $X$, $W$ and $b$. For each of them, ask
# which outputs it takes part in, and add up:
#
# $$\frac{\partial L}{\partial X_{ni}} = \sum_o G_{no} W_{oi}, \qquad
# \frac{\partial L}{\partial W_{oi}} = \sum_n G_{no} X_{ni}, \qquad
# \frac{\partial L}{\partial b_o} = \sum_n G_{no}$$
#
# An input takes part in all outputs of its own row; a weight and a bias in one output, but of every row. As matrices,
# they are $G W$, $G^\top X$ and the column sums of $G$. If you forget which goes where, the shapes leave no choice.
#
# ## ReLU, backward
# $y = \max(x, 0)$ has slope 1 where $x > 0$ and 0 elsewhere: the gradient passes where the value passed. In code:


# %%
def linear_backward(g, x, weight):
    return g @ weight, g.T @ x, g.sum(axis=0)


def relu_backward(g, y):
    return g * (y > 0)


x, weight, bias = (Tensor(rng.normal(size=shape), requires_grad=True) for shape in ((7, 3), (5, 3), (5,)))
g = rng.normal(size=(7, 5))  # what comes from above; any numbers do
y = relu(linear(x, weight, bias))
y.backward(g)
by_hand = linear_backward(relu_backward(g, y.data), x.data, weight.data)
layer_difference = max(np.abs(t.grad - d).max() for t, d in zip((x, weight, bias), by_hand, strict=True))
print(f"one layer: hand and tape differ by {layer_difference:.0e} at most")

# %% [markdown]
# ## A network by hand
# Two spirals, 200 points each for training and as many for the test, and a multilayer perceptron (MLP) with two hidden
# layers of 64 ReLUs. Forward, keep what each layer was given; backward, go through the layers from the last to the
# first, and hand the gradient on. It starts at the cross-entropy, whose gradient for the logits is
# $(\mathrm{softmax} - \text{one-hot}) / N$.

# %%
x_train, y_train = two_spirals(200, rng=rng)
x_test, y_test = two_spirals(200, rng=rng)
SIZES = [2, 64, 64, 2]
network = mlp(SIZES, batch_norm=False, activation=ReLU, rng=args.seed).astype(np.float64)


def gradients_by_hand(network: Sequential, x: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    """The gradients of all weights and biases, in the order of network.parameters()."""
    linears = [layer for layer in network if isinstance(layer, Linear)]
    inputs = [x]  # inputs[k] goes into linears[k]
    for layer in linears:
        z = inputs[-1] @ layer.weight.data.T + layer.bias.data
        inputs.append(np.maximum(z, 0))
    probability = np.exp(z - z.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    g = (probability - np.eye(2)[targets]) / len(x)
    gradients = []
    for k in reversed(range(len(linears))):
        d_x, d_weight, d_bias = linear_backward(g, inputs[k], linears[k].weight.data)
        gradients = [d_weight, d_bias, *gradients]
        g = relu_backward(d_x, inputs[k])  # the last one, for the data itself, is not used
    return gradients


loss = cross_entropy(network(x_train), y_train)
tape = loss.tape()
loss.backward()
by_hand = gradients_by_hand(network, x_train, y_train)
network_difference = max(
    np.abs(p.grad - d).max() / np.abs(d).max() for p, d in zip(network.parameters(), by_hand, strict=True)
)
print(tape)
print(f"the network's {len(by_hand)} parameters: hand and tape differ by {network_difference:.0e} at most, relatively")

# %% [markdown]
# The tape does what your loop does, and saves one product: nobody needs the gradient of the data, so it isn't computed.
#
# ## Learning the spirals
# Now in float32, as layers do by default. The picture of what the network thinks is the probability that it gives to
# the second spiral, on a grid over the plane. For comparison, one Linear layer alone, which can only draw a straight
# line.

# %%
side = np.linspace(-4, 4, 161, dtype=np.float32)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


@no_grad()
def probability_map(network: Sequential) -> np.ndarray:
    logits = network(grid)
    return sigmoid(logits[:, 1] - logits[:, 0]).data.reshape(len(side), len(side))  # softmax of two is a sigmoid


def train(network: Sequential, lr: float, steps: int, momentum: float = 0.0):
    """Train on the spirals, 100 points a step; yields the step's number and loss after each step."""
    optimizer = SGD(network.parameters(), lr, momentum)
    for step, (x, y) in enumerate(batches(x_train, y_train, 100, steps, args.seed), start=1):
        yield step, train_step(network, optimizer, x, y)


MOMENTS = (0, 20, 100, 500)
network = mlp(SIZES, batch_norm=False, activation=ReLU, rng=args.seed)
maps = {0: probability_map(network)}
curve = {0: accuracy(network, x_test, y_test)}
for step, _ in train(network, 0.1, MOMENTS[-1], momentum=0.9):
    if step in MOMENTS:
        maps[step] = probability_map(network)
    if step % 10 == 0:
        curve[step] = accuracy(network, x_test, y_test)

line = Sequential(Linear(2, 2, rng=args.seed))
for _ in train(line, 0.1, MOMENTS[-1], momentum=0.9):
    pass
line_accuracy = accuracy(line, x_test, y_test)
print(f"test accuracy {curve[MOMENTS[-1]]:.1%}, of a straight line {line_accuracy:.1%}")

# %% [markdown]
# ## Dead units
# A ReLU whose input is negative for every point gives 0 for every point; then `g * (y > 0)` is 0 too, and the weights
# into that unit get no gradient. In the first layer, whose inputs never change, that is for ever: the unit is dead. (In
# a later layer it may come back, if the layers below move its inputs.)
#
# Some units start like that. More die of a step too long: the weights jump, and the unit lands on its flat side. So we
# train with growing learning rates, plain SGD this time, and count.


# %%
@no_grad()
def dead_units(network: Sequential) -> list[np.ndarray]:
    """For each hidden layer, which units are 0 for all training points."""
    h, dead = Tensor(x_train), []
    for layer in network:
        h = layer(h)
        if isinstance(layer, ReLU):
            dead.append((h.data == 0).all(axis=0))
    return dead


RATES = (0.1, 0.3, 1.0, 3.0)
dead, rate_accuracy, into_dead = {}, {}, []
for rate in RATES:
    trained = mlp(SIZES, batch_norm=False, activation=ReLU, rng=args.seed)
    dead["start"] = [units.sum() for units in dead_units(trained)]
    for _ in train(trained, rate, 300):
        pass
    dead[rate] = [units.sum() for units in dead_units(trained)]
    rate_accuracy[rate] = accuracy(trained, x_test, y_test)
    trained.zero_grad()
    cross_entropy(trained(x_train), y_train).backward()
    for linear_layer, units in zip((trained[0], trained[2]), dead_units(trained), strict=True):
        into_dead += [*linear_layer.weight.grad[units].ravel(), *linear_layer.bias.grad[units]]
table(
    ["learning rate", "dead in layer 1", "in layer 2", "test accuracy"],
    [["at the start", *dead["start"], ""], *([rate, *dead[rate], f"{rate_accuracy[rate]:.1%}"] for rate in RATES)],
)
print(f"{len(into_dead):,} parameters lead into dead units; their largest gradient is {np.max(np.abs(into_dead))}")

# %% [markdown]
# ## The scale of the first weights
# Take weights from a normal distribution of standard deviation $a / \sqrt{n}$, where $n$ is the number of inputs and
# $a$ is called the gain, and biases 0. Then each $z_o = \sum_i W_{oi} h_i$ has the mean square
# $a^2 \, \overline{h^2}$. It is negative as often as positive, and ReLU drops the negative half. So from layer to layer
#
# $$\overline{h_{\text{next}}^2} \approx \frac{a^2}{2} \, \overline{h^2}, \qquad
# \text{and the root mean square (rms) changes by } a / \sqrt{2}.$$
#
# The gradient's way back is the same sum, with $W$ transposed, and the same half is dropped; so in layers of equal
# width it changes by the same factor. With $a = \sqrt 2$ both stay as they are: the initialization of K. He and others,
# *Delving Deep into Rectifiers* ([arXiv 1502.01852](https://arxiv.org/abs/1502.01852), section 2.2). Linear's own
# weights, PyTorch's default, are uniform in $\pm 1/\sqrt{n}$, which has the variance $1/(3n)$. That is a gain of
# $1/\sqrt{3}$, so the gradient should shrink to 0.41 of itself in each layer. We measure on 20 hidden layers of 64
# units, in 3 networks of each kind. With so few units, chance takes the factors a few percent off; try 512.

# %%
DEPTH, WIDTH = 20, 64
GAINS = {"gain 1": 1.0, "gain √2 (He)": np.sqrt(2), "gain 2": 2.0, "Linear's own": None}
predicted = {name: (gain or 1 / np.sqrt(3)) / np.sqrt(2) for name, gain in GAINS.items()}


def deep(gain: float | None, rng: np.random.Generator) -> Sequential:
    """20 hidden layers, with weights of standard deviation gain / sqrt(n) and biases 0, or with Linear's own."""
    network = mlp([2, *[WIDTH] * DEPTH, 2], batch_norm=False, activation=ReLU, rng=rng)
    for layer in network:
        if gain is not None and isinstance(layer, Linear):
            layer.weight.data = rng.normal(0, gain * layer.in_features**-0.5, layer.weight.shape)
            layer.bias.data = np.zeros(layer.out_features)
    return network


def root_mean_square(a: np.ndarray) -> float:
    return np.sqrt(np.mean(np.square(a, dtype=np.float64)))


def signals(network: Sequential) -> np.ndarray:
    """Three rms values for each hidden layer: of its outputs, of their spread over the points, of the gradient there.

    The walk back starts at the last hidden layer, with random numbers.
    """
    h, outputs = Tensor(x_train), []
    for layer in network:
        h = layer(h)
        if isinstance(layer, ReLU):
            h.retain_grad()
            outputs.append(h)
    outputs[-1].backward(rng.normal(size=(len(x_train), WIDTH)))
    arrays = [(h.data, h.data - h.data.mean(axis=0, dtype=np.float64), h.grad) for h in outputs]
    return np.array([[root_mean_square(a) for a in three] for three in arrays]).T


def factor_per_layer(values: np.ndarray) -> float:
    """The slope of the logarithms, as a factor."""
    return np.exp(np.polyfit(np.arange(len(values)), np.log(values), 1)[0])


measured = {  # geometric means over the networks: (output, difference between points, gradient) x layer
    name: np.exp(np.mean([np.log(signals(deep(gain, rng))) for _ in range(3)], axis=0)) for name, gain in GAINS.items()
}
forward = {name: factor_per_layer(outputs) for name, (outputs, _, _) in measured.items()}
backward = {name: 1 / factor_per_layer(gradients) for name, (_, _, gradients) in measured.items()}

# %% [markdown]
# ## And does it learn?
# One network of each kind, 400 steps. We stop when a loss is no longer a finite number.

# %%
losses, deep_accuracy = {}, {}
for name, gain in GAINS.items():
    network = deep(gain, np.random.default_rng(args.seed))
    losses[name] = []
    with np.errstate(over="ignore", invalid="ignore"):  # exploding is what we came to see
        for _, loss in train(network, 0.003, 400, momentum=0.9):
            losses[name].append(loss)
            if not np.isfinite(loss):
                break
        deep_accuracy[name] = accuracy(network, x_test, y_test)

smooth_loss = {  # means of 10 steps; of a network that diverged at once, the losses as they are
    name: np.convolve(values, np.ones(10) / 10, "valid") if len(values) > 10 else np.array(values)
    for name, values in losses.items()
}
rows = []
for name in GAINS:
    outcome = f"{deep_accuracy[name]:.1%}" if np.isfinite(losses[name][-1]) else f"diverged in step {len(losses[name])}"
    factors = (predicted[name], forward[name], backward[name])
    numbers = (*(f"{factor:.3f}" for factor in factors), f"{measured[name][1, -1]:.0e}")
    rows.append([name, *numbers, f"{np.nanmin(smooth_loss[name]):.3f}", outcome])
table(["20 layers", "predicted", "outputs", "gradients", "spread at the end", "lowest loss", "test accuracy"], rows)

# %% [markdown]
# Read the last line of the table with care. The outputs of Linear's own network stop shrinking after a few layers,
# because its biases keep them up. But their spread, what *differs between points*, shrinks on, by the same 0.41 per
# layer as the gradient, until the last layer has nothing left to tell the spirals apart by. Gain 1 is slow rather than
# stuck: with 3,000 steps it learns, too.
#
# All this hangs on weights that were drawn once, and training changes them at once. Batch normalization sets the scale
# anew in every step, from what it measures: lessons 5 and 9.
#
# ## The figures
# The first: colours are the probability, the white band is where the network is undecided. It is made of straight
# pieces, since every ReLU folds the plane along a line.

# %%
plt.rcParams.update({"font.size": 12})
COLOURS = LinearSegmentedColormap.from_list("spirals", [WITHOUT, "white", WITH])


def draw_map(ax, step: int):
    image = ax.imshow(maps[step], extent=(-4, 4, -4, 4), origin="lower", cmap=COLOURS, vmin=0, vmax=1, alpha=0.8)
    for label, colour, marker in ((0, WITHOUT, "o"), (1, WITH, "^")):
        ax.scatter(*x_test[y_test == label].T, s=18, color=colour, marker=marker, edgecolor="black", lw=0.4)
    ax.set(xlim=(-4, 4), ylim=(-4, 4), xticks=[-3, 0, 3], yticks=[-3, 0, 3], xlabel="$x_1$")
    ax.set_title(f"step {step}: {curve[step]:.0%} right")
    return image


def draw_accuracy(ax) -> None:
    ax.plot(curve.keys(), 100 * np.array(list(curve.values())), color=WITH, lw=3, label="two hidden layers of 64 ReLUs")
    ax.axhline(100 * line_accuracy, color=ORANGE, lw=2, ls="--", label="one Linear layer: a straight line")
    ax.set(xlabel="training steps", ylabel="test accuracy (%)", xlim=(0, MOMENTS[-1]), ylim=(40, 103))
    ax.legend(frameon=False, loc="lower right")
    ax.set_title("e  Bent lines do what a straight one can't", loc="left")


def draw_dead(ax) -> None:
    for layer, (offset, colour, hatch) in enumerate([(-0.2, GREEN, None), (0.2, PINK, "//")]):
        counts = [units[layer] for units in dead.values()]
        bars = ax.bar(np.arange(len(dead)) + offset, counts, 0.38, color=colour, hatch=hatch, edgecolor="white",
                      label=f"hidden layer {layer + 1}")  # fmt: skip
        ax.bar_label(bars, padding=2)
    labels = ["at the start\n", *(f"rate {rate:g}\n{right:.0%} right" for rate, right in rate_accuracy.items())]
    ax.set_xticks(range(len(dead)), labels)
    ax.set(ylabel="dead units of 64", ylim=(0, 76))
    ax.legend(frameon=False, loc="upper left")
    ax.set_title("f  Too large a learning rate kills units (300 steps)", loc="left")


figure = plt.figure(figsize=(15, 9), layout="constrained")
figure.suptitle("A ReLU network learns two spirals", fontsize=18)
top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1])
axes = top.subplots(1, 4, sharey=True)
for ax, letter, step in zip(axes, "abcd", MOMENTS, strict=True):
    image = draw_map(ax, step)
    ax.set_title(f"{letter}  {ax.get_title()}", loc="left")
    ax.set_title("")
axes[0].set_ylabel("$x_2$")
top.colorbar(image, ax=axes, label="probability of ▲", shrink=0.85)
left, right = bottom.subplots(1, 2)
draw_accuracy(left)
draw_dead(right)
path = save(figure, args, "03_linear_relu_mlp")

# %% [markdown]
# The second: straight lines on a logarithmic axis are a constant factor per layer. Dots are measured, thin black lines
# predicted. The gradient starts at the last layer and travels to the left.

# %%
STYLE = dict(zip(GAINS, [(ORANGE, "s", "--"), (WITH, "o", "-"), (PINK, "^", "-."), (GREEN, "D", ":")], strict=True))


def draw_signal(ax, which: int, title: str) -> None:
    depth = np.arange(1, DEPTH + 1)
    for name, (colour, marker, line) in STYLE.items():
        values = measured[name][which]
        ax.semilogy(depth, values, marker, color=colour, ms=6, ls=line, lw=1, label=name)
        prediction = predicted[name] ** (depth - 1) * values[0]
        if which == 2:
            prediction = predicted[name] ** (DEPTH - depth) * values[-1]
        if which == 2 or name != "Linear's own":
            ax.semilogy(depth, prediction, color=BLACK, lw=1)
    ax.set(xlabel="hidden layer", xlim=(0, DEPTH + 1), ylim=(1e-9, 1e5), xticks=[1, 5, 10, 15, 20])
    ax.set_title(title, loc="left")


figure, axes = plt.subplots(1, 3, figsize=(16, 6), layout="constrained")
figure.suptitle("Twenty layers: the scale of the first weights decides what gets through", fontsize=18)
draw_signal(axes[0], 0, "a  Outputs, forward")
axes[0].set_ylabel("rms of the layer's outputs")
draw_signal(axes[1], 2, "b  Gradients, backward")
axes[1].plot([], [], color=BLACK, lw=1, label="predicted")
axes[1].legend(frameon=False, loc="lower right")
axes[1].set_ylabel("rms of the gradient at the layer's outputs")
spread = measured["Linear's own"][1]
axes[0].semilogy(np.arange(1, DEPTH + 1), spread, "x", color=GREEN, label="Linear's own: spread over points")
axes[0].legend(frameon=False, loc="lower left")
for name, (colour, _, line) in STYLE.items():
    last = f"{deep_accuracy[name]:.0%} right" if np.isfinite(losses[name][-1]) else "diverged"
    axes[2].semilogy(smooth_loss[name], line, color=colour, lw=3, label=f"{name}: {last}")
axes[2].set(xlabel="training steps", ylabel="loss (mean of 10 steps)", xlim=(-8, 400))
axes[2].legend(frameon=False, loc="upper right", handlelength=3)
axes[2].set_title("c  Only one of them learns well", loc="left")
second_path = save(figure, args, "03_linear_relu_mlp_2")
print(f"The figures: {path}, {second_path}")

# %% [markdown]
# ## The claims

# %%
worst_forward = max(abs(forward[name] / predicted[name] - 1) for name in GAINS if name != "Linear's own")
worst_backward = max(abs(backward[name] / predicted[name] - 1) for name in GAINS)
learned = [name for name, values in smooth_loss.items() if np.nanmin(values) < 0.3]
check(
    {
        "hand and tape agree to 12 digits": max(layer_difference, network_difference) < 1e-12,
        "the network gets over 95 % of the test points right": curve[MOMENTS[-1]] > 0.95,
        "a straight line gets less than 75 %": line_accuracy < 0.75,
        "what leads into dead units gets a gradient of exactly 0": len(into_dead) > 0 and not np.any(into_dead),
        "learning rate 3 leaves over 3 times as many dead units as 0.3": sum(dead[3.0]) > 3 * sum(dead[0.3]),
        "and over 5 points less accuracy": rate_accuracy[3.0] < rate_accuracy[0.3] - 0.05,
        "outputs change by gain / sqrt(2) per layer, within 10 %": worst_forward < 0.1,
        "gradients, too, also with Linear's own weights": worst_backward < 0.1,
        "20 layers of Linear's own weights shrink the spread over a million-fold": spread[0] / spread[-1] > 1e6,
        "with gain 2 training diverges": not np.isfinite(losses["gain 2"][-1]),
        "only gain sqrt(2) brings the loss, as the mean of 10 steps, below 0.3": learned == ["gain √2 (He)"],
    }
)
