"""The drawings of lesson 7: its figure, and the same as an animation for slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minigrad.optim import SGD
from tutorials.lesson import WITH, WITHOUT
from tutorials.shift import NAMES, RATES, STDS, Run, Setting, Tables, distance, frames_of, percentiles, sigmoid_inputs

COLOUR = dict(zip(NAMES, (WITHOUT, WITH)))
STYLE = dict(zip(NAMES, ("--", "-")))
PAPER_LEVELS = ((15, ":"), (50, "-"), (85, "--"))


@plt.rc_context({"xtick.labelsize": 12, "ytick.labelsize": 12})
def figure_of(
    runs: dict[str, Run],
    images: np.ndarray,
    tried: dict[str, dict[Setting, tuple[float, float]]],
    found: Tables,
    seeds: Tables | None,
    title: str,
) -> Figure:
    """The lesson's figure, a to g: accuracy and rates, a typical unit, all units, and what moved the inputs.

    Args:
        tried: by network, what each setting of the sweep needed; may be incomplete.
        found: the tables of this run.
        seeds: those of five seeds as (mean, smallest, largest), for the error bars; None for none.
    """
    figure = plt.figure(figsize=(15, 17), layout="constrained")
    figure.suptitle(title, fontsize=19)
    rows = figure.subfigures(4, 1, height_ratios=[1, 0.85, 1.25, 1], hspace=0.04)
    left, right = rows[0].subplots(1, 2)
    draw_accuracy(left, runs)
    draw_sweep(right, tried)
    for ax, name, letter in zip(rows[1].subplots(1, 2, sharey=True), NAMES, "cd"):
        draw_units(ax, runs[name], images, f"{letter}  {name}: a typical unit of layer 3, and medians of a dozen")
        ax.tick_params(labelleft=True)
    draw_ridges(rows[2], runs, images)
    for ax, name, letter in zip(rows[3].subplots(1, 2, sharey=True), NAMES, "fg"):
        draw_causes(ax, name, found["shift"], seeds and seeds["shift"])
        ax.set_title(f"{letter}  {name}: how far the inputs moved, by what was replaced", loc="left", fontsize=14)
        ax.tick_params(labelleft=True)
    return figure


def draw_accuracy(ax: Axes, runs: dict[str, Run]) -> None:
    for name, run in runs.items():
        reached = run.steps_to(0.9)
        label = f"{name}:\n90 % after {reached:,} steps" if reached else f"{name}:\nnever 90 %"
        ax.plot(run.at, 100 * np.array(run.accuracies), STYLE[name], color=COLOUR[name], lw=2.5, label=label)
        if reached:
            ax.plot(reached, 90, "o", ms=9, color=COLOUR[name])
    ax.axhline(90, color="0.6", lw=0.8, zorder=0)
    ax.set(xscale="log", xlim=(1, max(run.at[-1], 2)), ylim=(0, 102))
    steps_axis(ax.xaxis)
    ax.set_xlabel("training steps", fontsize=12)
    ax.set_ylabel("test accuracy (%)", fontsize=12)
    ax.legend(frameon=False, loc="center", bbox_to_anchor=(0.56, 0.5), fontsize=12)
    ax.set_title("a  Test accuracy in the lesson's setting", loc="left", fontsize=14)


def steps_axis(axis) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_minor_formatter(lambda *_: "")


def draw_sweep(ax: Axes, tried: dict[str, dict[Setting, tuple[float, float]]]) -> None:
    """Steps to 90 % over the learning rate of SGD: a line for each network and scale of the first weights."""
    ends = [steps for results in tried.values() for steps, _ in results.values() if np.isfinite(steps)]
    never = 2 * max(ends, default=1000)
    for name, results in tried.items():
        for std, marker in zip(STDS, "ov^"):
            points = [(lr, results.get(Setting(SGD, lr, std), (np.nan,))[0]) for lr in RATES[SGD]]
            rates, steps = np.array(points, dtype=float).T
            shown = np.where(np.isinf(steps), never, steps)
            ax.plot(rates, shown, STYLE[name], marker=marker, ms=8, lw=1.8, color=COLOUR[name],
                    mfc="white" if name == NAMES[0] else COLOUR[name], label=f"{name}, std {std}")  # fmt: skip
    ax.axhline(never, color="0.8", lw=6, zorder=0)
    ax.text(
        0.5,
        never * 1.12,
        "not in 1,500 steps",
        ha="center",
        color="0.3",
        fontsize=11,
        transform=ax.get_yaxis_transform(),
    )
    ax.set(xscale="log", yscale="log", xlim=(0.08, 12.5), ylim=(2.5, never * 1.6), xticks=RATES[SGD])
    ax.set_xticklabels([f"{rate:g}" for rate in RATES[SGD]])
    ax.tick_params(which="minor", bottom=False)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set_xlabel("learning rate of SGD", fontsize=12)
    ax.set_ylabel("steps to 90 % on validation images", fontsize=12)
    if ends:
        ax.legend(frameon=False, ncols=2, loc="lower center", fontsize=11)
    ax.set_title("b  The lead depends on learning rate and first weights", loc="left", fontsize=14)


def units_over_time(run: Run, images: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Percentiles of the inputs of layer 3: (time, level, unit)."""
    return np.array([percentiles(sigmoid_inputs(now, now, images)[2:], levels)[0] for now in run.kept.values()])


def draw_units(ax: Axes, run: Run, images: np.ndarray, title: str) -> None:
    """The paper's percentiles for the unit that moved as much as half of all units, over the medians of others."""
    colour = COLOUR[NAMES[run.batch_norm]]
    q = units_over_time(run, images, [level for level, _ in PAPER_LEVELS])
    typical = np.argsort(distance(q[0], q[-1]))[50]
    steps = list(run.kept)
    ax.plot(steps, q[:, 1, 4::8], color="0.72", lw=1)
    ax.fill_between(steps, q[:, 0, typical], q[:, 2, typical], color=colour, alpha=0.2, lw=0)
    for i, (level, style) in enumerate(PAPER_LEVELS):
        ax.plot(steps, q[:, i, typical], style, color=colour, lw=2.5)
        ax.annotate(
            f"{level}th", (steps[-1], q[-1, i, typical]), xytext=(4, 0), textcoords="offset points", va="center"
        )
    ax.set(xscale="log", xlim=(1, max(steps[-1], 2)))
    steps_axis(ax.xaxis)
    ax.set_xlabel("training steps", fontsize=12)
    ax.set_ylabel("input of the sigmoid", fontsize=12)
    ax.set_title(title, loc="left", fontsize=14)


def draw_ridges(figure, runs: dict[str, Run], images: np.ndarray) -> None:
    """All units of each layer at five moments between which the inputs move, every density to the same scale."""
    moments = frames_of(list(runs.values()), images, 5)
    inputs = {name: [sigmoid_inputs(*2 * [run.kept[step]], images) for step in moments] for name, run in runs.items()}
    edge = max(np.percentile(np.abs(u), 98.5) for frames in inputs.values() for us in frames for u in us)
    bins = np.linspace(-edge, edge, 61)
    density = {
        name: [[np.histogram(u, bins, density=True)[0] for u in us] for us in frames] for name, frames in inputs.items()
    }
    top = np.percentile([np.max(d) for frames in density.values() for ds in frames for d in ds], 90)
    axes = figure.subplots(1, 6, sharex=True, sharey=True)
    for column, ax in enumerate(axes):
        name, layer = NAMES[column // 3], column % 3
        for row, ds in enumerate(density[name]):
            height = np.minimum(0.92 * ds[layer] / top, 1.4)
            ax.fill_between((bins[1:] + bins[:-1]) / 2, -row, height - row, color=COLOUR[name], alpha=0.75, lw=0)
            ax.axhline(-row, color="0.6", lw=0.6)
        ax.axvline(0, color="0.85", lw=0.8, zorder=0)
        ax.set_title(f"{name}, layer {layer + 1}", color=COLOUR[name], fontsize=12)
        ax.set_xlabel("sigmoid input", fontsize=11)
        ax.tick_params(axis="y", length=0)
    axes[0].set(xlim=(-edge, edge), ylim=(0.75 - len(moments), 1.15))
    axes[0].set_yticks(0.25 - np.arange(len(moments)), [f"step\n{step:,}" for step in moments], fontsize=11)
    figure.suptitle(
        f"e  All 100 units of each layer, {len(images):,} test images: density of the inputs at five moments, all to "
        "one scale", x=0.01, ha="left", fontsize=14,
    )  # fmt: skip


CAUSES = (
    ("everything", "everything", ""),
    ("own", "own weights only", "//"),
    ("below", "layers below only, through the layer's early weights", ".."),
    ("below, late weights", "layers below only, through its late weights", "xx"),
)
SHADES = (1, 0.45, 0.7, 0.7)


def draw_causes(ax: Axes, name: str, found: dict[str, tuple], seeds: dict[str, tuple] | None) -> None:
    """A bar for each cause of the shift of each layer; with ``seeds``, whiskers from the smallest to the largest."""
    column = NAMES.index(name)
    for i, (cause, label, hatch) in enumerate(CAUSES):
        places = np.arange(3) + 0.21 * (i - 1.5)
        keys = [f"{cause}, layer {layer}" for layer in (1, 2, 3)]
        values = np.array([found[key][column] for key in keys])
        bars = ax.bar(
            places, values, 0.2, color=COLOUR[name], alpha=SHADES[i], label=label, hatch=hatch, edgecolor="white"
        )
        tops = values
        if seeds:
            _, low, high = np.array([seeds[key][column] for key in keys]).T
            ax.vlines(places, low, high, color="black", lw=1.5)
            tops = np.maximum(values, high)
        for bar, value, place in zip(bars, values, tops):
            ax.annotate(f"{value:.2f}" if value else "0", (bar.get_x() + 0.1, place), xytext=(0, 3),
                        textcoords="offset points", ha="center", fontsize=10)  # fmt: skip
    ax.annotate("nothing\nis below", (0.21, 0), xytext=(0, 18), textcoords="offset points", ha="center", fontsize=11)
    ax.set_xticks(range(3), ["layer 1", "layer 2", "layer 3"], fontsize=12)
    ax.set_ylabel("mean distance of percentiles,\nfirst step to last (units of input)", fontsize=12)
    highest = max(value for values in found.values() for value in values)
    ax.set_ylim(0, 1.6 * highest or 1)  # with room for the legend
    ax.legend(frameon=False, loc="upper left", fontsize=11)


def animate(runs: dict[str, Run], images: np.ndarray, path: Path, title: str) -> Path:
    """The inputs of all units of each layer, frame by frame, over the sigmoid; the first frame stays as a ghost."""
    frames = frames_of(list(runs.values()), images)
    inputs = {name: [sigmoid_inputs(*2 * [run.kept[step]], images) for step in frames] for name, run in runs.items()}
    edge = np.ceil(max(np.percentile(np.abs(u), 97) for every in inputs.values() for us in every for u in us))
    bins = np.arange(-edge, edge + 0.1, 0.2)
    middle = (bins[1:] + bins[:-1]) / 2
    figure, axes = plt.subplots(3, 2, figsize=(8, 6.4), sharex=True, sharey=True, layout="constrained")
    heading = figure.suptitle(" \n ", fontsize=15)
    density = {
        name: [[np.histogram(u, bins, density=True)[0] for u in us] for us in every] for name, every in inputs.items()
    }
    top = np.percentile([np.max(d) for every in density.values() for ds in every for d in ds], 75)
    moving = {}
    for (layer, column), ax in np.ndenumerate(axes):
        name = NAMES[column]
        ax.plot(middle, 1 / (1 + np.exp(-middle)), color="0.45", lw=1.5)
        ax.fill_between(middle, density[name][0][layer] / top, step="mid", color="0.8", lw=0)
        moving[name, layer] = ax.stairs(density[name][0][layer] / top, bins, fill=True, color=COLOUR[name], alpha=0.8)
        ax.set(xlim=(-edge, edge), ylim=(0, 1.25), yticks=[])
        ax.tick_params(labelsize=12)
        if column == 0:
            ax.set_ylabel(f"layer {layer + 1}", fontsize=14)
        if layer == 2:
            ax.set_xlabel("input; line: the sigmoid; light grey: at step 1", fontsize=12)
    titles = {
        name: axes[0, column].set_title(" ", fontsize=14, color=COLOUR[name]) for column, name in enumerate(NAMES)
    }

    def draw(i: int) -> None:
        heading.set_text(f"What reaches the sigmoids, step {frames[i]:,}\n{title}")
        for name, run in runs.items():
            reached = run.accuracies[run.at.index(frames[i])]
            titles[name].set_text(f"{name}: {100 * reached:.0f} % of the test images")
            for layer in range(3):
                moving[name, layer].set_data(density[name][i][layer] / top)

    still = 12 * [len(frames) - 1]  # at the end, long enough to look at
    FuncAnimation(figure, draw, [*range(len(frames)), *still]).save(path, PillowWriter(fps=7), dpi=80)
    plt.close(figure)
    return path
