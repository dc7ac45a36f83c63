"""The gradients of batch normalization: the six of the paper, the layer's, and finite differences."""

import numpy as np
import pytest

from layers import BatchNorm1d, BatchNorm2d, BatchNorm3d, batch_norm, batch_norm_backward, batch_norm_forward
from minigrad import Tensor, gradcheck, gradcheck_module, sqrt

CLASSES = {2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d}  # by the number of axes of the input

# The shape of x and whether its channel is the last axis instead of the second.
CASES = [
    ((4, 3), False),
    ((2, 3), False),
    ((5, 1), False),
    ((2, 3, 4), False),
    ((1, 3, 2), False),
    ((3, 2, 1), False),
    ((2, 3, 2, 2), False),
    ((1, 2, 1, 3), False),
    ((2, 2, 2, 1, 2), False),
    ((1, 1, 1, 2, 2), False),
    ((2, 4, 3), True),
    ((2, 1, 3), True),
    ((2, 2, 2, 3), True),
    ((1, 1, 3, 2), True),
    ((2, 2, 1, 2, 2), True),
]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, size=shape)


def axes_and_shape(ndim, channels_last):
    """The axes to sum over, and the shape in which (C,) broadcasts against x."""
    channel = ndim - 1 if channels_last else 1
    axes = tuple(axis for axis in range(ndim) if axis != channel)
    return axes, tuple(-1 if axis == channel else 1 for axis in range(ndim))


def inputs(shape, channels_last):
    """x, gamma, beta and a gradient d_y to send back."""
    channels = shape[-1 if channels_last else 1]
    return random(*shape), random(channels, seed=1), random(channels, seed=2), random(*shape, seed=3)


def algorithm_1(x, gamma, beta, channels_last=False, eps=1e-5):
    """The paper's forward, composed of primitives; every quantity keeps its gradient."""
    axes, shape = axes_and_shape(x.ndim, channels_last)
    m = x.size // gamma.size
    mean = x.sum(axes, keepdims=True) / m
    var = ((x - mean) ** 2).sum(axes, keepdims=True) / m
    x_hat = (x - mean) / sqrt(var + eps)
    y = gamma.reshape(shape) * x_hat + beta.reshape(shape)
    for quantity in (mean, var, x_hat):
        quantity.retain_grad()
    return {"mean": mean, "var": var, "x_hat": x_hat, "y": y}


@pytest.mark.parametrize(("shape", "channels_last"), CASES)
def test_each_of_the_six_gradients_is_the_tapes_gradient_of_that_quantity(shape, channels_last):
    *arrays, d_y = inputs(shape, channels_last)
    x, gamma, beta = (Tensor(a, requires_grad=True) for a in arrays)
    forward = algorithm_1(x, gamma, beta, channels_last)
    forward["y"].backward(d_y)
    expected = {
        "d_x_hat": forward["x_hat"].grad,
        "d_var": forward["var"].grad.ravel(),
        "d_mean": forward["mean"].grad.ravel(),
        "d_x": x.grad,
        "d_gamma": gamma.grad,
        "d_beta": beta.grad,
    }
    six = batch_norm_backward(d_y, x.data, gamma.data, channels_last=channels_last)
    assert list(six) == list(expected)  # in the paper's order
    for name, d in six.items():
        assert d.shape == expected[name].shape, name
        np.testing.assert_allclose(d, expected[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(("shape", "channels_last"), CASES)
def test_the_textbook_forward_is_the_layers(shape, channels_last):
    x, gamma, beta, _ = inputs(shape, channels_last)
    axes, broadcastable = axes_and_shape(x.ndim, channels_last)
    running = np.zeros((2, gamma.size))
    y = batch_norm(x, *running, gamma, beta, True, 1.0, channels_last=channels_last)
    textbook = batch_norm_forward(x, gamma, beta, channels_last=channels_last)
    m = x.size // gamma.size
    for name, expected in {"y": y.data, "mean": running[0], "var": running[1] * (m - 1) / m}.items():
        np.testing.assert_allclose(textbook[name], expected, rtol=0, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(textbook["x_hat"].mean(axes), 0, atol=1e-10)
    shown = gamma.reshape(broadcastable) * textbook["x_hat"] + beta.reshape(broadcastable)
    np.testing.assert_allclose(shown, textbook["y"], rtol=0, atol=1e-10)


def test_the_textbook_forward_has_a_gamma_of_one_and_a_beta_of_zero_if_none_are_given():
    x, gamma, beta, _ = inputs((4, 3), False)
    np.testing.assert_array_equal(batch_norm_forward(x)["y"], batch_norm_forward(x)["x_hat"])
    without_beta, without_gamma = batch_norm_forward(x, gamma)["y"], batch_norm_forward(x, beta=beta)["y"]
    np.testing.assert_allclose(without_beta, gamma * batch_norm_forward(x)["x_hat"], atol=1e-12)
    np.testing.assert_allclose(without_gamma, batch_norm_forward(x)["x_hat"] + beta, atol=1e-12)


def test_the_textbook_forward_adds_eps_under_the_root():
    x = np.array([[1.0], [3.0]])
    np.testing.assert_allclose(batch_norm_forward(x, eps=3.0)["x_hat"], [[-0.5], [0.5]])
    assert batch_norm_backward(np.array([[1.0], [0.0]]), x, eps=3.0)["d_gamma"] == -0.5


def test_the_six_gradients_without_gamma_are_those_of_a_gamma_of_one():
    x, _, _, d_y = inputs((4, 3), False)
    with_ones = batch_norm_backward(d_y, x, np.ones(3))
    for name, d in batch_norm_backward(d_y, x).items():
        np.testing.assert_allclose(d, with_ones[name], rtol=0, atol=1e-12, err_msg=name)


def assert_one_entry_that_agrees(y, composed, d_y, ours, theirs):
    assert len(y.tape()) == 1
    np.testing.assert_allclose(y.data, composed.data, rtol=0, atol=1e-10)
    y.backward(d_y)
    composed.backward(d_y)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad, other.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("shape", "channels_last"), CASES)
def test_batch_norm_is_one_entry_that_agrees_with_primitives_in_value_and_gradients(shape, channels_last):
    *arrays, d_y = inputs(shape, channels_last)
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [Tensor(a, requires_grad=True) for a in arrays]
    y = batch_norm(ours[0], None, None, *ours[1:], training=True, channels_last=channels_last)
    composed = algorithm_1(*theirs, channels_last)["y"]
    assert_one_entry_that_agrees(y, composed, d_y, ours, theirs)


@pytest.mark.parametrize(("shape", "channels_last"), CASES)
def test_evaluation_is_one_entry_that_agrees_with_primitives_in_value_and_gradients(shape, channels_last):
    *arrays, d_y = inputs(shape, channels_last)
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    x, gamma, beta = theirs = [Tensor(a, requires_grad=True) for a in arrays]
    mean, var = random(gamma.size, seed=4), random(gamma.size, seed=5) ** 2 + 0.1
    y = batch_norm(ours[0], mean, var, *ours[1:], channels_last=channels_last)
    _, per_channel = axes_and_shape(len(shape), channels_last)
    x_hat = (x - mean.reshape(per_channel)) / np.sqrt(var.reshape(per_channel) + 1e-5)
    composed = gamma.reshape(per_channel) * x_hat + beta.reshape(per_channel)
    assert_one_entry_that_agrees(y, composed, d_y, ours, theirs)


@pytest.mark.parametrize(("shape", "channels_last"), CASES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("track_running_stats", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_the_layers_match_finite_differences(shape, channels_last, affine, track_running_stats, training):
    x, gamma, beta, _ = inputs(shape, channels_last)
    layer = CLASSES[len(shape)](
        len(gamma), affine=affine, track_running_stats=track_running_stats, channels_last=channels_last
    )
    layer.astype(np.float64).train(training)
    if affine:
        layer.weight.data[...], layer.bias.data[...] = gamma, beta
    if track_running_stats:
        layer.running_mean[...], layer.running_var[...] = beta, gamma**2 + 0.1
    assert gradcheck_module(layer, x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("given", ["weight", "bias"])
def test_gradients_with_weight_or_bias_alone_match_finite_differences(given, training):
    x, parameter, mean, _ = inputs((4, 3), False)
    var = parameter**2 + 0.1

    def normalize(x, parameter):
        return batch_norm(x, mean.copy(), var.copy(), training=training, **{given: parameter})

    assert gradcheck(normalize, [Tensor(x, requires_grad=True), Tensor(parameter, requires_grad=True)])


def test_gradcheck_leaves_the_running_statistics_as_they_were():
    layer = BatchNorm1d(3, dtype=np.float64)
    layer(random(4, 3, seed=9))
    before = layer.state_dict()
    gradcheck_module(layer, random(4, 3))
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("shape", "channels_last"), CASES)
def test_d_x_sums_to_zero_for_each_channel(shape, channels_last):
    x, gamma, _, d_y = inputs(shape, channels_last)
    axes, _ = axes_and_shape(len(shape), channels_last)
    tensor = Tensor(x, requires_grad=True)
    batch_norm(tensor, None, None, gamma, training=True, channels_last=channels_last).backward(d_y)
    np.testing.assert_allclose(tensor.grad.sum(axes), 0, atol=1e-10)


@pytest.mark.parametrize(("shape", "channels_last"), CASES)
def test_d_x_is_orthogonal_to_x_hat_for_each_channel_when_eps_is_zero(shape, channels_last):
    x, gamma, _, d_y = inputs(shape, channels_last)
    axes, _ = axes_and_shape(len(shape), channels_last)
    tensor = Tensor(x, requires_grad=True)
    batch_norm(tensor, None, None, gamma, training=True, eps=0.0, channels_last=channels_last).backward(d_y)
    x_hat = batch_norm(x, None, None, training=True, eps=0.0, channels_last=channels_last).data
    np.testing.assert_allclose((tensor.grad * x_hat).sum(axes), 0, atol=1e-10)


def test_scaling_the_input_scales_its_gradient_down():
    """The paper's section 3.3: BN(a * W u) = BN(W u), so the gradient at a * W u is 1/a of that at W u."""
    x, _, _, d_y = inputs((6, 3), False)
    small, large = Tensor(x, requires_grad=True), Tensor(10 * x, requires_grad=True)
    for tensor in (small, large):
        batch_norm(tensor, None, None, training=True, eps=0.0).backward(d_y)
    np.testing.assert_allclose(large.grad, small.grad / 10, atol=1e-10)


# In evaluation the statistics are constants.


def test_in_evaluation_the_statistics_are_constants_for_the_gradient():
    layer, x = BatchNorm1d(2, dtype=np.float64).eval(), Tensor(random(3, 2), requires_grad=True)
    layer.weight.data[...] = [2, 3]
    layer.running_var[...] = [4, 9]
    layer(x).backward(np.ones((3, 2)))
    np.testing.assert_allclose(x.grad, np.full((3, 2), 1.0), rtol=1e-5)  # 2 / sqrt(4), 3 / sqrt(9)


def test_a_training_batch_between_evaluation_and_its_backward_does_not_change_the_gradients():
    gradients = []
    for train_in_between in (False, True):
        layer, x = BatchNorm1d(3, dtype=np.float64), Tensor(random(4, 3), requires_grad=True)
        y = layer.eval()(x)
        if train_in_between:
            layer.train()(random(5, 3, seed=8))
        y.backward(random(4, 3, seed=3))
        gradients.append((x.grad, layer.weight.grad, layer.bias.grad))
    for without, between in zip(*gradients, strict=True):
        np.testing.assert_array_equal(between, without)


def test_a_second_training_batch_before_the_backward_of_the_first_does_not_change_its_gradients():
    gradients = []
    for another in (False, True):
        layer, x = BatchNorm1d(3, dtype=np.float64), Tensor(random(4, 3), requires_grad=True)
        y = layer(x)
        if another:
            layer(random(5, 3, seed=8))
        y.backward(random(4, 3, seed=3))
        gradients.append((x.grad, layer.weight.grad))
    for without, between in zip(*gradients, strict=True):
        np.testing.assert_array_equal(between, without)


# Only what is needed.


@pytest.mark.parametrize("training", [True, False])
def test_d_x_is_not_computed_for_an_input_that_needs_no_gradient(training, monkeypatch):
    layer = BatchNorm1d(3, dtype=np.float64).train(training)
    (entry,) = layer(random(4, 3)).tape()
    monkeypatch.setattr("layers.batchnorm.multiply_add", None)  # what computes d_x
    assert {id(x) for x, _ in entry.pull_back(np.ones((4, 3)))} == {id(layer.weight), id(layer.bias)}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_a_frozen_parameter_gets_no_gradient_and_the_others_stay_the_same(frozen, training):
    d_y, gradients = random(4, 3, seed=3), {}
    for freeze in (False, True):
        layer, x = BatchNorm1d(3, dtype=np.float64).train(training), Tensor(random(4, 3), requires_grad=True)
        getattr(layer, frozen).requires_grad = not freeze
        layer(x).backward(d_y)
        gradients[freeze] = {"x": x.grad, "weight": layer.weight.grad, "bias": layer.bias.grad}
    assert gradients[True][frozen] is None
    for name in gradients[False].keys() - {frozen}:
        np.testing.assert_array_equal(gradients[True][name], gradients[False][name])


def test_requires_grad_false_freezes_both_parameters_and_still_passes_d_x():
    layer, x = BatchNorm1d(3, dtype=np.float64).requires_grad_(False), Tensor(random(4, 3), requires_grad=True)
    layer(x).backward(random(4, 3, seed=3))
    assert layer.weight.grad is None
    assert layer.bias.grad is None
    assert np.abs(x.grad).max() > 0


def test_with_everything_frozen_nothing_is_recorded():
    layer = BatchNorm1d(3).requires_grad_(False)
    assert not layer(random(4, 3)).requires_grad


def test_the_incoming_gradient_is_not_changed():
    layer, d_y = BatchNorm1d(3, dtype=np.float64), random(4, 3, seed=3)
    before = d_y.copy()
    layer(Tensor(random(4, 3), requires_grad=True)).backward(d_y)
    np.testing.assert_array_equal(d_y, before)


def test_gradients_accumulate_over_two_uses_of_one_layer():
    layer = BatchNorm1d(3, dtype=np.float64)
    batches = [random(4, 3), random(5, 3, seed=1)]
    alone = []
    for batch in batches:
        layer(batch).sum().backward()
        alone.append(layer.bias.grad)
        layer.zero_grad()
    (layer(batches[0]).sum() + layer(batches[1]).sum()).backward()
    np.testing.assert_allclose(layer.bias.grad, alone[0] + alone[1], atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, 9, atol=1e-12)


# What is not needed is not guarded: changing it is no error.


def gradient_of_x(function, change=None):
    """d_x, with the tensor ``change`` (default: x itself) doubled between forward and backward."""
    x = Tensor(random(4, 3), requires_grad=True)
    y = function(x)
    target = x if change is None else change
    target.data *= 2
    y.backward(random(4, 3, seed=3))
    target.data /= 2
    return x.grad


def frozen(which):
    """A layer in evaluation that learns no weight, or the function without one."""
    if which == "the function without weight":
        return lambda x: batch_norm(x, np.zeros(3), np.ones(3), bias=Tensor(np.ones(3), requires_grad=True))
    layer = BatchNorm1d(3, affine=which != "no affine", dtype=np.float64).eval()
    if which == "frozen weight":
        layer.weight.requires_grad = False
    if which == "all frozen":
        layer.requires_grad_(False)
    return layer


@pytest.mark.parametrize("which", ["frozen weight", "all frozen", "no affine", "the function without weight"])
def test_in_evaluation_the_input_may_change_unless_the_weights_gradient_needs_it(which):
    function = frozen(which)
    unrelated = Tensor(np.ones(3))
    np.testing.assert_array_equal(gradient_of_x(function), gradient_of_x(function, change=unrelated))


def test_in_evaluation_changing_the_input_is_an_error_if_the_weight_learns():
    with pytest.raises(RuntimeError, match="changed in place"):
        gradient_of_x(BatchNorm1d(3, dtype=np.float64).eval())


def test_in_training_the_input_may_change_because_backward_keeps_its_own_x_minus_mean():
    layer, unrelated = BatchNorm1d(3, dtype=np.float64), Tensor(np.ones(3))
    np.testing.assert_array_equal(gradient_of_x(layer), gradient_of_x(layer, change=unrelated))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weight_and_bias_may_change_because_backward_keeps_what_it_needs_of_them(name, training):
    layer, unrelated = BatchNorm1d(3, dtype=np.float64).train(training), Tensor(np.ones(3))
    changed = gradient_of_x(layer, change=getattr(layer, name))
    np.testing.assert_array_equal(changed, gradient_of_x(layer, change=unrelated))
