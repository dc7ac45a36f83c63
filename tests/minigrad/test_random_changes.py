"""A few hundred random changes between forward and backward: the right gradient or an error, never a wrong gradient.

(random_changes.py tries 20,000.)
"""

from collections import Counter

import numpy as np
import pytest
import random_changes
from random_changes import HANDLES, HOLDERS, MOMENTS, OTHERS, WRITES, Change, Outcome

import minigrad as mg
from minigrad import Tensor

SEEDS = range(300)


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_random_change_backward_is_right_or_raises(seed):
    verdict, text = random_changes.judge(seed)
    assert verdict != "WRONG", text


# Each way to change something, on its own: `w * w` needs w's old values.


def leaf():
    return Tensor(np.array([[2.0, 3.0, 1.0], [0.5, -1.5, 4.0], [-1.0, 0.25, -2.0]]), requires_grad=True, name="w")


@pytest.mark.parametrize("handle", HANDLES)
def test_a_write_is_noticed_that_goes_through(handle):
    w = leaf()
    loss = (w * w).sum()
    try:
        HANDLES[handle](w)[...] = 5
    except ValueError as refusal:
        assert "read-only" in str(refusal)
    if np.array_equal(w.data, leaf().data):
        assert "clip" in handle or "copy" in handle or "dlpack" in handle  # these may give an array of their own
        loss.backward()
        assert np.array_equal(w.grad, 2 * leaf().data)
    else:
        with pytest.raises(RuntimeError, match="tensor 'w' was changed"):
            loss.backward()


@pytest.mark.parametrize("write", WRITES)
def test_a_change_is_noticed_that_is_made_by(write):
    w = leaf()
    loss = (w * w).sum()
    WRITES[write](w.data, np.random.default_rng(0))
    assert not np.array_equal(w.data, leaf().data)
    with pytest.raises(RuntimeError, match="tensor 'w' was changed"):
        loss.backward()


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_change_is_noticed_of_an_array_that_is_kept_in_a(holder):
    w, v = leaf(), leaf()
    loss = random_changes.own_multiply(HOLDERS[holder])(w, v).sum()
    w.data[0, 0] = 5
    with pytest.raises(RuntimeError, match="tensor 'w' was changed"):
        loss.backward()


@pytest.mark.parametrize("holder", HOLDERS)
def test_without_a_change_the_gradient_is_right_of_an_array_that_is_kept_in_a(holder):
    w, v = leaf(), leaf()
    random_changes.own_multiply(HOLDERS[holder])(w, v).sum().backward()
    assert np.array_equal(w.grad, v.data)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("moment", sorted(set(MOMENTS)))
def test_the_gradient_is_right_or_there_is_an_error_after(other, moment):
    for seed in range(4):
        verdict, text = random_changes.judge(seed, Change(moment, (other,), 0.5))
        assert verdict != "WRONG", text


@pytest.mark.parametrize("moment", sorted(set(MOMENTS)))
@pytest.mark.parametrize("other", ["nothing", "pickled", "copy.deepcopy(t)", "copy.deepcopy(weights)", "requires_grad"])
def test_no_error_after(other, moment):
    for seed in range(10):
        verdict, text = random_changes.judge(seed, Change(moment, (other,), 0.5))
        assert verdict.startswith("right"), text


# Is the generator blind?


def test_without_the_guard_many_gradients_are_wrong():
    counts = Counter(random_changes.judge(seed, guarded=False)[0] for seed in range(200))
    assert counts["WRONG"] > 20
    assert not any("error" in verdict for verdict in counts)


@pytest.mark.parametrize("moment", sorted(set(MOMENTS)))
@pytest.mark.parametrize("other", ["t.data -= 0.5", "load_state_dict", "optimizer.step()", "copy.copy(t)"])
def test_without_the_guard_it_finds_a_wrong_gradient_after(other, moment):
    changes = (random_changes.judge(seed, Change(moment, (other,), 0.1), guarded=False)[0] for seed in range(100))
    assert "WRONG" in changes


def test_it_finds_a_wrong_gradient_for_one_operation_that_the_guard_forgets(monkeypatch):
    """A multiplication that looks its operands up only in backward, when another array may be in the place of one."""

    def multiply(x, y):
        value = np.multiply(x.data, y.data)
        vjps = (lambda g: g * np.asarray(y.detach()), lambda g: g * np.asarray(x.detach()))
        return mg.record("multiply", value, (mg.add(x, 0), mg.add(y, 0)), vjps, "d_x = g * y, d_y = g * x")

    monkeypatch.setitem(random_changes.random_programs.MINIGRAD, "multiply", multiply)
    changes = (random_changes.judge(s, Change("between", ("t.data = other",), 0))[0] for s in range(200))
    assert "WRONG" in changes


def test_it_tells_needed_errors_from_needless_ones(monkeypatch):
    right = random_changes.run_changed

    def always_raises(seed, change, guarded):
        return Outcome(None, RuntimeError("changed")) if guarded else right(seed, change, guarded)

    monkeypatch.setattr(random_changes, "run_changed", always_raises)
    assert random_changes.judge(0, Change("between", ("nothing",), 0))[0] == "error, needless"
    verdicts = Counter(random_changes.judge(s, Change("between", ("t.data -= 0.5",), 0))[0] for s in range(50))
    assert set(verdicts) == {"error, needed", "error, needless"}


def test_an_error_other_than_runtimeerror_counts_as_wrong(monkeypatch):
    monkeypatch.setattr(random_changes, "run_changed", lambda *_: Outcome(None, TypeError("ValueError instead")))
    assert random_changes.judge(0)[0] == "WRONG"


def test_every_way_to_change_something_is_drawn():
    changes = [random_changes.draw(seed) for seed in range(4000)]
    names = {name for change in changes for name in change.names}
    assert names == {*OTHERS, *HANDLES, *WRITES}
    assert {change.moment for change in changes} == set(MOMENTS)


def test_every_operation_and_a_layer_take_part():
    scenes = [random_changes.Scene(seed) for seed in SEEDS]
    used = {step.operation for scene in scenes for step in scene.program.steps}
    assert set(mg.ops.__all__) | {"linear", "batch_norm", "cross_entropy", "mse_loss"} <= used
    assert {scene.holder for scene in scenes} == {"", *HOLDERS}
    assert sum(bool(scene.norms) for scene in scenes) > 20
    assert any(scene.unpickled for scene in scenes)
