"""Dropout: what is dropped, what is scaled, and when nothing happens."""

import numpy as np
import pytest

from layers import Dropout, Linear, Sequential
from minigrad import GradcheckError, Tensor, gradcheck, gradcheck_module


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_value_is_dropped_with_probability_p_and_otherwise_divided_by_one_minus_p(p):
    y = Dropout(p, rng=0)(np.full((100, 100), 3.0)).data
    dropped = y == 0
    np.testing.assert_allclose(y[~dropped], 3 / (1 - p))
    np.testing.assert_allclose(dropped.mean(), p, atol=0.02)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_expected_value_stays_that_of_the_input(p):
    np.testing.assert_allclose(Dropout(p, rng=0)(np.ones(100_000)).data.mean(), 1, atol=0.03)


def test_the_gradient_passes_where_the_value_passed_with_the_same_factor():
    x = Tensor(np.ones((5, 6)), requires_grad=True)
    y = Dropout(0.5, rng=0)(x)
    y.backward(np.full((5, 6), 7.0))
    np.testing.assert_array_equal(x.grad, 7 * y.data)  # x is 1, so y is the mask / (1 - p)


SHAPES = [(), (4,), (2, 3), (1, 1), (2, 3, 1), (0, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_match_finite_differences_when_the_mask_is_fixed(shape):
    x = Tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    assert gradcheck(lambda x: Dropout(0.5, rng=0)(x), x)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_match_finite_differences_in_evaluation(shape):
    assert gradcheck_module(Dropout(0.5).eval(), np.random.default_rng(0).normal(size=shape))


def test_gradcheck_notices_a_mask_that_is_drawn_anew():
    with pytest.raises(GradcheckError, match="dropout"):
        gradcheck(Dropout(0.5, rng=0), Tensor(np.ones(20), requires_grad=True))


def test_in_evaluation_the_output_is_the_input():
    x = np.random.default_rng(0).normal(size=(5, 6))
    np.testing.assert_array_equal(Dropout(0.9, rng=0).eval()(x).data, x)


@pytest.mark.parametrize("layer", [Dropout(0.9).eval(), Dropout(0), Dropout(0).eval()], ids=["eval", "p=0", "both"])
def test_where_nothing_is_dropped_a_tensor_is_passed_on_as_it_is(layer):
    x = Tensor(np.ones(3), requires_grad=True)
    assert layer(x) is x


@pytest.mark.parametrize("layer", [Dropout(0.9).eval(), Dropout(0)], ids=["eval", "p=0"])
@pytest.mark.parametrize("x", [np.ones(3, np.float32), [1.0, 2.0], np.arange(3)], ids=["array", "list", "integers"])
def test_where_nothing_is_dropped_an_array_becomes_a_constant_of_its_dtype(layer, x):
    y = layer(x)
    assert not y.requires_grad
    assert y.dtype == np.asarray(x).dtype
    np.testing.assert_array_equal(y.data, x)


@pytest.mark.parametrize("p", [0.5, 1])
def test_in_training_integers_become_float64(p):
    y = Dropout(p, rng=0)(np.arange(1, 40))
    assert y.dtype == np.float64
    assert set(y.data / np.arange(1, 40)) <= {0.0, 2.0}


def test_the_gradient_passes_unchanged_in_evaluation():
    x = Tensor(np.ones(3), requires_grad=True)
    (Dropout(0.9).eval()(x) * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2])


def test_p_zero_drops_nothing():
    x = np.random.default_rng(0).normal(size=(5, 6))
    np.testing.assert_array_equal(Dropout(0)(x).data, x)


def test_p_one_drops_everything_and_passes_no_gradient():
    x = Tensor(np.ones((5, 6)), requires_grad=True)
    y = Dropout(1)(x)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, np.zeros((5, 6)))
    np.testing.assert_array_equal(x.grad, np.zeros((5, 6)))


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=r"Dropout.*from 0 to 1"):
        Dropout(p)


def test_the_same_seed_gives_the_same_masks_one_after_the_other():
    one, two = Dropout(rng=5), Dropout(rng=np.random.default_rng(5))
    for _ in range(3):
        np.testing.assert_array_equal(one(np.ones(50)).data, two(np.ones(50)).data)


def test_each_call_draws_another_mask():
    dropout = Dropout(rng=0)
    assert not np.array_equal(dropout(np.ones(50)).data, dropout(np.ones(50)).data)


def test_every_value_of_every_sample_is_drawn_on_its_own():
    y = Dropout(rng=0)(np.ones((50, 50))).data
    assert len(np.unique(y, axis=0)) == 50
    assert len(np.unique(y, axis=1).T) == 50


@pytest.mark.parametrize("p", [0, 0.5, 1])
def test_float32_stays_float32(p):
    x = Tensor(np.ones(4, np.float32), requires_grad=True)
    y = Dropout(p)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32


def test_eval_of_the_model_reaches_the_dropout_inside():
    model = Sequential(Linear(3, 50, rng=0), Dropout(rng=0)).eval()
    np.testing.assert_array_equal(model(np.ones((2, 3))).data, model(np.ones((2, 3))).data)


def test_repr_shows_p():
    assert repr(Dropout(0.3)) == "Dropout(p=0.3)"
