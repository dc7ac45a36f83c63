"""Every primitive: values against NumPy's function of that name, gradients against finite differences.

``CASES`` is one table for all of them. A case is the shapes of the inputs and an expression, written once and
evaluated twice: ``expression(mg, *tensors)`` is minigrad's answer, ``expression(numpy, *arrays)`` NumPy's.
"""

import operator
from math import prod

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, gradcheck, ops


class NumPy:
    """NumPy itself, and the few primitives that it lacks, written from their definitions."""

    def __getattr__(self, name):
        return getattr(np, name)

    def relu(self, x):
        return np.where(x > 0, x, np.zeros_like(x))

    def sigmoid(self, x):
        return 1 / (1 + np.exp(-x))

    def softmax(self, x, axis=-1):
        return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)

    def log_softmax(self, x, axis=-1):
        return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))

    def getitem(self, x, index):
        return x[index]


numpy = NumPy()

SINGLES = [(), (1,), (3,), (2, 3), (2, 1, 2), (0,), (2, 0)]

PAIRS = [
    ((), ()),
    ((3,), ()),
    ((), (3,)),
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((1,), (3,)),
    ((2, 3), (1, 1)),
    ((2, 1, 3), (4, 1)),
    ((0,), (1,)),
    ((1, 3), (0, 1)),
    ((2, 0), ()),
]

REDUCTIONS = [  # shape, axis
    ((), None),
    ((1,), 0),
    ((4,), None),
    ((4,), -1),
    ((2, 3), None),
    ((2, 3), 0),
    ((2, 3), -1),
    ((2, 3), (0, 1)),
    ((2, 3), ()),
    ((2, 1, 3), 1),
    ((2, 3, 4), 1),
    ((2, 3, 4), -3),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), (-1, 0)),
    ((0, 3), 1),
    ((0, 3), -1),
]

SUMS_OF_NOTHING = [((0,), None), ((0,), 0), ((0, 3), 0), ((3, 0), -1), ((3, 0), (0, 1))]

MATRICES = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((1, 3), (3, 1)),
    ((2, 2, 3), (2, 3, 2)),
    ((2, 2, 2, 3), (2, 2, 3, 1)),
    ((2, 2, 3), (3, 2)),
    ((2, 3), (2, 3, 2)),
    ((2, 1, 2, 3), (3, 3, 2)),
    ((1, 2, 3), (2, 3, 2)),
    ((3,), (2, 3, 2)),
    ((2, 2, 3), (3,)),
    ((3,), (2, 1, 3, 2)),
    ((0, 2), (2, 3)),
    ((2, 0), (0, 3)),
    ((0,), (0,)),
    ((0, 2, 3), (3, 2)),
]

INDICES = [  # shape, index
    ((), ()),
    ((), ...),
    ((), None),
    ((4,), 1),
    ((4,), -1),
    ((4,), np.int64(2)),
    ((4,), np.s_[1:3]),
    ((4,), np.s_[::-2]),
    ((4,), np.s_[2:2]),
    ((4,), ...),
    ((4,), None),
    ((3, 4), 1),
    ((3, 4), np.s_[1, -2]),
    ((3, 4), np.s_[:, -1]),
    ((3, 4), np.s_[..., 0]),
    ((3, 4), np.s_[None, :, None, 1]),
    ((3, 4), np.s_[::2, ::-1]),
    ((0, 3), np.s_[:, 1]),
    ((4,), [2, 0, 2]),
    ((4,), np.array([[0, 3], [-1, 0]])),
    ((4,), np.array(1)),
    ((4,), np.array([], dtype=int)),
    ((3, 4), [1, 1]),
    ((3, 4), np.s_[[0, 0, 2], [1, 1, 3]]),
    ((3, 4), np.s_[:, [1, 1, 0]]),
    ((3, 4), np.s_[[1, 1], :2]),
    ((3, 4), np.s_[..., None, [3, 3]]),
    ((3, 4), np.s_[1, [2, 2]]),
    ((3, 4), np.s_[[[0], [2]], [1, 1]]),
    ((4,), np.array([True, False, True, True])),
    ((4,), np.zeros(4, dtype=bool)),
    ((4,), True),
    ((3, 4), np.array([True, False, True])),
    ((3, 4), np.arange(12).reshape(3, 4) % 2 == 0),
    ((3, 4), np.s_[:, np.array([True, False, False, True])]),
    ((3, 4), np.s_[np.array([True, False, True]), [1, 1]]),
    ((2, 3, 2), np.s_[0, :, [1, 1]]),
]


def each(shapes_of_inputs, expression):
    """One expression for several inputs' shapes."""
    return [(shapes, expression) for shapes in shapes_of_inputs]


def unary(name):
    return each([(shape,) for shape in SINGLES], lambda m, x: getattr(m, name)(x))


def binary(name, shapes=PAIRS):
    return each(shapes, lambda m, x, y: getattr(m, name)(x, y))


def reduction(name, cases, **arguments):
    def case(shape, axis, keepdims):
        return (shape,), lambda m, x: getattr(m, name)(x, axis=axis, keepdims=keepdims, **arguments)

    return [case(shape, axis, keepdims) for shape, axis in cases for keepdims in (False, True)]


def along_an_axis(name):
    cases = [((), -1), ((1,), 0), ((3,), -1), ((2, 3), 0), ((2, 3), -1), ((2, 3, 2), 1), ((2, 3, 2), -2), ((0, 3), 1)]
    return [((shape,), lambda m, x, axis=axis: getattr(m, name)(x, axis=axis)) for shape, axis in cases]


def one(shape, expression):
    return (shape,), expression


LEFT_OR_RIGHT = np.array([[True, False, True], [False, False, True]])

CASES = {
    "add": binary("add"),
    "subtract": binary("subtract"),
    "multiply": binary("multiply"),
    "divide": binary("divide"),
    "power": [
        *binary("power"),
        one((2, 3), lambda m, x: m.power(x, 2)),
        one((3,), lambda m, x: m.power(x, -1)),
        one((3,), lambda m, x: m.power(x, 0.5)),
        one((3,), lambda m, x: m.power(x, 0)),
        one((3,), lambda m, x: m.power(2.5, x)),
    ],
    "negative": unary("negative"),
    "matmul": binary("matmul", MATRICES),
    "exp": unary("exp"),
    "log": unary("log"),
    "sqrt": unary("sqrt"),
    "abs": unary("abs"),
    "tanh": unary("tanh"),
    "sigmoid": unary("sigmoid"),
    "relu": unary("relu"),
    "maximum": [*binary("maximum"), one((2, 3), lambda m, x: m.maximum(x, 0))],
    "minimum": [*binary("minimum"), one((2, 3), lambda m, x: m.minimum(0.2, x))],
    "where": [
        *each([((2, 3), (2, 3)), ((3,), (2, 1)), ((), (3,))], lambda m, x, y: m.where(LEFT_OR_RIGHT, x, y)),
        *each([((4, 1), (4, 3)), ((), ())], lambda m, x, y: m.where(LEFT_OR_RIGHT[0], x, y)),
        *each([((3,), ()), ((), ()), ((0,), (0,))], lambda m, x, y: m.where(True, x, y)),
        one((3,), lambda m, x: m.where(LEFT_OR_RIGHT, x, 0.0)),
        one((3,), lambda m, x: m.where(LEFT_OR_RIGHT, 0.0, x)),
    ],
    "clip": [
        *each([(shape,) for shape in SINGLES], lambda m, x: m.clip(x, -0.4, 0.6)),
        one((2, 3), lambda m, x: m.clip(x, -0.4, None)),
        one((2, 3), lambda m, x: m.clip(x, None, 0.6)),
        one((2, 3), lambda m, x: m.clip(x, np.full((2, 1), -0.4, x.dtype), 0.6)),
        one((3,), lambda m, x: m.clip(x, np.array([[-0.4], [0.2]], x.dtype), 0.6)),
    ],
    "sum": [*reduction("sum", REDUCTIONS), *reduction("sum", SUMS_OF_NOTHING), *reduction("sum", [((), 0)])],
    "mean": reduction("mean", REDUCTIONS),
    "var": [
        *reduction("var", REDUCTIONS),
        *reduction("var", [((4,), None), ((2, 3), -1), ((2, 3, 4), (0, 2)), ((0, 3), 1)], ddof=1),
        *reduction("var", [((2, 3), None)], ddof=2),
    ],
    "max": reduction("max", REDUCTIONS),
    "min": reduction("min", REDUCTIONS),
    "softmax": along_an_axis("softmax"),
    "log_softmax": along_an_axis("log_softmax"),
    "reshape": [
        one((2, 3), lambda m, x: m.reshape(x, (3, 2))),
        one((2, 3), lambda m, x: m.reshape(x, (-1,))),
        one((2, 3), lambda m, x: m.reshape(x, -1)),
        one((2, 3), lambda m, x: m.reshape(x, (1, 2, 1, -1))),
        one((1, 1), lambda m, x: m.reshape(x, ())),
        one((), lambda m, x: m.reshape(x, (1, 1))),
        one((0, 3), lambda m, x: m.reshape(x, (3, 0, 2))),
    ],
    "transpose": [
        *unary("transpose"),
        one((2, 3, 4), lambda m, x: m.transpose(x)),
        one((2, 3, 4), lambda m, x: m.transpose(x, (1, 2, 0))),
        one((2, 3, 4), lambda m, x: m.transpose(x, (-1, 0, 1))),
        one((2, 0), lambda m, x: m.transpose(x, (1, 0))),
    ],
    "swapaxes": [
        one((2, 3), lambda m, x: m.swapaxes(x, 0, 1)),
        one((2, 3, 4), lambda m, x: m.swapaxes(x, -1, 0)),
        one((2, 0, 3), lambda m, x: m.swapaxes(x, 1, 2)),
        one((3,), lambda m, x: m.swapaxes(x, 0, 0)),
    ],
    "expand_dims": [
        one((), lambda m, x: m.expand_dims(x, 0)),
        one((2, 3), lambda m, x: m.expand_dims(x, 1)),
        one((2, 3), lambda m, x: m.expand_dims(x, -1)),
        one((2, 3), lambda m, x: m.expand_dims(x, (0, -1))),
        one((0,), lambda m, x: m.expand_dims(x, 0)),
    ],
    "squeeze": [
        *unary("squeeze"),
        one((1, 3, 1), lambda m, x: m.squeeze(x)),
        one((1, 3, 1), lambda m, x: m.squeeze(x, axis=0)),
        one((1, 3, 1), lambda m, x: m.squeeze(x, axis=-1)),
        one((1, 3, 1), lambda m, x: m.squeeze(x, axis=(0, 2))),
        one((1, 0), lambda m, x: m.squeeze(x, axis=0)),
    ],
    "broadcast_to": [
        one((), lambda m, x: m.broadcast_to(x, (2, 3))),
        one((3,), lambda m, x: m.broadcast_to(x, (2, 3))),
        one((2, 1), lambda m, x: m.broadcast_to(x, (2, 3))),
        one((2, 1), lambda m, x: m.broadcast_to(x, (4, 2, 3))),
        one((2, 3), lambda m, x: m.broadcast_to(x, (2, 3))),
        one((1,), lambda m, x: m.broadcast_to(x, (0,))),
    ],
    "getitem": [((shape,), lambda m, x, index=index: m.getitem(x, index)) for shape, index in INDICES],
    "concatenate": [
        *each([((2,), (3,)), ((2, 3), (1, 3)), ((0,), (2,))], lambda m, x, y: m.concatenate([x, y])),
        *each([((2, 1), (2, 3)), ((2, 0), (2, 2))], lambda m, x, y: m.concatenate((x, y), axis=-1)),
        one((2, 3), lambda m, x: m.concatenate([x, x], axis=1)),
        one((2, 3), lambda m, x: m.concatenate([x])),
        one((2,), lambda m, x: m.concatenate([np.ones(3, x.dtype), x])),
        (((2, 1, 2), (2, 2, 2), (2, 3, 2)), lambda m, x, y, z: m.concatenate([x, y, z], axis=1)),
    ],
    "stack": [
        *each([((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((0,), (0,))], lambda m, x, y: m.stack([x, y])),
        *each([((3,), (3,)), ((2, 3), (2, 3))], lambda m, x, y: m.stack([x, y], axis=1)),
        *each([((3,), (3,)), ((2, 3), (2, 3))], lambda m, x, y: m.stack((x, y), axis=-1)),
        one((2,), lambda m, x: m.stack([x, x, x])),
        one((2,), lambda m, x: m.stack([x])),
    ],
}

POSITIVE = {"log", "sqrt", "power"}


def inputs_for(name, shapes):
    """Arrays with values that are all different and never near 0, so that no kink or tie is near."""
    sizes = [prod(shape) for shape in shapes]
    order = np.random.default_rng(0).permutation(sum(sizes))
    values = (order - sum(sizes) // 2) * 0.2 + 0.1  # ..., -0.3, -0.1, 0.1, 0.3, ...
    if name in POSITIVE:
        values = np.abs(values)
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def leaf(array, **arguments):
    return Tensor(np.array(array), requires_grad=True, **arguments)


every_case = pytest.mark.parametrize(
    ("name", "shapes", "expression"),
    [
        pytest.param(name, shapes, expression, id=f"{name} {number}: {' '.join(map(str, shapes))}")
        for name, cases in CASES.items()
        for number, (shapes, expression) in enumerate(cases)
    ],
)

every_primitive = pytest.mark.parametrize("name", sorted(ops.__all__))


def test_every_primitive_has_cases():
    assert set(CASES) == set(ops.__all__)


@every_primitive
def test_the_cases_of_a_primitive_record_that_primitive(name):
    for shapes, expression in CASES[name]:
        result = expression(mg, *[leaf(a) for a in inputs_for(name, shapes)])
        assert [entry.op for entry in result.tape()] == [name]


@every_case
def test_values_are_numpys(name, shapes, expression):
    arrays = inputs_for(name, shapes)
    result = expression(mg, *[Tensor(a) for a in arrays])
    expected = np.asarray(expression(numpy, *arrays))
    assert isinstance(result.data, np.ndarray)
    np.testing.assert_allclose(result.data, expected, rtol=1e-13, atol=1e-15, strict=True)


@every_case
def test_gradients_match_finite_differences(name, shapes, expression):
    assert gradcheck(lambda *x: expression(mg, *x), [leaf(a) for a in inputs_for(name, shapes)])


@pytest.mark.parametrize("name", [name for name, cases in CASES.items() if len(cases[0][0]) > 1])
def test_one_operand_may_be_constant(name):
    for shapes, expression in CASES[name]:
        for wanted in range(len(shapes)):
            inputs = [Tensor(a, requires_grad=i == wanted) for i, a in enumerate(inputs_for(name, shapes))]
            assert gradcheck(lambda *x: expression(mg, *x), inputs)  # noqa: B023  called before the loop goes on


@every_primitive
def test_float32_stays_float32_forward_and_backward(name):
    for shapes, expression in CASES[name]:
        inputs = [leaf(a, dtype=np.float32) for a in inputs_for(name, shapes)]
        result = expression(mg, *inputs)
        result.backward(np.ones(result.shape))
        assert result.dtype == np.float32
        for x in inputs:
            assert isinstance(x.grad, np.ndarray)
            assert (x.grad.dtype, x.grad.shape) == (np.float32, x.shape)


@every_primitive
def test_every_gradient_has_memory_of_its_own(name):
    for shapes, expression in CASES[name]:
        inputs = [leaf(a) for a in inputs_for(name, shapes)]
        result = expression(mg, *inputs)
        result.retain_grad()
        g = np.ones(result.shape)
        result.backward(g)
        others = [g, result.data, *[x.data for x in inputs]]
        gradients = [result.grad, *[x.grad for x in inputs]]
        for i, gradient in enumerate(gradients):
            assert gradient.flags.writeable
            assert not any(np.may_share_memory(gradient, other) for other in others + gradients[:i])


@every_primitive
def test_constants_record_nothing_and_still_give_tensors(name):
    for shapes, expression in CASES[name]:
        result = expression(mg, *[Tensor(a) for a in inputs_for(name, shapes)])
        assert isinstance(result, Tensor)
        assert not result.requires_grad
        assert len(result.tape()) == 0


@every_primitive
def test_nothing_is_recorded_under_no_grad(name):
    for shapes, expression in CASES[name]:
        with mg.no_grad():
            result = expression(mg, *[leaf(a) for a in inputs_for(name, shapes)])
        assert not result.requires_grad


def gradients_after_a_change(name, shapes, expression, changed):
    """The inputs' gradients when one array, or none, is changed before backward; None if that is refused."""
    inputs = [leaf(a) for a in inputs_for(name, shapes)]
    result = expression(mg, *inputs)
    if changed is not None:
        array = [*inputs, result][changed].data
        if array.flags.writeable:  # broadcast_to gives a read-only array, as in NumPy
            array[...] += 1
    try:
        result.backward(np.arange(1.0, result.size + 1).reshape(result.shape))
    except RuntimeError:
        return None
    return [x.grad for x in inputs]


@every_primitive
def test_a_change_after_the_forward_pass_is_refused_or_does_not_matter(name):
    for shapes, expression in CASES[name]:
        right = gradients_after_a_change(name, shapes, expression, changed=None)
        for changed in range(len(shapes) + 1):
            gradients = gradients_after_a_change(name, shapes, expression, changed)
            if gradients is not None:
                for gradient, expected in zip(gradients, right, strict=True):
                    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"), ("pow", "power")],
)
@pytest.mark.parametrize("other", [3, 0.5, np.float64(1.5), np.array([1.0, 2.0]), Tensor([1.0, 2.0])], ids=repr)
def test_an_operator_is_its_function_in_either_order(symbol, name, other):
    function = getattr(operator, symbol)
    expected = other.data if isinstance(other, Tensor) else other
    for expression, value in [
        (lambda x: function(x, other), function(np.array([1.0, 3.0]), expected)),
        (lambda x: function(other, x), function(expected, np.array([1.0, 3.0]))),
    ]:
        x = leaf([1.0, 3.0])
        result = expression(x)
        assert isinstance(result, Tensor)
        assert [entry.op for entry in result.tape()] == [name]
        np.testing.assert_array_equal(result.data, value)
        assert gradcheck(expression, x)


@pytest.mark.parametrize("wrap", [np.asarray, Tensor])
def test_the_at_sign_is_matmul_in_either_order(wrap):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    left, right = leaf(a) @ wrap(b), wrap(a) @ leaf(b)
    for result in (left, right):
        assert isinstance(result, Tensor)
        assert result.requires_grad
        np.testing.assert_array_equal(result.data, a @ b)


def test_minus_and_abs_are_operators_too():
    x = leaf([-1.0, 2.0])
    np.testing.assert_array_equal((-x).data, [1, -2])
    np.testing.assert_array_equal(abs(x).data, [1, 2])


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda x: x.reshape(3, 2), (3, 2)),
        (lambda x: x.reshape((3, 2)), (3, 2)),
        (lambda x: x.reshape([3, 2]), (3, 2)),
        (lambda x: x.reshape(-1), (6,)),
        (lambda x: x.transpose(1, 0), (3, 2)),
        (lambda x: x.transpose((1, 0)), (3, 2)),
        (lambda x: x.transpose([1, 0]), (3, 2)),
        (lambda x: x.transpose(), (3, 2)),
        (lambda x: x.T, (3, 2)),
    ],
)
def test_reshape_and_transpose_take_their_numbers_spread_or_packed(call, shape):
    x = leaf(np.arange(6.0).reshape(2, 3))
    assert call(x).shape == shape
    assert gradcheck(call, x)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 2.0])
def test_a_negative_base_takes_whole_exponents(exponent):
    assert gradcheck(lambda x: x**exponent, leaf([-2.0, -0.5, 1.5]))


def test_the_power_rule_takes_its_limits_where_the_formula_is_0_times_infinity():
    x, y = leaf([0.0, 0.0, 2.0, 0.0]), leaf([2.0, 1.0, 0.0, 0.0])
    (x**y).backward(np.ones(4))
    np.testing.assert_array_equal(x.grad, [0, 1, 0, 0])
    np.testing.assert_array_equal(y.grad, [0, 0, np.log(2), 0])


def test_an_element_picked_twice_gets_both_gradients():
    x = leaf([1.0, 2.0, 3.0])
    x[[0, 0, 2, 0]].backward([1.0, 10.0, 100.0, 1000.0])
    np.testing.assert_array_equal(x.grad, [1011, 0, 100])


def test_a_tensor_can_be_an_index():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    picked = x[Tensor([1, 1]), Tensor([0, 1])]
    np.testing.assert_array_equal(picked.data, [3, 4])
    picked.sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0], [1, 1]])


def test_a_comparison_can_be_an_index():
    x = leaf([-1.0, 2.0, 3.0])
    x[x > 0].sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 1])


@pytest.mark.parametrize("condition", [[True, False], Tensor([True, False]), np.array([2, 0])], ids=repr)
def test_where_takes_any_condition(condition):
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    result = mg.where(condition, x, y)
    result.sum().backward()
    np.testing.assert_array_equal(result.data, [1, 4])
    np.testing.assert_array_equal(x.grad, [1, 0])
    np.testing.assert_array_equal(y.grad, [0, 1])


# Ties and kinks: where there is no derivative, the conventions of the design.


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (None, [[0.25, 0.25, 0.25], [0.25, 0, 0]]),
        (1, [[1 / 3, 1 / 3, 1 / 3], [1, 0, 0]]),
        (0, [[0.5, 1, 1], [0.5, 0, 0]]),
        ((0, 1), [[0.25, 0.25, 0.25], [0.25, 0, 0]]),
    ],
)
@pytest.mark.parametrize("keepdims", [False, True])
def test_equal_extremes_share_the_gradient_evenly(name, axis, expected, keepdims):
    values = np.array([[5.0, 5.0, 5.0], [5.0, 1.0, 2.0]])
    x = leaf(values if name == "max" else -values)
    getattr(x, name)(axis=axis, keepdims=keepdims).sum().backward()
    np.testing.assert_allclose(x.grad, expected, rtol=1e-15)


@pytest.mark.parametrize("function", [mg.maximum, mg.minimum])
def test_maximum_and_minimum_give_half_to_each_of_two_equals(function):
    x, y = leaf([1.0, 1.0]), leaf([1.0, 1.0])
    function(x, y).backward([1.0, 4.0])
    np.testing.assert_array_equal(x.grad, [0.5, 2])
    np.testing.assert_array_equal(y.grad, [0.5, 2])


def test_maximum_of_a_tensor_and_itself_has_gradient_1():
    x = leaf([1.0, 2.0])
    mg.maximum(x, x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


@pytest.mark.parametrize("function", [mg.relu, mg.abs])
def test_relu_and_abs_have_gradient_0_at_0(function):
    x = leaf([0.0, -0.0])
    function(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0])


def test_clip_passes_the_gradient_at_its_bounds():
    x = leaf([-2.0, -1.0, 0.0, 1.0, 2.0])
    x.clip(-1, 1).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 1, 1, 0])


@pytest.mark.parametrize("limits", [{"min": 0.0}, {"max": 0.0}, {"min": -1.0, "max": 0.0}])
def test_clip_takes_its_limits_by_name(limits):
    x = leaf([-2.0, -0.5, 2.0])
    np.testing.assert_array_equal(x.clip(**limits).data, np.clip(x.data, limits.get("min"), limits.get("max")))
    assert gradcheck(lambda x: x.clip(**limits), x)


def test_clip_without_limits_leaves_values_and_gradients_alone():
    x = leaf([-np.inf, 1.0, np.inf])
    result = x.clip()
    result.backward(np.ones(3))
    np.testing.assert_array_equal(result.data, x.data)
    np.testing.assert_array_equal(x.grad, [1, 1, 1])


def test_clip_takes_tensors_without_gradients_as_limits():
    np.testing.assert_array_equal(leaf([-2.0, 2.0]).clip(Tensor(-1.0), Tensor([0.5, 1.5])).data, [-1, 1.5])


# Large numbers.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_is_stable_at_both_ends(dtype):
    x = leaf([-1000, -100, 0, 100, 1000], dtype=dtype)
    y = x.sigmoid()
    y.sum().backward()
    np.testing.assert_allclose(y.data, [0, 0, 0.5, 1, 1], atol=1e-40)
    np.testing.assert_allclose(x.grad, [0, 0, 0.25, 0, 0], atol=1e-40)


def test_tanh_is_stable_at_both_ends():
    x = leaf([-1000.0, 1000.0])
    y = x.tanh()
    y.sum().backward()
    np.testing.assert_array_equal(y.data, [-1, 1])
    np.testing.assert_array_equal(x.grad, [0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_takes_huge_logits(dtype):
    x = leaf([[1e4, 0, -1e4], [1e30, 1e30, -1e30]], dtype=dtype)
    y = x.softmax()
    y[:, 0].sum().backward()
    np.testing.assert_array_equal(y.data, [[1, 0, 0], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(x.grad, [[0, 0, 0], [0.25, -0.25, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_softmax_is_exact_where_softmax_rounds_to_0(dtype):
    x = leaf([1e4, 0, -1e4], dtype=dtype)
    y = x.log_softmax()
    y[1].backward()
    np.testing.assert_array_equal(y.data, np.array([0, -1e4, -2e4], dtype))
    np.testing.assert_array_equal(x.grad, [-1, 1, 0])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_sums_to_1_along_its_axis(axis):
    x = leaf(np.random.default_rng(0).normal(size=(3, 4)))
    np.testing.assert_allclose(x.softmax(axis=axis).sum(axis=axis).data, 1, rtol=1e-14)


# Errors say which operation and which shapes.


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
def test_shapes_that_do_not_broadcast_are_named(name):
    with pytest.raises(ValueError, match=rf"{name}.*\(2, 3\).*\(2,\)"):
        getattr(mg, name)(leaf(np.ones((2, 3))), np.ones(2))


@pytest.mark.parametrize(
    ("symbol", "name"), [("+", "add"), ("-", "subtract"), ("*", "multiply"), ("/", "divide"), ("**", "power")]
)
def test_operators_name_the_shapes_in_the_order_they_were_written(symbol, name):
    function = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}
    with pytest.raises(ValueError, match=rf"{name}.*\(2,\).*\(3,\)"):
        function[symbol](np.ones(2), leaf(np.ones(3)))


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3)), ((3,), (2,)), ((2, 3), ()), ((), (3,)), ((2, 2, 3), (3, 3, 2)), ((2, 3), (2,))]
)
def test_matmul_names_shapes_that_do_not_fit(shapes):
    left, right = (str(shape).replace("(", r"\(").replace(")", r"\)") for shape in shapes)
    with pytest.raises(ValueError, match=f"matmul.*{left}.*{right}"):
        leaf(np.ones(shapes[0])) @ leaf(np.ones(shapes[1]))


def test_where_names_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"where.*\(2,\).*\(3,\).*\(\)"):
        mg.where(np.array([True, False]), leaf(np.ones(3)), 0.0)


def test_clip_names_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"clip.*\(3,\).*\(2,\)"):
        leaf(np.ones(3)).clip(np.zeros(2), 1.0)


@pytest.mark.parametrize("limits", [{"min": leaf(0.0)}, {"max": leaf(0.0)}])
def test_clip_refuses_limits_that_require_gradients(limits):
    with pytest.raises(TypeError, match=r"clip.*maximum"):
        leaf([1.0, 2.0]).clip(**limits)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: x.reshape(4), ValueError),
        (lambda x: x.broadcast_to((2, 2)), ValueError),
        (lambda x: x.squeeze(axis=0), ValueError),
        (lambda x: x.sum(axis=2), ValueError),
        (lambda x: x.transpose(0, 1, 2), ValueError),
        (lambda x: x[5], IndexError),
        (lambda x: x[0, 0, 0], IndexError),
        (lambda x: x[1.0], IndexError),
        (lambda x: mg.concatenate([x, np.ones((2, 2))]), ValueError),
        (lambda x: mg.stack([x, np.ones(3)]), ValueError),
        (lambda x: mg.concatenate([]), ValueError),
        (lambda x: mg.stack([]), ValueError),
    ],
)
def test_what_numpy_refuses_is_refused_with_its_error(call, error):
    with pytest.raises(error):
        call(leaf(np.ones((2, 3))))


@pytest.mark.parametrize("other", [None, "a", object(), 1j], ids=repr)
def test_operands_that_are_no_real_numbers_are_refused(other):
    with pytest.raises(TypeError):
        leaf([1.0, 2.0]) + other


# Found in use: forms of arguments and dtypes that NumPy takes and that are easy to get wrong.


@pytest.mark.parametrize("index", [[0, 0, 1], ((0, 0, 1),), (np.array([0, 0, 1]),)], ids=str)
def test_an_element_picked_twice_gets_both_gradients_whatever_the_index_is_written_as(index):
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[index].sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 1, 0])


@pytest.mark.parametrize("join", [mg.concatenate, mg.stack])
def test_tensors_to_be_joined_may_come_from_a_generator(join):
    x = Tensor([1.0, 2.0], requires_grad=True)
    join(z for z in (x, x)).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


@pytest.mark.parametrize("function", [mg.sigmoid, mg.softmax, mg.log_softmax])
def test_unsigned_integers_do_not_wrap_around(function):
    image = np.array([[1, 2, 3]], np.uint8)
    np.testing.assert_allclose(function(image).data, function(image.astype(float)).data)


def test_clip_keeps_the_dtype_of_integers():
    assert Tensor([1, 2, 3]).clip(2).dtype == np.int64
