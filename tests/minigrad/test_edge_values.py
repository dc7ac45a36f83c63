"""The primitives where numbers and arrays are unusual: zeros, infinities and nans, values near the ends of a dtype's
range, float16, odd memory, arrays without elements, and operands of other dtypes."""

import operator
from pathlib import Path

import numpy as np
import pytest
from numpy.exceptions import AxisError

import minigrad as mg
from minigrad import Tensor, no_grad


def leaf(values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


# Zeros, infinities and nans, against the numbers that PyTorch computed (tests/golden/make_special_values.py).

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "special_values.npz")
VALUES = GOLDEN["values"]
PAIRS = np.repeat(VALUES, len(VALUES)), np.tile(VALUES, len(VALUES))
CALLS = {
    "clip": lambda x: x.clip(-0.5, 1.0),
    "clip-below": lambda x: x.clip(min=-0.5),
    "clip-above": lambda x: x.clip(max=1.0),
    "where": lambda x, y: mg.where(np.arange(x.size) % 3 == 0, x, y),
}
ALONG_ROWS = {"sum", "mean", "var", "max", "min", "softmax", "log_softmax"}
STOPS_GRADIENTS = {"relu", "clip", "clip-below", "clip-above", "maximum", "minimum", "power"}

every_special_case = pytest.mark.parametrize("case", sorted({key.rpartition("/")[0] for key in GOLDEN} - {""}))


def special_inputs(case):
    dtype, name = case.split("/")
    if f"{case}/d_y" in GOLDEN:
        return [leaf(values, dtype) for values in PAIRS]
    return [leaf(np.stack(PAIRS, 1) if name in ALONG_ROWS else VALUES, dtype)]


def call(case, inputs):
    name = case.split("/")[1]
    if name in ALONG_ROWS:
        return getattr(mg, name)(*inputs, axis=1)
    return CALLS.get(name, getattr(mg, name, None))(*inputs)


def assert_nearly_equal(actual, expected):
    tolerance = 16 * np.finfo(expected.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, strict=True)


@every_special_case
def test_special_values_have_pytorchs_results(case):
    with np.errstate(all="ignore"):
        assert_nearly_equal(call(case, special_inputs(case)).data, GOLDEN[f"{case}/y"])


@every_special_case
@pytest.mark.parametrize("row", range(len(GOLDEN["gradients"])), ids=lambda row: f"g={GOLDEN['gradients'][row]}")
def test_special_values_have_pytorchs_gradients(case, row):
    name, g = case.split("/")[1], GOLDEN["gradients"][row]
    inputs = special_inputs(case)
    with np.errstate(all="ignore"):
        result = call(case, inputs)
        result.backward(np.full(result.shape, g))
    for x, part in zip(inputs, ("d_x", "d_y"), strict=False):
        expected = GOLDEN[f"{case}/{part}"][row].copy()
        # Where we differ, and say so in the docstrings: nothing but nan comes of abs(nan), where PyTorch gives 0, ...
        if name == "abs":
            expected[np.isnan(x.data)] = np.nan
        # ... and a gradient that isn't finite is stopped by multiplying it by 0, where PyTorch chooses the 0.
        if name in STOPS_GRADIENTS and not np.isfinite(g):
            expected[expected == 0] = np.nan
        assert_nearly_equal(x.grad, expected)


@pytest.mark.parametrize("name", ["max", "min"])
def test_the_extreme_of_a_nan_sends_nan_back_without_a_warning(name):
    x = leaf([[1.0, np.nan], [1.0, 2.0]])
    getattr(x, name)(axis=1).sum().backward()
    np.testing.assert_array_equal(np.isnan(x.grad), [[True, True], [False, False]])


def test_the_power_rule_takes_its_limits_without_a_warning():
    x, y = leaf([0.0, 0.0, np.inf, np.nan]), leaf([0.0, 2.0, 0.0, 0.0])
    (x**y).backward(np.ones(4))
    np.testing.assert_array_equal(x.grad, [0, 0, 0, 0])
    np.testing.assert_array_equal(y.grad[:2], [0, 0])


# Near the ends of a dtype's range: what can be represented must not get lost on the way.


@pytest.mark.parametrize(
    ("dtype", "x", "y", "d_y"),
    [
        ("float32", 1e30, 1e20, -1e-10),
        ("float32", 1e-30, 1e-25, -1e20),
        ("float32", 1e30, 1e30, -1e-30),
        ("float32", 0.0, 1e-30, 0.0),
        ("float16", 300.0, 300.0, -1 / 300),
        ("float16", 1e-3, 1e-3, -1000.0),
        ("float64", 1e300, 1e200, -1e-100),
    ],
)
def test_the_divisor_gets_its_gradient_though_its_square_is_out_of_range(dtype, x, y, d_y):
    divisor = leaf(y, dtype)
    (leaf(x, dtype) / divisor).backward()
    np.testing.assert_allclose(divisor.grad, d_y, rtol=4 * np.finfo(dtype).eps)


def magnitudes(dtype, count=400):
    """Numbers of both signs from the smallest to the largest of a dtype."""
    low, high = np.log(np.finfo(dtype).tiny.astype(float)), np.log(np.finfo(dtype).max.astype(float))
    rng = np.random.default_rng(0)
    return (np.exp(rng.uniform(low, high, (2, count))) * rng.choice([-1, 1], (2, count))).astype(dtype)


def ordinary(array, dtype):
    """Where a number is in the range in which the dtype has its full precision."""
    return (abs(array) > np.finfo(dtype).tiny) & (abs(array) < np.finfo(dtype).max)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("g", [1e-3, 1.0, 1e3])
def test_a_quotients_gradients_are_those_of_float64_wherever_the_dtype_can_hold_them(dtype, g):
    narrow = [leaf(values, dtype) for values in magnitudes(dtype)]
    wide = [leaf(values) for values in magnitudes(dtype)]
    for x, y in (narrow, wide):
        with np.errstate(all="ignore"):
            result = x / y
            result.backward(np.full(x.shape, g))
    fits = np.all([ordinary(array, dtype) for array in (result.data, wide[0].grad, wide[1].grad)], axis=0)
    assert np.count_nonzero(fits) > 100
    for x, expected in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(x.grad[fits], expected.grad[fits], rtol=4 * np.finfo(dtype).eps)


def test_the_gradient_of_a_variance_does_not_overflow_before_it_is_divided_by_n():
    x = leaf([-1e10, 1e10] * 500, np.float32)
    x.var().backward(1e30)
    np.testing.assert_allclose(x.grad, [-2e37, 2e37] * 500, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "lowest"), [("float16", -16), ("float32", -87), ("float64", -708)])
def test_sigmoid_is_right_down_to_the_smallest_numbers(dtype, lowest):
    x = np.linspace(lowest, 0, 50).astype(dtype)
    expected = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    limits = np.finfo(dtype)
    np.testing.assert_allclose(mg.sigmoid(x).data, expected, rtol=4 * limits.eps, atol=limits.smallest_subnormal)


# float16, which ends at 65,504: what is added up is added up in float32.

MANY = 70_000


@pytest.mark.parametrize(
    ("name", "value", "gradient"),
    [
        ("sum", 70.0, 1.0),
        ("mean", 1e-3, 1 / MANY),
        ("var", 0.0, 0.0),
        ("max", 1e-3, 1 / MANY),
        ("min", 1e-3, 1 / MANY),
    ],
)
def test_a_reduction_of_many_float16_values_is_right(name, value, gradient):
    x = leaf(np.full(MANY, 1e-3), np.float16)
    result = getattr(x, name)()
    result.backward()
    assert (result.dtype, x.grad.dtype) == (np.float16, np.float16)
    np.testing.assert_allclose(result.data, value, rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(x.grad, np.full(MANY, gradient, np.float16))


@pytest.mark.parametrize(("name", "value"), [("softmax", 1 / MANY), ("log_softmax", -np.log(MANY))])
def test_a_softmax_of_many_float16_values_is_right(name, value):
    x = leaf(np.zeros(MANY), np.float16)
    result = getattr(x, name)()
    result.backward(np.ones(MANY))  # the sum of the values of softmax is 1 whatever x is
    assert (result.dtype, x.grad.dtype) == (np.float16, np.float16)
    np.testing.assert_array_equal(result.data, np.full(MANY, value, np.float16))
    np.testing.assert_allclose(x.grad, 0, atol=1e-6 if name == "softmax" else 4e-3)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1])
def test_float16_is_as_exact_as_float32_rounded_at_the_end(name, axis):
    values = np.random.default_rng(0).normal(1, 2, (3000, 3) if axis == 0 else (3, 3000)).astype(np.float16)
    narrow, wide = leaf(values, np.float16), leaf(values, np.float32)
    results = [getattr(x, name)(axis=axis) for x in (narrow, wide)]
    g = np.random.default_rng(1).normal(size=results[0].shape).astype(np.float16)
    for result in results:
        result.backward(g)
    np.testing.assert_allclose(results[0].data, results[1].data, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(narrow.grad, wide.grad, rtol=2e-3, atol=4e-3 * abs(wide.grad).max())


def test_the_variance_of_the_largest_float16_values_has_its_gradient():
    x = leaf([60000.0, -60000.0, -60000.0], np.float16)
    with np.errstate(over="ignore"):  # of the variance itself, which float16 can't hold
        x.var().backward(0.5)
    np.testing.assert_allclose(x.grad, [80000 / 3, -40000 / 3, -40000 / 3], rtol=1e-3)


# Odd memory: the numbers are the same, and a gradient has its tensor's dtype.


def misaligned(a):
    b = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def every_second(a):
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def one_row_for_all(a):
    """The same numbers in every row, with a stride of 0."""
    return np.broadcast_to(a[:1], a.shape) if a.ndim else a


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "negative strides": lambda a: np.flip(np.flip(a).copy()),
    "strides": every_second,
    "zero strides": one_row_for_all,
    "misaligned": misaligned,
    "read-only": read_only,
    **{
        f"dtype {dtype}": lambda a, dtype=dtype: a.astype(dtype)
        for dtype in (">f2", ">f4", ">f8", "<f8", np.longdouble)
    },
}

X = np.array([[0.3, 2.0, 0.7], [1.1, 0.2, 1.7]])
Y = np.array([[1.3, 0.9, 0.4], [2.2, 0.1, 0.6]])

OF_ONE = {
    **{name: getattr(mg, name) for name in "negative exp log sqrt abs tanh sigmoid relu transpose squeeze".split()},
    **{name: getattr(mg, name) for name in "sum mean var max min softmax log_softmax".split()},
    **{f"{name} of columns": lambda x, name=name: getattr(x, name)(axis=0) for name in sorted(ALONG_ROWS)},
    **{f"{name} of rows": lambda x, name=name: getattr(x, name)(axis=1) for name in sorted(ALONG_ROWS)},
    "matmul of a tensor and itself": lambda x: x @ x.T,
    "clip": lambda x: x.clip(0.25, 1.0),
    "clip without limits": lambda x: x.clip(),
    "reshape": lambda x: x.reshape(3, 2),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "expand_dims": lambda x: x.expand_dims(1),
    "broadcast_to": lambda x: x.broadcast_to((2, 2, 3)),
    "getitem": lambda x: x[1:, ::-1],
    "getitem with an array": lambda x: x[[1, 0, 1]],
}
OF_TWO = {
    **{name: getattr(mg, name) for name in "add subtract multiply divide power maximum minimum".split()},
    "matmul": lambda x, y: x @ y.T,
    "where": lambda x, y: mg.where(X > 1, x, y),
    "concatenate": lambda x, y: mg.concatenate([x, y, x]),
    "stack": lambda x, y: mg.stack([x, y], axis=1),
}


def value_and_gradients(expression, arrays):
    inputs = [Tensor(a, requires_grad=True) for a in arrays]
    result = expression(*inputs)
    result.backward(np.linspace(-1, 2, result.size).reshape(result.shape))
    return [result.data, *[x.grad for x in inputs]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
def test_odd_memory_gives_the_same_numbers(name, layout):
    expression, operands = (OF_ONE[name], [X]) if name in OF_ONE else (OF_TWO[name], [X, Y])
    arrays = [LAYOUTS[layout](a) for a in operands]
    actual = value_and_gradients(expression, arrays)
    expected = value_and_gradients(expression, [np.array(a, np.float64, order="C") for a in arrays])
    eps = np.maximum(np.finfo(arrays[0].dtype).eps, np.finfo(float).eps)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=20 * eps, atol=20 * eps)
    assert [a.dtype for a in actual[1:]] == [a.dtype for a in arrays]


@pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
def test_a_result_that_shares_its_inputs_memory_is_noticed_when_it_is_changed(name):
    inputs = [leaf(a) for a in ([X] if name in OF_ONE else [X, Y])]
    losses = [(x * x).sum() for x in inputs]
    result = (OF_ONE | OF_TWO)[name](*inputs).data
    if result.flags.writeable:
        result += 1
    for x, loss, before in zip(inputs, losses, (X, Y), strict=False):
        if np.shares_memory(x.data, result) and result.flags.writeable:
            with pytest.raises(RuntimeError, match="changed in place"):
                loss.backward()
        else:
            loss.backward()
            np.testing.assert_array_equal(x.grad, 2 * before)


@pytest.mark.parametrize("index", [..., (..., 0), (slice(None), ...), (None, ..., 1), 1, (), np.int64(1)], ids=str)
def test_a_basic_index_gives_a_view_whose_change_is_noticed(index):
    x = leaf(X)
    loss = (x * x).sum()
    x[index].data[...] += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# Arrays without elements, without axes, and axes in every form.


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(("shape", "axis"), [((0,), 0), ((2, 0), -1), ((0, 2), 0), ((0, 2), 1), ((2, 0), 0)])
def test_a_softmax_along_an_axis_of_length_0_is_empty(name, shape, axis):
    x = leaf(np.ones(shape))
    result = getattr(x, name)(axis=axis)
    result.backward(np.ones(shape))
    assert (result.shape, x.grad.shape) == (shape, shape)


FOR_ANY_SHAPE = """add subtract multiply divide power maximum minimum negative exp log sqrt abs tanh sigmoid relu clip
transpose squeeze expand_dims sum softmax log_softmax concatenate stack""".split()


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (0, 0, 2)])
@pytest.mark.parametrize("name", FOR_ANY_SHAPE)
def test_arrays_without_elements_go_through(name, shape):
    arrays = [np.ones(shape)] if name in OF_ONE else [np.ones(shape)] * 2
    gradients = value_and_gradients((OF_ONE | OF_TWO)[name], arrays)[1:]
    assert [g.shape for g in gradients] == [shape] * len(arrays)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("name", ["mean", "var"])
@pytest.mark.filterwarnings("ignore:Degrees of freedom")
def test_a_mean_of_nothing_is_nan_and_sends_back_nothing(name):
    x = leaf(np.ones((0, 2)))
    result = getattr(x, name)(axis=0)
    result.backward([1.0, 1.0])
    assert np.isnan(result.data).all()
    assert x.grad.shape == (0, 2)


@pytest.mark.parametrize("ddof", [3, 4])
@pytest.mark.filterwarnings("ignore:Degrees of freedom", "ignore:divide by zero")
def test_a_variance_without_degrees_of_freedom_has_gradient_nan(ddof):
    x = leaf([1.0, 2.0, 4.0])
    x.var(ddof=ddof).backward()
    assert np.isnan(x.grad).all()


@pytest.mark.parametrize(
    ("name", "gradient"),
    [("sum", 1), ("max", 1), ("min", 1), ("softmax", 0), ("log_softmax", 0)],
)
@pytest.mark.parametrize("axis", [0, -1])
def test_a_single_number_may_be_reduced_along_an_axis_that_it_does_not_have(name, gradient, axis):
    x = leaf(3.0)  # as in NumPy
    result = getattr(x, name)(axis=axis)
    result.backward()
    assert (result.shape, x.grad.shape) == ((), ())
    assert x.grad == gradient


CUBE = (
    np.random.default_rng(0).permutation(np.arange(27.0)).reshape(3, 3, 3)
)  # equal lengths: a wrong axis has the right shape


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min"])
@pytest.mark.parametrize(
    "axis", [0, -1, -3, (0,), (2, 0), (-1, 1), (), (0, 1, 2), np.int64(1), (np.int64(0), -1)], ids=str
)
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes_may_be_given_in_every_form_that_numpy_takes(name, axis, keepdims):
    x = leaf(CUBE)
    result = getattr(x, name)(axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(result.data, getattr(np, name)(CUBE, axis=axis, keepdims=keepdims), strict=True)
    assert mg.gradcheck(lambda x: getattr(x, name)(axis=axis, keepdims=keepdims), x)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min"])
@pytest.mark.parametrize(
    ("axis", "error"), [((0, 0), ValueError), ((0, -3), ValueError), (3, AxisError), ("x", TypeError)]
)
def test_axes_that_numpy_refuses_are_refused(name, axis, error):
    with pytest.raises(error):
        getattr(leaf(CUBE), name)(axis=axis)


@pytest.mark.parametrize("order", [np.array([1, 2, 0]), (np.int64(1), 2, 0), [-2, -1, 0], (1, 2, 0)], ids=repr)
def test_transpose_takes_its_order_as_any_sequence_of_integers(order):
    x = leaf(CUBE)
    result = x.transpose(order)
    result.backward(CUBE)
    np.testing.assert_array_equal(result.data, CUBE.transpose(1, 2, 0))
    np.testing.assert_array_equal(x.grad, CUBE.transpose(2, 0, 1))


@pytest.mark.parametrize("call", [lambda x: x.transpose(None), lambda x: x.transpose(), lambda x: x.T])
def test_transpose_without_an_order_reverses_the_axes(call):
    x = leaf(CUBE)
    call(x).backward(CUBE)
    np.testing.assert_array_equal(x.grad, CUBE.T)


@pytest.mark.parametrize("index", [[], ([],), ([], []), (slice(None), []), (0, []), [[]], (..., [])], ids=str)
def test_an_empty_list_picks_nothing(index):
    x = leaf(X)
    result = x[index]
    result.backward(np.ones(result.shape))
    assert result.shape == X[index].shape
    np.testing.assert_array_equal(x.grad, np.zeros((2, 3)))


def test_an_empty_array_of_floats_is_no_index():
    with pytest.raises(IndexError):
        leaf(X)[np.array([])]


# where and clip.


def test_a_condition_that_requires_a_gradient_gets_none():
    condition, x, y = leaf([1.0, 0.0]), leaf([1.0, 2.0]), leaf([3.0, 4.0])
    mg.where(condition, x, y).backward([5.0, 7.0])
    np.testing.assert_array_equal(x.grad, [5, 0])
    np.testing.assert_array_equal(y.grad, [0, 7])
    assert condition.grad is None


def test_a_condition_alone_makes_nothing_require_a_gradient():
    assert not mg.where(leaf([1.0, 0.0]), 1.0, 2.0).requires_grad


def test_a_tensor_can_be_chosen_by_itself():
    x = leaf([1.0, 0.0, -2.0])
    mg.where(x, x, 3.0).backward([5.0, 6.0, 7.0])
    np.testing.assert_array_equal(x.grad, [5, 0, 7])


@pytest.mark.parametrize("flag", [True, False])
def test_clip_without_limits_gives_an_array_of_its_own(flag):
    x = Tensor([1.0, 2.0], requires_grad=flag)
    assert not np.shares_memory(x.clip().data, x.data)


# Results have NumPy's dtypes, and are arrays.

FUNCTIONS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,  # not np.power, which makes another integer of True**2
    "maximum": np.maximum,
    "minimum": np.minimum,
}
PARTNERS = [2, 2.5, True, np.float64(2.5), np.float32(2), np.int8(2), np.uint8(3), np.bool_(True)]
PARTNERS += [np.array([1, 2]), np.array([True, True]), np.array([1.5, 2.0], np.float16), np.array(2.5), [1, 2]]
TENSORS = [np.array(values, dtype) for values in (1.5, [1.5, 2.5]) for dtype in ("float16", "float32", "float64")]
TENSORS += [np.array([1, 2], dtype) for dtype in ("int64", "uint8", "bool")]


def numpys_answer(function, *operands):
    try:
        return np.asarray(function(*operands))
    except TypeError:  # such as the difference of booleans
        return None


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("partner", PARTNERS, ids=repr)
def test_mixed_operands_promote_as_in_numpy(name, partner):
    for array in TENSORS:
        for operands in ((array, partner), (partner, array)):
            plain = operands
            if isinstance(partner, np.generic):  # of a scalar and an array of no axes, NumPy 2.0 made float16 in **
                plain = [a[()] if np.ndim(a) == 0 else a for a in operands]
            expected = numpys_answer(FUNCTIONS[name], *plain)
            inputs = [Tensor(a) if a is array else a for a in operands]
            if expected is None:
                with pytest.raises(TypeError):
                    getattr(mg, name)(*inputs)
                continue
            result = getattr(mg, name)(*inputs)
            assert isinstance(result.data, np.ndarray)
            assert result.dtype == expected.dtype
            np.testing.assert_allclose(result.data, expected, rtol=1e-6, strict=True)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("partner", PARTNERS, ids=repr)
def test_the_gradient_of_mixed_operands_has_its_tensors_dtype(name, partner):
    for array in TENSORS[:6]:
        for order in (1, -1):
            x = leaf(array, array.dtype)
            result = getattr(mg, name)(*(x, partner)[::order])
            result.backward(np.ones(result.shape))
            assert isinstance(x.grad, np.ndarray)
            assert (x.grad.dtype, x.grad.shape) == (array.dtype, array.shape)


@pytest.mark.parametrize("name", "exp log sqrt abs tanh sum mean var max min negative".split())
def test_functions_of_one_operand_have_numpys_dtypes(name):
    for array in [*TENSORS, 2, 2.5, True]:
        expected = numpys_answer(getattr(np, name), array)
        if expected is None:
            with pytest.raises(TypeError):
                getattr(mg, name)(array)
        else:
            assert getattr(mg, name)(array).data.dtype == expected.dtype


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "log_softmax"])
def test_functions_that_numpy_lacks_keep_floats_and_make_integers_float64(name):
    for array in TENSORS:
        expected = array.dtype if array.dtype.kind == "f" else np.float64
        assert getattr(mg, name)(array).data.dtype == expected


def test_booleans_have_no_minus():
    with no_grad(), pytest.raises(TypeError, match="boolean"):
        -Tensor([True])
