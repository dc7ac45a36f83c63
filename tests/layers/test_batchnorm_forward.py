"""What batch normalization computes: golden values, the four modes, running statistics, errors."""

import re

import numpy as np
import pytest

from layers import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Linear,
    Module,
    ReLU,
    Sequential,
    batch_norm,
    cross_entropy,
    scale_and_shift,
)
from minigrad import Tensor, no_grad, optim

# Golden values, computed with PyTorch.

SEQUENCES = [
    [[7, 4, 6], [1, 2, 3]],
    [[3, 4, 2], [2, 4, 6]],
    [[9, 0, 7], [3, 8, 5]],
]
SEQUENCES_NORMALIZED = [
    [[0.8750, -0.2500, 0.5000], [-1.3250, -0.8480, -0.3710]],
    [[-0.6250, -0.2500, -1.0000], [-0.8480, 0.1060, 1.0600]],
    [[1.6250, -1.7500, 0.8750], [-0.3710, 2.0140, 0.5830]],
]
IMAGES = [
    [[[97, 163, 130], [26, 83, 183], [165, 108, 242]], [[113, 184, 236], [159, 223, 247], [48, 104, 111]]],
    [[[110, 93, 115], [237, 168, 120], [149, 115, 48]], [[117, 22, 43], [202, 63, 209], [104, 135, 99]]],
]
IMAGES_FIRST_CHANNEL_NORMALIZED = [
    [[-0.6115, 0.5873, -0.0121], [-1.9012, -0.8658, 0.9506], [0.6236, -0.4117, 2.0223]],
    [[-0.3754, -0.6842, -0.2846], [1.9315, 0.6781, -0.1938], [0.3330, -0.2846, -1.5016]],
]
FOUR_DECIMALS = 5.1e-5

# The class and the shape of its input, the channel second. Also axes of length 1, and a batch of one image.
CASES = [
    (BatchNorm1d, (4, 3)),
    (BatchNorm1d, (2, 3)),
    (BatchNorm1d, (2, 3, 5)),
    (BatchNorm1d, (1, 3, 2)),
    (BatchNorm1d, (5, 1, 1)),
    (BatchNorm2d, (2, 3, 4, 2)),
    (BatchNorm2d, (1, 2, 1, 3)),
    (BatchNorm3d, (2, 3, 2, 1, 2)),
]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, size=shape)


@pytest.mark.parametrize(("last", "forms"), [(False, "(N, C) or (N, C, L)"), (True, "(N, C) or (N, L, C)")])
def test_a_wrong_shape_is_told_the_right_ones(last, forms):
    with pytest.raises(ValueError, match=re.escape(f"expects shape {forms} with C = 3, got (4, 5)")):
        BatchNorm1d(3, channels_last=last)(np.ones((4, 5)))


def test_training_without_channels_is_refused():
    with pytest.raises(ValueError, match="2 or more values for each channel, got 0"):
        batch_norm(np.ones((4, 0)), None, None, training=True)


def test_a_momentum_that_is_a_numpy_number_changes_no_bit():
    x, running = random(8, 500).astype(np.float32), []
    for momentum in (0.3, np.float64(0.3)):
        running.append((np.full(500, 0.1, np.float32), np.full(500, 0.7, np.float32)))
        batch_norm(x, *running[-1], training=True, momentum=momentum)
    np.testing.assert_array_equal(running[0], running[1])


@pytest.mark.parametrize("given", [list, lambda a: a.astype(int), Tensor], ids=["lists", "integers", "tensors"])
def test_the_function_in_evaluation_takes_any_numbers_as_statistics(given):
    x, mean, var = random(4, 3), np.array([1.0, 0.0, 2.0]), np.array([1.0, 4.0, 9.0])
    y = batch_norm(x, given(mean), given(var))
    np.testing.assert_allclose(y.data, (x - mean) / np.sqrt(var + 1e-5))


def statistics(x):
    """Mean, biased and unbiased variance of every channel (axis 1), each of shape (C,)."""
    values = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    return values.mean(1), values.var(1), values.var(1, ddof=1)


def normalized(x, mean, var, eps=1e-5):
    """x normalized along axis 1 with the given statistics."""
    shape = (-1,) + (1,) * (x.ndim - 2)
    return (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)


def trained(features, cls=BatchNorm1d, **options):
    """A float64 layer whose parameters and statistics aren't those that it starts with."""
    layer, rng = cls(features, dtype=np.float64, **options), np.random.default_rng(5)
    if layer.affine:
        layer.weight.data[...], layer.bias.data[...] = rng.normal(size=(2, features))
    if layer.track_running_stats:
        layer.running_mean[...] = rng.normal(size=features)
        layer.running_var[...] = rng.uniform(0.5, 2, features)
    return layer


def test_golden_values_of_batchnorm1d():
    y = BatchNorm1d(2, affine=False)(np.array(SEQUENCES, float))
    np.testing.assert_allclose(y.data, SEQUENCES_NORMALIZED, rtol=0, atol=FOUR_DECIMALS)


def test_golden_mean_and_biased_standard_deviation():
    layer = BatchNorm1d(2, affine=False, momentum=1.0, dtype=np.float64)
    layer(np.array(SEQUENCES, float))
    biased = layer.running_var[0] * 8 / 9  # 9 values for each channel; the running variance is the unbiased one
    assert round(layer.running_mean[0], 4) == 4.6667
    assert round(np.sqrt(biased), 4) == 2.6667


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_golden_values_of_batchnorm2d(dtype):
    y = BatchNorm2d(2, affine=False)(np.array(IMAGES, dtype))
    np.testing.assert_allclose(y.data[:, 0], IMAGES_FIRST_CHANNEL_NORMALIZED, rtol=0, atol=FOUR_DECIMALS)


def test_golden_values_of_batchnorm2d_with_the_channel_last():
    y = BatchNorm2d(2, affine=False, channels_last=True)(np.moveaxis(np.array(IMAGES, float), 1, -1))
    np.testing.assert_allclose(y.data[..., 0], IMAGES_FIRST_CHANNEL_NORMALIZED, rtol=0, atol=FOUR_DECIMALS)


@pytest.mark.parametrize(("cls", "shape"), CASES)
def test_training_normalizes_every_channel_with_the_batch(cls, shape):
    x, layer = random(*shape), trained(shape[1], cls)
    mean, var, _ = statistics(x)
    per_channel = (-1,) + (1,) * (len(shape) - 2)
    gamma, beta = layer.weight.data.reshape(per_channel), layer.bias.data.reshape(per_channel)
    np.testing.assert_allclose(layer(x).data, gamma * normalized(x, mean, var) + beta, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("cls", "shape"), CASES)
def test_the_output_of_a_fresh_layer_has_mean_zero_and_variance_one(cls, shape):
    mean, var, _ = statistics(cls(shape[1], eps=1e-12, dtype=np.float64)(random(*shape)).data)
    np.testing.assert_allclose(mean, 0, atol=1e-10)
    np.testing.assert_allclose(var, 1, atol=1e-6)


@pytest.mark.parametrize(("cls", "shape"), [case for case in CASES if len(case[1]) > 2])
@pytest.mark.parametrize("training", [True, False])
def test_channels_last_is_the_same_with_the_axes_moved(cls, shape, training):
    x = random(*shape)
    first = trained(shape[1], cls).train(training)
    last = trained(shape[1], cls, channels_last=True).train(training)
    y = last(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(y.data, -1, 1), first(x).data, rtol=0, atol=1e-10)
    np.testing.assert_allclose(last.running_mean, first.running_mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(last.running_var, first.running_var, rtol=0, atol=1e-12)


def test_a_fresh_layer_starts_as_pytorchs():
    layer = BatchNorm1d(3)
    np.testing.assert_array_equal(layer.weight.data, [1, 1, 1])
    np.testing.assert_array_equal(layer.bias.data, [0, 0, 0])
    np.testing.assert_array_equal(layer.running_mean, [0, 0, 0])
    np.testing.assert_array_equal(layer.running_var, [1, 1, 1])
    assert layer.num_batches_tracked == 0
    assert (layer.eps, layer.momentum) == (1e-5, 0.1)


def test_without_affine_there_are_no_parameters():
    layer = BatchNorm1d(3, affine=False)
    assert layer.weight is None
    assert layer.bias is None
    assert list(layer.parameters()) == []


@pytest.mark.parametrize("cls", [BatchNorm1d, BatchNorm2d, BatchNorm3d])
def test_without_bias_the_weight_is_the_only_parameter(cls):
    layer = cls(3, bias=False)
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert list(layer.state_dict()) == ["weight", "running_mean", "running_var", "num_batches_tracked"]


@pytest.mark.parametrize("bias", [True, False])
def test_without_affine_bias_has_no_say(bias):
    assert BatchNorm1d(3, affine=False, bias=bias).bias is None


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_bias_the_layer_computes_what_a_bias_of_zero_gives(dtype, training):
    with_zero, without = BatchNorm1d(3, dtype=dtype).train(training), BatchNorm1d(3, bias=False, dtype=dtype)
    without.train(training)
    for layer in (with_zero, without):
        layer.weight.data[...] = [1, 2, 3]
    x = random(6, 3).astype(dtype)
    y = without(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.data, with_zero(x).data)


def test_bias_can_only_be_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        BatchNorm1d(3, 1e-5, 0.1, True, True, False)


def test_without_running_statistics_there_are_no_buffers():
    layer = BatchNorm1d(3, track_running_stats=False)
    assert layer.running_mean is layer.running_var is layer.num_batches_tracked is None
    assert list(layer.state_dict()) == ["weight", "bias"]


# The four modes.

MODES = [  # training, track_running_stats, normalizes with
    (True, True, "the batch"),
    (True, False, "the batch"),
    (False, True, "the running statistics"),
    (False, False, "the batch"),
]


@pytest.mark.parametrize(("training", "track", "source"), MODES)
def test_each_mode_normalizes_with_the_right_statistics(training, track, source):
    x, layer = random(6, 3), trained(3, affine=False, track_running_stats=track).train(training)
    mean, var = statistics(x)[:2] if source == "the batch" else (layer.running_mean.copy(), layer.running_var.copy())
    np.testing.assert_allclose(layer(x).data, normalized(x, mean, var), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("training", "track"), [mode[:2] for mode in MODES])
def test_only_training_with_tracking_changes_the_running_statistics(training, track):
    layer = trained(3, track_running_stats=track).train(training)
    before = layer.state_dict()
    layer(random(6, 3))
    changed = [name for name, array in layer.state_dict().items() if not np.array_equal(array, before[name])]
    assert changed == (["running_mean", "running_var", "num_batches_tracked"] if training and track else [])


@pytest.mark.parametrize(("cls", "shape"), CASES)
@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0, 0.0])
def test_running_statistics_move_towards_the_batch_by_momentum(cls, shape, momentum):
    x, layer = random(*shape), trained(shape[1], cls, momentum=momentum)
    old_mean, old_var = layer.running_mean.copy(), layer.running_var.copy()
    layer(x)
    mean, _, unbiased = statistics(x)
    np.testing.assert_allclose(layer.running_mean, (1 - momentum) * old_mean + momentum * mean, atol=1e-12)
    np.testing.assert_allclose(layer.running_var, (1 - momentum) * old_var + momentum * unbiased, atol=1e-12)


def test_momentum_none_keeps_the_plain_average_of_all_batches():
    layer = BatchNorm1d(3, momentum=None, dtype=np.float64)
    batches = [random(n, 3, seed=n) for n in (4, 7, 2, 5)]
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(layer.running_mean, np.mean([statistics(b)[0] for b in batches], 0), atol=1e-12)
    np.testing.assert_allclose(layer.running_var, np.mean([statistics(b)[2] for b in batches], 0), atol=1e-12)


def test_batches_are_counted():
    layer = BatchNorm1d(3)
    for _ in range(3):
        layer(random(4, 3))
    assert layer.num_batches_tracked == 3
    assert layer.num_batches_tracked.dtype == np.int64


def test_reset_running_stats_starts_anew():
    layer = BatchNorm1d(3)
    layer(random(4, 3))
    layer.reset_running_stats()
    for name, array in BatchNorm1d(3).named_buffers():
        np.testing.assert_array_equal(getattr(layer, name), array)


def test_running_statistics_change_in_forward_and_not_in_the_optimizers_step():
    layer = BatchNorm1d(3)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    loss = (layer(random(4, 3)) ** 2).sum()
    after_forward = layer.state_dict()
    assert after_forward["num_batches_tracked"] == 1
    assert not np.array_equal(after_forward["running_mean"], np.zeros(3))
    loss.backward()
    optimizer.step()
    for name, buffer in layer.named_buffers():
        np.testing.assert_array_equal(buffer, after_forward[name])


def test_running_statistics_change_under_no_grad_too():
    recorded, unrecorded = BatchNorm1d(3), BatchNorm1d(3)
    recorded(random(4, 3))
    with no_grad():
        unrecorded(random(4, 3))
    np.testing.assert_array_equal(unrecorded.running_mean, recorded.running_mean)
    np.testing.assert_array_equal(unrecorded.running_var, recorded.running_var)
    assert unrecorded.num_batches_tracked == 1


@pytest.mark.parametrize(("cls", "shape"), CASES)
def test_in_evaluation_a_samples_output_does_not_depend_on_its_batch(cls, shape):
    layer, x = trained(shape[1], cls).eval(), random(*shape)
    np.testing.assert_array_equal(layer(x[:1]).data, layer(x).data[:1])


def test_in_training_a_samples_output_does_depend_on_its_batch():
    layer, x = trained(3), random(6, 3)
    assert np.abs(layer(x).data[:2] - layer(x[:2]).data).max() > 0.1


def test_evaluation_is_one_multiply_add_with_scale_and_shift():
    layer, x = trained(3).eval(), random(6, 3)
    gamma, beta = layer.weight.data, layer.bias.data
    scale, shift = scale_and_shift(layer.running_mean, layer.running_var, gamma, beta, layer.eps)
    np.testing.assert_allclose(scale, gamma / np.sqrt(layer.running_var + 1e-5), atol=1e-12)
    np.testing.assert_allclose(shift, beta - layer.running_mean * scale, atol=1e-12)
    np.testing.assert_allclose(layer(x).data, x * scale + shift, atol=1e-12)


# Freezing.


class Classifier(Module):
    """A BatchNorm two levels below the model."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.features = Sequential(Linear(3, 4, rng=rng), BatchNorm1d(4), ReLU())
        self.head = Linear(4, 2, rng=rng)

    def forward(self, x):
        return self.head(self.features(x))


def freeze(module):
    if isinstance(module, BatchNorm1d):
        module.eval()


def test_freezing_through_apply_keeps_the_statistics_while_the_model_trains():
    model = Classifier()
    model(random(8, 3))  # so that the statistics to keep are not those of a fresh layer
    model.train().apply(freeze)
    before = model.state_dict()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for seed in range(3):
        optimizer.zero_grad()
        cross_entropy(model(random(8, 3, seed=seed)), [0, 1] * 4).backward()
        optimizer.step()
    changed = {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}
    assert changed == {name for name, _ in model.named_parameters()}
    assert model.training
    assert not model.features[1].training


def test_train_thaws_a_frozen_layer():
    model = Classifier().apply(freeze).train()
    model(random(8, 3))
    assert model.features[1].num_batches_tracked == 1


# Dtypes and extreme inputs.


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"bias": False}, {"track_running_stats": False}], ids=str)
@pytest.mark.parametrize("integers", [np.uint8, np.int64, np.bool_])
def test_integers_leave_a_float32_layer_in_float32(integers, options, training):
    x, layer = np.random.default_rng(0).integers(0, 2, (6, 3)).astype(integers), BatchNorm1d(3, **options)
    layer.train(training)
    y = layer(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.data, BatchNorm1d(3, **options).train(training)(x.astype(np.float32)).data)


@pytest.mark.parametrize(
    ("weight", "running", "expected"),
    [
        (np.float32, np.float64, np.float32),
        (None, np.float32, np.float32),
        (None, None, np.float64),
        (np.float64, None, np.float64),
    ],
)
def test_the_function_takes_integers_in_the_dtype_of_weight_or_else_of_the_statistics(weight, running, expected):
    arrays = (None, None) if running is None else (np.zeros(3, running), np.ones(3, running))
    weight = None if weight is None else np.ones(3, weight)
    assert batch_norm(np.arange(9).reshape(3, 3), *arrays, weight, training=True).dtype == expected


@pytest.mark.parametrize("training", [True, False])
def test_float64_input_leaves_parameters_and_statistics_float32(training):
    layer, x = BatchNorm1d(3).train(training), Tensor(random(6, 3), requires_grad=True)
    y = layer(x)
    y.backward(np.ones((6, 3)))
    assert y.dtype == x.grad.dtype == np.float64
    assert layer.weight.dtype == layer.weight.grad.dtype == layer.bias.grad.dtype == np.float32
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_float32_stays_float32(training, affine):
    layer, x = BatchNorm1d(3, affine=affine).train(training), Tensor(random(6, 3).astype(np.float32), True)
    y = layer(x)
    y.backward(np.ones((6, 3)))
    assert y.dtype == x.grad.dtype == np.float32


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("wide", ["x", "weight", "bias"])
def test_batch_norm_promotes_mixed_dtypes_as_numpy_does(training, wide):
    arrays = {"x": random(6, 3), "weight": np.ones(3), "bias": np.ones(3)}
    arrays = {name: array.astype(np.float64 if name == wide else np.float32) for name, array in arrays.items()}
    running = np.zeros(3, np.float32), np.ones(3, np.float32)
    y = batch_norm(arrays["x"], *running, arrays["weight"], arrays["bias"], training)
    assert y.dtype == np.float64


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize(("cls", "shape"), CASES)
def test_integers_are_normalized_as_the_same_numbers_in_float64(cls, shape, dtype, training):
    x = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    layer, same = (trained(shape[1], cls).train(training) for _ in range(2))
    np.testing.assert_allclose(layer(x).data, same(x.astype(np.float64)).data, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, -5.0, 1e4])
def test_a_constant_channel_becomes_the_bias_with_finite_gradients(value, dtype):
    layer = BatchNorm1d(1, dtype=dtype)
    layer.bias.data[...] = 0.5
    x = Tensor(np.full((8, 1), value, dtype), requires_grad=True)
    y = layer(x)
    y.backward(random(8, 1))
    np.testing.assert_allclose(y.data, 0.5, atol=1e-3)
    assert np.isfinite(x.grad).all()
    assert np.isfinite(layer.weight.grad).all()
    assert np.isfinite(layer.running_var).all()


def test_a_batch_of_two_becomes_plus_and_minus_one():
    y = BatchNorm1d(2, dtype=np.float64)([[1.0, 8.0], [3.0, 2.0]])
    np.testing.assert_allclose(y.data, [[-1, 1], [1, -1]], atol=1e-5)


def test_the_variance_of_values_far_from_zero_is_exact():
    x = np.random.default_rng(0).normal(1000, 1, (500, 2)).astype(np.float32)
    mean, var, _ = statistics(x.astype(np.float64))
    expected = normalized(x.astype(np.float64), mean, var)
    np.testing.assert_allclose(BatchNorm1d(2)(x).data, expected, atol=2e-3)


def test_the_input_is_not_changed():
    x = random(6, 3)
    before = x.copy()
    layer = trained(3)
    layer(Tensor(x, requires_grad=True)).sum().backward()
    layer.eval()(Tensor(x, requires_grad=True)).sum().backward()
    np.testing.assert_array_equal(x, before)


# Errors.

ONE_VALUE = [
    (BatchNorm1d, (1, 3)),
    (BatchNorm1d, (1, 3, 1)),
    (BatchNorm2d, (1, 3, 1, 1)),
    (BatchNorm3d, (1, 3, 1, 1, 1)),
]


@pytest.mark.parametrize(("cls", "shape"), ONE_VALUE)
def test_one_value_for_each_channel_in_training_is_refused_and_changes_nothing(cls, shape):
    layer = trained(3, cls)
    before = layer.state_dict()
    with pytest.raises(ValueError) as error:
        layer(random(*shape))
    assert "2 or more values for each channel" in str(error.value)
    assert str(shape) in str(error.value)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("cls", "shape"), ONE_VALUE)
def test_one_value_for_each_channel_is_fine_in_evaluation(cls, shape):
    layer, x = trained(3, cls, affine=False).eval(), random(*shape)
    expected = normalized(x, layer.running_mean, layer.running_var)
    np.testing.assert_allclose(layer(x).data, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_one_value_for_each_channel_is_refused_without_running_statistics(training):
    layer = BatchNorm1d(3, track_running_stats=False).train(training)
    with pytest.raises(ValueError, match="2 or more values"):
        layer(random(1, 3))


def test_an_empty_batch_is_refused_in_training():
    with pytest.raises(ValueError, match="got 0"):
        BatchNorm1d(3)(np.ones((0, 3)))


@pytest.mark.parametrize(("cls", "shape"), CASES)
def test_an_empty_batch_stays_empty_in_evaluation(cls, shape):
    empty = (0, *shape[1:])
    x, layer = Tensor(np.ones(empty), requires_grad=True), trained(shape[1], cls).eval()
    y = layer(x)
    y.backward(np.ones(empty))
    assert y.shape == x.grad.shape == empty
    np.testing.assert_array_equal(layer.weight.grad, np.zeros(shape[1]))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("cls", "shape", "channels_last"),
    [
        (BatchNorm1d, (4, 2), False),  # number of features
        (BatchNorm1d, (4, 5, 3), False),
        (BatchNorm1d, (4, 3, 5), True),
        (BatchNorm2d, (4, 5, 5, 3), False),
        (BatchNorm3d, (4, 2, 3, 3, 3), False),
        (BatchNorm1d, (3,), False),  # number of axes
        (BatchNorm1d, (), False),
        (BatchNorm1d, (4, 3, 2, 2), False),
        (BatchNorm2d, (4, 3), False),
        (BatchNorm2d, (4, 3, 2), False),
        (BatchNorm2d, (4, 3, 2, 2, 2), False),
        (BatchNorm3d, (4, 3, 2, 2), False),
        (BatchNorm3d, (4, 3, 2, 2, 2, 2), False),
    ],
)
def test_a_wrong_shape_names_the_layer_and_the_shape_and_changes_nothing(cls, shape, channels_last, training):
    layer = cls(3, channels_last=channels_last).train(training)
    with pytest.raises(ValueError) as error:
        layer(np.ones(shape))
    assert cls.__name__ in str(error.value)
    assert "C = 3" in str(error.value)
    assert str(shape) in str(error.value)
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize("cls", [BatchNorm1d, BatchNorm2d, BatchNorm3d])
@pytest.mark.parametrize("features", [64.0, "64", None, True, np.float32(3), np.True_, (3,), np.ones(2, int)], ids=repr)
def test_a_number_of_features_that_is_no_int_is_named(cls, features):
    with pytest.raises(TypeError) as error:
        cls(features)
    assert f"{cls.__name__}({features!r}): a number of features is an int" in str(error.value)


@pytest.mark.parametrize("features", [np.int64(3), np.uint8(3), np.array(3)], ids=repr)
def test_numpys_integers_count_as_well(features):
    layer = BatchNorm1d(features)
    assert type(layer.num_features) is int
    assert repr(layer) == repr(BatchNorm1d(3))


@pytest.mark.parametrize("cls", [BatchNorm1d, BatchNorm2d, BatchNorm3d])
@pytest.mark.parametrize("features", [0, -1])
def test_fewer_than_one_feature_is_refused(cls, features):
    with pytest.raises(ValueError, match=rf"{cls.__name__}\({features}\).*1 or more"):
        cls(features)


def test_repr_is_that_of_pytorch():
    expected = "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
    assert repr(BatchNorm2d(3)) == expected
    assert "channels_last=True" in repr(BatchNorm2d(3, channels_last=True))
    assert repr(BatchNorm2d(3, affine=False)) == expected.replace("affine=True", "affine=False")
    assert repr(BatchNorm2d(3, bias=False)) == expected.replace("True, track", "True, bias=False, track")


# The function, called as torch.nn.functional.batch_norm.


def test_the_function_in_training_normalizes_and_updates_the_arrays_it_is_given():
    x, running_mean, running_var = random(6, 3), np.zeros(3), np.ones(3)
    weight, bias = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    y = batch_norm(x, running_mean, running_var, weight, bias, True, 0.2, 1e-3)
    mean, var, unbiased = statistics(x)
    np.testing.assert_allclose(y.data, weight * normalized(x, mean, var, 1e-3) + bias, atol=1e-10)
    np.testing.assert_allclose(running_mean, 0.2 * mean, atol=1e-12)
    np.testing.assert_allclose(running_var, 0.8 + 0.2 * unbiased, atol=1e-12)


def test_the_function_in_evaluation_is_the_default_and_leaves_the_arrays_alone():
    x, running_mean, running_var = random(6, 3), np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])
    y = batch_norm(x, running_mean, running_var)
    np.testing.assert_allclose(y.data, normalized(x, np.array([1.0, 2, 3]), np.array([1.0, 4, 9])), atol=1e-10)
    np.testing.assert_array_equal(running_mean, [1, 2, 3])
    np.testing.assert_array_equal(running_var, [1, 4, 9])


def test_the_function_trains_without_running_statistics():
    x = random(6, 3)
    y = batch_norm(x, None, None, training=True)
    np.testing.assert_allclose(y.data, normalized(x, *statistics(x)[:2]), atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("given", ["weight", "bias"])
def test_weight_and_bias_may_be_given_alone(given, training):
    x, values = random(6, 3), np.array([1.0, 2.0, 3.0])
    y = batch_norm(x, np.zeros(3), np.ones(3), training=training, **{given: values})
    x_hat = batch_norm(x, np.zeros(3), np.ones(3), training=training).data
    np.testing.assert_allclose(y.data, x_hat * values if given == "weight" else x_hat + values, atol=1e-10)


def test_the_function_in_evaluation_needs_statistics():
    with pytest.raises(ValueError, match="running_mean and running_var"):
        batch_norm(random(6, 3), None, None)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("missing", ["running_mean", "running_var"])
def test_the_function_refuses_one_running_statistic_without_the_other(missing, training):
    statistics = {"running_mean": np.zeros(3), "running_var": np.ones(3), missing: None}
    with pytest.raises(ValueError, match="running_mean and running_var"):
        batch_norm(random(6, 3), **statistics, training=training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1)])
def test_an_array_that_is_not_one_value_for_each_channel_is_named(name, shape, training):
    arrays = {"running_mean": np.zeros(3), "running_var": np.ones(3), name: np.ones(shape)}
    with pytest.raises(ValueError) as error:
        batch_norm(random(6, 3), training=training, **arrays)
    assert f"batch_norm: {name} must have shape (3,)" in str(error.value)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_the_function_names_an_input_without_a_channel_axis(shape):
    with pytest.raises(ValueError) as error:
        batch_norm(np.ones(shape), np.zeros(3), np.ones(3))
    assert "batch_norm" in str(error.value)
    assert str(shape) in str(error.value)


# The formula of the running statistics, to the last digit.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("old", [0.0, 1.0, 1e4, 1e8])
def test_a_momentum_of_one_stores_the_batchs_own_statistics(old, dtype):
    x, layer = random(6, 3).astype(dtype) * dtype(1e-4), BatchNorm1d(3, momentum=1.0, dtype=dtype)
    layer.running_mean[...] = layer.running_var[...] = old
    layer(x)
    mean, _, unbiased = statistics(x.astype(np.float64))
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, unbiased, rtol=1e-5)


@pytest.mark.parametrize("momentum", [0.9, 0.99, 0.999999, 1.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_new_statistics_are_as_exact_as_their_dtype_allows(scale, momentum):
    x, layer = (random(8, 3) * scale).astype(np.float32), BatchNorm1d(3, momentum=momentum)
    layer(x)
    _, _, unbiased = statistics(x.astype(np.float64))
    np.testing.assert_allclose(layer.running_var, (1 - momentum) + momentum * unbiased, rtol=1e-5)


def test_the_average_of_all_batches_keeps_a_tiny_variance():
    layer = BatchNorm1d(1, momentum=None)
    for seed in range(5):
        layer(random(8, 1, seed=seed).astype(np.float32) * np.float32(1e-5))
    expected = np.mean([statistics(random(8, 1, seed=seed) * 1e-5)[2] for seed in range(5)])
    np.testing.assert_allclose(layer.running_var, [expected], rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.3, 1.0, None])
def test_the_running_statistics_are_changed_in_place_and_keep_their_dtype(momentum):
    layer = BatchNorm1d(3, momentum=momentum)
    before = [layer.running_mean, layer.running_var, layer.num_batches_tracked]
    layer(random(6, 3))  # in float64
    assert layer.running_mean is before[0]
    assert layer.running_var is before[1]
    assert layer.num_batches_tracked is before[2]
    assert [str(array.dtype) for array in before] == ["float32", "float32", "int64"]


@pytest.mark.parametrize("name", ["running_mean", "running_var", "num_batches_tracked"])
def test_a_read_only_statistic_is_refused_in_training_before_any_is_changed(name):
    layer = trained(3)
    before = layer.state_dict()
    getattr(layer, name).flags.writeable = False
    with pytest.raises(ValueError, match=r"read-only.*eval\(\)"):
        layer(random(6, 3))
    for key, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("position", [0, 1])
def test_the_function_refuses_a_read_only_statistic_before_it_changes_the_other(position):
    arrays = [np.zeros(3), np.ones(3)]
    arrays[position].flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        batch_norm(random(6, 3), *arrays, training=True)
    np.testing.assert_array_equal(arrays, [np.zeros(3), np.ones(3)])


def test_read_only_statistics_do_in_evaluation():
    layer = trained(3).eval()
    expected = layer(random(6, 3)).data
    for buffer in layer.buffers():
        buffer.flags.writeable = False
    np.testing.assert_array_equal(layer(random(6, 3)).data, expected)


def test_a_new_value_that_the_statistics_dtype_cannot_hold_changes_neither_if_warnings_are_errors():
    running = np.zeros(1, np.float32), np.ones(1, np.float32)
    x = np.array([[1e25], [-1e25]])  # float64: the mean is 0, and the variance 1e50 is beyond float32
    with pytest.raises(RuntimeWarning, match="overflow"):
        batch_norm(x, *running, training=True)
    np.testing.assert_array_equal(running, [[0], [1]])


# Tensors as running statistics.


def test_tensors_as_running_statistics_are_updated_like_arrays():
    arrays, tensors = (np.zeros(3), np.ones(3)), (Tensor(np.zeros(3)), Tensor(np.ones(3)))
    for running in (arrays, tensors):
        batch_norm(random(6, 3), *running, training=True)
    for array, tensor in zip(arrays, tensors, strict=True):
        np.testing.assert_array_equal(tensor.data, array)


@pytest.mark.parametrize("position", [0, 1])
def test_the_tape_notices_that_training_changed_a_tensor_which_an_entry_still_needs(position):
    running, w = [Tensor(np.zeros(3)), Tensor(np.ones(3))], Tensor(np.ones(3), requires_grad=True)
    loss = (w * running[position]).sum()
    batch_norm(random(6, 3), *running, training=True)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("position", [0, 1])
def test_the_tape_notices_it_through_a_view_too(position):
    both, w = Tensor(np.ones((2, 3))), Tensor(np.ones((2, 3)), requires_grad=True)
    loss = (w * both).sum()
    running = [np.zeros(3), np.ones(3)]
    running[position] = both[position]
    batch_norm(random(6, 3), *running, training=True)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_evaluation_does_not_count_as_a_change_of_the_statistics():
    running, w = (Tensor(np.ones(3)), Tensor(np.ones(3))), Tensor(np.ones(3), requires_grad=True)
    loss = (w * running[0]).sum()
    batch_norm(random(6, 3), *running)
    loss.backward()
    np.testing.assert_array_equal(w.grad, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("position", [0, 1])
def test_statistics_that_require_a_gradient_are_refused_because_none_would_reach_them(position, training):
    running = [Tensor(np.zeros(3)), Tensor(np.ones(3))]
    running[position].requires_grad = True
    with pytest.raises(TypeError, match=r"running_mean and running_var.*detach"):
        batch_norm(random(6, 3), *running, training=training)


# What the function refuses to change.


@pytest.mark.parametrize("running", [([0, 0, 0], [1, 1, 1]), (np.zeros(3, int), np.ones(3, int)), ((0,) * 3, (1,) * 3)])
def test_training_refuses_statistics_that_are_no_floating_arrays(running):
    with pytest.raises(TypeError, match="floating-point arrays"):
        batch_norm(random(6, 3), *running, training=True)


def test_the_function_needs_a_number_for_momentum_in_training():
    with pytest.raises(TypeError, match=r"a number for momentum.*plain average"):
        batch_norm(random(6, 3), np.zeros(3), np.ones(3), training=True, momentum=None)


@pytest.mark.parametrize("training", [True, False])
def test_float16_is_summed_in_float32_so_that_nothing_overflows(training):
    x, layer = np.full((300, 1), 300, np.float16), BatchNorm1d(1, dtype=np.float16).train(training)
    x[::2] = -300  # the sum of squares is 2.7e7, and float16 ends at 65504
    tensor = Tensor(x, requires_grad=True)
    y = layer(tensor)
    y.backward(np.ones((300, 1)))
    np.testing.assert_allclose(y.data, x.astype(float) / (300 if training else 1), rtol=1e-3)
    assert tensor.grad.dtype == np.float16


def test_reset_running_stats_has_nothing_to_do_where_none_are_kept():
    layer = BatchNorm1d(3, track_running_stats=False)
    layer.reset_running_stats()
    assert list(layer.buffers()) == []
