# %% [markdown]
# # Lesson 9: learning rate and initialization
#
# You will learn
# - for which learning rates and initial weights a network trains at all, without and with batch normalization (BN);
# - why: what BN does to the signals and the gradients of a deep network, and to the step that a weight takes;
# - how BN compares with dropout as a guard against overfitting.
#
# The abstract of S. Ioffe and C. Szegedy, *Batch Normalization* ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167))
# promises that BN "allows us to use much higher learning rates and be less careful about initialization", and that
# it sometimes makes dropout unnecessary. You will measure all three.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, WITH, WITHOUT, accuracy, batches, check, heat_map, mlp, parse, parser, save, table, train_step,
)  # fmt: skip

import itertools

import matplotlib.pyplot as plt
import numpy as np

from layers import Dropout, ReLU, Sequential, batch_norm, cross_entropy
from minigrad import Tensor, no_grad
from minigrad.optim import SGD
from tutorials.data import load_digits

options = parser("Train over a grid of learning rates and initial weights, without and with batch normalization.")
options.add_argument("--steps", type=int, default=150, help="training steps in each cell of the grid")
args = parse(options, "09_learning_rate_and_initialization")
data = load_digits()
plt.rcParams["font.size"] = 12

# %% [markdown]
# ## The size of the weights, and the size of the step
# Suppose that every weight of a layer is multiplied by $a$. The mean and the standard deviation of $Wu$ grow by the
# same $a$, and BN divides it out again (the paper's section 3.3):
#
# $$\mathrm{BN}(Wu) = \mathrm{BN}((aW)u), \qquad
# \frac{\partial\,\mathrm{BN}((aW)u)}{\partial (aW)} = \frac{1}{a} \cdot \frac{\partial\,\mathrm{BN}(Wu)}{\partial W}$$
#
# So the output doesn't notice the size of the weights, and larger weights get *smaller* gradients. Measured in units
# of the weights themselves, a step of gradient descent shrinks by $a^2$. Weights that are too small get big steps,
# which make them larger; large ones get small steps. That is a thermostat. The next cell sees both equations run.

# %%
rng = np.random.default_rng(args.seed)
u, weights, upstream = rng.normal(size=(60, 20)), rng.normal(size=(20, 5)), rng.normal(size=(60, 5))
outputs, gradients = [], []
for a in (1, 100):
    W = Tensor(a * weights, requires_grad=True)
    y = batch_norm(u @ W, None, None, training=True)
    y.backward(upstream)
    outputs.append(y.numpy())
    gradients.append(W.grad)
output_difference = np.abs(outputs[1] - outputs[0]).max()
gradient_ratio = np.sqrt((gradients[0] ** 2).sum() / (gradients[1] ** 2).sum())
print(f"Weights 100 times as large: the output changes by {output_difference:.1e}, "
      f"the gradient is {gradient_ratio:.2f} times as small.")  # fmt: skip

# %% [markdown]
# ## Ten layers, before any training
# Now stack layers. Without BN, each multiplies the signal by a number that depends on the weights, and ten layers
# multiply it ten times; the gradient, on its way down, meets the same factors. For ReLU layers with 100 inputs, a
# standard deviation of $\sqrt{2/100} = 0.14$ is the one that keeps both about level (K. He and others, *Delving Deep
# into Rectifiers*, [arXiv 1502.01852](https://arxiv.org/abs/1502.01852), section 2.2). Take it, and about a third
# and three times of it.

# %%
DEPTH, STDS = 10, (0.05, 0.14, 0.4)


def rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(array**2)))


def signals(with_bn: bool, std: float) -> np.ndarray:
    """Root mean square of each hidden layer's output (row 0) and of the loss's gradient with respect to it (row 1)."""
    network = mlp([64] + [100] * DEPTH + [10], batch_norm=with_bn, activation=ReLU, init_std=std, rng=args.seed)
    h, hidden = Tensor(data.x_train[:500]), []
    for layer in network:
        h = layer(h)
        if isinstance(layer, ReLU):
            h.retain_grad()
            hidden.append(h)
    cross_entropy(h, data.y_train[:500]).backward()
    return np.array([[rms(h.data) for h in hidden], [rms(h.grad) for h in hidden]])


profile = {(with_bn, std): signals(with_bn, std) for with_bn in (False, True) for std in STDS}
outputs_change = {key: float(out[-1] / out[0]) for key, (out, _) in profile.items()}
gradients_change = {key: float(grad[0] / grad[-1]) for key, (_, grad) in profile.items()}
rows = [
    [f"{'with' if with_bn else 'without'} BN, std {std}", f"{outputs_change[with_bn, std]:.2g}", f"{gradient:.2g}"]
    for (with_bn, std), gradient in gradients_change.items()
]
print()
table(["ten layers change", "the output by a factor of", "the gradient by"], rows)

# %% [markdown]
# Without BN, being wrong by a factor of 3 in each layer means being wrong by thousands after ten. With BN the three
# cases are alike. Look at BN's gradient, though: it isn't level. It *grows* on its way down, by about a fifth a layer.
# This is a known price of BN in deep plain networks: G. Yang and others, *A Mean Field Theory of Batch Normalization*
# ([arXiv 1902.08129](https://arxiv.org/abs/1902.08129)), show that it grows exponentially with depth whatever the
# initial weights. Ten layers can afford it, a hundred can't: a fifth more a hundred times over is a factor of 80
# million. Shortcut connections around the layers help there.

# %% [markdown]
# ## The grid
# Three hidden layers of 100 ReLUs, plain SGD, 150 steps of 60 images. Learning rates from 0.001 to 10 and initial
# standard deviations from 0.001 to 10, in half decades, that is, factors of about 3: 81 networks without BN and 81
# with it, each pair from the same weights and on the same batches. What counts is the test accuracy at the end.
#
# Many of these networks blow up. NumPy would warn of each overflow; here overflow is what we are looking for, so the
# warnings are off, and a network whose loss is no longer finite stops there.

# %%
RATES = SCALES = 10.0 ** np.arange(-3, 1.1, 0.5)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def train(with_bn: bool, lr: float, std: float) -> tuple[float, float]:
    """Test accuracy after training, and the standard deviation of the second layer's weights then."""
    network = mlp([64, 100, 100, 100, 10], batch_norm=with_bn, activation=ReLU, init_std=std, rng=args.seed)
    optimizer = SGD(network.parameters(), lr)
    for x, y in batches(data.x_train, data.y_train, 60, args.steps, args.seed):
        if not np.isfinite(train_step(network, optimizer, x, y)):
            break
    second = network[3 if with_bn else 2]
    return accuracy(network, data.x_test, data.y_test), float(second.weight.data.std())


grid = {
    name: np.array([[train(name == "with BN", lr, std) for std in SCALES] for lr in RATES])
    for name in ("without BN", "with BN")
}
trained = {name: values[..., 0] >= 0.9 for name, values in grid.items()}  # (learning rate, scale)
cells = {name: int(t.sum()) for name, t in trained.items()}
decades_of_rates = {name: t.sum(axis=0).max() / 2 for name, t in trained.items()}  # in the most tolerant column
decades_of_scales = {name: t.sum(axis=1).max() / 2 for name, t in trained.items()}  # in the most tolerant row

# %% [markdown]
# ## The figure
# A frame marks the cells that reach 90 %. Look at three things.
#
# - *Width.* BN's framed region is several times as large, in both directions.
# - *Shape.* The lower edge rises to the right: with BN, larger weights want a larger learning rate, as the equation
#   says; about ten times for ten times, not the hundred times of $a^2$. The last layer softens it. It has no BN behind
#   it, so it hands down larger gradients when its weights are larger, and it learns something by itself even where the
#   layers below hardly move.
# - *Upper edge.* At a learning rate of about 10 it ends, BN or not. That, too, is the last layer, in which nothing
#   divides the size of the weights out again. (Try to give it an optimizer of its own, with learning rate 0.3: in most
#   columns, the layers with BN then train at 10, and even at 30.) BN doesn't abolish the learning rate.


# %%
def short(value: float) -> str:
    return f"{float(f'{value:.1g}'):g}"


def draw_grid():
    figure, axes = plt.subplots(1, 2, figsize=(14, 7.5), layout="constrained", sharey=True)
    figure.suptitle(
        f"Where a network trains: {cells['without BN']} of {RATES.size * SCALES.size} settings reach 90 % "
        f"without batch normalization, {cells['with BN']} with it",
        fontsize=17,
    )
    for ax, (name, values) in zip(axes, grid.items(), strict=True):
        percent = np.floor(100 * values[::-1, :, 0])  # the highest learning rate on top
        image = heat_map(ax, percent, [*map(short, RATES[::-1])], [*map(short, SCALES)], "{:.0f}", vmin=0, vmax=100)
        for i, j in np.argwhere(trained[name][::-1]):
            ax.add_patch(plt.Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, ec=BLACK, lw=3))
        ax.set_title(f"{name}: framed, {cells[name]} settings with 90 % or more", fontsize=14)
        ax.set_xlabel("standard deviation of the initial weights", fontsize=13)
        ax.tick_params(labelsize=12)
    axes[0].set_ylabel("learning rate", fontsize=13)
    figure.colorbar(image, ax=axes, shrink=0.8, label=f"test accuracy after {args.steps} steps (%)")
    return figure


path = save(draw_grid(), args, "09_learning_rate_and_initialization")

# %% [markdown]
# ## The thermostat at work
# The row of learning rate 1, with BN: how large the weights of the second layer were, and what they had become. They
# began four decades apart. The small ones grew until their steps fitted them; the large ones hardly moved, because
# their gradients are small.

# %%
end = grid["with BN"][np.argmin(np.abs(RATES - 1)), :, 1]
print()
table(
    ["with BN, learning rate 1", *map(short, SCALES)], [["std of the weights at the end", *map("{:.2g}".format, end)]]
)
spread_of_small = float(end[:5].max() / end[:5].min())  # those that began from 0.001 to 0.1

# %% [markdown]
# ## BN in place of dropout
# Dropout (N. Srivastava and others, JMLR 15, 2014) zeroes random units, so that no unit can rely on another. With BN,
# what the network says of one image depends on the other images of its mini-batch, which are a random draw; so BN
# adds noise, too, and the paper (sections 3.4 and 4.2.1) could remove dropout from its network, which then trained
# faster and overfitted no more.
#
# To give overfitting a chance, we train on 300 images only: without either, with dropout after each hidden layer
# (half of the units, the usual choice), and with BN. We look at the accuracy, and at the cross-entropy of the test
# images, which rises when a network becomes too sure of its mistakes. Two random choices of 300 images, averaged.

# %%
MOMENTS = np.unique(np.geomspace(10, 1000, 25).astype(int))


@no_grad()
def test_loss(network: Sequential) -> float:
    loss = cross_entropy(network.eval()(data.x_test), data.y_test).item()
    network.train()
    return loss


def learn_from_few(with_bn: bool, dropout: float, seed: int) -> list[tuple[float, float]]:
    """Test accuracy and test loss at each of MOMENTS."""
    rng = np.random.default_rng(seed)
    few = rng.permutation(len(data.x_train))[:300]
    network = mlp([64, 100, 100, 100, 10], batch_norm=with_bn, activation=ReLU, init_std=0.14, rng=rng)
    if dropout:
        pairs = ([layer, Dropout(dropout, rng)] if isinstance(layer, ReLU) else [layer] for layer in network)
        network = Sequential(*itertools.chain(*pairs))
    optimizer, measured = SGD(network.parameters(), lr=0.1), []
    for step, (x, y) in enumerate(batches(data.x_train[few], data.y_train[few], 60, MOMENTS[-1], seed), start=1):
        train_step(network, optimizer, x, y)
        if step in MOMENTS:
            measured.append((accuracy(network, data.x_test, data.y_test), test_loss(network)))
    return measured


KINDS = {"neither": (False, 0), "dropout": (False, 0.5), "BN": (True, 0)}
learning = {  # (moment, accuracy or loss)
    name: np.mean([learn_from_few(*kind, seed=2 * args.seed + repeat) for repeat in range(2)], axis=0)
    for name, kind in KINDS.items()
}
steps_to_90 = {name: MOMENTS[np.argmax(values[:, 0] >= 0.9)] for name, values in learning.items()}
final_accuracy, final_loss = ({name: values[-1, i] for name, values in learning.items()} for i in (0, 1))


# %%
def draw_signals(ax, row: int, ylabel: str, title: str) -> None:
    layers = np.arange(1, DEPTH + 1)
    markers = dict(zip(STDS, "vos", strict=True))
    for (with_bn, std), values in profile.items():
        relative = values[row] / values[row][0 if row == 0 else -1]
        label = f"{'with' if with_bn else 'without'} BN, std {std}"
        style = {"ls": "-" if with_bn else "--", "color": WITH if with_bn else WITHOUT, "marker": markers[std]}
        ax.semilogy(layers, relative, lw=2, label=label, **style)
    ax.set(xlabel="hidden layer", ylabel=ylabel, xticks=layers)
    ax.set_title(title, loc="left")


def draw_learning(ax, column: int, factor: float, ylabel: str, title: str) -> None:
    styles = {"neither": ("-.", WITHOUT), "dropout": ("--", GREEN), "BN": ("-", WITH)}
    for name, (style, colour) in styles.items():
        ax.semilogx(MOMENTS, factor * learning[name][:, column], style, color=colour, lw=2.5, label=name)
    ax.set(xlabel="training steps", ylabel=ylabel)
    ax.set_xticks([10, 30, 100, 300, 1000], ["10", "30", "100", "300", "1,000"])
    ax.minorticks_off()
    ax.set_title(title, loc="left")


def draw_reasons():
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(14, 10), layout="constrained")
    draw_signals(a, 0, "rms output, relative to layer 1", "a  Signals going up ten untrained layers")
    draw_signals(b, 1, "rms gradient, relative to layer 10", "b  Gradients coming down: BN's grow a little")
    b.legend(loc="upper right", fontsize=11)
    b.set_ylim(top=1e6)
    draw_learning(c, 0, 100, "test accuracy (%)", "c  BN in place of dropout: 300 training images")
    draw_learning(d, 1, 1, "test cross-entropy", "d  The same networks: are they too sure of their mistakes?")
    d.set_yscale("log")
    d.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    d.minorticks_off()
    c.legend()
    return figure


print(f"The second figure: {save(draw_reasons(), args, '09_learning_rate_and_initialization_2')}")

# %% [markdown]
# ## What was measured
# Each cell of the grid counts as half a decade.
#
# On the 300 images, the three final accuracies lie within about two points, and their order changes with the seed: of
# 355 test images, one is 0.3 points, so this experiment can't tell them apart. It does tell that BN arrives there in
# about a tenth of dropout's steps, and that it tempers the confidence in wrong answers. Dropout has a rate that we
# didn't tune, and half is much for layers this small; try `(False, 0.2)`.

# %%
print()
table(
    ["", *grid],
    [
        ["settings that reach 90 %", *cells.values()],
        ["decades of learning rates, at the best scale", *decades_of_rates.values()],
        ["decades of scales, at the best learning rate", *decades_of_scales.values()],
    ],
)
print()
table(
    ["300 images", *KINDS],
    [
        ["steps to 90 %", *steps_to_90.values()],
        ["final test accuracy", *(f"{value:.1%}" for value in final_accuracy.values())],
        ["final test cross-entropy", *(f"{value:.3f}" for value in final_loss.values())],
    ],
)
print(f"\nThe figures: {path} and its second part, ..._2.png")

# %% [markdown]
# ## The claims
# The grid is small and the task easy; the factors are those of this network after this many steps. With more steps
# both regions grow. What remains is the order of the two, and the lean of BN's region.

# %%
decades = {key: abs(np.log10(change)) for key, change in outputs_change.items()}
wrong_scales = min(decades[False, 0.05], decades[False, 0.4])
more_rates, more_scales = (d["with BN"] - d["without BN"] for d in (decades_of_rates, decades_of_scales))
claims = {
    "Weights 100 times as large leave BN's output the same to 1e-4": output_difference < 1e-4,
    "... and make the gradient 100 times as small, to 1 %": abs(gradient_ratio / 100 - 1) < 0.01,
    "Without BN, ten layers off He's scale change the signal by a factor over 300": wrong_scales > np.log10(300),
    "With BN, by less than 1.3 at all three scales": max(decades[True, std] for std in STDS) < np.log10(1.3),
    "BN's gradient grows 3- to 12-fold over ten layers": all(3 < gradients_change[True, std] < 12 for std in STDS),
    "BN trains in at least 3 times as many settings": cells["with BN"] >= 3 * cells["without BN"],
    "... over at least 1 decade of learning rates more": more_rates >= 1,
    "... over at least 1 decade of scales more": more_scales >= 1,
    "With BN, weights that began a factor of 100 apart end within a factor of 5": spread_of_small < 5,
    "BN reaches 90 % in at most a third of dropout's steps": steps_to_90["BN"] <= steps_to_90["dropout"] / 3,
    "BN ends no more than 2 points below dropout": final_accuracy["BN"] > final_accuracy["dropout"] - 0.02,
    "BN's test cross-entropy ends below that of the network with neither": final_loss["BN"] < final_loss["neither"],
}
check(claims, strict=args.steps == options.get_default("steps"))
