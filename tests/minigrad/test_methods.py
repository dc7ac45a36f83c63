"""Tensor's operators and methods: real ones, with the signatures and the results of the functions they stand for."""

import inspect
import traceback

import numpy as np
import pytest

from minigrad import Tensor, no_grad, ops

OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "matmul": "matmul",
}  # fmt: skip
OPERATORS_ALONE = {"add", "subtract", "multiply", "divide", "power", "negative", "getitem"}
FUNCTIONS_ALONE = {"where", "concatenate", "stack"}
ARGUMENTS = {
    "abs": [(), {}],
    "broadcast_to": [((2, 3, 3),), {}],
    "clip": [(0.5, 2.5), {}],
    "exp": [(), {}],
    "expand_dims": [((0, 2),), {}],
    "log": [(), {}],
    "log_softmax": [(0,), {}],
    "matmul": [([[1.0, 2.0, 3.0]] * 3,), {}],
    "max": [(0,), {"keepdims": True}],
    "maximum": [(1.5,), {}],
    "mean": [(0,), {"keepdims": True}],
    "min": [(0,), {"keepdims": True}],
    "minimum": [(1.5,), {}],
    "relu": [(), {}],
    "reshape": [(1, 9), {}],
    "sigmoid": [(), {}],
    "softmax": [(0,), {}],
    "sqrt": [(), {}],
    "squeeze": [(), {}],
    "sum": [(0,), {"keepdims": True}],
    "swapaxes": [(0, 1), {}],
    "tanh": [(), {}],
    "transpose": [((1, 0),), {}],
    "var": [(0, 1), {"keepdims": True}],
}


def square():
    """Three rows and three columns, no two values alike: an argument mixed up with another changes the result."""
    return Tensor([[0.1, 1.0, 2.0], [3.5, 0.7, 1.6], [2.2, 4.0, 0.4]], requires_grad=True)


def assert_same(ours, expected):
    first, second = ours.tape()[-1], expected.tape()[-1]
    assert first.op == second.op
    assert [isinstance(x, Tensor) for x in first.inputs] == [isinstance(x, Tensor) for x in second.inputs]
    np.testing.assert_array_equal(ours.data, expected.data, strict=True)


FUNCTIONS_OF_TENSOR = {name: value for name, value in vars(Tensor).items() if inspect.isfunction(value)}


@pytest.mark.parametrize("name", FUNCTIONS_OF_TENSOR)
def test_every_method_is_called_what_it_is_in_tracebacks_and_in_tools(name):
    method = FUNCTIONS_OF_TENSOR[name]
    assert (method.__name__, method.__qualname__) == (name, f"Tensor.{name}")


def test_a_traceback_shows_the_operator_s_name():
    with pytest.raises(ValueError) as caught:
        Tensor([1.0, 2.0]) + Tensor([1.0, 2.0, 3.0])
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames][1:3] == ["__add__", "add"]


def test_every_primitive_is_a_method_too_where_a_method_reads_well():
    assert set(ops.__all__) - set(ARGUMENTS) == OPERATORS_ALONE | FUNCTIONS_ALONE
    assert not [name for name in OPERATORS_ALONE | FUNCTIONS_ALONE if hasattr(Tensor, name)]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_method_takes_what_its_function_takes_after_the_tensor(name):
    (self, *of_method), (x, *of_function) = (
        inspect.signature(function).parameters.values() for function in (getattr(Tensor, name), getattr(ops, name))
    )
    assert (self.name, x.name) == ("self", "x")
    assert of_method == of_function  # names, kinds, defaults and types


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_method_gives_its_function_s_result(name):
    args, settings = ARGUMENTS[name]
    x = square()
    assert_same(getattr(x, name)(*args, **settings), getattr(ops, name)(x, *args, **settings))


@pytest.mark.parametrize(
    "name", [name for name, (args, _) in ARGUMENTS.items() if name not in ("reshape", "transpose")]
)
def test_a_method_takes_all_its_arguments_by_name_too(name):
    args, settings = ARGUMENTS[name]
    by_name = dict(zip(list(inspect.signature(getattr(Tensor, name)).parameters)[1:], args, strict=False))
    x = square()
    assert_same(getattr(x, name)(**by_name, **settings), getattr(ops, name)(x, *args, **settings))


@pytest.mark.parametrize(("symbol", "name"), OPERATORS.items())
def test_an_operator_gives_its_function_s_result_from_both_sides(symbol, name):
    x, other, function = square(), [[1.0, 3.0, 2.0]] * 3, getattr(ops, name)
    assert_same(getattr(x, f"__{symbol}__")(other), function(x, other))
    assert_same(getattr(x, f"__r{symbol}__")(other), function(other, x))


@pytest.mark.parametrize(("symbol", "name"), OPERATORS.items())
def test_an_operator_in_place_gives_its_function_s_result(symbol, name):
    x, other = square(), [[1.0, 3.0, 2.0]] * 3
    expected = getattr(ops, name)(x, other)
    result = x * 1
    assert_same(getattr(result, f"__i{symbol}__")(other), expected)
    with no_grad():
        assert getattr(x, f"__i{symbol}__")(other) is x
    np.testing.assert_array_equal(x.data, expected.data)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_function_takes_an_array_as_a_constant(name):
    args, settings = ARGUMENTS[name]
    result = getattr(ops, name)(square().data, *args, **settings)
    assert not result.requires_grad
    np.testing.assert_array_equal(result.data, getattr(ops, name)(square(), *args, **settings).data, strict=True)


def test_operators_of_one_operand_and_the_index_give_their_functions_results():
    x = square()
    assert_same(-x, ops.negative(x))
    assert_same(abs(x), ops.abs(x))
    assert_same(x[1:, [0, 2]], ops.getitem(x, (slice(1, None), [0, 2])))
    assert_same(x.T, ops.transpose(x))
