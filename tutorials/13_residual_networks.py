# %% [markdown]
# # Lesson 13: residual networks
#
# You will learn
# - why a deep network of residual blocks explodes with weights that are right for a plain one;
# - how batch normalization (BN) inside of the blocks prevents that, and what prevents it as well;
# - what is left of BN's advantage then.
#
# A residual network (K. He, X. Zhang, S. Ren, J. Sun, *Deep Residual Learning for Image Recognition*, 2015,
# [arXiv 1512.03385](https://arxiv.org/abs/1512.03385)) doesn't replace its state in a layer, but adds to it:
# $x \leftarrow x + f(x)$. The path along the plus signs lets signals and gradients through, however many blocks there
# are. Theirs had BN in every block. S. De and S. Smith, *Batch Normalization Biases Residual Blocks Towards the
# Identity Function in Deep Networks*, 2020 ([arXiv 2002.10444](https://arxiv.org/abs/2002.10444)), ask what for.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    GREEN, WITH, WITHOUT, batches, check, mlp, parse, parser, predict, save, table,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np

from layers import BatchNorm1d, Linear, Module, Parameter, Sequential, relu
from minigrad import Tensor, no_grad
from tutorials.data import load_digits
from tutorials.trials import hold_out, text, try_out

options = parser("Residual blocks with and without batch normalization, and with a scale in its place.")
options.add_argument("--seeds", type=int, default=1, help="how many seeds the means and ranges are over")
args = parse(options, "13_residual_networks")
data, SEEDS = load_digits(), range(args.seed, args.seed + args.seeds)
FIT, _ = hold_out(data)
plt.rcParams["font.size"] = 13

# %% [markdown]
# ## Three kinds of block
# - Without BN, $f(x) = \mathrm{Linear}(\mathrm{ReLU}(x))$, with weights of standard deviation $\sqrt{2/n}$, which keep
#   the size of what goes through a ReLU (lesson 3).
# - With BN, $f(x) = \mathrm{Linear}(\mathrm{ReLU}(\mathrm{BN}(x)))$, the same weights.
# - Scaled, $f(x) = \alpha\,\mathrm{Linear}(\mathrm{ReLU}(x))$, the same weights, one number $\alpha$ for each block.
#   It starts at $1/\sqrt{\text{blocks}}$, is learned, and normalizes nothing. This is the control.


# %%
class Block(Module):
    """x + alpha * Linear(ReLU(norm(x)))."""

    def __init__(self, linear: Linear, norm: Module, alpha: Tensor) -> None:
        self.linear, self.norm, self.alpha = linear, norm, alpha

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(relu(self.norm(x))) * self.alpha


KINDS = ("without BN", "with BN", "scaled")
DEPTHS = (2, 6, 20)


def network(kind: str, blocks: int, seed: int) -> Sequential:
    """A Linear, blocks of 50 units, a Linear; the weights of the three kinds are the same."""
    plain = mlp([64, *[50] * (blocks + 1), 10], batch_norm=False, init_std=np.sqrt(2 / 50), rng=seed)
    first, *middle, last = (part for part in plain if isinstance(part, Linear))
    one, start = Tensor(np.ones(1, np.float32)), np.full(1, blocks**-0.5)
    parts = (
        Block(
            linear,
            BatchNorm1d(50) if kind == "with BN" else Sequential(),
            Parameter(start, np.float32) if kind == "scaled" else one,
        )
        for linear in middle
    )
    return Sequential(first, *parts, last)


growth = predict(
    "Before the first of 20 blocks, the variance is about 0.6. Without BN, what is it after the last?",
    ["about 1", "about 20", "more than 10,000"], right=2,
    because="f(x) is about as large as x, so each block doubles the variance, roughly, and 2**20 is a million.",
)  # fmt: skip
linear_growth = predict(
    "And with BN?", ["about 1", "about 20", "more than 10,000"], right=1,
    because="What goes into each f has variance 1, so each block adds the same, about 1, however large x has become.",
)  # fmt: skip

# %%
with no_grad():
    variance = {}
    for kind in KINDS:
        x, variance[kind] = Tensor(FIT[0][:300]), []
        for part in list(network(kind, 20, args.seed))[:-1]:
            x = part(x)
            variance[kind].append(float(x.numpy().var()))
last = {kind: values[-1] for kind, values in variance.items()}
table(
    ["variance after block", "0", "1", "10", "20"],
    [[kind, *(f"{variance[kind][block]:,.1f}" for block in (0, 1, 10, 20))] for kind in KINDS],
)
for question, kind in ((growth, "without BN"), (linear_growth, "with BN")):
    question.confirm(int(np.digitize(last[kind], [5, 10_000])))

# %% [markdown]
# So with BN the share of a block gets smaller the deeper it is: it adds about 1 to a variance that has grown to the
# block's number. The whole network begins close to the identity, and De and Smith call this BN's main benefit for
# residual networks. If so, a network without any normalization must train as soon as its branches start small enough.
#
# ## Which of them train?
# SGD on batches of 60 digits, 200 steps; for each network the best of five learning rates, by 288 validation images
# that are held out of the training images. Accuracies are on the 355 test images.

# %%
which = predict(
    "20 blocks: which networks get above 90 %?",
    ["all three", "only the one with BN", "with BN and scaled"], right=2,
    because="It is the size of the branches that matters. But BN needs fewer steps.",
)  # fmt: skip
shallow = predict(
    "And of 2 blocks?", ["all three", "only the one with BN", "with BN and scaled"], right=0,
    because="Two blocks multiply the variance by about 4, which does no harm.",
)  # fmt: skip

# %%
trials = {
    (kind, blocks): try_out(
        lambda seed, kind=kind, blocks=blocks: network(kind, blocks, seed),
        lambda steps, seed: batches(*FIT, 60, steps, seed),
        (0.0001, 0.001, 0.05, 0.1, 0.2), 200, SEEDS, data,
    )
    for kind in KINDS for blocks in DEPTHS
}  # fmt: skip
table(
    ["blocks", *map(str, DEPTHS), "20: steps to 90 %"],
    [
        [kind, *(text(trials[kind, blocks].accuracy) for blocks in DEPTHS),
         text(trials[kind, 20].steps, "{:.0f}").replace("inf", "never")]
        for kind in KINDS
    ],
)  # fmt: skip
right = {key: np.mean(trial.accuracy) for key, trial in trials.items()}
for question, blocks in ((which, 20), (shallow, 2)):
    trained = [right[kind, blocks] > 0.9 for kind in KINDS]
    question.confirm([trained == network for network in ([True] * 3, [False, True, False], [False, True, True])])

# %% [markdown]
# Small branches are enough to train 20 blocks, and the accuracies are the same. What BN does beyond that is speed: it
# needs about 60 % of the steps. Five seeds (`--seeds 5`), mean and range:
#
# | | 2 blocks | 6 blocks | 20 blocks | 20 blocks: steps to 90 % |
# | --- | --- | --- | --- | --- |
# | without BN | 96.1% (94.4% to 96.9%) | 94.0% (91.5% to 95.8%) | 29.2% (18.0% to 38.6%) | never |
# | with BN | 97.1% (95.5% to 98.0%) | 96.3% (95.8% to 96.6%) | 96.3% (94.9% to 97.2%) | 19 (16 to 24) |
# | scaled | 96.1% (93.5% to 96.9%) | 96.3% (96.1% to 96.9%) | 96.1% (93.5% to 97.2%) | 33 (30 to 36) |
#
# ## The figure

# %%
STYLES = {"without BN": ("s--", WITHOUT), "with BN": ("o-", WITH), "scaled": ("^:", GREEN)}
figure, (left, middle) = plt.subplots(1, 2, figsize=(15, 6.5), layout="constrained")
for kind, (style, colour) in STYLES.items():
    left.semilogy(variance[kind], style, color=colour, lw=2, ms=6, label=kind)
    shares = [100 * right[kind, blocks] for blocks in DEPTHS]
    middle.plot(range(len(DEPTHS)), shares, style, color=colour, lw=2, ms=9, label=kind)
left.set(xlabel="after block", ylabel="variance, at the start", xticks=range(0, 21, 5))
left.set_title("a  A block doubles the variance, unless BN or a scale limits it", loc="left")
middle.set_xticks(range(len(DEPTHS)), DEPTHS)
middle.set(xlabel="residual blocks", ylabel="test accuracy (%)", ylim=(0, 105))
middle.set_title("b  With branches that start small, depth does no harm", loc="left")
for ax in (left, middle):
    ax.legend(frameon=False)
print(f"\nThe figure: {save(figure, args, '13_residual_networks')}")

# %% [markdown]
# ## The claims

# %%
check(
    {
        "without BN, 20 blocks multiply the variance by 10,000 or more": last["without BN"] / variance["without BN"][0]
        > 1e4,
        "with BN, it ends between 10 and 40, and scaled below 10": 10 < last["with BN"] < 40 and last["scaled"] < 10,
        "2 blocks: all three get above 90 %": min(right[kind, 2] for kind in KINDS) > 0.9,
        "20 blocks: without BN, the network stays below 80 %": right["without BN", 20] < 0.8,
        "... with BN it gets above 93 %, scaled above 90 %": right["with BN", 20] > 0.93 and right["scaled", 20] > 0.9,
    }
)
