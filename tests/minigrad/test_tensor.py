"""The Tensor itself: what it holds, how it mixes with NumPy, how it behaves as a Python object."""

import copy
import operator
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor
from minigrad.extend import array_of, convert


def leaf(values, dtype=np.float64, name=None):
    return Tensor(np.array(values, dtype), requires_grad=True, name=name)


# What it holds.


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float64),
        ([1.0, 2.0], np.float64),
        ([[1, 2.5]], np.float64),
        (3, np.int64),
        ([1, 2], np.int64),
        ([True, False], np.bool_),
        (np.float32(1.5), np.float32),
        (np.array([1.0], np.float32), np.float32),
        (np.array([1.0], np.float16), np.float16),
        (np.array([1], np.int8), np.int8),
        (np.array([1], np.uint8), np.uint8),
        ([], np.float64),
    ],
    ids=repr,
)
def test_data_keeps_the_dtype_that_numpy_gives_it(data, dtype):
    x = Tensor(data)
    assert x.dtype == dtype
    assert isinstance(x.data, np.ndarray)
    np.testing.assert_array_equal(x.data, data)


def test_a_dtype_can_be_asked_for():
    assert Tensor([1, 2], dtype=np.float32).dtype == np.float32


def test_an_ndarray_is_shared_and_not_copied():
    array = np.array([1.0, 2.0])
    x = Tensor(array)
    assert x.data is array
    array[0] = 5
    assert x.data[0] == 5


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3), (0, 2)])
def test_shape_ndim_and_size_are_those_of_the_array(shape):
    array = np.ones(shape)
    x = Tensor(array)
    assert (x.shape, x.ndim, x.size) == (array.shape, array.ndim, array.size)
    assert x.T.shape == shape[::-1]


def test_a_new_tensor_has_no_gradient_no_name_and_requires_nothing():
    x = Tensor([1.0])
    assert (x.grad, x.name, x.requires_grad) == (None, None, False)


@pytest.mark.parametrize(
    "data", ["text", ["a", "b"], 1j, [1 + 2j], None, object(), [None, 1.0], {"a": 1}, np.array("2020", "datetime64")]
)
def test_data_that_is_not_real_numbers_is_refused(data):
    with pytest.raises(TypeError, match="real numbers"):
        Tensor(data)


def test_a_tensor_of_a_tensor_is_refused():
    with pytest.raises(TypeError, match="detach"):
        Tensor(Tensor([1.0]))


def test_a_list_of_tensors_that_require_gradients_is_refused():
    with pytest.raises(TypeError, match="gradient"):
        Tensor([leaf(1.0), leaf(2.0)])


@pytest.mark.parametrize("data", [1, [1, 2], [True], np.array([1], np.uint8)], ids=repr)
def test_integers_and_booleans_cannot_require_gradients(data):
    with pytest.raises(TypeError, match="floating-point"):
        Tensor(data, requires_grad=True, name="counts")


def test_the_refusal_of_a_gradient_names_the_tensor():
    with pytest.raises(TypeError, match=r"'counts'.*int64"):
        Tensor([1, 2], requires_grad=True, name="counts")


def test_integers_with_a_float_dtype_can_require_gradients():
    assert Tensor([1, 2], requires_grad=True, dtype=np.float64).requires_grad


def test_requires_grad_can_be_switched_on_and_off_on_a_leaf():
    x = Tensor([1.0])
    x.requires_grad = True
    assert (x * 2).requires_grad
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_requires_grad_cannot_be_switched_off_on_a_result():
    y = leaf([1.0]) * 2
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False


@pytest.mark.parametrize("new", [np.array([3.0, 4.0]), [3, 4], np.array([3, 4], np.float32)], ids=repr)
def test_data_can_be_replaced_and_keeps_its_dtype(new):
    x = Tensor([1.0, 2.0])
    x.data = new
    np.testing.assert_array_equal(x.data, [3, 4])
    assert x.dtype == np.float64


def test_data_cannot_be_replaced_by_another_shape():
    x = Tensor([1.0, 2.0], name="weights")
    with pytest.raises(ValueError, match=r"'weights'.*\(2,\).*\(3,\)"):
        x.data = np.ones(3)
    np.testing.assert_array_equal(x.data, [1, 2])


def test_numpy_is_data():
    x = leaf([1.0, 2.0])
    assert x.numpy() is x.data


def test_the_data_of_a_single_value_can_be_changed_in_place():
    x = leaf([1.0, 2.0]).sum()
    x.data[...] = 7
    assert x.item() == 7


# Detached tensors.


def test_detach_shares_memory_and_leaves_the_tape():
    x = leaf([1.0, 2.0], name="x")
    y = x.detach()
    assert not y.requires_grad
    assert y.data is x.data
    assert y.name == "x"


def test_a_detached_result_is_a_constant():
    x = leaf([1.0, 2.0])
    y = x * x
    (y.detach() * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 4])


def test_detaching_one_value_shares_its_memory_too():
    y = leaf([1.0, 2.0]).sum()
    y.detach().data[...] = 9
    assert y.item() == 9


# Beside NumPy.


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.mark.parametrize("function", OPERATORS)
@pytest.mark.parametrize("left", [np.array([2.0, 3.0]), np.array(2.0), np.float64(2), np.float32(2), 2, 2.0], ids=repr)
def test_numpy_on_the_left_gives_a_tensor(function, left):
    x = leaf([1.0, 2.0])
    result = function(left, x)
    assert isinstance(result, Tensor)
    assert result.requires_grad
    np.testing.assert_array_equal(result.data, function(left, x.data))


@pytest.mark.parametrize("function", [np.add, np.subtract, np.multiply, np.divide, np.power, np.matmul])
def test_numpys_name_of_an_operator_gives_a_tensor_on_both_sides(function):
    x, a = leaf([1.0, 2.0]), np.array([2.0, 3.0])
    for first, second in ((x, a), (a, x), (x, x)):
        result = function(first, second)
        assert isinstance(result, Tensor)
        assert result.requires_grad
        np.testing.assert_array_equal(result.data, function(*(x.data if v is x else v for v in (first, second))))


@pytest.mark.parametrize("left", [np.eye(2), np.ones((3, 2)), np.ones(2)], ids=lambda a: str(a.shape))
def test_an_array_at_a_tensor_is_a_tensor(left):
    x = leaf([1.0, 2.0])
    result = left @ x
    assert isinstance(result, Tensor)
    assert result.requires_grad
    np.testing.assert_array_equal(result.data, left @ x.data)


@pytest.mark.parametrize("function", OPERATORS)
@pytest.mark.parametrize("scalar", [2, 2.5, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_python_scalars_do_not_widen(function, scalar, dtype):
    x = Tensor([1.0, 2.0], dtype=dtype)
    assert function(x, scalar).dtype == dtype
    assert function(scalar, x).dtype == dtype
    assert function(x.sum(), scalar).dtype == dtype


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.maximum(0.5),
        lambda x: x.minimum(1),
        lambda x: x.clip(0.0, 1.0),
        lambda x: x.clip(0, 1),
        lambda x: mg.where([True, False], x, 0.0),
        lambda x: mg.where([True, False], 0, x),
    ],
)
def test_python_scalars_do_not_widen_as_arguments(call):
    assert call(Tensor([1.0, 2.0], dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize("function", OPERATORS)
@pytest.mark.parametrize("left", [np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("right", [np.float32, np.float64])
def test_mixed_dtypes_promote_as_in_numpy(function, left, right):
    a, b = np.array([1, 1], left), np.array([1, 1], right)
    assert function(Tensor(a), Tensor(b)).dtype == function(a, b).dtype


def test_numpy_scalars_promote_as_in_numpy():
    x = Tensor([1.0], dtype=np.float32)
    assert (x * np.float64(2)).dtype == np.float64
    assert (x * np.float32(2)).dtype == np.float32


@pytest.mark.parametrize("function", OPERATORS)
def test_a_gradient_has_the_dtype_of_its_tensor_also_in_mixed_operations(function):
    x, y = leaf([1.0, 2.0], dtype=np.float32), leaf([[3.0], [4.0]])
    function(x, y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    assert (x.grad.shape, y.grad.shape) == ((2,), (2, 1))


def test_a_gradient_given_in_another_dtype_is_converted():
    x = leaf([1.0, 2.0], dtype=np.float32)
    (x * 2).backward(np.array([1, 2]))
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_asarray_of_a_constant_shares_its_memory():
    x = Tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.asarray(x, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("function", [np.asarray, np.array, np.linalg.norm, lambda x: np.stack([x, x])])
def test_numpy_refuses_a_tensor_whose_gradient_it_would_lose(function):
    with pytest.raises(TypeError, match=r"'weights'.*gradient.*\.data"):
        function(leaf([1.0, 2.0], name="weights"))


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (np.exp, "minigrad.exp"),
        (np.absolute, "minigrad.abs"),
        (np.sum, "minigrad.sum"),
        (np.amax, "minigrad.max"),
        (np.maximum.reduce, "minigrad.maximum"),
        (lambda t: np.add(t, t, out=np.zeros(2)), "minigrad.add"),
        (lambda t: np.concatenate([t, t]), "minigrad.concatenate"),
        (np.sin, "compose it of minigrad's functions"),
        (np.cumsum, "compose it of minigrad's functions"),
    ],
)
def test_a_numpy_function_of_a_tensor_names_minigrads_function(function, advice):
    with pytest.raises(TypeError, match=rf"tensor 'w'.*no gradient.*{re.escape(advice)}.*\.data"):
        function(leaf([1.0, 2.0], name="w"))


@pytest.mark.parametrize("function", [np.exp, np.cumsum, np.add.reduce, lambda t: np.add(1, t, out=np.zeros(2))])
def test_a_numpy_function_of_a_constant_gives_what_numpy_gives(function):
    x = Tensor([1.0, 2.0])
    assert type(function(x)) is type(function(x.data))
    np.testing.assert_array_equal(function(x), function(x.data))


def test_plus_equals_of_an_array_and_a_tensor_is_refused_where_it_would_lose_the_gradient():
    total = np.zeros(2)
    with pytest.raises(TypeError, match=r"np.add got tensor 'w'"):
        total += leaf([1.0, 2.0], name="w")
    np.testing.assert_array_equal(total, [0, 0])
    total += Tensor([1.0, 2.0])
    assert type(total) is np.ndarray
    np.testing.assert_array_equal(total, [1, 2])


MASKED = np.ma.masked_array([1.0, 2.0], [False, True])


@pytest.mark.parametrize(
    "use",
    [
        lambda: Tensor(MASKED),
        lambda: Tensor([MASKED, MASKED]),
        lambda: Tensor(np.ma.masked),
        lambda: leaf([1.0, 2.0]) * MASKED,
        lambda: mg.exp(MASKED),
        lambda: mg.concatenate([MASKED, MASKED]),
        lambda: setattr(leaf([1.0, 2.0]), "data", MASKED),
        lambda: leaf([1.0, 2.0]).backward(MASKED),
    ],
)
def test_a_masked_array_is_refused_because_its_mask_would_be_lost(use):
    with pytest.raises(TypeError, match=r"masked array.*\.filled"):
        use()


# Comparisons are plain boolean arrays.

COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("function", COMPARISONS)
@pytest.mark.parametrize(
    "other", [2, 2.0, np.float64(2), np.array([2.0, 2.0, 3.0]), Tensor([2.0, 2.0, 3.0]), np.full((2, 1), 2)], ids=repr
)
def test_comparisons_give_boolean_arrays_in_either_order(function, other):
    x = leaf([1.0, 2.0, 3.0])
    plain = other.data if isinstance(other, Tensor) else other
    for result, expected in [
        (function(x, other), function(x.data, plain)),
        (function(other, x), function(plain, x.data)),
    ]:
        assert isinstance(result, np.ndarray)
        assert result.dtype == bool
        np.testing.assert_array_equal(result, expected)


def test_a_comparison_by_numpy_takes_numpys_settings():
    out = np.zeros(2, bool)
    assert np.less(leaf([1.0, 3.0]), 2, out=out) is out
    np.testing.assert_array_equal(out, [True, False])


@pytest.mark.parametrize("function", COMPARISONS)
def test_single_values_compare_as_in_numpy(function):
    for loss in (leaf(2.0), leaf([1.0, 1.0]).sum()):
        assert function(loss, 2.0) == function(2.0, 2.0)
        assert np.asarray(function(loss, np.array([1.0, 2.0]))).shape == (2,)


# As a Python object.


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_item_and_float_give_the_one_value(shape):
    x = leaf(np.full(shape, 2.5))
    assert type(x.item()) is float
    assert x.item() == 2.5
    assert float(x) == 2.5


def test_item_of_integers_is_an_int():
    assert type(Tensor([3]).item()) is int


@pytest.mark.parametrize("function", [Tensor.item, float])
@pytest.mark.parametrize("shape", [(2,), (0,)])
def test_item_and_float_need_exactly_one_value(function, shape):
    with pytest.raises(ValueError, match=f"exactly one value.*'loss' has {shape[0]}"):
        function(leaf(np.ones(shape), name="loss"))


def test_len_is_the_length_of_the_first_axis():
    assert len(Tensor(np.ones((3, 2)))) == 3
    assert len(Tensor([])) == 0


@pytest.mark.parametrize("function", [len, iter])
def test_a_single_value_has_no_length_and_cannot_be_iterated(function):
    for x in (leaf(1.0), leaf([1.0, 2.0]).sum()):
        with pytest.raises(TypeError):
            function(x)


def test_iteration_gives_the_rows_with_their_gradients():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    first, second = x
    (first + 10 * second).sum().backward()
    np.testing.assert_array_equal(x.grad, [[1, 1], [10, 10]])


@pytest.mark.parametrize(("value", "expected"), [(0.0, False), (2.0, True), ([0.0], False), ([[1.0]], True)])
def test_one_value_is_true_unless_it_is_0(value, expected):
    assert bool(leaf(value)) is expected


@pytest.mark.parametrize("values", [[1.0, 2.0], [], np.ones((2, 2))])
def test_several_values_are_neither_true_nor_false(values):
    with pytest.raises(ValueError, match=r"tensor 'w' is ambiguous.*\(t.data > 0\)\.all\(\)"):
        bool(leaf(values, name="w"))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize(("form", "text"), [(".3f", "2.500"), ("8.1e", " 2.5e+00"), (">5", "  2.5")])
def test_a_single_value_is_formatted_as_a_number(shape, form, text):
    assert format(leaf(np.full(shape, 2.5)), form) == text


def test_a_tensor_without_a_format_is_shown_as_str_shows_it():
    x = leaf([1.0, 2.0])
    assert f"{x}" == str(x)


def test_a_format_for_several_values_is_refused():
    with pytest.raises(TypeError, match=r"'\.3f' is for one value, and tensor 'w' has 2"):
        format(leaf([1.0, 2.0], name="w"), ".3f")


def test_a_tensor_cannot_be_assigned_to():
    w = leaf([1.0, 2.0], name="w")
    with pytest.raises(TypeError, match=r"tensor 'w' can't be assigned to.*t\.data\[index\].*minigrad\.where"):
        w[0] = 1
    np.testing.assert_array_equal(w.data, [1, 2])


def test_a_list_of_tensors_is_joined_by_stack():
    with pytest.raises(TypeError, match=r"tensor 'w'.*minigrad\.stack"):
        Tensor([leaf(1.0, name="w"), leaf(2.0)])


@pytest.mark.parametrize(
    ("call", "ours"),
    [
        (lambda x: x.sum(dim=1), "axis"),
        (lambda x: x.mean(0, keepdim=True), "keepdims"),
        (lambda x: x.var(dim=0), "axis"),
        (lambda x: x.var(0, unbiased=False), "ddof"),
        (lambda x: x.max(dim=0), "axis"),
        (lambda x: x.softmax(dim=-1), "axis"),
        (lambda x: x.squeeze(dim=0), "axis"),
        (lambda x: mg.log_softmax(x, dim=-1), "axis"),
        (lambda x: mg.concatenate([x, x], dim=1), "axis"),
        (lambda x: mg.stack([x, x], dim=1), "axis"),
    ],
)
def test_pytorchs_name_of_an_argument_is_answered_with_numpys(call, ours):
    with pytest.raises(TypeError, match=f"NumPy's words for arrays: '{ours}' for "):
        call(leaf([[1.0, 2.0]]))


def test_any_other_unknown_argument_is_an_ordinary_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
        leaf([1.0]).sum(axes=0)


@pytest.mark.parametrize(
    ("name", "label"), [("w", "tensor 'w'"), (None, "a tensor of shape (2,)"), ("", "a tensor of shape (2,)")]
)
def test_errors_call_a_tensor_by_its_name_or_its_shape(name, label):
    assert leaf([1.0, 2.0], name=name).label == label


@pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]"])
def test_a_dtype_that_is_no_real_number_is_refused(dtype):
    with pytest.raises(TypeError, match="tensors hold real numbers or booleans, not"):
        Tensor(np.array([1.0]), dtype=dtype)


def test_a_single_value_is_an_array_from_the_start():
    w = leaf(0.5)
    view = w.reshape(1)
    w.data[...] = 7
    np.testing.assert_array_equal(view.data, [7])
    with mg.no_grad():
        w += 1
    assert w.item() == 8


@pytest.mark.parametrize("function", [np.shape, np.ndim, np.size])
def test_numpy_may_ask_for_the_shape_of_a_tensor(function):
    x = leaf([[1.0, 2.0]])
    assert function(x) == function(x.data)


class Tagged(Tensor):
    pass


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_has_the_attributes_of_a_subclass(copied):
    x = Tagged([1.0])
    x.tag = "here"
    assert copied(x).tag == "here"


# Copies.

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda t: pickle.loads(pickle.dumps(t)),
}
every_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@every_copy
def test_a_copy_has_values_gradient_and_name(copied):
    w = leaf([1.0, 2.0], np.float32, name="w")
    (w * w).sum().backward()
    other = copied(w)
    assert (repr(other), other.name, other.dtype) == (repr(w), "w", np.float32)
    np.testing.assert_array_equal(other.grad, [2, 4])
    other.grad[...] = 0
    np.testing.assert_array_equal(w.grad, [2, 4])


@every_copy
def test_a_copy_learns_like_its_original(copied):
    w = copied(leaf([1.0, 2.0]))
    for _ in range(2):
        w.zero_grad()
        (w * w).sum().backward()
        np.testing.assert_array_equal(w.grad, 2 * w.data)
        w.data -= 0.1 * w.grad


@pytest.mark.parametrize("copied", [COPIES["deepcopy"], COPIES["pickle"]], ids=["deepcopy", "pickle"])
def test_a_deep_copy_has_memory_of_its_own(copied):
    w = leaf([1.0, 2.0])
    loss = (w * w).sum()
    copied(w).data[...] = 0
    loss.backward()
    np.testing.assert_array_equal(w.grad, [2, 4])


def test_a_shallow_copy_shares_memory_and_place_on_the_tape():
    w = leaf([1.0, 2.0])
    y = w * w
    copy.copy(y).sum().backward()
    np.testing.assert_array_equal(w.grad, [2, 4])
    assert np.shares_memory(copy.copy(w).data, w.data)


@pytest.mark.parametrize("copied", [COPIES["deepcopy"], COPIES["pickle"]], ids=["deepcopy", "pickle"])
def test_a_deep_copy_of_a_result_is_refused_because_its_tape_stays_behind(copied):
    y = leaf([1.0, 2.0]) * 2
    y.name = "y"
    with pytest.raises(TypeError, match=r"tensor 'y' was computed.*\.detach\(\)"):
        copied(y)


@every_copy
def test_a_copy_of_a_released_result_is_released(copied):
    y = (leaf([1.0, 2.0]) * 2).sum()
    y.backward()
    other = copied(y)
    assert other.item() == 6
    with pytest.raises(RuntimeError, match="already used by backward"):
        other.backward()


def test_a_pickled_tensor_knows_nothing_of_another_processs_clock():
    """Where that process had recorded more than this one, every change here looked older than it was."""
    script = """
import pickle, sys
import numpy as np
from minigrad import Tensor
from minigrad.extend import convert
w = Tensor([1.0, 2.0], requires_grad=True)
for _ in range(1000):
    w * w
w.data -= 1
sys.stdout.buffer.write(pickle.dumps(w))
"""
    w = pickle.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    loss = (w * w).sum()
    loss.backward()
    np.testing.assert_array_equal(w.grad, [0, 2])
    loss = (w * w).sum()
    w.data -= 1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_tensors_are_dictionary_keys_by_identity():
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    table = {x: "x", y: "y"}
    assert (table[x], table[y]) == ("x", "y")
    assert len({x, y, x}) == 2


def test_a_tensor_has_no_other_attributes():
    with pytest.raises(AttributeError):
        Tensor([1.0]).requires_gard = True


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (Tensor(1.5), "Tensor(1.5)"),
        (Tensor([1, 2]), "Tensor([1, 2])"),
        (Tensor([True]), "Tensor([ True])"),
        (Tensor([1.0], dtype=np.float32), "Tensor([1.], dtype=float32)"),
        (leaf([1.0]), "Tensor([1.], requires_grad=True)"),
        (leaf([1.0], name="w"), "Tensor([1.], requires_grad=True, name='w')"),
        (leaf([1.0, 2.0]).sum(), "Tensor(3., requires_grad=True)"),
        (leaf([1.0], dtype=np.float32, name="w"), "Tensor([1.], dtype=float32, requires_grad=True, name='w')"),
        (Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
    ],
)
def test_repr_shows_values_dtype_gradient_and_name(tensor, text):
    assert repr(tensor) == text


def test_repr_of_a_large_tensor_is_short():
    assert len(repr(leaf(np.zeros((1000, 1000))))) < 1000


def test_numpys_protocol_gives_the_dtype_that_it_is_asked_for():
    x = Tensor([1.0, 2.0])
    assert x.__array__(np.float32).dtype == np.float32
    assert not np.shares_memory(x.__array__(copy=True), x.data)


def test_the_array_of_an_operand_is_its_own_and_a_single_value_is_a_scalar():
    x = leaf([1.0, 2.0])
    assert array_of(x) is x.data
    assert type(array_of(Tensor(2.0))) is np.float64
    assert type(array_of(x.sum())) is np.float64
    assert type(array_of(2)) is int


@pytest.mark.parametrize("data", [1.5, [1.5], [[1.0, 2.0], [3.0, 4.0]], np.zeros((0, 3))], ids=str)
def test_convert_changes_the_dtype_of_a_tensor_and_its_gradient_in_place(data):
    x = Tensor(data, requires_grad=True)
    x.sum().backward()
    convert(x, np.float32)
    assert (x.data.dtype, x.grad.dtype, x.data.shape, x.grad.shape) == (*[np.float32] * 2, *[np.shape(data)] * 2)
    np.testing.assert_array_equal(x.data, data)
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 1 + 2 * np.asarray(data, np.float32))


def test_a_converted_tensor_shares_no_memory_with_what_it_was_made_of():
    whole = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    part = whole.detach()
    convert(part, np.float64)
    y = (whole * whole).sum()
    part.data[...] = 0  # once its owner's memory
    y.backward()
    np.testing.assert_array_equal(whole.grad, [2, 4, 6])
