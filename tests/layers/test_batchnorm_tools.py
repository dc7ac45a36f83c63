"""update_bn (the paper's algorithm 2, lines 7-10) and fold_batchnorm (its line 11)."""

import copy

import numpy as np
import pytest

from layers import (
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    Linear,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    fold_batchnorm,
    update_bn,
)
from minigrad import Tensor


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, size=shape)


def unlike_new(model):
    """The model in float64, with parameters and statistics that are not those it starts with; returns it."""
    rng = np.random.default_rng(5)
    model.astype(np.float64)
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    for name, buffer in model.named_buffers():
        buffer[...] = 7 if name.endswith("tracked") else rng.uniform(0.5, 2, buffer.shape)
    return model


def assert_same_state(model, state):
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


# update_bn

BATCHES = [random(n, 3, seed=n) for n in (4, 7, 2)]


def averages(batches):
    """Algorithm 2, line 10: the average of the means, and of the variances with the factor m / (m - 1)."""
    means = [b.mean(0) for b in batches]
    variances = [len(b) / (len(b) - 1) * b.var(0) for b in batches]
    return np.mean(means, 0), np.mean(variances, 0)


def test_update_bn_averages_the_statistics_of_all_batches():
    model = unlike_new(Sequential(BatchNorm1d(3), Linear(3, 2)))
    update_bn(model, BATCHES)
    mean, var = averages(BATCHES)
    np.testing.assert_allclose(model[0].running_mean, mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model[0].running_var, var, rtol=0, atol=1e-10)
    assert model[0].num_batches_tracked == 3


def test_update_bn_of_a_deeper_layer_sees_batches_normalized_by_the_layers_before_it():
    model = unlike_new(Sequential(Linear(3, 4), BatchNorm1d(4), ReLU(), Linear(4, 2), BatchNorm1d(2)))
    state = model.state_dict()
    first, second = [], []
    for x in BATCHES:
        h = x @ state["0.weight"].T + state["0.bias"]
        first.append(h)
        h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5) * state["1.weight"] + state["1.bias"]
        second.append(np.maximum(h, 0) @ state["3.weight"].T + state["3.bias"])
    update_bn(model, BATCHES)
    for layer, seen in [(model[1], first), (model[4], second)]:
        mean, var = averages(seen)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=0, atol=1e-10)
        np.testing.assert_allclose(layer.running_var, var, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "batches",
    [
        [(x, np.zeros(len(x), int)) for x in BATCHES],
        [[x, "anything", 3] for x in BATCHES],
        [Tensor(x) for x in BATCHES],
        (x for x in BATCHES),
    ],
    ids=["tuples", "lists", "tensors", "generator"],
)
def test_batches_may_be_pairs_tensors_or_a_generator(batches):
    model, expected = unlike_new(Sequential(BatchNorm1d(3))), averages(BATCHES)
    update_bn(model, batches)
    np.testing.assert_allclose(model[0].running_mean, expected[0], atol=1e-10)
    np.testing.assert_allclose(model[0].running_var, expected[1], atol=1e-10)


def test_update_bn_forgets_the_old_statistics_even_if_they_were_broken():
    model = Sequential(BatchNorm1d(3, dtype=np.float64))
    model[0].running_mean[...], model[0].running_var[...] = np.nan, np.inf
    update_bn(model, BATCHES)
    np.testing.assert_allclose(model[0].running_mean, averages(BATCHES)[0], atol=1e-10)
    np.testing.assert_allclose(model[0].running_var, averages(BATCHES)[1], atol=1e-10)


def mixed_modes():
    """A model in training, in which one BatchNorm is frozen; momenta of both kinds."""
    model = unlike_new(Sequential(BatchNorm1d(3, momentum=0.3), Linear(3, 3), BatchNorm1d(3, momentum=None)))
    model[2].eval()
    return model


def fails_after_one():
    yield BATCHES[0]
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("batches", "error"),
    [
        (BATCHES, None),
        ([], ValueError),
        ([BATCHES[0], random(4, 5)], ValueError),  # the second has too many features
        ([BATCHES[0], random(1, 3)], ValueError),  # the second has one value for each channel
        (None, TypeError),
        (fails_after_one, KeyboardInterrupt),
    ],
    ids=["success", "no batches", "wrong shape", "one sample", "no iterable", "interrupted"],
)
def test_modes_and_momenta_are_put_back_whatever_happens(batches, error):
    model = mixed_modes()
    batches = batches() if callable(batches) else batches
    if error is None:
        update_bn(model, batches)
    else:
        with pytest.raises(error):
            update_bn(model, batches)
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert (model[0].momentum, model[2].momentum) == (0.3, None)


@pytest.mark.parametrize("batches", [[], [BATCHES[0], random(4, 5)], fails_after_one])
def test_the_old_statistics_stay_if_the_update_fails(batches):
    model = mixed_modes()
    before = model.state_dict()
    with pytest.raises((ValueError, KeyboardInterrupt)):
        update_bn(model, batches() if callable(batches) else batches)
    assert_same_state(model, before)


class Replacing(Module):
    """Has a read-only buffer, and one that forward replaces; passes its input on."""

    def __init__(self):
        self.register_buffer("constant", np.ones(3))
        self.constant.flags.writeable = False
        self.register_buffer("calls", np.zeros(()))

    def forward(self, x):
        self.calls = self.calls + np.ones(1)
        return x


def test_a_failed_update_puts_back_replaced_buffers_and_lets_read_only_ones_be():
    model = unlike_new(Sequential(BatchNorm1d(3), Linear(3, 3), BatchNorm1d(3)))
    model = Sequential(Replacing(), *model)
    before = model.state_dict()
    with pytest.raises(KeyboardInterrupt):
        update_bn(model, fails_after_one())
    assert_same_state(model, before)


@pytest.mark.parametrize("position", [0, 2])
@pytest.mark.parametrize("name", ["running_mean", "running_var", "num_batches_tracked"])
def test_a_read_only_statistic_lets_update_bn_change_nothing(name, position):
    model = unlike_new(Sequential(BatchNorm1d(3), Linear(3, 3), BatchNorm1d(3)))
    getattr(model[position], name).flags.writeable = False
    before = model.state_dict()
    with pytest.raises(ValueError, match="read-only"):
        update_bn(model, BATCHES)
    assert_same_state(model, before)


def test_update_bn_takes_a_layer_that_learns_a_weight_and_no_bias():
    layer = unlike_new(BatchNorm1d(3, bias=False))
    update_bn(layer, BATCHES)
    np.testing.assert_allclose(layer.running_var, averages(BATCHES)[1], atol=1e-10)


@pytest.mark.parametrize("batch", [np.ones((4, 3)), Tensor(np.ones((4, 3)))], ids=["array", "Tensor"])
def test_update_bn_asks_for_a_list_where_it_gets_one_batch(batch):
    with pytest.raises(TypeError, match="several batches"):
        update_bn(BatchNorm1d(3), batch)


def test_update_bn_says_that_it_got_no_batches():
    with pytest.raises(ValueError, match="no batches"):
        update_bn(BatchNorm1d(3), [])


@pytest.mark.parametrize("model", [Linear(3, 2), BatchNorm1d(3, track_running_stats=False)])
def test_update_bn_refuses_a_model_without_running_statistics(model):
    with pytest.raises(ValueError, match="running statistics"):
        update_bn(model, BATCHES)


def test_update_bn_leaves_the_parameters_alone_and_computes_no_gradients():
    model = unlike_new(Sequential(Linear(3, 4), BatchNorm1d(4)))
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    update_bn(model, BATCHES)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.data, before[name])
        assert parameter.grad is None


class Spy(Module):
    """Passes its input on and notes whether it was recorded on a tape."""

    def forward(self, x):
        self.recorded = x.requires_grad
        return x


def test_update_bn_records_nothing():
    model = Sequential(Linear(3, 4), BatchNorm1d(4), Spy())
    update_bn(model, BATCHES)
    assert model[2].recorded is False


def test_update_bn_switches_dropout_off():
    model = unlike_new(Sequential(Dropout(0.9, rng=0), BatchNorm1d(3)))
    update_bn(model, BATCHES)
    np.testing.assert_allclose(model[1].running_mean, averages(BATCHES)[0], atol=1e-10)


def test_update_bn_of_a_single_layer_works_too():
    layer = BatchNorm1d(3, dtype=np.float64)
    update_bn(layer, BATCHES)
    np.testing.assert_allclose(layer.running_mean, averages(BATCHES)[0], atol=1e-10)


def test_update_bn_keeps_a_tiny_variance_in_float32():
    batches = [(1e-4 * random(8, 3, seed=seed)).astype(np.float32) for seed in range(4)]
    layer = BatchNorm1d(3)
    update_bn(layer, batches)
    np.testing.assert_allclose(layer.running_var, averages([b.astype(float) for b in batches])[1], rtol=1e-5)


# fold_batchnorm


class Classifier(Module):
    """A Sequential inside a Module of one's own."""

    def __init__(self, features):
        super().__init__()
        self.features = Sequential(Linear(3, features), BatchNorm1d(features), Sigmoid())
        self.head = Linear(features, 2)

    def forward(self, x):
        return self.head(self.features(x))


class Residual(Sequential):
    """A Sequential with a forward of its own."""

    def forward(self, x):
        return x + super().forward(x)


class ByHand(Module):
    """Linear and BatchNorm as attributes: which follows which is only known to forward."""

    def __init__(self):
        super().__init__()
        self.norm = BatchNorm1d(4)
        self.linear = Linear(3, 4)

    def forward(self, x):
        return self.norm(self.linear(x))


class Scaled(Linear):
    """A Linear that does something else."""

    def forward(self, x):
        return super().forward(x) * 3


class Shifted(BatchNorm1d):
    """A BatchNorm that does something else."""

    def forward(self, x):
        return super().forward(x) + 1


def tripled(x):
    return x @ np.ones((3, 4)) * 3


def scaled_by_hand():
    """A Linear whose forward was replaced on the object."""
    linear = Linear(3, 4)
    linear.forward = tripled
    return linear


class Child(Module):
    """Points back to its parent."""

    def __init__(self, parent):
        self.parent = parent
        self.layers = Sequential(Linear(3, 4), BatchNorm1d(4))

    def forward(self, x):
        return self.layers(x)


class Parent(Module):
    def __init__(self):
        self.child = Child(self)

    def forward(self, x):
        return self.child(x)


def used_twice():
    """One Linear used twice, followed by a different BatchNorm each time."""
    linear = Linear(3, 3)
    return Sequential(linear, BatchNorm1d(3), ReLU(), linear, BatchNorm1d(3))


# A model and the shape of its input. First those in which every BatchNorm can be folded, then those in which none can.
FOLDABLE = {
    "linear and batchnorm": (Sequential(Linear(3, 4), BatchNorm1d(4)), (5, 3)),
    "no bias": (Sequential(Linear(3, 4, bias=False), BatchNorm1d(4)), (5, 3)),
    "no affine": (Sequential(Linear(3, 4), BatchNorm1d(4, affine=False)), (5, 3)),
    "weight without bias": (Sequential(Linear(3, 4), BatchNorm1d(4, bias=False)), (5, 3)),
    "no bias at all": (Sequential(Linear(3, 4, bias=False), BatchNorm1d(4, bias=False)), (5, 3)),
    "neither": (Sequential(Linear(3, 4, bias=False), BatchNorm1d(4, affine=False, eps=0.1)), (5, 3)),
    "two in a row": (Sequential(Linear(3, 4), BatchNorm1d(4), BatchNorm1d(4)), (5, 3)),
    "several": (Sequential(Linear(3, 4), BatchNorm1d(4), ReLU(), Linear(4, 2), BatchNorm1d(2)), (5, 3)),
    "used twice": (used_twice(), (5, 3)),
    "nested": (Sequential(Sequential(Linear(3, 4), BatchNorm1d(4)), Sequential(ReLU(), Sequential(ReLU()))), (5, 3)),
    "nested deeper": (Sequential(Sequential(ReLU(), Sequential(Linear(3, 4), BatchNorm1d(4)))), (5, 3)),
    "channels last": (Sequential(Linear(3, 4), BatchNorm1d(4, channels_last=True)), (2, 5, 3)),
    "images, channels last": (Sequential(Linear(3, 4), BatchNorm2d(4, channels_last=True)), (2, 2, 5, 3)),
    "a child that points to its parent": (Parent(), (5, 3)),
    "own module": (Classifier(4), (5, 3)),
    "own module in a Sequential": (Sequential(Classifier(4), ReLU()), (5, 3)),
}
NOT_FOLDABLE = {
    "a Linear with a forward of its own": (Sequential(Scaled(3, 4), BatchNorm1d(4)), (5, 3)),
    "a BatchNorm with a forward of its own": (Sequential(Linear(3, 4), Shifted(4)), (5, 3)),
    "an object with a forward of its own": (Sequential(scaled_by_hand(), BatchNorm1d(4)), (5, 3)),
    "first layer": (Sequential(BatchNorm1d(3), Linear(3, 4)), (5, 3)),
    "after an activation": (Sequential(Linear(3, 4), ReLU(), BatchNorm1d(4)), (5, 3)),
    "by hand": (ByHand(), (5, 3)),
    "the layer alone": (BatchNorm1d(3), (5, 3)),
    "images, another channel axis": (Sequential(Linear(5, 3), BatchNorm2d(3)), (2, 3, 4, 5)),
    "sequences, another channel axis": (Sequential(Linear(5, 6), BatchNorm1d(3)), (2, 3, 5)),
}
EITHER_WAY = {
    "after an inner Sequential": (Sequential(Sequential(Linear(3, 4)), BatchNorm1d(4)), (5, 3)),
    "own Sequential": (Residual(Linear(3, 3), BatchNorm1d(3)), (5, 3)),
    "own Sequential inside": (Sequential(Residual(Linear(3, 3), BatchNorm1d(3)), ReLU()), (5, 3)),
}
ALL = FOLDABLE | NOT_FOLDABLE | EITHER_WAY


@pytest.fixture(params=ALL)
def case(request):
    """Each model in turn, in training mode, with an input."""
    model, shape = ALL[request.param]
    return unlike_new(copy.deepcopy(model)).train(), random(*shape, seed=9)


def test_the_folded_model_computes_what_the_model_computes_in_evaluation(case):
    model, x = case
    folded = fold_batchnorm(model)(x).data
    np.testing.assert_allclose(folded, model.eval()(x).data, rtol=0, atol=1e-10)


def norms_in(model):
    return [module for module in model.modules() if isinstance(module, (BatchNorm1d, BatchNorm2d))]


@pytest.mark.parametrize("name", FOLDABLE)
def test_every_batchnorm_right_after_a_linear_is_gone(name):
    assert norms_in(fold_batchnorm(FOLDABLE[name][0])) == []


@pytest.mark.parametrize("name", NOT_FOLDABLE)
def test_a_batchnorm_without_a_linear_right_before_it_stays(name):
    assert len(norms_in(fold_batchnorm(NOT_FOLDABLE[name][0]))) == 1


def test_the_folded_model_is_in_evaluation_mode_and_the_original_stays_in_training(case):
    model, _ = case
    assert not any(module.training for module in fold_batchnorm(model).modules())
    assert all(module.training for module in model.modules())


def test_folding_does_not_touch_the_original(case):
    model, _ = case
    before, layers = model.state_dict(), repr(model)
    folded = fold_batchnorm(model)
    for parameter in folded.parameters():
        parameter.data[...] = 0
    assert repr(model) == layers
    assert_same_state(model, before)


def test_the_folded_weight_is_scale_times_the_weight_of_each_output():
    model = Sequential(Linear(1, 2), BatchNorm1d(2, eps=0.0, affine=False))
    model[0].weight.data[...], model[0].bias.data[...] = [[3.0], [5.0]], [1.0, 2.0]
    model[1].running_mean[...], model[1].running_var[...] = [4.0, 5.0], [4.0, 25.0]
    folded = fold_batchnorm(model)
    assert repr(folded) == "Sequential(\n  (0): Linear(in_features=1, out_features=2, bias=True)\n)"
    np.testing.assert_allclose(folded[0].weight.data, [[1.5], [1.0]])
    np.testing.assert_allclose(folded[0].bias.data, [-1.5, -0.6], rtol=1e-6)


def test_folding_keeps_the_dtype():
    folded = fold_batchnorm(Sequential(Linear(3, 4), BatchNorm1d(4)))
    assert {p.dtype for p in folded.parameters()} == {np.dtype(np.float32)}


FREEZING = {
    "0.weight": (["0.weight"], {"weight": False, "bias": True}),
    "0.bias": (["0.bias"], {"weight": True, "bias": False}),
    "1.weight": (["1.weight"], {"weight": False, "bias": False}),
    "1.bias": (["1.bias"], {"weight": True, "bias": False}),
    "all": (["0.weight", "0.bias", "1.weight", "1.bias"], {"weight": False, "bias": False}),
    "none": ([], {"weight": True, "bias": True}),
}


@pytest.mark.parametrize("case", FREEZING)
def test_what_a_frozen_parameter_went_into_stays_frozen(case):
    frozen, expected = FREEZING[case]
    model = Sequential(Linear(3, 4), BatchNorm1d(4))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name not in frozen
    folded = fold_batchnorm(model)[0]
    assert {name: p.requires_grad for name, p in folded.named_parameters()} == expected


def test_a_bias_made_of_statistics_alone_does_not_learn():
    folded = fold_batchnorm(Sequential(Linear(3, 4, bias=False), BatchNorm1d(4, affine=False)))[0]
    assert (folded.weight.requires_grad, folded.bias.requires_grad) == (True, False)


def test_folding_leaves_what_it_does_not_merge_as_it_is():
    model = Sequential(Linear(3, 4), BatchNorm1d(4), ReLU(), Linear(4, 2))
    model[3].requires_grad_(False)
    model.note, model[0].note = "kept", "kept too"
    folded = fold_batchnorm(model)
    assert not any(p.requires_grad for p in folded[2].parameters())
    assert (folded.note, folded[0].note) == ("kept", "kept too")


def test_the_folded_parameters_have_the_names_of_their_new_places():
    folded = fold_batchnorm(Sequential(ReLU(), Linear(3, 4), BatchNorm1d(4), ReLU(), Linear(4, 2)))
    assert [p.name for p in folded.parameters()] == ["1.weight", "1.bias", "3.weight", "3.bias"]


def test_folding_a_batchnorm_without_running_statistics_is_refused():
    with pytest.raises(ValueError, match="running statistics"):
        fold_batchnorm(Sequential(Linear(3, 4), BatchNorm1d(4, track_running_stats=False)))
