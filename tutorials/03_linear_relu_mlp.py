# %% [markdown]
# # Lesson 3: Linear, ReLU, and a network of them
#
# You will learn
# - how the backward of Linear and of ReLU follow from their definitions, and how a whole network's follows from theirs;
# - what such a network does with two spirals, how a unit dies, and when that matters;
# - by which factor the signals of a deep network grow or shrink in each layer.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, predict, save, table,
    train_step,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from layers import Linear, ReLU, Sequential, cross_entropy, linear, relu
from minigrad import Tensor
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
# An input takes part in all outputs of its own row; a weight and a bias in one output, but of every row.

# %%
as_matrices = predict(
    "X has the shape (7, 3), W (5, 3) and G (7, 5). Which product of matrices is the gradient of W?",
    ["X.T @ G", "G @ W", "G.T @ X"], right=2,
    because="It must have the shape of W and a sum over the rows n: G.T is (5, 7) and X is (7, 3).",
)  # fmt: skip

# %% [markdown]
# ReLU, $y = \max(x, 0)$, has slope 1 where $x > 0$ and 0 elsewhere: the gradient passes where the value passed.


# %%
def linear_backward(g, x, weight):
    return g @ weight, g.T @ x, g.sum(axis=0)


def relu_backward(g, y):
    return g * (y > 0)


x, weight, bias = (Tensor(rng.normal(size=shape), requires_grad=True) for shape in ((7, 3), (5, 3), (5,)))
g = rng.normal(size=(7, 5))  # what comes from above; any numbers do
y = relu(linear(x, weight, bias))
y.backward(g)
g = relu_backward(g, y.data)
by_hand = linear_backward(g, x.data, weight.data)
layer_difference = max(np.abs(t.grad - d).max() for t, d in zip((x, weight, bias), by_hand, strict=True))
products = (x.data.T @ g, g @ weight.data, g.T @ x.data)
as_matrices.confirm([d.shape == weight.shape and np.allclose(d, weight.grad) for d in products])
print(f"one layer: hand and tape differ by {layer_difference:.0e} at most")

# %% [markdown]
# ## A network by hand
# Two spirals, 200 points each for training and as many for the test, and a multilayer perceptron (MLP) with two hidden
# layers of 64 ReLUs. Forward, keep what each layer was given; backward, go through the layers from the last to the
# first, and hand the gradient on. It starts at the cross-entropy, whose gradient for the logits is
# $(\mathrm{softmax} - \text{one-hot}) / N$.


# %%
def relu_network(seed: int) -> Sequential:
    return mlp([2, 64, 64, 2], batch_norm=False, activation=ReLU, rng=seed)


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


SEEDS = range(args.seed, args.seed + 5)  # each with spirals, first weights and batches of its own
train_set = {seed: two_spirals(200, rng=1000 + seed) for seed in SEEDS}
test_set = {seed: two_spirals(200, rng=2000 + seed) for seed in SEEDS}
(x_train, y_train), (x_test, y_test) = train_set[args.seed], test_set[args.seed]
network = relu_network(args.seed).astype(np.float64)
loss = cross_entropy(network(x_train), y_train)
tape = loss.tape()
loss.backward()
by_hand = gradients_by_hand(network, x_train, y_train)
off = [np.abs(p.grad - d).max() / np.abs(d).max() for p, d in zip(network.parameters(), by_hand, strict=True)]
print(tape)
print(f"the network's {len(by_hand)} parameters: hand and tape differ by {max(off):.0e} at most, relatively")

# %% [markdown]
# The tape does what your loop does, and saves one product: nobody needs the gradient of the data, so it isn't computed.
#
# ## Learning the spirals
# Now in float32, as layers do by default. We train five networks for 500 steps, and for comparison one Linear layer
# alone, which can only draw a straight line. Each test set has 400 points.


# %%
def train(network: Sequential, seed: int, lr: float, steps: int, momentum: float = 0.0) -> Sequential:
    """The same network, after some steps on this seed's spirals, with 100 points in each."""
    optimizer = SGD(network.parameters(), lr, momentum)
    for batch in batches(*train_set[seed], 100, steps, seed):
        train_step(network, optimizer, *batch)
    return network


def mean_and_range(values) -> str:
    return f"{np.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})"


bent = [accuracy(train(relu_network(s), s, 0.1, 500, 0.9), *test_set[s]) for s in SEEDS]
lines = [accuracy(train(Sequential(Linear(2, 2, rng=s)), s, 0.1, 500, 0.9), *test_set[s]) for s in SEEDS]
print(f"right, mean and range of five: straight line {mean_and_range(lines)}; MLP {mean_and_range(bent)}")

# %% [markdown]
# ## Dead units
# A ReLU whose input is negative for every point gives 0 for every point; then `g * (y > 0)` is 0 too, and the weights
# into that unit get no gradient. In the first layer, whose inputs never change, that is for ever: the unit is dead. (In
# a later layer it may come back, if the layers below move its inputs.) Steps that are too long do it: the weights jump,
# and the unit lands on its flat side. We train with plain SGD, 300 steps, and count.

# %%
deaths = predict(
    "Of the 128 hidden units fewer than 15 are dead at a learning rate of 0.3. And at 2, after 300 steps?",
    ["about as many", "about 30", "about half of them", "all"], right=2,
    because="Each long step may move a few more units to their flat side, and those of the first layer never return.",
)  # fmt: skip
blame = predict(
    "At 1, about a fifth of the units die, and some accuracy is lost. Go on with small steps, the dead units left as "
    "they are. Where does the accuracy get?",
    ["it stays there", "about half of what was lost comes back", "99 % or more"], right=2,
    because="The long steps held it down, not the dead units: those that are left are enough for two spirals.",
)  # fmt: skip


# %%
def dead_units(network: Sequential, x: np.ndarray) -> list[np.ndarray]:
    """For each of the two hidden layers, which units are 0 for all points."""
    return [(network[:end](x).data == 0).all(axis=0) for end in (2, 4)]


def trial(rate: float, seed: int):
    """Dead units; largest gradient into them; accuracy, then after small steps, then with the dead redrawn first."""
    network, fresh, (x, y) = train(relu_network(seed), seed, rate, 300), relu_network(seed + 100), train_set[seed]
    dead, results = dead_units(network, x), [accuracy(network, *test_set[seed])]
    network.zero_grad()
    cross_entropy(network(x), y).backward()
    into = [np.abs(network[i].weight.grad[units]).max(initial=0) for i, units in zip((0, 2), dead, strict=True)]
    for redrawn in ((), zip((0, 2), dead, strict=True)):
        again = relu_network(seed)
        again.load_state_dict(network.state_dict())
        for i, units in redrawn:
            again[i].weight.data[units] = fresh[i].weight.data[units]
            again[i].bias.data[units] = fresh[i].bias.data[units]
        results.append(accuracy(train(again, seed, 0.1, 300, 0.9), *test_set[seed]))
    return sum(units.sum() for units in dead), max(into), results


RATES, AFTER = (0.3, 1.0, 2.0), ("after 300 steps", "then 300 small steps", "the same, the dead redrawn first")
trials = {rate: [trial(rate, seed) for seed in SEEDS] for rate in RATES}
dead = {rate: [count for count, _, _ in rows] for rate, rows in trials.items()}
right = {rate: np.array([results for _, _, results in rows]) for rate, rows in trials.items()}  # (network, moment)
many, small = np.mean(dead[2.0]), right[1.0][:, 1].mean()
deaths.confirm([many < 20, 20 <= many < 40, 40 <= many < 100, many >= 100])
blame.confirm([small < 0.95, 0.95 <= small < 0.985, small >= 0.985])
table(
    ["rate", "dead of 128, mean", *AFTER],
    [[rate, f"{np.mean(dead[rate]):.0f}", *map(mean_and_range, right[rate].T)] for rate in RATES],
)

# %% [markdown]
# The last column is the control: the same network and the same small steps, but the dead units get fresh weights first.
# At a rate of 1 it changes nothing: the dead were not what held the accuracy down. At 2 it is what brings the networks
# back: too few units were left. (Where a whole layer is dead, no gradient gets through, and nothing can learn.)
#
# ## The scale of the first weights
# Take weights from a normal distribution of standard deviation $a / \sqrt{n}$, where $n$ is the number of inputs and
# $a$ is called the gain, and biases 0. Then each $z_o = \sum_i W_{oi} h_i$ has the mean square
# $a^2 \, \overline{h^2}$. It is negative as often as positive, and ReLU drops the negative half: from layer to layer
# the root mean square (rms) changes by $a / \sqrt{2}$. The gradient's way back is the same sum, with $W$ transposed,
# and the same half is dropped; so in layers of equal width it changes by the same factor. With $a = \sqrt 2$ both stay
# as they are: the initialization of K. He and others, *Delving Deep into Rectifiers*
# ([arXiv 1502.01852](https://arxiv.org/abs/1502.01852), section 2.2). Linear's own weights, PyTorch's default, are
# uniform in $\pm 1/\sqrt{n}$, which has the variance $1/(3n)$: a gain of $1/\sqrt{3}$.

# %%
vanishing = predict(
    "With Linear's own weights, how large is the gradient at the first of 20 layers, compared with the last?",
    ["about half", "about a hundredth", "less than a millionth"], right=2,
    because="The factor per layer is 1/sqrt(3) / sqrt(2) = 0.41, and 0.41 to the power of 19 is 4e-8.",
)  # fmt: skip

# %%
DEPTH = 20
GAINS = {"gain 1": 1.0, "gain √2 (He)": np.sqrt(2), "gain 2": 2.0, "Linear's own": None}
predicted = {name: (gain or 1 / np.sqrt(3)) / np.sqrt(2) for name, gain in GAINS.items()}


def signals(gain: float | None) -> np.ndarray:
    """The rms of each hidden layer's outputs, and of the gradient there, which starts with random numbers."""
    h, outputs = Tensor(x_train), []
    for layer in mlp([2, *[64] * DEPTH, 2], batch_norm=False, activation=ReLU, rng=rng)[:-1]:
        if gain is not None and isinstance(layer, Linear):
            layer.weight.data = rng.normal(0, gain * layer.in_features**-0.5, layer.weight.shape)
            layer.bias.data = np.zeros(layer.out_features)
        h = layer(h)
        if isinstance(layer, ReLU):
            h.retain_grad()
            outputs.append(h)
    h.backward(rng.normal(size=h.shape))
    return np.array([[np.sqrt(np.mean(np.square(a, dtype=float))) for a in (h.data, h.grad)] for h in outputs]).T


measured, factors = {}, {}
for name, gain in GAINS.items():  # of three networks, geometric means: (output, gradient) x layer
    logarithms = np.mean([np.log(signals(gain)) for _ in range(3)], axis=0)
    slope = np.polyfit(np.arange(DEPTH), logarithms.T, 1)[0]  # (output, gradient): the gradient travels backward
    measured[name], factors[name] = np.exp(logarithms), np.exp(slope * [1, -1])
shrunk = measured["Linear's own"][1, 0] / measured["Linear's own"][1, -1]
vanishing.confirm([shrunk > 0.1, 1e-6 <= shrunk <= 0.1, shrunk < 1e-6])
rows = [[name, *(f"{f:.3f}" for f in (predicted[name], *factors[name]))] for name in GAINS]
table(["factor per layer", "predicted", "outputs", "gradients"], rows)

# %% [markdown]
# (Linear's own weights come with biases, which add to the outputs: the prediction is for the gradient alone.) All this
# hangs on weights that were drawn once, and training changes them at once. Batch normalization sets the scale anew in
# every step, from what it measures: lesson 9 sees from which first weights a network learns.
#
# ## The figure
# The white band in a to d, where the network is undecided, is made of straight pieces: every ReLU folds the plane along
# a line. In f a straight line is a constant factor per layer; the gradient starts at the right.

# %%
COLOURS = LinearSegmentedColormap.from_list("spirals", [WITHOUT, "white", WITH])
STYLES = dict(zip(GAINS, [(ORANGE, "s"), (WITH, "o"), (PINK, "^"), (GREEN, "D")], strict=True))


def draw_map(ax, steps: int, letter: str):
    network, side = train(relu_network(args.seed), args.seed, 0.1, steps, 0.9), np.linspace(-4, 4, 161)
    logits = network(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)).data
    second = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1])).reshape(161, 161)  # softmax of two is a sigmoid
    image = ax.imshow(second, extent=(-4, 4, -4, 4), origin="lower", cmap=COLOURS, vmin=0, vmax=1, alpha=0.8)
    for label, colour, marker in ((0, WITHOUT, "o"), (1, WITH, "^")):
        ax.scatter(*x_test[y_test == label].T, s=18, color=colour, marker=marker, edgecolor="black", lw=0.4)
    ax.set(xlim=(-4, 4), ylim=(-4, 4), xticks=[-3, 0, 3], yticks=[-3, 0, 3], xlabel="$x_1$")
    ax.set_title(f"{letter}  step {steps}: {accuracy(network, x_test, y_test):.0%} right", loc="left")
    return image


def draw_trials(ax) -> None:
    for k, (moment, colour, marker) in enumerate(zip(AFTER, (WITHOUT, ORANGE, WITH), "os^", strict=True)):
        for i, rate in enumerate(RATES):
            ax.plot([i + 0.25 * (k - 1)] * 5, 100 * right[rate][:, k], marker, color=colour, ms=8, alpha=0.7,
                    label=moment if i == 0 else None)  # fmt: skip
    ax.set_xticks(range(3), [f"rate {rate:g}\n{np.mean(dead[rate]):.0f} of 128 units dead" for rate in RATES])
    ax.set(ylabel="test accuracy (%), five networks", ylim=(20, 103))
    ax.set_title("e  Long steps make units dead; that matters at a rate of 2 only", loc="left")
    ax.legend(frameon=False, loc="lower left")


def draw_gradients(ax) -> None:
    depth = np.arange(1, DEPTH + 1)
    for name, (colour, marker) in STYLES.items():
        prediction = predicted[name] ** (DEPTH - depth) * measured[name][1, -1]
        ax.semilogy(depth, prediction, color=BLACK, lw=1, label="predicted" if name == "gain 1" else None)
        ax.semilogy(depth, measured[name][1], marker, color=colour, ms=7, label=name)
    ax.set(xlabel="hidden layer", ylabel="rms of the gradient", xticks=[1, 5, 10, 15, 20], ylim=(1e-9, 1e5))
    ax.set_title("f  20 layers: the first weights decide what comes back", loc="left")
    ax.legend(frameon=False, loc="lower right")


plt.rcParams.update({"font.size": 13})
figure = plt.figure(figsize=(17, 10), layout="constrained")
figure.suptitle("ReLU networks: what they learn, how their units die, how their gradients vanish", fontsize=18)
top, bottom = figure.subfigures(2, 1)
axes = top.subplots(1, 4, sharey=True)
images = [draw_map(ax, steps, letter) for ax, letter, steps in zip(axes, "abcd", (0, 20, 100, 500), strict=True)]
top.colorbar(images[0], ax=axes, label="probability of ▲", shrink=0.85)
axes[0].set_ylabel("$x_2$")
left, right_hand = bottom.subplots(1, 2)
draw_trials(left)
draw_gradients(right_hand)
print(f"The figure: {save(figure, args, '03_linear_relu_mlp')}")

# %% [markdown]
# ## The claims

# %%
off_prediction = {name: np.abs(factors[name] / predicted[name] - 1) for name in GAINS}  # (outputs, gradients)
largest_into_dead = max(gradient for rows in trials.values() for _, gradient, _ in rows)
check(
    {
        "hand and tape agree to 12 digits": max(layer_difference, *off) < 1e-12,
        "all five networks get over 95 % of 400 test points right": min(bent) > 0.95,
        "a straight line gets less than 75 %": max(lines) < 0.75,
        "what leads into dead units gets a gradient of exactly 0": largest_into_dead == 0,
        "a rate of 2 leaves over 3 times as many dead units as 0.3": np.mean(dead[2.0]) > 3 * np.mean(dead[0.3]),
        "at 1, small steps bring all five above 97 %, the dead left as they are": right[1.0][:, 1].min() > 0.97,
        "at 2, they leave some below 95 %": right[2.0][:, 1].min() < 0.95,
        "and with the dead units redrawn, bring all above 97 %": right[2.0][:, 2].min() > 0.97,
        "outputs change by gain / sqrt(2) per layer, within 10 %": max(off_prediction[n][0] for n in list(GAINS)[:3])
        < 0.1,
        "gradients, too, also with Linear's own weights": max(both[1] for both in off_prediction.values()) < 0.1,
    }
)
