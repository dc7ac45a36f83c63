"""A few hundred random programs against finite differences. (random_programs.py compares 20,000 with PyTorch.)"""

import itertools
import sys
from collections import Counter

import numpy as np
import pytest
import random_arrays
import random_programs
from random_arrays import Disagreement

import layers
import minigrad as mg
from minigrad import GradcheckError

SEEDS = range(300)
MOSTLY_SLOW = [pytest.param(seed, marks=[pytest.mark.slow] if seed >= 100 else []) for seed in SEEDS]


@pytest.mark.parametrize("seed", MOSTLY_SLOW)
def test_the_gradients_of_a_random_program_match_finite_differences(seed):
    random_programs.compare_gradients(
        random_programs.make(seed, odd=0)
    )  # odd layouts repeat values: max has kinks there


@pytest.mark.parametrize("seed", range(200))
def test_every_value_of_a_random_program_is_that_of_plain_numpy(seed):
    random_programs.compare_values(random_programs.make(seed))


@pytest.mark.parametrize("seed", range(200))
def test_a_random_program_has_the_same_gradients_whatever_the_memory_layout_of_its_leaves(seed):
    program = random_programs.make(seed)
    before = [a.copy() for a in program.leaves]
    random_programs.compare(program, lambda p: random_programs.by_minigrad(random_programs.ordinary(p)), 1e-9)
    assert all(np.array_equal(a, b) for a, b in zip(program.leaves, before, strict=True))


def test_the_random_programs_use_every_operation():
    counts = Counter(step.operation for seed in SEEDS for step in random_programs.make(seed, odd=0).steps)
    assert set(counts) - {"leaf"} == set(random_programs.OPERATIONS)
    assert min(counts.values()) > 20


def test_a_new_operation_needs_an_entry_in_the_generator():
    assert set(mg.ops.__all__) <= set(random_programs.OPERATIONS)
    assert set(random_programs.MINIGRAD) == set(random_programs.NUMPY) == set(random_programs.OPERATIONS)


def test_the_operations_of_the_generator_are_minigrads():
    """Each function named in ``minigrad.ops.__all__`` runs when the programs do."""
    ran = set()
    sys.setprofile(lambda frame, event, argument: ran.add(frame.f_code) if event == "call" else None)
    try:
        for seed in range(60):
            random_programs.by_minigrad(random_programs.make(seed, odd=0))
    finally:
        sys.setprofile(None)
    assert {name for name in mg.ops.__all__ if getattr(mg.ops, name).__code__ not in ran} == set()


def test_the_leaves_come_in_every_layout_with_equal_lengths_and_lengths_of_0_and_1():
    arrays = [a for seed in SEEDS for a in random_programs.make(seed, odd=0).leaves]
    assert sum(0 in a.shape for a in arrays) > 20
    assert sum(1 in a.shape for a in arrays) > 100
    assert sum(a.ndim > 1 and len(set(a.shape)) == 1 and a.shape[0] > 1 for a in arrays) > 100
    rng = np.random.default_rng(0)
    for name, layout in random_arrays.LAYOUTS.items():
        a = layout(rng, np.arange(24.0).reshape(2, 3, 4))
        assert a.shape == (2, 3, 4)
        assert name == "zero_strides" or np.array_equal(a, np.arange(24.0).reshape(2, 3, 4))
    b = np.arange(6.0).reshape(2, 3)
    assert random_arrays.fortran(rng, b).flags.f_contiguous
    assert not random_arrays.gaps(rng, b).flags.forc
    assert not random_arrays.read_only(rng, b).flags.writeable
    assert not random_arrays.misaligned(rng, b).flags.aligned
    assert not random_arrays.big_endian(rng, b).dtype.isnative
    assert any(0 in random_arrays.zero_strides(rng, b).strides for _ in range(9))
    assert any(min(random_arrays.negative_strides(rng, b).strides) < 0 for _ in range(9))


# Are the comparisons blind? Each of these mistakes, put into one operation, has to be noticed.


def with_gradient(value, change):
    """``value`` as it is, but with ``change`` applied to the gradient on its way back."""
    return mg.record("changed", value.data.copy(), (value,), (change,), "d_x = something else")


MISTAKES = {
    "tanh": lambda x: with_gradient(mg.tanh(x), lambda g: g * 1.01),
    "sum": lambda x, axis, keepdims: with_gradient(mg.sum(x, axis, keepdims), lambda g: -g),
    "multiply": lambda x, y: x * y.detach(),
    "add": lambda x, y: x + y if x is not y else x + x.detach(),
    "swapaxes": lambda x, i, j: with_gradient(x, lambda g: g).swapaxes(i, j) if x.shape[i] != x.shape[j] else x * 1,
    "getitem": lambda x, index: with_gradient(x, lambda g: np.minimum(g, 0.5))[index],
    "batch_norm": lambda x, *rest: exchange_axes(random_programs.batch_norm(x, *rest), rest[-1]),
    "linear": lambda x, *rest: (
        mg.matmul(x, rest[0].T) if len(rest) == 1 else mg.matmul(x, rest[0].T) + rest[1].detach()
    ),
    "cross_entropy": lambda x, targets: with_gradient(layers.cross_entropy(x, targets), lambda g: g * 2),
}


def exchange_axes(y, channels_last):
    """The last two axes exchanged, where nobody sees it by the shape."""
    return y.swapaxes(1, 2) if y.ndim == 3 and not channels_last and y.shape[1] == y.shape[2] else y


@pytest.mark.parametrize("operation", MISTAKES)
def test_the_comparisons_notice_a_mistake_in(operation, monkeypatch):
    programs = (random_programs.make(seed, odd=0) for seed in SEEDS)
    programs = (p for p in programs if operation in [step.operation for step in p.steps])
    monkeypatch.setitem(random_programs.MINIGRAD, operation, MISTAKES[operation])
    assert len(list(itertools.islice(filter(noticed, programs), 2))) == 2


def noticed(program):
    try:
        random_programs.compare_values(program)
        random_programs.compare_gradients(program)
    except (Disagreement, GradcheckError):
        return True
    return False
