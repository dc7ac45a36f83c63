"""ReLU, Sigmoid, Tanh: values, gradients, extreme inputs."""

import numpy as np
import pytest

from layers import ReLU, Sigmoid, Tanh, relu, sigmoid, tanh
from minigrad import Tensor, exp, gradcheck_module, where

PAIRS = [(ReLU, relu), (Sigmoid, sigmoid), (Tanh, tanh)]
SHAPES = [(), (1,), (4,), (2, 3), (1, 1), (2, 1, 3), (0, 3)]

COMPOSED = {
    relu: lambda x: where(x > 0, x, 0.0),
    sigmoid: lambda x: 1 / (1 + exp(-x)),
    tanh: lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)),
}


def random(*shape):
    """Values away from 0, where relu has its kink."""
    values = np.random.default_rng(0).normal(size=shape)
    return values + 0.1 * np.sign(values)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (relu, [0, 0, 0, 0.5, 2]),
        (sigmoid, [0.11920292, 0.37754067, 0.5, 0.62245933, 0.88079708]),
        (tanh, [-0.96402758, -0.46211716, 0, 0.46211716, 0.96402758]),
    ],
)
def test_values_are_those_of_the_formula(function, expected):
    np.testing.assert_allclose(function([-2.0, -0.5, 0.0, 0.5, 2.0]).data, expected, atol=1e-8)


@pytest.mark.parametrize(("layer", "function"), PAIRS)
def test_the_module_computes_the_function_and_has_no_parameters(layer, function):
    x = random(2, 3)
    np.testing.assert_array_equal(layer()(x).data, function(x).data)
    assert list(layer().parameters()) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", [relu, sigmoid, tanh])
def test_each_is_one_entry_that_agrees_with_primitives_in_value_and_gradient(function, shape):
    x, same = (Tensor(random(*shape), requires_grad=True) for _ in range(2))
    y, composed = function(x), COMPOSED[function](same)
    assert len(y.tape()) == 1
    np.testing.assert_allclose(y.data, composed.data, rtol=0, atol=1e-10)
    d_y = random(*shape)
    y.backward(d_y)
    composed.backward(d_y)
    np.testing.assert_allclose(x.grad, same.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layer", [ReLU, Sigmoid, Tanh])
def test_gradients_match_finite_differences(layer, shape):
    assert gradcheck_module(layer(), random(*shape))


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_the_gradient_of_relu_at_zero_is_zero(zero):
    x = Tensor([zero], requires_grad=True)
    relu(x).backward()
    np.testing.assert_array_equal(x.grad, [0])


@pytest.mark.parametrize(
    ("function", "low", "high", "d_high"), [(relu, 0, 1e4, 1), (sigmoid, 0, 1, 0), (tanh, -1, 1, 0)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_inputs_saturate_without_a_warning(function, low, high, d_high, dtype):
    x = Tensor(np.array([-1e4, 1e4], dtype), requires_grad=True)
    y = function(x)
    y.backward(np.ones(2))
    np.testing.assert_array_equal(y.data, np.array([low, high], dtype))
    np.testing.assert_array_equal(x.grad, [0, d_high])


@pytest.mark.parametrize("function", [relu, sigmoid, tanh])
def test_infinities_saturate_too(function):
    assert not np.isnan(function([-np.inf, np.inf]).data).any()


@pytest.mark.parametrize("function", [relu, sigmoid, tanh])
def test_a_nan_stays_visible(function):
    assert np.isnan(function(np.nan).data)


@pytest.mark.parametrize("function", [relu, sigmoid, tanh])
def test_float32_stays_float32(function):
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = function(x)
    y.backward(np.ones(3))
    assert y.dtype == x.grad.dtype == np.float32


@pytest.mark.parametrize("layer", [ReLU, Sigmoid, Tanh])
def test_repr_is_the_name_with_parentheses(layer):
    assert repr(layer()) == f"{layer.__name__}()"
