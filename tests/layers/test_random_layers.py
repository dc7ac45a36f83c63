"""Random calls of batch normalization, random networks and random optimizers against the plain formulas.

(random_programs.py compares 20,000 of each with PyTorch.)
"""

import ast
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import random_arrays
import random_layers
import random_training
from random_arrays import Disagreement

import layers
import minigrad as mg

ROOT = Path(__file__).parents[2]
CALLS, TRAININGS, DESCENTS = range(300), range(120), range(120)


@pytest.mark.parametrize("seed", CALLS)
def test_a_random_call_of_batch_norm_gives_what_the_formulas_give(seed):
    random_layers.compare(random_layers.make(seed), random_layers.by_formulas)


@pytest.mark.parametrize("seed", range(60))
def test_the_six_lines_are_the_gradients_of_the_composition(seed):
    call = random_layers.make(seed)
    if call.by_batch and call.x.size < 1000:
        random_layers.compare_six_lines(call)


@pytest.mark.parametrize("seed", TRAININGS)
def test_a_random_network_learns_as_its_composition_does(seed):
    random_training.compare(random_training.make(seed), random_training.Plain)


@pytest.mark.parametrize("seed", DESCENTS)
def test_a_random_optimizer_does_what_its_formulas_say(seed):
    random_training.compare_descents(random_training.make_descent(seed), random_training.descend_plainly)


# Do they try everything?


def test_the_calls_cover_every_layout_mode_and_setting():
    calls = [random_layers.make(seed) for seed in CALLS]
    kinds = Counter((c.x.ndim, c.channels_last, c.training, c.as_layer) for c in calls)
    assert len(kinds) == 4 * 2 * 2 * 2
    assert {c.momentum for c in calls} == {0, 0.1, 0.5, 0.9, 1, None}
    assert {c.tail for c in calls} == set(random_layers.TAILS)
    assert {(c.weight is None, c.bias is None) for c in calls} == {(True, True), (False, True), (False, False)}
    assert {c.running_mean is None for c in calls if not c.training and c.as_layer} == {True, False}
    assert {c.x.dtype.itemsize for c in calls} == {4, 8}
    assert any(c.x.size == 0 for c in calls)


def test_many_calls_have_as_many_channels_as_positions():
    calls = [random_layers.make(seed) for seed in CALLS]
    assert sum(c.x.ndim == 3 and c.x.shape[1] == c.x.shape[2] > 1 and not c.channels_last for c in calls) > 15
    assert sum(len(set(c.x.shape)) == 1 and c.x.shape[0] > 1 for c in calls) > 50


def test_calls_lie_just_below_at_and_above_every_size_at_which_the_code_takes_another_way():
    in_code = set()
    for path in (*(ROOT / "layers").rglob("*.py"), *(ROOT / "minigrad").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and ".size" in ast.unparse(node):
                numbers = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and type(n.value) is int]
                in_code |= {n for n in numbers if n > 100}
    assert in_code <= set(random_arrays.THRESHOLDS)
    rng = np.random.default_rng(0)
    sizes = Counter(int(np.prod(random_layers.draw_shape(rng, by_batch=False)[0])) for _ in range(3000))
    for threshold in random_arrays.THRESHOLDS:
        assert all(sizes[threshold + n] for n in (-1, 0, 1))
    assert max(sizes) > 2 * max(random_arrays.THRESHOLDS)


def test_everything_that_layers_offers_takes_part():
    ran = set()

    def note(frame, event, argument):
        if event == "call":
            ran.update((frame.f_code, type(frame.f_locals.get("self"))))

    sys.setprofile(note)
    try:
        for seed in range(20):
            call = random_layers.make(seed)._replace(bias=None, weight=None)
            if call.x.size < 1000:
                random_layers.by_minigrad(call)
                random_layers.by_formulas(call)
            if call.x.size < 1000 and call.by_batch:
                random_layers.compare_six_lines(call)
            training = random_training.make(seed)
            random_training.check_tools(random_training.Ours(training).model, training)
            random_training.Ours(training).step(training.batches[0], training.targets[0])
    finally:
        sys.setprofile(None)

    def took_part(thing):
        return (
            any(issubclass(t, thing) for t in ran if isinstance(t, type))
            if isinstance(thing, type)
            else thing.__code__ in ran
        )

    assert {name for name in layers.__all__ if not took_part(getattr(layers, name))} == set()


# Are the comparisons blind? Each of these mistakes has to be noticed.


def noticed(seeds, compare, enough=4):
    """Whether enough of the seeds disagree; tries no more then."""
    count = 0
    for seed in seeds:
        try:
            compare(seed)
        except Disagreement:
            count += 1
        if count == enough:
            return True
    return False


def exchange_equal_axes(y, channels_last):
    return y.swapaxes(1, 2) if y.ndim == 3 and not channels_last and y.shape[1] == y.shape[2] else y


def lose_the_last_row(y, channels_last):
    """As blocks would whose last one is cut off: only of large arrays, and only in the output."""
    return y * (np.arange(len(y)) < len(y) - 1).reshape(-1, *[1] * (y.ndim - 1)) if y.size > 65536 else y


def scale_the_gradient(y, channels_last):
    return mg.record("changed", y.data.copy(), (y,), (lambda g: g * 1.001,), "d_x = something else")


@pytest.mark.parametrize("mistake", [exchange_equal_axes, lose_the_last_row, scale_the_gradient])
def test_the_calls_notice(mistake, monkeypatch):
    right = layers.batch_norm

    def wrong(*arguments, channels_last):
        return mistake(right(*arguments, channels_last=channels_last), channels_last)

    monkeypatch.setattr(layers, "batch_norm", wrong)
    seeds = (seed for seed in CALLS if not random_layers.make(seed).as_layer)
    assert noticed(seeds, lambda seed: random_layers.compare(random_layers.make(seed), random_layers.by_formulas))


def test_the_calls_notice_a_running_variance_that_is_a_little_wrong(monkeypatch):
    right = layers.batch_norm

    def wrong(x, mean, var, weight, bias, training, *rest, **named):
        y = right(x, mean, var, weight, bias, training, *rest, **named)
        if var is not None and training:
            var *= 1.0001
        return y

    monkeypatch.setattr(layers, "batch_norm", wrong)
    seeds = (seed for seed in CALLS if not random_layers.make(seed).as_layer)
    assert noticed(seeds, lambda seed: random_layers.compare(random_layers.make(seed), random_layers.by_formulas))


@pytest.mark.parametrize("name", ["Linear", "BatchNorm1d", "Tanh", "Dropout", "Flatten"])
def test_the_trainings_notice_a_layer_that_loses_a_little_gradient(name, monkeypatch):
    right = getattr(layers, name).forward
    monkeypatch.setattr(getattr(layers, name), "forward", lambda self, x: lose_gradient(right(self, x)))
    assert noticed(
        TRAININGS, lambda seed: random_training.compare(random_training.make(seed), random_training.Plain), enough=2
    )


def lose_gradient(y):
    return mg.record("changed", y.data.copy(), (y,), (lambda g: g * 0.999,), "d_x = something else") if y.size else y


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("wrong", [lambda p, g: g * 1.0001, lambda p, g: g + 1e-6 * p], ids=["factor", "decay"])
def test_the_descents_notice_a_step_that_is_a_little_wrong(name, wrong, monkeypatch):
    right = getattr(random_training, name)

    class Wrong(right):
        def step(self):
            for p in self.params:
                p.grad = None if p.grad is None else wrong(p.data, p.grad)
            super().step()

    monkeypatch.setattr(random_training, name, Wrong)

    def compare(seed):
        return random_training.compare_descents(random_training.make_descent(seed), random_training.descend_plainly)

    assert noticed(DESCENTS, compare)
