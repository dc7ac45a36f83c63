"""cross_entropy and mse_loss: values, gradients, extreme logits, errors."""

import numpy as np
import pytest

from layers import cross_entropy, mse_loss
from minigrad import Tensor, gradcheck, log_softmax


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def labels_for(n, classes):
    return np.random.default_rng(1).integers(0, classes, n)


SHAPES = [(4, 3), (1, 3), (3, 1), (1, 1), (6, 10)]


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_is_the_mean_of_minus_log_of_the_targets_probability(shape):
    logits, labels = random(*shape), labels_for(*shape)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    np.testing.assert_allclose(cross_entropy(logits, labels).item(), expected, atol=1e-12)


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes():
    np.testing.assert_allclose(cross_entropy(np.zeros((5, 10)), np.arange(5)).item(), np.log(10))


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_is_one_entry_that_agrees_with_primitives(shape):
    array, labels = random(*shape), labels_for(*shape)
    ours, theirs = Tensor(array, requires_grad=True), Tensor(array, requires_grad=True)
    loss = cross_entropy(ours, labels)
    composed = -log_softmax(theirs, axis=1)[np.arange(len(labels)), labels].mean()
    assert len(loss.tape()) == 1
    np.testing.assert_allclose(loss.item(), composed.item(), rtol=0, atol=1e-10)
    loss.backward(3.0)
    composed.backward(3.0)
    np.testing.assert_allclose(ours.grad, theirs.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_cross_entropy_match_finite_differences(shape):
    labels = labels_for(*shape)
    assert gradcheck(lambda x: cross_entropy(x, labels), Tensor(random(*shape), requires_grad=True))


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot_over_n():
    logits = Tensor([[0.0, 0.0], [0.0, np.log(3)]], requires_grad=True)
    cross_entropy(logits, [0, 0]).backward()
    np.testing.assert_allclose(logits.grad, [[-0.25, 0.25], [-0.375, 0.375]])


def test_adding_a_constant_to_a_row_of_logits_changes_nothing():
    logits, labels = random(4, 3), labels_for(4, 3)
    shifted = cross_entropy(logits + np.array([[5.0], [-7.0], [100.0], [0.0]]), labels)
    np.testing.assert_allclose(shifted.item(), cross_entropy(logits, labels).item(), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("label", "expected"), [(0, 0.0), (1, 2e4)])
def test_extreme_logits_give_the_exact_loss_and_a_finite_gradient(dtype, label, expected):
    logits = Tensor(np.array([[1e4, -1e4]], dtype), requires_grad=True)
    loss = cross_entropy(logits, [label])
    loss.backward()
    assert loss.item() == expected
    assert loss.dtype == logits.grad.dtype == dtype
    np.testing.assert_array_equal(logits.grad, [[0, 0]] if label == 0 else [[1, -1]])


def test_a_logit_of_minus_infinity_is_a_class_that_is_ruled_out():
    logits = Tensor([[0.0, 0.0, -np.inf]], requires_grad=True)
    loss = cross_entropy(logits, [0])
    loss.backward()
    np.testing.assert_allclose(loss.item(), np.log(2))
    np.testing.assert_allclose(logits.grad, [[-0.5, 0.5, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_targets_may_be_integers_of_any_width_or_a_tensor(dtype):
    logits = random(4, 3)
    expected = cross_entropy(logits, [0, 1, 2, 0]).item()
    assert cross_entropy(logits, np.array([0, 1, 2, 0], dtype)).item() == expected
    assert cross_entropy(logits, Tensor(np.array([0, 1, 2, 0], dtype))).item() == expected


def test_cross_entropy_changes_neither_logits_nor_targets():
    logits, labels = random(4, 3), labels_for(4, 3)
    before = logits.copy(), labels.copy()
    cross_entropy(Tensor(logits, requires_grad=True), labels).backward()
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [100, 0]])
def test_a_label_out_of_range_is_refused_with_the_range(labels):
    with pytest.raises(ValueError, match=r"cross_entropy.*0 to 2"):
        cross_entropy(np.zeros((2, 3)), labels)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [True, False]])
def test_labels_that_are_not_integers_are_refused(labels):
    with pytest.raises(TypeError, match=r"cross_entropy.*integers"):
        cross_entropy(np.zeros((2, 3)), labels)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        ((2, 3), (3,)),  # another number of samples
        ((2, 3), (2, 3)),  # one-hot
        ((2, 3), (2, 1)),
        ((2, 3), ()),
        ((3,), (3,)),  # no batch axis
        ((2, 3, 4), (2,)),
        ((0, 3), (0,)),  # nothing to average
    ],
)
def test_cross_entropy_names_shapes_that_do_not_fit(logits, targets):
    with pytest.raises(ValueError) as error:
        cross_entropy(np.zeros(logits), np.zeros(targets, int))
    assert "cross_entropy" in str(error.value)
    assert str(logits) in str(error.value)
    assert str(targets) in str(error.value)


MSE_SHAPES = [(), (1,), (4,), (4, 1), (2, 3, 2)]


@pytest.mark.parametrize("shape", MSE_SHAPES)
def test_mse_loss_is_the_mean_of_the_squared_differences(shape):
    a, b = random(*shape), random(*shape, seed=1)
    np.testing.assert_allclose(mse_loss(a, b).item(), np.mean((a - b) ** 2), atol=1e-12)


@pytest.mark.parametrize("shape", MSE_SHAPES)
def test_mse_loss_is_one_entry_that_agrees_with_primitives(shape):
    arrays = random(*shape), random(*shape, seed=1)
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [Tensor(a, requires_grad=True) for a in arrays]
    loss, composed = mse_loss(*ours), ((theirs[0] - theirs[1]) ** 2).mean()
    assert len(loss.tape()) == 1
    loss.backward(3.0)
    composed.backward(3.0)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad, other.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", MSE_SHAPES)
def test_gradients_of_mse_loss_match_finite_differences(shape):
    assert gradcheck(mse_loss, [Tensor(random(*shape, seed=i), requires_grad=True) for i in range(2)])


def test_mse_loss_keeps_float32():
    prediction = Tensor(np.ones((2, 2), np.float32), requires_grad=True)
    loss = mse_loss(prediction, np.zeros((2, 2), np.float32))
    loss.backward()
    assert loss.dtype == prediction.grad.dtype == np.float32


@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), ()), ((2, 3), (3, 2)), ((0,), (0,))])
def test_mse_loss_refuses_to_broadcast_and_names_the_shapes(shapes):
    with pytest.raises(ValueError) as error:
        mse_loss(*(np.zeros(shape) for shape in shapes))
    assert "mse_loss" in str(error.value)
    assert all(str(shape) in str(error.value) for shape in shapes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("integers", [np.uint8, np.int64, np.bool_])
def test_integer_targets_are_compared_in_the_predictions_dtype(integers, dtype):
    prediction = Tensor(np.array([0.5, 2.0], dtype), requires_grad=True)
    for loss in (mse_loss(prediction, np.array([1, 0], integers)), mse_loss(np.array([1, 0], integers), prediction)):
        assert loss.dtype == dtype
        np.testing.assert_allclose(loss.item(), (0.25 + 4) / 2)


@pytest.mark.parametrize("dtypes", [(np.float16, np.float32), (np.float32, np.float16)], ids=str)
def test_a_loss_of_two_dtypes_has_the_wider_one(dtypes):
    prediction, target = (np.full(3, value, dtype) for value, dtype in zip((1.0, 3.0), dtypes))
    assert mse_loss(prediction, target).dtype == np.float32


def test_float16_losses_are_summed_in_float32():
    logits = Tensor(np.zeros((1, 70_000), np.float16), requires_grad=True)
    loss = cross_entropy(logits, [0])
    loss.backward()
    assert loss.dtype == np.float16
    assert loss.item() == pytest.approx(np.log(70_000), rel=1e-3)
    assert logits.grad[0, 0] == pytest.approx(-1, rel=1e-3)
    assert logits.grad[0, 1] == pytest.approx(1 / 70_000, rel=0.05)
