"""Batch normalization and Linear on shapes and memory layouts that a shortcut could mistake for one another.

The reference is the paper in plain NumPy, in float64, with the channel moved to the front.
"""

import numpy as np
import pytest

from layers import BatchNorm1d, BatchNorm2d, BatchNorm3d, Linear, batch_norm, linear
from minigrad import Tensor

CLASSES = {2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d}  # by the number of axes of the input
EPS = 1e-5


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, size=shape)


def reference(x, gamma, beta, d_y, channels_last, statistics=None):
    """y, d_x, d_gamma and d_beta of training, or with ``statistics`` (mean and var) of evaluation."""
    channel = x.ndim - 1 if channels_last else 1
    x, d_y = (np.moveaxis(a, channel, 0).astype(np.float64) for a in (x, d_y))
    values, d = x.reshape(len(x), -1), d_y.reshape(len(x), -1)
    gamma, beta = gamma[:, None], beta[:, None]
    mean, var = (values.mean(1), values.var(1)) if statistics is None else statistics
    std = np.sqrt(var + EPS)[:, None]
    x_hat = (values - mean[:, None]) / std
    d_x_hat = d * gamma
    d_x = d_x_hat / std
    if statistics is None:
        d_x = (d_x_hat - d_x_hat.mean(1, keepdims=True) - x_hat * (d_x_hat * x_hat).mean(1, keepdims=True)) / std
    y, d_x = (np.moveaxis(a.reshape(x.shape), 0, channel) for a in (gamma * x_hat + beta, d_x))
    return {"y": y, "d_x": d_x, "d_gamma": (d * x_hat).sum(1), "d_beta": d.sum(1)}


def assert_right(x, d_y, training, channels_last):
    """The layer's output and its three gradients are those of the reference."""
    features = x.shape[-1 if channels_last else 1]
    layer = CLASSES[x.ndim](features, channels_last=channels_last, dtype=np.float64).train(training)
    layer.weight.data, layer.bias.data = random(features, seed=1), random(features, seed=2)
    mean, var = random(features, seed=3), random(features, seed=4) ** 2 + 0.1
    layer.running_mean[...], layer.running_var[...] = mean, var
    tensor = Tensor(x, requires_grad=True)
    y = layer(tensor)
    y.backward(d_y)
    actual = {"y": y.data, "d_x": tensor.grad, "d_gamma": layer.weight.grad, "d_beta": layer.bias.grad}
    statistics = None if training else (mean, var)
    expected = reference(x, layer.weight.data, layer.bias.data, d_y, channels_last, statistics)
    for name, array in expected.items():
        assert actual[name].shape == array.shape, name
        np.testing.assert_allclose(actual[name], array, rtol=1e-9, atol=1e-9, err_msg=name)


MODE = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
CHANNELS = pytest.mark.parametrize("channels_last", [False, True], ids=["channels second", "channels last"])

# Axes that can't be told apart by their lengths, of length 1, and axes of length 1 next to equal ones.
COLLIDING = [
    *[(3,) * ndim for ndim in (2, 3, 4, 5)],
    *[(2,) * ndim for ndim in (2, 3, 4, 5)],
    (3, 1),
    (2, 3, 3),
    (3, 3, 2),
    (3, 2, 3),
    (1, 3, 3),
    (3, 1, 3),
    (3, 3, 1),
    (2, 1, 2),
    (2, 1, 1),
    (2, 3, 3, 3),
    (3, 3, 2, 2),
    (1, 3, 3, 1),
    (2, 2, 2, 2, 1),
    (1, 2, 2, 2, 2),
]


@MODE
@CHANNELS
@pytest.mark.parametrize("shape", COLLIDING, ids=str)
def test_axes_of_equal_length_are_not_mixed_up(shape, channels_last, training):
    assert_right(random(*shape), random(*shape, seed=5), training, channels_last)


# 65,536 values is where the computation changes to blocks: sizes just below, at and above it, of every form.
THRESHOLD = [
    (255, 257),
    (256, 256),
    (257, 256),
    (65537, 1),
    (3, 65536),
    (1, 256, 256),
    (16, 64, 64),
    (64, 32, 32),
    (64, 32, 33),
    (2, 181, 181),
    (2, 182, 182),
    (16, 16, 16, 16),
    (17, 16, 16, 16),
    (2, 3, 105, 105),
    (3, 3, 3, 50, 50),
]


@MODE
@CHANNELS
@pytest.mark.parametrize("shape", THRESHOLD, ids=str)
def test_sizes_around_the_threshold_of_blocks_give_the_same_mathematics(shape, channels_last, training):
    assert_right(random(*shape), random(*shape, seed=5), training, channels_last)


@MODE
def test_float32_stays_float32_in_blocks_too(training):
    layer, x = BatchNorm1d(257).train(training), Tensor(random(256, 257).astype(np.float32), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32


def misaligned(x):
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    result = buffer[1:].view(x.dtype).reshape(x.shape)
    result[...] = x
    return result


def read_only(x):
    x.flags.writeable = False
    return x


def every_other(x):
    wide = np.full([2 * length for length in x.shape], np.nan)
    part = wide[tuple(slice(None, None, 2) for _ in x.shape)]
    part[...] = x
    return part


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "reversed axes": lambda x: np.ascontiguousarray(x[::-1, ..., ::-1])[::-1, ..., ::-1],
    "last axis first in memory": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0, -1),
    "second axis last in memory": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
    "zero strides": lambda x: np.broadcast_to(x[..., :1], x.shape),
    "zero strides of the batch": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": read_only,
    "misaligned": misaligned,
    "big-endian": lambda x: x.astype(">f8"),
    "every other value": every_other,
}


@MODE
@CHANNELS
@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (3, 3, 3), (2, 3, 3, 2), (2, 2, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_memory_layout_of_input_and_gradient_changes_nothing(layout, shape, channels_last, training):
    x, d_y = LAYOUTS[layout](random(*shape)), LAYOUTS[layout](random(*shape, seed=5))
    assert_right(x, d_y, training, channels_last)


@MODE
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_memory_layout_changes_nothing_in_blocks_either(layout, training):
    shape = (33, 45, 45)
    x, d_y = LAYOUTS[layout](random(*shape)), LAYOUTS[layout](random(*shape, seed=5))
    assert_right(x, d_y, training, channels_last=False)


@MODE
def test_one_tensor_may_be_both_weight_and_bias(training):
    both, x, d_y = Tensor(random(3, seed=1), requires_grad=True), random(3, 3), random(3, 3, seed=5)
    statistics = np.zeros(3), np.ones(3)
    batch_norm(x, *(array.copy() for array in statistics), both, both, training).backward(d_y)
    expected = reference(x, both.data, both.data, d_y, False, None if training else statistics)
    np.testing.assert_allclose(both.grad, expected["d_gamma"] + expected["d_beta"], atol=1e-10)


@pytest.mark.parametrize("channels_last", [False, True])
def test_an_input_without_channels_stays_empty_in_evaluation(channels_last):
    x = Tensor(np.ones((2, 4, 0) if channels_last else (2, 0, 4)), requires_grad=True)
    y = batch_norm(x, np.ones(0), np.ones(0), channels_last=channels_last)
    y.backward(np.ones(x.shape))
    assert y.shape == x.grad.shape == x.shape


# Linear.


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 3), (1, 3)], ids=str)
def test_linear_does_not_depend_on_the_memory_layout(layout, shape):
    change = LAYOUTS[layout]
    x, weight = Tensor(change(random(*shape)), True), Tensor(change(random(3, 3, seed=1)), True)
    bias, d_y = Tensor(random(3, seed=2), True), change(random(*shape, seed=3))
    y = linear(x, weight, bias)
    y.backward(d_y)
    np.testing.assert_allclose(y.data, np.einsum("...i,oi->...o", x.data, weight.data) + bias.data, atol=1e-10)
    np.testing.assert_allclose(x.grad, np.einsum("...o,oi->...i", d_y, weight.data), atol=1e-10)
    np.testing.assert_allclose(weight.grad, d_y.reshape(-1, 3).T @ x.data.reshape(-1, 3), atol=1e-10)
    np.testing.assert_allclose(bias.grad, d_y.reshape(-1, 3).sum(0), atol=1e-10)


def test_linear_of_a_tensor_with_itself_gives_the_sum_of_both_gradients():
    x, d_y = Tensor(random(3, 3), requires_grad=True), random(3, 3, seed=3)
    linear(x, x).backward(d_y)
    np.testing.assert_allclose(x.grad, d_y @ x.data + d_y.T @ x.data, atol=1e-10)


@pytest.mark.parametrize(("batch", "features", "outputs"), [((2, 0), 3, 2), ((4,), 0, 2), ((4,), 3, 0), ((2, 3), 0, 0)])
def test_linear_takes_lengths_of_zero(batch, features, outputs):
    operands = [np.ones((*batch, features)), np.ones((outputs, features)), np.ones(outputs)]
    x, weight, bias = (Tensor(operand, requires_grad=True) for operand in operands)
    y = linear(x, weight, bias)
    y.backward(np.ones(y.shape))
    np.testing.assert_array_equal(y.data, np.ones((*batch, outputs)))
    np.testing.assert_array_equal(weight.grad, np.full(weight.shape, np.prod(batch)))
    np.testing.assert_array_equal(bias.grad, np.full(outputs, np.prod(batch)))


def test_the_bias_gradient_of_a_long_batch_is_exact():
    layer = Linear(1, 2, dtype=np.float64)
    layer(np.ones((70000, 1))).sum().backward()
    np.testing.assert_array_equal(layer.bias.grad, 70000)
