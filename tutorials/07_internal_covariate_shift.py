# %% [markdown]
# # Lesson 7: internal covariate shift
#
# You will learn
# - what moves the inputs of a sigmoid while a network learns, and which part of that is *internal covariate shift*;
# - which part of batch normalization's steadiness is there by construction, and with which statistics;
# - by how much batch normalization (BN) shortens training, and what that number depends on.
#
# The experiment is that of section 4.1 of S. Ioffe and C. Szegedy, *Batch Normalization: Accelerating Deep Network
# Training by Reducing Internal Covariate Shift* ([arXiv 1502.03167](https://arxiv.org/abs/1502.03167)). Run it as a
# script, `python tutorials/07_internal_covariate_shift.py`, or cell by cell. Answers to questions are for its defaults.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    batches, check, ended_early, parse, parser, predict, progress, save, table, until_ctrl_c,
)  # fmt: skip

import time

import numpy as np

from minigrad.optim import SGD, Adam
from tutorials import shift, shift_figures
from tutorials.data import load_digits, load_mnist
from tutorials.shift import NAMES, Run, Setting, sigmoid_inputs
from tutorials.shift_page import write_page

options = parser("Train an MLP with and without batch normalization, and find out what moves its sigmoids' inputs.")
options.add_argument("--data", choices=["digits", "mnist"], default="digits", help="the 8x8 digits, or MNIST")
options.add_argument("--data-dir", default="mnist", help="folder with MNIST's four files, for --data mnist")
options.add_argument("--steps", type=int, default=8_000, help="training steps of each network")
options.add_argument("--batch-size", type=int, default=60)
options.add_argument("--lr", type=float, default=0.1, help="learning rate of plain SGD")
options.add_argument("--init-std", type=float, default=0.1, help="standard deviation of the first weights")
options.add_argument("--gif", action="store_true", help="write an animation for slides, too")
options.add_argument("--seeds", type=int, default=0, help="repeat everything for seeds 0, 1, ..., and print the ranges")
args = parse(options, LESSON := "07_internal_covariate_shift")
if args.steps < 100 or args.batch_size < 2:
    options.error("at least 100 steps, and 2 images a batch")

# %% [markdown]
# ## What the paper claims, and where
# - Section 2 *defines* internal covariate shift: "the change in the distribution of network activations due to the
#   change in network parameters during training".
# - Section 4.1 and its figure 1 *show* it: three hidden layers of 100 sigmoids, small Gaussian weights, MNIST as binary
#   images, mini-batches of 60, 50,000 steps. The percentiles of the inputs of a typical sigmoid of the last hidden
#   layer move, with BN much less, and BN "helps the network train faster and achieve higher accuracy". There is no
#   learning rate in that section, and no number of steps saved.
# - The *number of steps* is that of an Inception network on ImageNet, in the abstract and section 4.2: 14 times fewer
#   steps to the same accuracy, with 5 times the learning rate and further changes. With BN alone, 31.0 million steps
#   became 13.3 million.
#
# Here: the same layers and mini-batches; grey images of 8 x 8 pixels and 8,000 steps (with `--data mnist --steps 50000
# --init-std 0.05` its data, in grey, and its steps); a fifth of the training images held out for choosing settings, so
# that the test images answer once. The probe, on which we watch, is test images; no network is trained or chosen on it.

# %%
try:
    data = shift.hold_out(load_digits() if args.data == "digits" else load_mnist(args.data_dir))
except (OSError, ValueError) as error:
    options.error(str(error))
probe = data.x_test[:1000]
print(f"{args.data}: {len(data.x_train):,} training, {len(data.x_val):,} validation, {len(data.x_test):,} test images")

# %% [markdown]
# ## Two networks
# Small random Gaussian weights, biases 0. A hidden layer is $z = g(Wu + b)$; with BN it is $z = g(\mathrm{BN}(Wu))$,
# where BN's $\beta$ takes the place of the bias. Both networks start from the same weights and see the same
# mini-batches. Everything that we need later is noted at each reading: every step at first, then every 4 % of the way.

# %%
setting = Setting(SGD, args.lr, args.init_std)
runs = {name: Run(data, name == "with BN", setting, args.seed) for name in NAMES}
print(runs["with BN"].network)

how_long = predict(
    "With BN, the network reaches 90 % of the test images after some 40 steps. How many does it need without BN?",
    ["about 80", "about 400", "about 4,000"],
    right=2,
    because="At this learning rate and from weights this small, it stays at chance for more than 1,000 steps. Keep the "
    "number in mind: the last part of the lesson asks what it depends on.",
)

# %%
# Ctrl-C ends the training early; figure, page and table then show the way up to there.
to_read, started = shift.moments(args.steps), time.perf_counter()
training = batches(data.x_train, data.y_train, args.batch_size, args.steps, args.seed)
for step, (x, y) in enumerate(until_ctrl_c(training), start=1):
    for run in runs.values():
        run.step(x, y)
    if step in to_read:
        latest = ", ".join(f"{name} {run.read(step, data.x_test, data.y_test):.1%}" for name, run in runs.items())
        progress(step, args.steps, f"accuracy {latest}", time.perf_counter() - started)
stopped = step < args.steps
if stopped and step not in to_read:
    for run in runs.values():
        run.read(step, data.x_test, data.y_test)
plain, bn = runs.values()

# %% [markdown]
# ## What is seen
# Compare a unit's inputs after the first step and at the end by the average distance of equal percentiles $q_p$, the
# 5th, 10th, ..., 95th, over the probe images:
#
# $$\mathrm{shift} = \frac{1}{19} \sum_{p} \left| q_p(\text{late}) - q_p(\text{early}) \right|$$
#
# It approximates the 1-Wasserstein distance, in units of the sigmoid's input; the sigmoid bends at about $\pm 2$. A
# layer's shift is the mean over its 100 units. BN normalizes with the probe's own mean and variance here; below we
# also take other statistics.

# %%
images_stand_still = predict(
    "Layer 1 sees nothing but the images, whose distribution never changes. Do the inputs of its sigmoids shift?",
    ["no: nothing below them learns", "yes, as its own weights learn"],
    right=1,
    because="The input of a sigmoid is Wu + b. That W changes is enough, and it is not *internal covariate shift* in "
    "the sense of a layer whose inputs are moved by the layers below.",
)
causes = {name: shift.decomposition(run.first, run.last, probe) for name, run in runs.items()}
table(
    ["shift, first step to last", "layer 1", "layer 2", "layer 3"],
    [[name, *(f"{value:.2f}" for value in causes[name]["everything"])] for name in NAMES],
)

# %% [markdown]
# ## What else could explain it? The control
# The shift has two causes: a layer's *own* weights learn, and the layers *below* change what comes in. The definition
# counts both. The paper's reason for it, that a layer's inputs "are affected by the parameters of all preceding layers"
# (section 1), is the second alone: that is what a layer can't help. To take them apart, put a network together from two
# moments, the layers below from one and the layer itself from another; `sigmoid_inputs(below, own, images)` does that.
# Layer 1 is the control: nothing is below it, so with its own weights held it must not move at all.

# %%
control = predict(
    "Hold each layer's own weights at their first values; let only the layers below it learn. What is the shift of "
    "layer 1?",
    right=0.0,
    within=0.0,
    because="Nothing below it learns, because nothing is below it but the images. Were it not exactly 0, we would be "
    "measuring something else.",
)
small_part = predict(
    "And in layer 3, without BN: how much of the shift is left if only the layers below move, and the layer still has "
    "its first weights?",
    ["nearly all of it", "about a half", "about a fifth"],
    right=2,
    because="Most of what moved was made by the layer's own weights. But look at the row below: seen through the "
    "weights that the layer has at the end, the change below is almost as large as the whole.",
)
table(
    ["shift, first step to last", *(f"{name}, layer {i}" for name in NAMES for i in (1, 2, 3))],
    [[what, *(f"{value:.2f}" for name in NAMES for value in causes[name][what])] for what in causes["with BN"]],
)

# %% [markdown]
# The causes don't add up: what the layers below change is multiplied by the layer's weights, and those grow. So "how
# much of it is internal?" has no single answer; "below" and "below, late weights" are two. In each row, BN moves less.
#
# ## By construction
# On the statistics of the very images that are shown, BN gives each unit the mean $\beta$ and a variance of about
# $\gamma^2$, whatever comes in. So on these images, place and width can move only as far as $\beta$ and $\gamma$ learn
# to: that they are steadier is no finding. How little those two learn is one. Another is what such a normalization
# can't hold: take each unit's mean away, divide by its standard deviation, and what is left to move is the *shape*.

# %%
by_construction = predict(
    "Measured in shape alone, how far do the inputs of layer 3 move with BN, compared with the network without BN?",
    ["a tenth as far", "half as far", "about as far"],
    right=2,
    because="BN holds the place and the width. The shape it leaves alone, and here both networks change it alike.",
)
late = sigmoid_inputs(bn.last, bn.last, probe)
off = max(float(np.abs(u.mean(axis=0) - layer.beta).max()) for u, layer in zip(late, bn.last, strict=True))
shape = {name: shift.shape_shift(run, probe) for name, run in runs.items()}
print(f"with BN, a unit's mean is its beta to {off:.0e}")
print("shift of shape alone, in standard deviations, layers 1 to 3:")
for name, values in shape.items():
    print(f"  {name:>10}: {', '.join(f'{value:.2f}' for value in values)}")

# %% [markdown]
# In training, BN uses the statistics of the mini-batch, drawn anew in each step; in evaluation, running ones. How far
# do the inputs of the same probe images move from one step to the next, with each of the three? (The mean over some
# fifteen pairs of successive steps, from the first to the last.)

# %%
noise = predict(
    "From one step to the next, in units of the input, where do the sigmoids' inputs move most?",
    ["without BN", "with BN and the probe's statistics", "with BN and a mini-batch's statistics"],
    right=2,
    because=f"The mean of {args.batch_size} images is another one each time. To the next layer, that is a shift, too: "
    "one without direction. Lesson 10 comes back to it.",
)
draw = shift.drawer(data, args.batch_size, 0)
movement = {"without BN": shift.step_to_step(plain, probe, "probe", draw)}
for statistics in shift.STATISTICS:
    movement[f"with BN, {statistics}"] = shift.step_to_step(bn, probe, statistics, draw)
rows = [[name, *(f"{value:.4f}" for value in values)] for name, values in movement.items()]
table(["movement in one step", "units of input", "standard deviations"], rows)

# %% [markdown]
# In standard deviations, the plain network is as restless as BN with a mini-batch's statistics: for a long time its
# units hardly tell images apart, and against so little spread any common movement is large. Here the two measures
# divide; for a sigmoid, which bends at $\pm 2$, the units of its input count. The running statistics lag: they begin at
# mean 0 and variance 1, and follow in some dozens of steps.

# %% [markdown]
# ## What else could explain the lead?
# The learning rate and the first weights: they were the same for both networks, and so may suit one of them better. The
# control: each network at its own best, chosen among 5 learning rates and 3 scales of the first weights by the steps
# that it needs on *validation* images, for SGD and for Adam.

# %%
lead = predict(
    "With SGD, each at its own best, how many times as many steps does the network without BN need?",
    ["as many times as before", "about 30", "between 2 and 12"],
    right=2,
    because="Larger first weights and a higher rate take the plain network off its plateau at once. BN's lead is real, "
    "and its size is a property of the setting: with Adam it is smaller still.",
)
tried = {name: {} for name in NAMES}
short = min(args.steps, shift.LONGEST_TRIAL)
for candidate in until_ctrl_c([] if stopped else shift.SETTINGS):
    for name in NAMES:
        tried[name][candidate] = shift.try_out(data, name == "with BN", candidate, short, args.batch_size, args.seed)
print(f"{len(tried['with BN'])} of {len(shift.SETTINGS)} settings tried, of each network")
stopped_late = not stopped and len(tried["with BN"]) < len(shift.SETTINGS)
trained = {None: runs}
if not (stopped or stopped_late):
    for optimizer in (SGD, Adam):
        choice = {name: shift.best(tried[name], optimizer) for name in NAMES}
        trained[optimizer] = {
            name: shift.train(Run(data, name == "with BN", chosen, args.seed), data, short, args.batch_size, args.seed)
            for name, chosen in choice.items()
        }
        print(f"{optimizer.__name__}:", "; ".join(f"{name} {chosen}" for name, chosen in choice.items()))

# %% [markdown]
# On MNIST (`--data mnist --steps 50000 --init-std 0.05`, seed 0) the same three comparisons give 7,921 steps without BN
# against 372 with it, 258 against 221, and with Adam 90 against 144: there, at each one's best, 90 % of the 10,000 test
# images come about as soon without BN. In the end BN has 98.0 %, the plain network of the lesson's setting 96.8 %.

# %% [markdown]
# ## The figure and the page
# Look at the figure from a to g. Then open the page, which plays the training: under "only the layers below", layer 1
# stands still, and the word *internal* gets its meaning.

# %%
found = shift.numbers(trained, probe, data, args.batch_size)
settings = ("data", "steps", "batch_size", "lr", "init_std")
as_usual = all(getattr(args, name) == options.get_default(name) for name in settings)
which = {"digits": "the digits", "mnist": "MNIST"}[args.data]
title = f"Internal covariate shift on {which}: the same network without and with batch normalization (BN)"
title += f"\nstopped after step {step:,} of {args.steps:,}" if stopped else ""
seeds = shift.FIVE_SEEDS if as_usual else None
path = save(shift_figures.figure_of(runs, probe, tried, found, seeds, title), args, LESSON)
page_runs = [
    {
        "title": shift.WAYS[way],
        "note": "; ".join(f"{name}: {run.setting}" for name, run in pair.items()) if way else str(setting),
        "plain": pair["without BN"],
        "bn": pair["with BN"],
    }
    for way, pair in trained.items()
]
meta = {name: getattr(args, name) for name in ("data", "steps", "batch_size", "seed")}
page = write_page(shift.page_data(page_runs, data, probe, meta), args.out / f"{LESSON}.html")
print(f"The figure: {path}\nThe page, for a browser: {page}")
if args.gif:
    print("The animation:", shift_figures.animate(runs, probe, args.out / f"{LESSON}.gif", f"{which}, {setting}"))

# %% [markdown]
# ## What was measured
# In brackets, from the smallest to the largest of seeds 0 to 4, which `--seeds 5` measures anew. Accuracies decide on
# 355 test images, of which one is 0.3 points.

# %%
print()
for name, header in shift.HEADERS.items():
    table([name, *header], shift.rows_of(found[name], seeds and seeds[name]))
    print()
table(["", *NAMES], [["final test accuracy", *(f"{run.accuracies[-1]:.1%}" for run in runs.values())]])
print(f"on {len(data.x_test):,} test images; {time.perf_counter() - started:.0f} s since training began.")

if args.seeds:
    setting_of_all = (setting, args.steps, args.batch_size)
    repeated = shift.over_seeds([shift.experiment(data, probe, *setting_of_all, seed) for seed in range(args.seeds)])
    print(f"\nMean, smallest and largest of seeds 0 to {args.seeds - 1}:")
    for name, header in shift.HEADERS.items():
        table([name, *header], shift.rows_of(repeated[name]))
        print()

# %% [markdown]
# ## The claims
# With the settings above, whatever the seed. With `--steps 1000` only the network with BN learns, and one that learns
# nothing doesn't shift; with `--init-std 0.3` the plain network starts well, too. Find out why others break the claims.

# %%
if stopped or stopped_late:
    ended_early(LESSON, step, args.steps)
else:
    moved, steps, restless = found["shift"], found["steps"], found["step to step"]
    both = {what: np.array([moved[f"{what}, layer {layer}"] for layer in (1, 2, 3)]) for what in causes["with BN"]}
    leads, n = [row[2] for row in steps.values()], len(data.x_test)
    if as_usual:
        needed, moves = steps["the lesson's setting"][0], both["everything"][0].min() > 0.05
        part, ratio = both["below"][2, 0] / both["everything"][2, 0], shape["with BN"][2] / shape["without BN"][2]
        most = max(list(restless)[:3], key=lambda name: restless[name][0])
        how_long.confirm([needed < 200, 200 <= needed < 1000, 2000 < needed < 8000])
        images_stand_still.confirm([not moves, moves])
        control.confirm(both["below"][0].max())
        small_part.confirm([part > 0.75, 0.4 < part < 0.6, 0.1 < part < 0.3])
        by_construction.confirm([ratio < 0.2, 0.4 < ratio < 0.6, 0.75 < ratio < 1.33])
        noise.confirm([name == most for name in list(restless)[:3]])
        lead.confirm([leads[1] > leads[0] / 2, 15 < leads[1] < 60, 2 < leads[1] < 12])
    early, late = both["below"], both["below, late weights"]
    whole_plain, whole_bn = both["everything"].T
    claims = {
        "with only the layers below moving, layer 1 stands still": not early[0].any() and not late[0].any(),
        "in layers 2 and 3 they move the inputs less with BN": bool((early[1:, 1] < early[1:, 0]).all()),
        "and so they do seen through the late weights": bool((late[1:, 1] < late[1:, 0]).all()),
        "BN makes the whole shift smaller in every layer": bool((whole_bn < whole_plain).all()),
        "BN at least halves the mean shift": whole_bn.mean() <= whole_plain.mean() / 2,
        "but not that of layer 3's shape": shape["with BN"][2] > shape["without BN"][2] / 2,
        "from step to step, a mini-batch's statistics move the inputs 5 times as far as the probe's":
            restless["with BN, batch"][0] > 5 * restless["with BN, probe"][0],
        f"in this setting, BN reaches 90 % of {n:,} test images in at most a fifth of the steps": leads[0] >= 5,
        "with each at its own best, its lead is at most a fifth of that": leads[1] <= leads[0] / 5,
        "with Adam it is smaller still, and a lead": 1 < leads[2] < leads[1],
        f"BN ends no more than 1 point below, on {n:,} test images": bn.accuracies[-1] >= plain.accuracies[-1] - 0.01,
    }  # fmt: skip
    check(claims, strict=as_usual)
