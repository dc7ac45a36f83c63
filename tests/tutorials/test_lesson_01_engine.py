"""The engine that lesson 1 builds, taken out of the lesson, gives minigrad's gradients to the bit."""

import itertools
import operator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad

LESSON = (Path(__file__).parents[2] / "tutorials" / "01_the_tape.py").read_text(encoding="utf-8")
AFTER = LESSON[LESSON.index("# ## The tape, built") :].split("# %%")
SOURCE = "".join([cell for cell in AFTER if not cell.startswith(" [markdown]")][1:3])  # recording, and the walk back
SHAPES = [(), (1,), (3,), (0,), (2, 2), (2, 1, 3)]
SEEDS = range(300)


def engine(source):
    names = {"np": np, "itertools": itertools}
    exec(source, names)
    return SimpleNamespace(**names, new=names["Tensor"])


MINIGRAD = SimpleNamespace(
    new=lambda a: minigrad.Tensor(a, requires_grad=True),
    backward=lambda result: result.backward(np.ones(result.shape)),
    exp=minigrad.exp,
    log=minigrad.log,
)


def compute(library, leaves, steps):
    values = list(leaves)
    for name, numbers in steps:
        function = getattr(library, name) if name in ("exp", "log") else getattr(operator, name)
        values.append(function(*(values[i] for i in numbers)))
    return values


def draw(seed):
    """The arrays of three leaves, of one shape, and steps over the five operations: (name, numbers of operands)."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    leaves, steps = [rng.normal(size=shape) for _ in range(3)], []
    while len(steps) < 12:
        name = str(rng.choice(["add", "sub", "mul", "exp", "log"]))
        numbers = rng.integers(3 + len(steps), size=1 if name in ("exp", "log") else 2).tolist()
        with np.errstate(all="ignore"):
            value = compute(np, leaves, [*steps, (name, numbers)])[-1]
        if np.all(np.abs(value) < 100):  # not so where it is nan
            steps.append((name, numbers))
    return leaves, steps


def gradients(library, seed):
    """Of each leaf, added up over two walks: back from the last value, and from the one before."""
    arrays, steps = draw(seed)
    leaves = [library.new(a) for a in arrays]
    for result in (-1, -2):
        library.backward(compute(library, leaves, steps)[result])
    return [leaf.grad for leaf in leaves]


def agree(library, seed):
    pairs = zip(gradients(library, seed), gradients(MINIGRAD, seed), strict=True)
    return all((a is None) == (b is None) and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_program_has_the_same_gradients_in_lesson_1_and_in_minigrad(seed):
    assert agree(engine(SOURCE), seed)


def test_the_programs_use_values_and_operands_twice_and_leave_some_leaf_without_a_gradient():
    used_twice = operand_twice = unreached = 0
    for seed in SEEDS:
        operands = [numbers for _, numbers in draw(seed)[1]]
        used_twice += len({i for numbers in operands for i in numbers}) < sum(len(numbers) for numbers in operands)
        operand_twice += any(len(numbers) > len(set(numbers)) for numbers in operands)
        unreached += any(g is None for g in gradients(MINIGRAD, seed))
    assert min(used_twice, operand_twice, unreached) > 30


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("arrived.get(x, 0) + vjp", "0 + vjp"),  # not summed over the uses
        ("sorted(found)", "found"),  # not in the order of recording
        ("leaf.grad + g", "g"),  # not added to what an earlier walk left
        ("lambda g: -g", "lambda g: g"),
        ("lambda g, a, b: g * a)", "lambda g, a, b: g * b)"),
    ],
)
def test_the_comparison_notices_a_mistake(right, wrong):
    assert SOURCE.count(right) == 1

    def differs(seed):
        try:
            return not agree(engine(SOURCE.replace(right, wrong)), seed)
        except KeyError:  # an entry is read before anything has arrived at it
            return True

    assert any(differs(seed) for seed in SEEDS)


def test_the_engine_takes_at_most_40_lines():
    assert len([line for line in SOURCE.splitlines() if line.strip()]) <= 40
