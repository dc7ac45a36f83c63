"""Arrays changed in place between forward and backward: an error if the gradient needs the old values."""

import collections
import copy
import functools
import itertools
import operator
import pickle
import re
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, record
from minigrad.extend import array_of, convert
from minigrad.optim import SGD, Adam


def leaf(values, **arguments):
    return Tensor(np.array(values, dtype=float), requires_grad=True, **arguments)


def subtract_from_data(w):
    w.data -= 0.5


def multiply_data(w):
    w.data *= 2


def write_into_data(w):
    w.data[...] = 5


def write_one_value(w):
    w.data[0, 1] = 5


def write_with_out(w):
    np.negative(w.data, out=w.data)


def write_into_numpy(w):
    w.numpy()[...] = 5


def write_into_asarray(w):
    np.asarray(w.detach())[...] = 5


def write_into_a_detached_tensor(w):
    w.detach().data[...] = 5


def subtract_from_a_detached_tensor(w):
    w.detach().data -= 5


def write_into_a_reshaped_view(w):
    w.reshape(-1).data[0] = 5


def write_into_a_slice(w):
    w[1:].data[...] = 5


def write_into_a_row_by_a_numpy_integer(w):
    w[np.int64(1)].data[...] = 5


def write_into_a_view_of_a_view(w):
    w.T[:, 0].data[...] = 5


def subtract_under_no_grad(w):
    with mg.no_grad():
        w -= 0.5


def multiply_under_no_grad(w):
    with mg.no_grad():
        w *= 2


def step_sgd(w):
    w.grad = np.ones(w.shape)
    SGD([w], lr=0.1).step()
    w.grad = None


def step_adam(w):
    w.grad = np.ones(w.shape)
    Adam([w]).step()
    w.grad = None


every_change = pytest.mark.parametrize(
    "change",
    [
        subtract_from_data,
        multiply_data,
        write_into_data,
        write_one_value,
        write_with_out,
        write_into_numpy,
        write_into_asarray,
        write_into_a_detached_tensor,
        subtract_from_a_detached_tensor,
        write_into_a_reshaped_view,
        write_into_a_slice,
        write_into_a_row_by_a_numpy_integer,
        write_into_a_view_of_a_view,
        subtract_under_no_grad,
        multiply_under_no_grad,
        step_sgd,
        step_adam,
    ],
)

VALUES = [[1.0, 2.0], [3.0, 4.0]]


@every_change
def test_a_change_that_the_gradient_would_need_raises(change):
    w = leaf(VALUES, name="w")
    loss = (w * w).sum()
    change(w)
    with pytest.raises(RuntimeError, match=r"tensor 'w' was changed in place after entry 1 of the tape \(multiply\)"):
        loss.backward()
    assert w.grad is None


@every_change
def test_a_change_that_no_entry_needs_is_allowed(change):
    w, b = leaf(VALUES), leaf([1.0, 2.0])
    loss = (w + b).sum()
    change(w)
    loss.backward()
    np.testing.assert_array_equal(w.grad, np.ones((2, 2)))
    np.testing.assert_array_equal(b.grad, [2, 2])


@every_change
def test_a_change_before_the_forward_pass_is_allowed(change):
    w = leaf(VALUES)
    change(w)
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, 2 * w.data)


@every_change
@pytest.mark.parametrize("look", [False, True], ids=["unseen", "looked at"])
def test_a_training_loop_may_change_its_weights_after_each_backward(change, look):
    w = leaf(VALUES, name="w")
    for _ in range(3):
        w.zero_grad()
        loss = (w * w).sum()
        if look:  # as in print(w.data)
            assert w.data.shape == (2, 2)
        loss.backward()
        np.testing.assert_array_equal(w.grad, 2 * w.data)
        change(w)


@every_change
def test_of_two_forward_passes_only_the_one_before_the_change_is_spoiled(change):
    w = leaf(VALUES)
    before = (w * w).sum()
    change(w)
    after = (w * w).sum()
    after.backward()
    np.testing.assert_array_equal(w.grad, 2 * w.data)
    with pytest.raises(RuntimeError, match="changed in place"):
        before.backward()


@pytest.mark.parametrize("change", [subtract_from_data, write_into_data, write_into_a_slice, step_sgd])
def test_a_constant_that_the_gradient_would_need_is_watched_too(change):
    x, w = Tensor(VALUES, name="x"), leaf(VALUES, name="w")
    loss = (x * w).sum()
    change(x)
    with pytest.raises(RuntimeError, match=r"tensor 'x' was changed in place after entry 1 of the tape \(multiply\)"):
        loss.backward()


NEEDED = {
    "w * w": lambda w: w * w,
    "w / w": lambda w: w / w,
    "3 / w": lambda w: 3 / w,
    "w ** 2": lambda w: w**2,
    "w ** w": lambda w: w**w,
    "w @ w": lambda w: w @ w,
    "abs": mg.abs,
    "log": mg.log,
    "max": lambda w: w.max(axis=0),
    "min": lambda w: w.min(),
    "maximum": lambda w: mg.maximum(w, 2),
    "minimum": lambda w: mg.minimum(w, 2),
    "var": lambda w: w.var(axis=1),
}

NOT_NEEDED = {
    "w + 1": lambda w: w + 1,
    "2 - w": lambda w: 2 - w,
    "-w": lambda w: -w,
    "sum": lambda w: w.sum(axis=0),
    "mean": lambda w: w.mean(),
    "reshape": lambda w: w.reshape(4),
    "transpose": lambda w: w.T,
    "swapaxes": lambda w: w.swapaxes(0, 1),
    "expand_dims": lambda w: w.expand_dims(0),
    "squeeze": lambda w: w.squeeze(),
    "broadcast_to": lambda w: w.broadcast_to((3, 2, 2)),
    "w[0]": lambda w: w[0],
    "w[[0, 0]]": lambda w: w[[0, 0]],
    "concatenate": lambda w: mg.concatenate([w, w]),
    "stack": lambda w: mg.stack([w, w]),
    "exp": mg.exp,
    "sqrt": mg.sqrt,
    "tanh": mg.tanh,
    "sigmoid": mg.sigmoid,
    "relu": mg.relu,
    "softmax": mg.softmax,
    "log_softmax": mg.log_softmax,
    "clip": lambda w: w.clip(0, 2),
    "where": lambda w: mg.where([True, False], w, 0.0),
    # Only the gradient of the constant would need w, and nobody wants that one.
    "2 ** w": lambda w: 2**w,
    "w * constant": lambda w: w * 2.0,
    "w / constant": lambda w: w / Tensor(VALUES),
    "constant @ w": lambda w: Tensor(VALUES) @ w,
}


@pytest.mark.parametrize("operation", NEEDED.values(), ids=NEEDED)
def test_an_operand_that_the_rule_uses_must_not_change(operation):
    w = leaf(VALUES)
    result = operation(w)
    w.data *= 2
    with pytest.raises(RuntimeError, match="changed in place"):
        result.backward(np.ones(result.shape))


@pytest.mark.parametrize("operation", NOT_NEEDED.values(), ids=NOT_NEEDED)
def test_an_operand_that_the_rule_does_not_use_may_change(operation):
    untouched, w = leaf(VALUES), leaf(VALUES)
    result, expected = operation(w), operation(untouched)
    w.data *= 2
    result.backward(np.ones(result.shape))
    expected.backward(np.ones(result.shape))
    np.testing.assert_array_equal(w.grad, untouched.grad)


@pytest.mark.parametrize("function", [mg.exp, mg.sqrt, mg.tanh, mg.sigmoid, mg.relu, mg.softmax, mg.log_softmax])
def test_a_result_that_the_rule_uses_must_not_change(function):
    w = leaf(VALUES)
    result = function(w)
    result.name = "y"
    result.data[...] = 0
    with pytest.raises(RuntimeError, match="tensor 'y' was changed in place after entry 1"):
        result.sum().backward()


def test_a_result_that_a_later_entry_uses_must_not_change():
    w = leaf(VALUES)
    y = w + 1
    y.name = "y"
    loss = (y * y).sum()
    y.data[...] = 0
    with pytest.raises(RuntimeError, match=r"tensor 'y' was changed in place after entry 2 of the tape \(multiply\)"):
        loss.backward()


def test_the_entry_in_the_message_has_the_number_that_the_printed_tape_shows():
    w = leaf(VALUES, name="w")
    loss = (w + 1 + w.log()).sum()
    line = str(loss.tape()).splitlines()[3]
    assert line.split()[:3] == ["2", "%2", "log"]
    w.data *= 2
    with pytest.raises(RuntimeError, match=r"entry 2 of the tape \(log\)"):
        loss.backward()


def test_a_view_taken_before_the_forward_pass_spoils_it_when_changed_after():
    w = leaf(VALUES, name="w")
    view = w.detach().reshape(4)
    loss = (w * w).sum()
    view.data[...] = 0
    with pytest.raises(RuntimeError, match="tensor 'w'"):
        loss.backward()


def test_a_view_that_was_updated_is_still_a_view():
    w = leaf(VALUES, name="w")
    view = w.detach()
    view.data -= 1
    loss = (w * w).sum()
    view.data[...] = 0
    with pytest.raises(RuntimeError, match="tensor 'w'"):
        loss.backward()


def test_a_change_of_the_whole_spoils_what_was_computed_from_its_view():
    w = leaf(VALUES)
    view = w[0]
    loss = (view * view).sum()
    w.data[...] = 0
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_detached_constant_is_spoiled_by_a_change_of_the_tensor_whose_memory_it_shares():
    w, x = leaf(VALUES), leaf(VALUES)
    constant = w.detach()
    loss = (constant * x).sum()
    w.data[...] = 0
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


every_copy = pytest.mark.parametrize(
    "copy",
    [
        lambda w: w.T.reshape(4),  # not contiguous, so NumPy has to copy
        lambda w: w[[0, 1]],
        lambda w: w[np.array([True, False])],
    ],
    ids=["reshape", "integers", "mask"],
)


@every_copy
def test_a_copy_that_a_later_entry_uses_must_not_change(copy):
    copied = copy(leaf(VALUES))
    loss = (copied * copied).sum()
    copied.data[...] = 0
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@every_copy
def test_a_copy_is_not_spoiled_by_a_change_of_the_original(copy):
    w = leaf(VALUES)
    copied = copy(w)
    loss = (copied * copied).sum()
    w.data[...] = 0
    loss.backward()
    np.testing.assert_array_equal(w.grad[0, 0], 2)


def test_data_that_is_replaced_leaves_the_gradient_of_the_old_values():
    w = leaf([1.0, 2.0])
    loss = (w * w).sum()
    w.data = np.array([10.0, 20.0])
    loss.backward()
    np.testing.assert_array_equal(w.grad, [2, 4])
    np.testing.assert_array_equal(w.data, [10, 20])


def test_data_that_is_looked_at_and_then_replaced_leaves_the_gradient_of_the_old_values():
    w = leaf([1.0, 2.0])
    loss = (w * w).sum()
    w.data = w.data - 0.5
    loss.backward()
    np.testing.assert_array_equal(w.grad, [2, 4])


def test_a_view_is_still_watched_when_the_data_of_the_whole_was_replaced():
    w = leaf([1.0, 2.0])
    view = w.reshape(2, 1)
    loss = (view * view).sum()
    w.data = np.array([10.0, 20.0])
    view.data[...] = 0
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_replaced_data_is_watched_from_its_next_use():
    w = leaf([1.0, 2.0])
    w.data = np.array([3.0, 4.0])
    loss = (w * w).sum()
    w.data[...] = 0
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_looking_at_data_is_no_change():
    w = leaf(VALUES)
    loss = (w * w).sum()
    assert w.data.mean() == 2.5
    assert w.detach().T.data[0, 1] == 3
    loss.backward()
    np.testing.assert_array_equal(w.grad, 2 * np.array(VALUES))


def test_looking_at_data_with_nan_is_no_change():
    w = leaf([np.nan, 1.0])
    loss = w * w
    assert np.isnan(w.data[0])
    loss.backward([1.0, 1.0])
    np.testing.assert_array_equal(w.grad, [np.nan, 2])


def test_assigning_data_to_itself_is_no_change():
    w = leaf(VALUES)
    loss = (w * w).sum()
    w.data = w.data
    loss.backward()
    np.testing.assert_array_equal(w.grad, 2 * np.array(VALUES))


def test_an_array_that_was_changed_and_is_handed_back_is_a_change():
    w = leaf(VALUES, name="w")
    array = w.data
    loss = (w * w).sum()
    array -= 1
    w.data = array
    with pytest.raises(RuntimeError, match="tensor 'w' was changed in place"):
        loss.backward()


def test_a_change_before_the_entry_that_uses_the_array_may_come_in_the_middle_of_a_tape():
    x, w = leaf(VALUES), leaf(VALUES)
    spoilt = (w * w).sum()
    y = x * 2
    w.data[...] = 5
    (y * w).sum().backward()
    np.testing.assert_array_equal(x.grad, np.full((2, 2), 10))
    with pytest.raises(RuntimeError, match="changed in place"):
        spoilt.backward()


def test_an_array_handed_out_before_the_last_use_and_handed_back_changed_is_a_change():
    w = leaf(VALUES)
    first = (w * w).sum()
    array = w.data
    second = (w * w).sum()
    array -= 1
    w.data = array
    for loss in (first, second):
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_zero_whose_sign_was_changed_is_a_change(dtype):
    w = Tensor(np.zeros(1, dtype), requires_grad=True)
    with np.errstate(divide="ignore"):
        loss = (1 / w).sum()
    w.data *= -1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


NUMPYS_WRITERS = {
    "copyto": lambda c: np.copyto(c, 9),
    "out of multiply": lambda c: np.multiply(c, 2, out=c),
    "out of exp": lambda c: np.exp(c, out=c),
    "put": lambda c: np.put(c, [0], 9),
    "place": lambda c: np.place(c, [True, False, False, False], [9]),
    "putmask": lambda c: np.putmask(c, [True, False, False, False], 9),
    "out of clip": lambda c: np.clip(c, 0, 1, out=c),
    "add.at": lambda c: np.add.at(c, [0], 9),
    "fill_diagonal": lambda c: np.fill_diagonal(c.reshape(2, 2), 9),
}


@pytest.mark.parametrize("write", NUMPYS_WRITERS.values(), ids=NUMPYS_WRITERS)
@pytest.mark.parametrize("which", ["a constant", "a detached copy"])
def test_a_constant_that_a_numpy_function_writes_into_is_watched(write, which):
    w, c = leaf([1.0, 2.0, 3.0, 4.0]), Tensor([1.0, 2.0, 3.0, 4.0])
    loss = (w * w * c).sum()
    write(c if which == "a constant" else w.detach())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def change_what_was_replaced(w):
    a = w.data
    w.data = np.zeros(4)
    a *= 3


def swap_out_change_and_put_back(w):
    change_what_was_replaced(w)
    w.data = a = w.data
    del a


def put_a_view_of_itself(w):
    w.data -= 0.5
    w.data = w.data[:]


def change_and_replace(w):
    w.data -= 0.5
    w.data = w.data / 2


def change_through_a_detached_tensor_and_assign_that(w):
    d = w.detach()
    d.data -= 0.5
    w.data = d


def change_through_an_optimizer_and_replace(w):
    step_sgd(w)
    w.data = w.data * 2


@pytest.mark.parametrize(
    "change",
    [
        change_what_was_replaced,
        swap_out_change_and_put_back,
        put_a_view_of_itself,
        change_and_replace,
        change_through_a_detached_tensor_and_assign_that,
        change_through_an_optimizer_and_replace,
    ],
)
def test_a_changed_array_is_remembered_when_it_is_replaced(change):
    w = leaf([1.0, 2.0, 3.0, 4.0], name="w")
    loss = (w * w).sum()
    change(w)
    with pytest.raises(RuntimeError, match="tensor 'w' was changed in place"):
        loss.backward()


def test_weights_may_be_swapped_and_put_back_for_ever():
    w, average = leaf([1.0, 2.0]), np.zeros(2)
    for _ in range(1500):
        loss = (w * w).sum()
        kept = w.data
        w.data = average
        w.data = kept
        loss.backward()
        np.testing.assert_array_equal(w.grad, [2, 4])
        w.zero_grad()


def test_an_array_that_took_the_place_of_another_is_watched_while_an_entry_needs_either():
    w = leaf([1.0, 2.0])
    first = (w * w).sum()
    w.data = np.array([10.0, 20.0])
    second = (w * w).sum()
    w.data[...] = 0
    first.backward()
    np.testing.assert_array_equal(w.grad, [2, 4])
    with pytest.raises(RuntimeError, match="changed in place"):
        second.backward()


def test_a_converted_leaf_is_watched_from_its_next_use():
    w = Tensor([1.0, 2.0], dtype=np.float32, requires_grad=True)
    convert(w, np.float64)
    loss = (w * w).sum()
    w.data[...] = 0
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_arrays_that_were_replaced_are_let_go_after_backward():
    w = Tensor(np.ones(100_000), requires_grad=True)
    tracemalloc.start()
    try:
        for _ in range(10):
            loss = (w * w).sum()
            w.data = w.data * 0.5
            loss.backward()
            w.zero_grad()
        assert tracemalloc.get_traced_memory()[0] < 3_000_000  # two arrays, of ten
    finally:
        tracemalloc.stop()


def test_a_changed_view_is_remembered_when_the_whole_is_replaced():
    w = leaf([1.0, 2.0, 3.0, 4.0])
    view = w.reshape(2, 2)
    loss = (view * view).sum()
    view.data[...] = 100
    w.data = np.zeros(4)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_change_of_what_reshape_had_to_copy_spoils_only_what_used_the_copy():
    x = leaf(VALUES)
    first, copied = (x * x).sum(), x.T.reshape(-1)
    second = (copied * copied).sum()
    copied.data[...] = 9
    first.backward()
    np.testing.assert_array_equal(x.grad, 2 * np.array(VALUES))
    with pytest.raises(RuntimeError, match="changed in place"):
        second.backward()


def test_a_change_of_what_a_boolean_index_copied_leaves_the_whole_alone():
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    x[True].data[...] = 9
    loss.backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_a_change_of_one_column_by_minus_equals_leaves_another_alone():
    w = leaf(VALUES)
    column = w[:, 0]
    loss = (column * column).sum()
    other = w[:, 1].detach()
    other.data -= 1
    loss.backward()
    np.testing.assert_array_equal(w.grad, [[2, 0], [6, 0]])


def test_a_result_that_shares_its_inputs_array_is_watched_as_a_view_of_it():
    x = leaf([1.0, 2.0])
    y = record("same", array_of(x), (x,), (lambda g: g,), "d_x = g", saved=())
    loss = (x * x).sum()
    y.data[...] = 50
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("place", [0, 1])
def test_of_two_inputs_the_one_whose_memory_the_result_shares_is_found(place):
    x, other = leaf([1.0, 2.0, 3.0]), leaf([4.0, 5.0])
    inputs = (x, other) if place == 0 else (other, x)
    y = record("part", array_of(x)[:2], inputs, (None, None), "none", saved=())
    loss = (x * x).sum()
    y.data[...] = 50
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


PARTS = {
    "columns": lambda w, i: w[:, i],
    "columns of the transposed": lambda w, i: w.T[i],
    "every other row": lambda w, i: w[i::2],
    "rows of the reversed": lambda w, i: w[::-1][i],
    "rows under a new axis": lambda w, i: w.expand_dims(0)[:, i],
    "single values": lambda w, i: w[i : i + 1, i : i + 1],
}
MEMORY = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1],
    "every other": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "a view": lambda a: np.stack([a, a])[1],
}


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_change_in_one_part_spoils_that_part(part, memory):
    w = Tensor(memory(np.arange(8.0).reshape(2, 4)), requires_grad=True)
    a = part(w, 1)
    loss = (a * a).sum()
    part(w, 1).data[...] = 9
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("memory", [MEMORY["C"], MEMORY["Fortran"]], ids=["C", "Fortran"])
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_change_in_one_part_leaves_the_others_alone(part, memory):
    w = Tensor(memory(np.arange(8.0).reshape(2, 4)), requires_grad=True)
    expected = np.zeros((2, 4))
    part(Tensor(expected), 1).data[...] = 2 * part(w, 1).data
    a, b = part(w, 1), part(w, 0)
    loss = (a * a).sum()
    b.data[...] = 9
    loss.backward()
    np.testing.assert_array_equal(w.grad, expected)


@pytest.mark.parametrize("saved", [slice(0, 4), slice(3, 8), slice(0, 8)], ids=["before", "after", "both"])
def test_a_saved_array_that_reaches_beyond_the_changed_one_is_spoilt(saved):
    base = np.arange(8.0)
    w = Tensor(base[2:5], requires_grad=True)
    y = record("twice", 2 * w.data, (w,), (lambda g, a: 2 * g,), "d_x = 2 * g", saved=(base[saved],))
    w.data[1] = 9
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


@pytest.mark.parametrize("make", [lambda: np.ones(1_000_000), lambda: np.arange(1e6).reshape(1000, 1000)])
def test_a_weight_that_training_changes_by_hand_keeps_no_second_copy_of_itself(make):
    w = Tensor(make(), requires_grad=True)  # an array that has its own memory, and one that is a view
    tracemalloc.start()
    try:
        for _ in range(3):
            w.zero_grad()
            (w * w).sum().backward()
            w.data -= 0.1 * w.grad
        w.grad = None
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_weight_that_was_looked_at_before_backward_keeps_no_copy_after_its_next_update():
    w = Tensor(np.ones(1_000_000), requires_grad=True)
    tracemalloc.start()
    try:
        for update in (subtract_from_data, step_sgd):
            loss = (w * w).sum()
            assert w.data[0] != 0
            loss.backward()
            w.grad = None
            update(w)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize("change", [subtract_from_data, write_into_data, write_into_a_slice, subtract_under_no_grad])
def test_a_copy_is_watched_like_its_original(copied, change):
    w = copied(leaf(VALUES, name="w"))
    loss = (w * w).sum()
    change(w)
    with pytest.raises(RuntimeError, match="tensor 'w' was changed in place"):
        loss.backward()


@every_change
@pytest.mark.parametrize("which", ["the copy", "the original"])
def test_a_shallow_copy_and_its_original_are_spoilt_together(change, which):
    w = leaf(VALUES)
    other = copy.copy(w)
    used, changed = (w, other) if which == "the copy" else (other, w)
    loss = (used * used).sum()
    change(changed)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_editing_a_gradient_is_no_change():
    w = leaf([1.0, 2.0])
    (w * 2).sum().backward()
    loss = (w * w).sum()
    w.grad[...] = 0
    loss.backward()
    np.testing.assert_array_equal(w.grad, [2, 4])


def test_a_refused_backward_leaves_every_gradient_as_it_was():
    w, b = leaf(VALUES), leaf([1.0, 2.0])
    (w + b).sum().backward()
    y = w * w + b
    y.retain_grad()
    loss = y.sum()
    w.data *= 2
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    assert y.grad is None
    np.testing.assert_array_equal(w.grad, np.ones((2, 2)))
    np.testing.assert_array_equal(b.grad, [2, 2])


def test_a_refused_backward_is_refused_again():
    w = leaf(VALUES)
    loss = (w * w).sum()
    w.data *= 2
    for _ in range(2):
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()


def test_the_tape_of_a_spoiled_result_is_refused_as_backward_is():
    w = leaf(VALUES)
    loss = (w * w).sum()
    w.data *= 2
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.tape()


@pytest.mark.parametrize("backward_first", [False, True])
def test_stepping_a_kept_tape_after_a_change_is_refused(backward_first):
    w = leaf(VALUES)
    loss = (w * w).sum()
    tape = loss.tape()
    if backward_first:
        loss.backward()
    w.data *= 2
    with pytest.raises(RuntimeError, match="changed in place"):
        list(tape.steps())


def test_the_condition_of_where_is_watched():
    condition, x = Tensor([True, False]), leaf([1.0, 2.0])
    loss = mg.where(condition, x, 0.0).sum()
    condition.data[...] = False
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("make", [Tensor, np.array])
def test_an_index_may_change_because_the_tape_has_a_copy(make):
    index, x = make([0, 0]), leaf([1.0, 2.0])
    loss = x[index].sum()
    (index.data if isinstance(index, Tensor) else index)[...] = 1
    loss.backward()
    np.testing.assert_array_equal(x.grad, [2, 0])


# Rules that you record yourself come in several forms; the watch must see through, or be careful with, each.


def test_a_rule_of_one_function_for_all_inputs_is_watched():
    w = leaf([1.0, 2.0])
    a = w.data
    result = record("square", a * a, (w,), lambda g, needs: (2 * g * a,), "d_x = 2 * g * x")
    w.data *= 2
    with pytest.raises(RuntimeError, match=r"changed in place.*square"):
        result.sum().backward()


def keep_a_view(w):
    flat = w.data.ravel()
    return lambda g: 2 * g * flat.reshape(2, 2)


def keep_the_tensor(w):
    return lambda g: 2 * g * w.data


def keep_a_list(w):
    kept = [w.data]
    return lambda g: 2 * g * kept[0]


def keep_a_default_argument(w):
    return lambda g, a=w.data: 2 * g * a


def keep_a_keyword_only_default(w):
    def rule(g, *, a=w.data):
        return 2 * g * a

    return rule


def keep_a_dictionary(w):
    kept = {"x": w.data}
    return lambda g: 2 * g * kept["x"]


def keep_an_object(w):
    class Saved:
        x = w.data

    saved = Saved()
    return lambda g: 2 * g * saved.x


def keep_a_method(w):
    class Rule:
        def __init__(self, a):
            self.a = a

        def __call__(self, g):
            return 2 * g * self.a

        def rule(self, g):
            return self(g)

    return Rule(w.data).rule


def keep_a_callable(w):
    return keep_a_method(w).__self__


def keep_a_generator(w):
    kept = (a for a in itertools.repeat(w.data))
    return lambda g: 2 * g * next(kept)


def keep_a_deque(w):
    kept = collections.deque([w.data])
    return lambda g: 2 * g * kept[0]


def keep_a_partial(w):
    return functools.partial(lambda a, g: 2 * g * a, w.data)


def keep_a_memoryview(w):
    view = memoryview(w.data)
    return lambda g: 2 * g * np.asarray(view)


def keep_a_detached_tensor(w):
    constant = w.detach()
    return lambda g: 2 * g * constant.data


def keep_a_global(w):
    return eval("lambda g: 2 * g * a", {"a": w.data})


def keep_a_global_of_an_inner_function(w):
    return eval("lambda g: (lambda: 2 * g * a)()", {"a": w.data})


def keep_an_inner_function(w):
    a = w.data

    def double():
        return 2 * a

    return lambda g: g * double()


@pytest.mark.parametrize(
    "rule_of",
    [
        keep_a_view,
        keep_the_tensor,
        keep_a_list,
        keep_a_default_argument,
        keep_a_keyword_only_default,
        keep_a_dictionary,
        keep_an_object,
        keep_a_method,
        keep_a_callable,
        keep_a_generator,
        keep_a_deque,
        keep_a_partial,
        keep_a_memoryview,
        keep_a_detached_tensor,
        keep_a_global,
        keep_a_global_of_an_inner_function,
        keep_an_inner_function,
    ],
)
def test_however_a_rule_keeps_its_input_it_is_watched(rule_of):
    w = leaf(VALUES)
    result = record("square", w.data**2, (w,), (rule_of(w),), "d_x = 2 * g * x")
    w.data *= 2
    with pytest.raises(RuntimeError, match=r"changed in place.*square"):
        result.sum().backward()


def test_an_input_without_a_rule_gets_no_gradient_though_it_requires_one():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    record("first", array_of(x) * 1, (x, w), (lambda g: g, None), "d_x = g").backward([5.0, 6.0])
    np.testing.assert_array_equal(x.grad, [5, 6])
    assert w.grad is None


def test_a_rule_that_is_none_for_a_constant_input_can_be_watched():
    w = leaf([1.0, 2.0])
    result = record("shift", w.data + 3, (w, 3), (lambda g: g, None), "d_x = g", saved=())
    w.data *= 2
    result.sum().backward()
    np.testing.assert_array_equal(w.grad, [1, 1])


@pytest.mark.parametrize("rule", [functools.partial(np.multiply, 2.0), np.negative], ids=["partial", "ufunc"])
def test_a_rule_that_cannot_be_looked_into_counts_as_needing_its_inputs(rule):
    w = leaf([1.0, 2.0])
    result = record("custom", w.data * 2, (w,), (rule,), "d_x = ...")
    w.data *= 2
    with pytest.raises(RuntimeError, match=r"changed in place.*custom"):
        result.sum().backward()


@pytest.mark.parametrize("saved", ["input", "a view of the input", "result"])
def test_what_a_rule_says_it_saved_is_watched(saved):
    w = leaf(VALUES)
    a = w.data * 1.0
    y = a * a
    arrays = {"input": w.data, "a view of the input": w.data.T, "result": y}
    result = record("square", y, (w,), (lambda g, kept: 2 * g * a,), "d_x = 2 * g * x", saved=(arrays[saved],))
    (result if saved == "result" else w).data[...] = 0
    with pytest.raises(RuntimeError, match=r"changed in place.*square"):
        result.sum().backward()


@pytest.mark.parametrize("vjps", [(lambda g, a: 2 * g * a,), lambda g, needs, a: [2 * g * a]], ids=["each", "joint"])
def test_a_rule_that_saved_no_array_of_a_tensor_leaves_them_free_to_change(vjps):
    w = leaf(VALUES)
    result = record("square", w.data**2, (w,), vjps, "d_x = 2 * g * x", saved=(np.array(VALUES),))
    w.data[...] = 0
    result.data[...] = 0
    result.backward(np.ones((2, 2)))
    np.testing.assert_array_equal(w.grad, 2 * np.array(VALUES))


# `w -= step` itself.

every_update = pytest.mark.parametrize(
    ("update", "symbol", "expected"),
    [
        (operator.iadd, "+=", [3, 4]),
        (operator.isub, "-=", [-1, 0]),
        (operator.imul, "*=", [2, 4]),
        (operator.itruediv, "/=", [0.5, 1]),
        (operator.ipow, "**=", [1, 4]),
    ],
)


@every_update
def test_a_leaf_cannot_be_updated_in_place_while_recording(update, symbol, expected):
    w = leaf([1.0, 2.0], name="w")
    with pytest.raises(RuntimeError, match=rf"{re.escape(symbol)}.*'w'.*no_grad"):
        update(w, 2.0)
    np.testing.assert_array_equal(w.data, [1, 2])


@every_update
def test_a_leaf_is_updated_in_place_under_no_grad(update, symbol, expected):
    array = np.array([1.0, 2.0])
    w = Tensor(array, requires_grad=True)
    with mg.no_grad():
        result = update(w, 2.0)
    assert result is w
    assert w.requires_grad
    assert w.data is array
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("other", [Tensor([1.0, 1.0]), np.array([1.0, 1.0])], ids=repr)
def test_an_update_takes_tensors_and_arrays(other):
    w = leaf([1.0, 2.0])
    with mg.no_grad():
        w -= other
    np.testing.assert_array_equal(w.data, [0, 1])


def test_an_update_keeps_the_dtype_of_the_leaf():
    w = Tensor([1.0, 2.0], requires_grad=True, dtype=np.float32)
    with mg.no_grad():
        w -= np.array([0.5, 0.5])
    assert w.dtype == np.float32


@pytest.mark.parametrize("start", [0.0, Tensor(0.0)], ids=["from a number", "from a constant"])
def test_losses_can_be_added_up_with_plus_equals(start):
    w = leaf([1.0, 2.0])
    total = start
    for factor in (1.0, 10.0):
        total += (w * factor).sum()
    total.backward()
    np.testing.assert_array_equal(w.grad, [11, 11])


def test_plus_equals_on_a_result_leaves_the_first_result_alone():
    w = leaf([1.0, 2.0])
    first = total = w.sum()
    total += 1.0
    assert (first.item(), total.item()) == (3, 4)
