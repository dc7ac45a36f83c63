"""The tape: what is recorded, the walk back, how long it lives, how it is printed and stepped through."""

import asyncio
import gc
import re
import subprocess
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from run_lesson import TIMEOUT

import minigrad as mg
from minigrad import Tensor, gradcheck, no_grad, record


def leaf(values, name=None):
    return Tensor(np.array(values, dtype=float), requires_grad=True, name=name)


# Gradients flow to every leaf.


def test_gradients_of_all_uses_add_up():
    x = leaf([1.0, 2.0])
    (x * x + 3 * x + x).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * x.data + 4)


@pytest.mark.parametrize("operation", [lambda x: x + x, lambda x: x * x, lambda x: x - x, lambda x: x / x])
def test_both_operands_may_be_the_same_tensor(operation):
    assert gradcheck(operation, leaf([1.0, 2.0]))


def test_a_diamond_sends_both_ways_before_it_goes_on():
    x = leaf([0.5, -1.5])

    def diamond(x):
        top = x * x
        left, right = top.exp(), top.tanh()
        return left * right + top

    assert gradcheck(diamond, x)


def test_diamonds_in_a_row_do_not_double_the_work():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2**60 paths, 60 entries
        y = y + y
    y.backward()
    assert x.grad == 2.0**60


def test_an_early_result_used_late_waits_for_all_its_gradients():
    x = leaf(2.0)
    early = x * 3
    late = early
    for _ in range(5):
        late = late * 2
    (late * early).backward()
    assert x.grad == 2 * 32 * 9 * 2


def test_a_gradient_sent_to_two_is_not_changed_by_what_reaches_one_of_them_later():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    a, b = x + 0, y + 0
    c = a * 10
    ((a + b) + c).sum().backward()
    np.testing.assert_array_equal(x.grad, [11, 11])
    np.testing.assert_array_equal(y.grad, [1, 1])


def test_several_leaves_each_get_their_gradient():
    a, b, c = leaf([1.0, 2.0]), leaf(3.0), leaf([[4.0], [5.0]])
    assert gradcheck(lambda a, b, c: (a * b + c) / (b + c), (a, b, c))


def test_leaves_that_the_result_does_not_depend_on_get_nothing():
    x, other = leaf([1.0]), leaf([2.0])
    unused = other * x
    (x * 2).sum().backward()
    assert other.grad is None
    assert unused.grad is None


def test_an_intermediate_result_keeps_no_gradient_unless_asked():
    x = leaf([1.0, 2.0])
    y = x * 2
    y.sum().backward()
    assert y.grad is None


def test_retain_grad_keeps_the_gradient_of_an_intermediate_result():
    x = leaf([1.0, 2.0])
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.grad, 2 * y.data)
    np.testing.assert_array_equal(x.grad, 8 * x.data)


def test_retain_grad_keeps_the_gradient_of_the_last_result_too():
    loss = (leaf([1.0, 2.0]) * 2).sum()
    loss.retain_grad()
    loss.backward()
    assert loss.grad == 1


def test_retain_grad_is_refused_where_no_gradient_arrives():
    with pytest.raises(RuntimeError, match=r"retain_grad.*'x'"):
        Tensor([1.0], name="x").retain_grad()


def test_gradients_add_up_over_backward_calls_until_zero_grad():
    x = leaf([1.0, 2.0])
    for _ in range(3):
        (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 6 * x.data)
    x.zero_grad()
    assert x.grad is None
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * x.data)


def test_nothing_flows_through_detach():
    x = leaf([1.0, 2.0])
    y = x * x
    (y.detach() * x + y * 0).sum().backward()
    np.testing.assert_array_equal(x.grad, x.data**2)


# backward() and its argument.


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_backward_of_a_single_value_needs_no_gradient(shape):
    x = leaf(np.full(shape, 3.0))
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, np.full(shape, 6.0))


@pytest.mark.parametrize("wrap", [list, np.array, Tensor, leaf])
def test_backward_takes_the_gradient_as_anything_array_like(wrap):
    x = leaf([1.0, 2.0])
    (x * x).backward(wrap([10.0, 100.0]))
    np.testing.assert_array_equal(x.grad, [20, 400])


def test_backward_of_a_leaf_gives_it_the_gradient_itself():
    x = leaf([1.0, 2.0])
    x.backward([3.0, 4.0])
    x.backward([3.0, 4.0])
    np.testing.assert_array_equal(x.grad, [6, 8])


def test_several_values_without_a_gradient_are_refused():
    y = leaf([1.0, 2.0]) * 2
    y.name = "y"
    with pytest.raises(RuntimeError, match=r"'y'.*2 values"):
        y.backward()


@pytest.mark.parametrize("gradient", [1.0, [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_a_gradient_of_another_shape_is_refused(gradient):
    x = leaf([1.0, 2.0])
    y = x * 2
    with pytest.raises(ValueError, match=r"takes shape \(2,\), got"):
        y.backward(gradient)
    y.backward([1.0, 1.0])  # the refusal has not used the tape
    np.testing.assert_array_equal(x.grad, [2, 2])


@pytest.mark.parametrize("make", [lambda: Tensor(1.0), lambda: Tensor(1.0) * 2, lambda: leaf(1.0).detach()])
def test_backward_is_refused_where_nothing_requires_a_gradient(make):
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        make().backward()


def test_backward_of_what_no_grad_computed_is_refused():
    with mg.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="no_grad"):
        y.backward()


# A tape is used once.


def test_a_second_backward_through_a_released_tape_raises():
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="released"):
        loss.backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_two_losses_that_share_a_trunk_can_be_added_up():
    x = leaf([1.0, 2.0])
    trunk = x * x
    (trunk.sum() + (3 * trunk).sum()).backward()
    np.testing.assert_array_equal(x.grad, [8, 16])


def test_the_second_of_two_losses_that_share_a_trunk_finds_it_released():
    x, w = leaf([1.0, 2.0]), leaf(3.0)
    trunk = x * x
    trunk.name = "trunk"
    first, second = trunk.sum(), (w * trunk).sum()
    first.backward()
    with pytest.raises(RuntimeError, match=r"'trunk'.*released"):
        second.backward()
    assert w.grad is None
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_two_losses_that_share_only_leaves_are_independent():
    x = leaf([1.0, 2.0])
    first, second = (x * x).sum(), (3 * x).sum()
    first.backward()
    second.backward()
    np.testing.assert_array_equal(x.grad, [5, 7])


def test_values_stay_usable_after_backward():
    x = leaf([1.0, 2.0])
    y = x * x
    y.sum().backward()
    np.testing.assert_array_equal(y.data, [1, 4])
    with pytest.raises(RuntimeError, match="released"):
        (y * 2).sum().backward()


# A gradient that nobody needs is never computed.


def refuse(g):
    raise AssertionError("this gradient was not asked for")


def test_the_rule_of_a_constant_input_never_runs():
    w, x = leaf([1.0, 2.0]), Tensor([3.0, 4.0])
    record("times", w.data * x.data, (w, x), (lambda g: g * x.data, refuse), "").backward([1.0, 1.0])
    np.testing.assert_array_equal(w.grad, [3, 4])
    assert x.grad is None


def test_a_rule_for_all_inputs_is_told_which_are_needed():
    told = []

    def vjp(g, needs):
        told.append(list(needs))
        return g, None, None, g

    inputs = (leaf([1.0]), Tensor([1.0]), 5.0, leaf([1.0]))
    record("custom", np.array([0.0]), inputs, vjp, "").sum().backward()
    assert told == [[True, False, False, True]]


def test_a_frozen_weight_gets_no_gradient():
    w, frozen = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    frozen.requires_grad = False
    (w * frozen).sum().backward()
    assert frozen.grad is None
    np.testing.assert_array_equal(w.grad, [3, 4])


def test_what_is_computed_from_constants_is_not_on_the_tape():
    x = Tensor([1.0, 2.0])
    result = (x * x).exp() * leaf([1.0, 1.0])
    assert [entry.op for entry in result.tape()] == ["multiply"]


# Every .grad has memory of its own.


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, y: x.reshape(4) + y.reshape(4),
        lambda x, y: x.T + y.T,
        lambda x, y: mg.stack([x, y]).sum(axis=0),
        lambda x, y: mg.concatenate([x, y]),
        lambda x, y: x.broadcast_to((3, 2, 2)) + y,
        lambda x, y: (x + y) + (x + y),
        lambda x, y: mg.where([True, False], x, y),
        lambda x, y: record("one array for both", x.data + y.data, (x, y), lambda g, needs: [+g] * 2, ""),
    ],
)
def test_editing_one_gradient_never_changes_another(combine):
    x, y = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf([[5.0, 6.0], [7.0, 8.0]])
    result = combine(x, y)
    result.retain_grad()
    given = np.ones(result.shape)
    result.backward(given)
    others = [y.grad.copy(), result.grad.copy(), given.copy(), x.data.copy()]
    x.grad[...] = 99
    for array, before in zip([y.grad, result.grad, given, x.data], others, strict=True):
        np.testing.assert_array_equal(array, before)


def test_editing_the_given_gradient_does_not_change_a_leafs():
    x = leaf([1.0, 2.0])
    given = np.array([1.0, 1.0])
    x.backward(given)
    given[...] = 99
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_editing_a_kept_gradient_does_not_change_what_flows_on():
    x = leaf([1.0, 2.0])
    y = x + 0
    z = y + 0
    for tensor in (y, z):
        tensor.retain_grad()
    z.sum().backward()
    z.grad[...] = 99
    np.testing.assert_array_equal(y.grad, [1, 1])
    y.grad[...] = 99
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_a_gradient_is_an_array_also_for_a_single_value():
    x = leaf(3.0)
    (x * x).backward()
    assert isinstance(x.grad, np.ndarray)
    x.grad[...] = 0
    assert x.grad == 0


# Long tapes, and how long they live.


@pytest.fixture
def without_gc():
    """Switches the cycle collector off, so that only what has no reference cycle is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chain(x, length):
    for _ in range(length):
        x = x * 1.0
    return x


@pytest.mark.slow
def test_a_chain_of_100000_operations_goes_backward():
    x = leaf([1.0, 2.0])
    y = chain(x, 100_000)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


@pytest.mark.slow
def test_an_unused_chain_of_100000_operations_is_freed(without_gc):
    y = chain(leaf([1.0]), 1)
    first = weakref.ref(y)
    y = chain(y, 100_000)
    del y
    assert first() is None


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x * x + 1,
        lambda x: x @ x,
        lambda x: x.reshape(4)[:2],
        lambda x: x.softmax().max(axis=0),
        lambda x: mg.concatenate([x, x]),
        lambda x: mg.where(x > 0, x, 0.0),
        lambda x: x.var(),
    ],
)
@pytest.mark.parametrize("backward", [False, True], ids=["unused", "after backward"])
def test_a_result_is_freed_when_it_is_dropped(operation, backward, without_gc):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    middle = x * 2
    result = operation(middle)
    if backward:
        result.backward(np.ones(result.shape))
    references = [weakref.ref(middle), weakref.ref(result)]
    del middle, result
    assert [reference() for reference in references] == [None, None]


def test_a_printed_and_stepped_tape_is_freed_when_it_is_dropped(without_gc):
    x = leaf([1.0, 2.0])
    middle = x * 2
    tape = middle.sum().tape()
    assert str(tape)
    steps = list(tape.steps())
    reference = weakref.ref(middle)
    del middle, tape, steps
    assert reference() is None


def test_backward_lets_go_of_what_only_the_tape_held(without_gc):
    x = leaf([1.0, 2.0])
    middle = x * 2
    reference = weakref.ref(middle)
    loss = (middle * middle).sum()
    del middle
    assert reference() is not None
    loss.backward()
    assert reference() is None


@pytest.mark.slow
def test_20000_training_steps_hold_no_more_memory_than_a_few(without_gc):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    w, b = leaf(rng.normal(size=(3, 1))), leaf(0.0)
    optimizer = mg.optim.SGD([w, b], lr=0.01, momentum=0.9)

    def train(steps):
        for _ in range(steps):
            error = (x @ w + b).tanh() - y
            loss = (error * error).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    train(18_000)
    objects = len(gc.get_objects())
    tracemalloc.start()
    train(100)
    before, _ = tracemalloc.get_traced_memory()
    train(1900)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000  # a leak of one small array a step would be twice as much or more
    assert len(gc.get_objects()) - objects < 500  # and one of an object a step, four times


# no_grad.


def records():
    return (leaf(1.0) * 2).requires_grad


def test_no_grad_records_nothing_inside_and_again_after():
    with mg.no_grad():
        assert not records()
    assert records()


def test_a_leaf_made_under_no_grad_may_require_gradients():
    with mg.no_grad():
        x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_backward_works_under_no_grad():
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    with mg.no_grad():
        loss.backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_no_grad_can_be_nested():
    with mg.no_grad():
        with mg.no_grad():
            assert not records()
        assert not records()
    assert records()


def test_one_no_grad_can_be_entered_again_and_inside_itself():
    off = mg.no_grad()
    for _ in range(2):
        with off:
            with off:
                assert not records()
            assert not records()
        assert records()


def test_no_grad_ends_with_an_exception():
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert records()


def test_no_grad_decorates_a_function():
    @mg.no_grad()
    def evaluate(value, scale=1):
        """Doc."""
        return value * scale, records()

    assert (evaluate.__name__, evaluate.__doc__) == ("evaluate", "Doc.")
    assert evaluate(3, scale=2) == (6, False)
    assert records()


def test_a_decorated_function_may_call_itself():
    @mg.no_grad()
    def count(n):
        return [records()] if n == 0 else [records(), *count(n - 1)]

    assert count(2) == [False, False, False]
    assert records()


def test_a_decorated_function_may_raise():
    @mg.no_grad()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert records()


def in_a_thread(function):
    """What ``function`` returns when another thread runs it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout=TIMEOUT)


def test_no_grad_holds_in_its_own_thread_only():
    with mg.no_grad():
        assert in_a_thread(records)
        assert not records()


def test_a_thread_that_stays_in_no_grad_does_not_switch_off_others():
    def stay():
        mg.no_grad().__enter__()
        return records()

    assert in_a_thread(stay) is False
    assert records()


def test_a_decorated_function_may_run_in_two_threads_at_once():
    trainer_entered, evaluator_entered, trainer_left = threading.Event(), threading.Event(), threading.Event()

    @mg.no_grad()
    def work(entered, may_leave):
        entered.set()
        assert may_leave.wait(timeout=TIMEOUT)

    def train():
        work(trainer_entered, evaluator_entered)
        still_recording = records()
        trainer_left.set()
        return still_recording

    def evaluate():
        assert trainer_entered.wait(timeout=TIMEOUT)
        with mg.no_grad():
            work(evaluator_entered, trainer_left)
        return records()

    with ThreadPoolExecutor(2) as pool:
        trainer, evaluator = pool.submit(train), pool.submit(evaluate)
        assert trainer.result(timeout=TIMEOUT)
        assert evaluator.result(timeout=TIMEOUT)


def test_two_threads_can_train_at_once():
    def train(_):
        w = leaf([1.0, -2.0])
        for _ in range(300):
            w.zero_grad()
            (w * w).sum().backward()
            with mg.no_grad():
                w -= 0.01 * w.grad
        return w.data.tolist()

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(train, range(2), timeout=TIMEOUT))
    assert results == [train(0)] * 2


# The tape as a thing to look at.


def cells(tape):
    """The printed table as a list of rows, without the line under the heading."""
    heading, line, *rows, legend = str(tape).splitlines()
    assert set(line) == {"-"}
    assert legend.startswith("g: gradient of the result")
    return [re.split(r"\s{2,}", row) for row in (heading, *rows)]


def test_a_printed_tape_is_a_numbered_table():
    x, b = leaf([1.0, 2.0], name="x"), leaf(3.0, name="b")
    loss = (x * x + b).sum()
    loss.name = "loss"
    assert cells(loss.tape()) == [
        ["#", "result", "operation", "inputs", "shape", "rule"],
        ["1", "%1", "multiply", "x, x", "(2,)", "d_x = g * y, d_y = g * x"],
        ["2", "%2", "add", "%1, b", "(2,)", "d_x = g, d_y = g"],
        ["3", "loss", "sum", "%2", "()", "d_x = g, to every term of the sum"],
    ]


def test_operands_without_a_name_are_told_apart():
    x, y, w = leaf([1.0, 2.0]), leaf([3.0, 4.0]), leaf([1.0, 1.0], name="w")
    constant, data = Tensor([5.0, 6.0], name="data"), np.ones((3, 2))
    rows = cells((w * x * y * constant + data - 2.5 + x).tape())
    assert [row[3] for row in rows[1:]] == [
        "w, leaf1",
        "%1, leaf2",
        "%2, data",
        "%3, constant(3, 2)",
        "%4, 2.5",
        "%5, leaf1",
    ]


def test_different_tensors_of_one_name_are_told_apart():
    first, second = leaf([1.0], name="w"), leaf([2.0], name="w")
    third = first * second
    third.name = "w"
    names = [name for row in cells((third + first).tape())[1:] for name in row[3].split(", ")]
    assert names[0] == names[3]
    assert len(set(names)) == 3
    assert all(name.startswith("w") for name in names)


def test_a_constant_that_requires_gradients_later_can_still_be_printed():
    x, w = Tensor([1.0, 2.0]), leaf([1.0, 2.0], name="w")
    y = x * w
    x.requires_grad = True
    assert "multiply" in str(y.tape())


def test_a_tape_has_the_entries_of_its_result_in_the_order_of_recording():
    x = leaf([1.0, 2.0])
    other = x.exp()
    a = x.tanh()
    b = x * 2
    result = a * b
    tape = result.tape()
    assert isinstance(tape, mg.Tape)
    assert len(tape) == 3
    assert [entry.op for entry in tape] == ["tanh", "multiply", "multiply"]
    assert [entry.number for entry in tape] == sorted(entry.number for entry in tape)
    assert [entry.op for entry in other.tape()] == ["exp"]


def test_an_entry_tells_its_operation_inputs_needs_and_rule():
    x = leaf([1.0, 2.0])
    (entry,) = (x * 3.0).tape()
    assert isinstance(entry, mg.Entry)
    assert (entry.op, entry.rule) == ("multiply", "d_x = g * y, d_y = g * x")
    assert entry.inputs[0] is x
    assert entry.inputs[1] == 3.0
    assert list(entry.needs) == [True, False]
    assert "multiply" in repr(entry)
    assert entry.rule in repr(entry)


@pytest.mark.parametrize("make", [lambda: leaf([1.0]), lambda: Tensor([1.0]), lambda: Tensor([1.0]) + 1])
def test_what_was_not_recorded_has_an_empty_tape(make):
    tape = make().tape()
    assert len(tape) == 0
    assert list(tape) == []
    assert "operation" in str(tape)


def test_the_tape_of_a_released_result_is_refused():
    loss = (leaf([1.0, 2.0]) * 2).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="released"):
        loss.tape()


def test_a_slice_of_a_tape_is_a_part_of_it_with_the_same_numbers_and_names():
    x = leaf([1.0, 2.0], name="x")
    tape = (((x * 2) + x).exp() - 1).tape()
    part = tape[1:3]
    assert isinstance(part, mg.Tape)
    assert list(part) == list(tape)[1:3]
    assert part[0] is tape[1]
    assert cells(part)[1:] == cells(tape)[2:4]
    assert [step.number for step in part.steps([1.0, 1.0])] == [3, 2]
    with pytest.raises(ValueError, match="stride"):
        tape[::2]


def test_the_steps_of_a_part_bring_the_gradients_of_the_whole_tape():
    whole, part = leaf(2.0), leaf(2.0)
    list((((whole * 3) + whole).exp()).tape().steps())
    list((((part * 3) + part).exp()).tape()[1:2].steps())
    assert part.grad == whole.grad


def test_every_primitive_says_its_rule():
    x = leaf([[0.5, 1.5], [2.5, 3.5]])
    results = [x + x, x @ x, x.exp(), x.clip(0, 1), x.softmax(), x.var(), x.max(), x.T, x[0], mg.stack([x, x])]
    for result in results:
        (entry,) = result.tape()
        assert "d" in entry.rule
        assert "=" in entry.rule


# Backward in slow motion.


def net(x, w, b):
    return ((x @ w + b).tanh() ** 2).sum()


def leaves():
    rng = np.random.default_rng(0)
    return leaf(rng.normal(size=(4, 3)), "x"), leaf(rng.normal(size=(3, 2)), "w"), leaf(rng.normal(size=2), "b")


def test_stepping_to_the_end_gives_the_gradients_of_backward():
    stepped, walked = leaves(), leaves()
    list(net(*stepped).tape().steps())
    net(*walked).backward()
    for a, b in zip(stepped, walked, strict=True):
        np.testing.assert_array_equal(a.grad, b.grad)


def test_steps_take_a_gradient_as_backward_does():
    stepped, walked = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    list((stepped * stepped).tape().steps([10.0, 100.0]))
    (walked * walked).backward([10.0, 100.0])
    np.testing.assert_array_equal(stepped.grad, walked.grad)


def test_steps_start_with_the_last_entry():
    tape = net(*leaves()).tape()
    steps = list(tape.steps())
    assert [step.entry for step in steps] == list(tape)[::-1]
    assert [step.number for step in steps] == [5, 4, 3, 2, 1]


def test_a_step_prints_its_operation_its_rule_and_its_gradients():
    x = leaf([1.0, 2.0], name="x")
    last, first = (x * 3).sum().tape().steps()
    assert str(last).splitlines()[0] == "2: %2 = sum(%1)"
    assert "d_x = g, to every term of the sum" in str(last)
    assert "to %1  [1., 1.]" in str(last)
    assert str(first).splitlines()[0] == "1: %1 = multiply(x, 3)"
    assert "g = [1., 1.]" in str(first)
    assert "to x  [3., 3.]   so far [3., 3.]" in str(first)


@pytest.mark.parametrize(
    ("operation", "letters"),
    [
        (lambda w: w + 2, "x is w, y is 2"),
        (lambda w: 2 - w, "x is 2, y is w"),
        (lambda w: mg.where([True], 1.0, w), "x is 1, y is w"),
        (lambda w: w.exp(), "x is w, y is %1"),
        (lambda w: w.mean(), "x is w"),
    ],
)
def test_a_step_says_what_the_letters_of_its_rule_stand_for(operation, letters):
    (step,) = operation(leaf([3.0], name="w")).tape().steps([1.0] if operation(leaf([3.0])).ndim else None)
    assert f"where {letters}" in str(step)
    assert str(step).split("where ")[-1].splitlines()[0] == letters


def test_a_step_shows_what_its_entry_saved():
    w = leaf([1.0, 2.0], name="w")
    product, _ = (w * w * [3.0, 4.0]).tape().steps([1.0, 1.0])
    assert "saved    y = [3., 4.]" in str(product)
    assert "saved    x" not in str(product)  # nobody needs the gradient of the constant


def test_a_step_shows_what_a_joint_rule_saved():
    x = leaf([1.0, 2.0])
    result = record("twice", x.data * 2, (x,), lambda g, needs, half: [g / half], "d_x = 2 * g", saved=(np.array(0.5),))
    assert "saved    half = 0.5" in str(*result.tape().steps([1.0, 1.0]))


def test_a_step_of_a_large_array_prints_one_line_for_it():
    x = leaf(np.ones((100, 100)), name="x")
    step = next(x.sum().tape().steps())
    assert "shape (100, 100), norm 100, from 1 to 1" in str(step)


def test_a_step_tells_what_has_reached_an_input_so_far():
    x = leaf(2.0, name="x")
    steps = list((x * 3 + x * 4).tape().steps())
    assert [(name, float(total)) for step in steps[1:] for name, _, _, total in step.sent] == [("x", 4), ("x", 7)]


def test_a_leafs_gradient_is_there_as_soon_as_its_step_is_done():
    x, y = leaf(2.0), leaf(3.0)
    steps = ((x * 2) * y).tape().steps()
    next(steps)
    assert y.grad == 4
    assert x.grad is None
    next(steps)
    assert x.grad == 6


def test_editing_a_step_does_not_change_the_gradients():
    x = leaf([1.0, 2.0])
    for step in ((x + 1) + 1).tape().steps([1.0, 1.0]):
        step.gradient[...] = 99
        for _, _, sent, total in step.sent:
            sent[...] = 99
            total[...] = 99
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_a_step_says_which_inputs_had_a_gradient_before():
    x, y = leaf([1.0]), leaf([2.0])
    x.grad = np.array([1.0])
    last, product = (x * y + y).tape().steps()
    assert last.added == [False, False]
    assert product.added == [True, True]


def test_stepping_does_not_release_the_tape():
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    list(loss.tape().steps())
    loss.backward()
    np.testing.assert_array_equal(x.grad, [4, 8])


def test_a_kept_tape_can_be_printed_and_stepped_after_backward():
    x = leaf([1.0, 2.0], name="x")
    loss = (x * x).sum()
    tape = loss.tape()
    printed = str(tape)
    loss.backward()
    assert str(tape) == printed
    x.zero_grad()
    assert len(list(tape.steps())) == 2
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_steps_keep_retained_gradients():
    x = leaf([1.0, 2.0])
    y = x * 2
    y.retain_grad()
    list((y * y).sum().tape().steps())
    np.testing.assert_array_equal(y.grad, 2 * y.data)


def test_the_steps_of_a_leaf_are_none_and_give_it_its_gradient():
    x = leaf([1.0, 2.0])
    assert list(x.tape().steps([3.0, 4.0])) == []
    np.testing.assert_array_equal(x.grad, [3, 4])


@pytest.mark.parametrize(("gradient", "error"), [(None, RuntimeError), ([1.0], ValueError)])
def test_steps_refuse_what_backward_refuses(gradient, error):
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises(error, match="backward"):
        list(y.tape().steps(gradient))


async def an_asynchronous_function():
    return 1


async def an_asynchronous_generator():
    yield 1


@pytest.mark.parametrize("function", [an_asynchronous_function, an_asynchronous_generator])
def test_no_grad_refuses_to_decorate_what_runs_later(function):
    with pytest.raises(TypeError, match=r"`with no_grad\(\):` inside"):
        no_grad()(function)


def test_no_grad_holds_in_its_own_asynchronous_task_only():
    w = leaf([1.0])

    async def pause():
        with no_grad():
            await asyncio.sleep(0)
            return (w * 2).requires_grad

    async def record_meanwhile():
        return (w * 2).requires_grad

    async def both():
        return await asyncio.gather(pause(), record_meanwhile())

    assert asyncio.run(both()) == [False, True]


def test_a_name_that_is_no_text_is_shown_as_one():
    x = Tensor([1.0], requires_grad=True, name=5)
    assert "5, 5" in str((x * x).tape())


def test_an_entry_takes_no_more_memory_than_its_seven_parts():
    x = leaf([1.0])
    assert not hasattr((x * x).tape().entries[0], "__dict__")


# One function for the gradients of all inputs.


def test_a_joint_rule_runs_once_for_each_gradient():
    calls = []

    def joint(g, needs, a, b):
        calls.append(list(needs))
        return g * b, g * a

    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    result = record("product", x.data * y.data, (x, y), joint, "d_x = g * y, d_y = g * x", saved=(x.data, y.data))
    tape = result.tape()
    for g in ([1.0, 1.0], [10.0, 100.0]):
        x.zero_grad()
        y.zero_grad()
        list(tape.steps(g))
        np.testing.assert_array_equal(x.grad, y.data * g)
        np.testing.assert_array_equal(y.grad, x.data * g)
    assert calls == [[True, True]] * 2


@pytest.mark.parametrize("gradients", [0, 1, 3])
def test_a_joint_rule_must_return_a_gradient_for_each_input(gradients):
    x, y = leaf([1.0]), leaf([2.0])
    result = record("pair", x.data + y.data, (x, y), lambda g, needs: [g] * gradients, "d_x = ...")
    with pytest.raises(ValueError, match=f"the vjp of 'pair' must return 2 gradients, got {gradients}"):
        result.backward()


def test_a_joint_rule_lets_go_of_its_gradients():
    arrays = []

    def joint(g, needs):
        arrays.append(weakref.ref(d := np.ones(3)))
        return g * 1, d

    x, y = leaf([1.0, 2.0, 3.0]), leaf([1.0, 2.0, 3.0])
    result = record("pair", x.data + y.data, (x, y), joint, "d_x = ...")
    tape = result.tape()
    result.backward(np.ones(3))
    y.zero_grad()
    assert arrays[0]() is None
    assert len(tape) == 1


def test_a_rule_that_returns_what_it_saved_gives_gradients_of_their_own():
    c, x, z = np.array([1.0, 2.0]), leaf([2.0, 3.0]), leaf([2.0, 3.0])
    record("dot", np.array(13.0), (x, z), (lambda g, c: c, lambda g, c: c), "d = c", saved=(c,)).backward()
    x.grad *= 0
    np.testing.assert_array_equal(c, [1, 2])
    np.testing.assert_array_equal(z.grad, [1, 2])


@pytest.mark.parametrize("saved", [np.ones(2), [np.ones(2)], ({"a": np.ones(2)},), (leaf([1.0]),), (np.ones,)])
def test_saved_must_be_a_tuple_of_arrays(saved):
    with pytest.raises(TypeError, match=r"record\('twice'\): saved must be a tuple of arrays"):
        record("twice", np.array([2.0]), (leaf([1.0]),), (lambda g, *a: 2 * g,), "d_x = 2 * g", saved=saved)


def test_a_gradient_with_an_axis_too_many_is_refused_even_if_it_could_be_summed():
    x = leaf([0.0, 1.0, 2.0])
    y = record("twice", x.data * 2, (x,), (lambda g: g[:, None] * np.ones(3) * 2,), "d_x = 2 * g")
    with pytest.raises(ValueError, match=r"of shape \(3,\) for input 0, got shape \(3, 3\)"):
        y.backward(np.ones(3))


@pytest.mark.parametrize(
    "use",
    [
        lambda b: Tensor(np.ones((5000, 3), np.float16)) + b,
        lambda b: b.broadcast_to((5000, 3)),
        lambda b: b.reshape(1, 3)[np.zeros(5000, int)],
    ],
)
def test_a_float16_gradient_is_summed_over_copies_in_float32(use):
    b = Tensor(np.zeros(3, np.float16), requires_grad=True)
    use(b).backward(np.ones((5000, 3), np.float16))
    assert b.grad.dtype == np.float16
    np.testing.assert_array_equal(b.grad, [5000] * 3)


def test_what_is_detached_keeps_no_tape_alive(without_gc):
    w = leaf(np.ones(10))
    h = w * 2
    gone = weakref.ref(h)
    detached = (h * 3).detach()
    del h
    assert gone() is None
    assert detached.data[0] == 6


def test_no_grad_that_ends_in_another_thread_switches_off_nothing_there():
    w = leaf([1.0])

    def paused():
        with no_grad():
            yield

    generator = paused()
    next(generator)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(generator.close).result(timeout=TIMEOUT)
        assert pool.submit(lambda: (w * 2).requires_grad).result(timeout=TIMEOUT)
    no_grad().__exit__()  # here it never ended
    assert (w * 2).requires_grad


# What record and backward refuse in an operation of one's own.


@pytest.mark.parametrize(
    ("value", "inputs", "vjp", "error", "message"),
    [
        (2.0, 1, (lambda g: g,), TypeError, "value must be a NumPy array, got float"),
        ([2.0], 1, (lambda g: g,), TypeError, "value must be a NumPy array, got list"),
        (Tensor([2.0]), 1, (lambda g: g,), TypeError, "value must be a NumPy array, got Tensor"),
        (np.array([2]), 1, (lambda g: g,), TypeError, "must be floating point, got int64"),
        (np.array([2j]), 1, (lambda g: g,), TypeError, "must be floating point, got complex128"),
        (np.array([2.0]), 1, [lambda g: g], TypeError, "vjps must be a tuple of functions.*got list"),
        (np.array([2.0]), 1, (), ValueError, "1 inputs need as many vjps .*got 0"),
        (np.array([2.0]), 2, (lambda g: g,), ValueError, "2 inputs need as many vjps .*got 1"),
        (np.array([2.0]), 1, (lambda g: g, lambda g: g), ValueError, "1 inputs need as many vjps .*got 2"),
    ],
)
def test_record_refuses_at_once_what_backward_could_not_use(value, inputs, vjp, error, message):
    with pytest.raises(error, match=rf"record\('twice'\).*{message}"):
        record("twice", value, (leaf([1.0]),) * inputs, vjp, "d_x = 2 * g")


def test_record_refuses_inputs_that_are_no_tuple():
    with pytest.raises(TypeError, match=r"inputs must be a tuple, such as \(x,\), got Tensor"):
        record("twice", np.array([2.0]), leaf([1.0]), (lambda g: g,), "d_x = 2 * g")


@pytest.mark.parametrize(
    ("shape", "wrong", "error", "message"),
    [
        ((2, 3), lambda g: g.T, ValueError, r"shape \(2, 3\) for input 0, got shape \(3, 2\)"),
        ((2, 3), np.ravel, ValueError, r"shape \(2, 3\) for input 0, got shape \(6,\)"),
        ((2, 3), lambda g: g.reshape(6, 1), ValueError, r"got shape \(6, 1\)"),
        ((2, 3), lambda g: g.sum(0), ValueError, r"got shape \(3,\)"),
        ((2, 1), lambda g: g.T, ValueError, r"got shape \(1, 2\)"),
        ((6,), lambda g: g.reshape(2, 3), ValueError, r"got shape \(2, 3\)"),
        ((0, 3), lambda g: g.T, ValueError, r"got shape \(3, 0\)"),
        ((2, 3), lambda g: g.tolist(), TypeError, "got list"),
        ((2, 3), lambda g: None, TypeError, "got NoneType"),
        ((), lambda g: 1.0, TypeError, "got float"),
        ((2, 3), Tensor, TypeError, "got Tensor"),
        ((2, 3), lambda g: g * 1j, TypeError, "must return real numbers.* for input 0, got complex128"),
        ((2, 3), lambda g: g.astype(object), TypeError, "must return real numbers.* for input 0, got object"),
    ],
)
def test_what_a_wrong_rule_returns_is_refused_and_not_squeezed_into_shape(shape, wrong, error, message):
    w = leaf(np.ones(shape))
    result = record("wrong", np.ones(shape), (w,), (wrong,), "d_x = ...")
    with pytest.raises(error, match=rf"the vjp of 'wrong'.*{message}"):
        result.backward(np.ones(shape))
    assert w.grad is None


@pytest.mark.parametrize(
    ("shape", "stretched"), [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (4, 2, 3)), ((1,), (0,))]
)
def test_a_gradient_of_the_stretched_shape_is_summed_over_the_copies(shape, stretched):
    w = leaf(np.ones(shape))
    record("stretch", np.ones(stretched), (w,), (lambda g: g,), "d_x = g").backward(np.ones(stretched))
    np.testing.assert_array_equal(w.grad, np.full(shape, np.prod(stretched) / np.prod(shape)))


def test_no_grad_refuses_to_decorate_a_generator():
    with pytest.raises(TypeError, match="inside it"):

        @mg.no_grad()
        def values():
            yield 1


def test_backward_may_be_the_first_thing_that_a_process_does():
    program = "from minigrad import Tensor; x = Tensor(3.0, requires_grad=True); (x * x).backward(); print(x.grad)"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=TIMEOUT
    )
    assert printed.stdout == "6.0\n"
