"""Linear and Flatten: values, gradients, starting weights, errors."""

import numpy as np
import pytest

from layers import Flatten, Linear, Module, linear
from minigrad import Tensor, gradcheck, gradcheck_module

# The shape of x, whose last axis is the features: one sample, a batch, several batch axes, length 1, empty.
SHAPES = [(3,), (4, 3), (2, 4, 3), (2, 1, 2, 3), (1, 1), (5, 1), (0, 3), (2, 0, 3)]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_linear_multiplies_by_the_transposed_weight_and_adds_the_bias():
    weight = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    np.testing.assert_array_equal(linear([1.0, 2.0], weight, [10.0, 20.0, 30.0]).data, [11, 22, 33])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear_is_one_entry_that_agrees_with_primitives_in_value_and_gradients(shape, with_bias):
    arrays = [random(*shape), random(2, shape[-1], seed=1), random(2, seed=2)][: 2 + with_bias]
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [Tensor(a, requires_grad=True) for a in arrays]

    y = linear(*ours)
    composed = theirs[0] @ theirs[1].T
    if with_bias:
        composed = composed + theirs[2]

    assert len(y.tape()) == 1
    assert y.shape == (*shape[:-1], 2)
    np.testing.assert_allclose(y.data, composed.data, rtol=0, atol=1e-10)
    d_y = random(*y.shape, seed=3)
    y.backward(d_y)
    composed.backward(d_y)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad, other.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_the_layer_match_finite_differences(shape, bias):
    layer = Linear(shape[-1], 2, bias=bias, dtype=np.float64, rng=0)
    assert gradcheck_module(layer, random(*shape))


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_a_gradient_that_nobody_needs_is_not_computed(needed):
    operands = [Tensor(random(4, 3)), Tensor(random(2, 3)), Tensor(random(2))]
    operands[needed].requires_grad = True
    (entry,) = linear(*operands).tape()
    assert [i for i, need in enumerate(entry.needs) if need] == [needed]
    assert [x is operands[needed] for x, _ in entry.pull_back(np.ones((4, 2)))] == [True]


def test_the_gradient_of_an_input_that_is_not_learned_stays_none():
    x, layer = Tensor(random(4, 3)), Linear(3, 2)
    layer(x).sum().backward()
    assert x.grad is None


def test_linear_changes_none_of_its_operands():
    arrays = [random(4, 3), random(2, 3, seed=1), random(2, seed=2)]
    before = [a.copy() for a in arrays]
    y = linear(*(Tensor(a, requires_grad=True) for a in arrays))
    y.backward(np.ones((4, 2)))
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_weight_has_shape_out_in_and_bias_out():
    layer = Linear(3, 2)
    assert layer.weight.shape == (2, 3)
    assert layer.bias.shape == (2,)


def test_without_bias_the_weight_is_the_only_parameter():
    layer = Linear(3, 2, bias=False)
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


@pytest.mark.parametrize("in_features", [1, 4, 100])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_starting_values_fill_the_range_of_one_over_the_root_of_in_features(in_features, name):
    values = getattr(Linear(in_features, 2000, rng=0), name).data
    bound = 1 / np.sqrt(in_features)
    assert np.abs(values).max() <= bound
    assert values.max() > 0.98 * bound
    assert values.min() < -0.98 * bound
    np.testing.assert_allclose(values.std(), bound / np.sqrt(3), rtol=0.05)  # what a uniform distribution has


def test_the_same_seed_gives_the_same_bits():
    one, two = Linear(5, 4, rng=7), Linear(5, 4, rng=np.random.default_rng(7))
    assert one.weight.data.tobytes() == two.weight.data.tobytes()
    assert one.bias.data.tobytes() == two.bias.data.tobytes()


@pytest.mark.parametrize("rngs", [(0, 1), (None, None), (np.random.default_rng(0),) * 2], ids=str)
def test_other_seeds_no_seed_and_a_shared_generator_give_layers_that_differ(rngs):
    one, two = (Linear(5, 4, rng=rng) for rng in rngs)
    assert not np.array_equal(one.weight.data, two.weight.data)


def test_parameters_and_output_are_float32_by_default():
    layer = Linear(3, 2)
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    assert layer(np.ones((4, 3), np.float32)).dtype == np.float32


def test_float64_input_gives_float64_output_and_gradients_in_each_tensors_own_dtype():
    layer, x = Linear(3, 2), Tensor(random(4, 3), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float64
    assert layer.weight.dtype == layer.weight.grad.dtype == layer.bias.grad.dtype == np.float32


@pytest.mark.parametrize("wide", [0, 1, 2])
def test_linear_promotes_mixed_dtypes_as_numpy_does(wide):
    operands = [np.ones((4, 3), np.float32), np.ones((2, 3), np.float32), np.ones(2, np.float32)]
    operands[wide] = operands[wide].astype(np.float64)
    assert linear(*operands).dtype == np.float64


@pytest.mark.parametrize("shape", [(4, 2), (2,), (3, 4), ()])
def test_a_wrong_number_of_features_names_the_layer_and_the_shape(shape):
    with pytest.raises(ValueError) as error:
        Linear(3, 2)(np.ones(shape))
    assert "Linear(in_features=3" in str(error.value)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    ("weight", "bias", "named"),
    [
        (np.ones(3), None, "weight"),
        (np.ones((2, 3, 1)), None, "weight"),
        (np.ones((2, 3)), np.ones(3), "bias"),
        (np.ones((2, 3)), np.ones((1, 2)), "bias"),
        (np.ones((2, 4)), None, "4 features"),
    ],
)
def test_the_function_refuses_shapes_that_do_not_fit(weight, bias, named):
    with pytest.raises(ValueError, match=f"linear.*{named}"):
        linear(np.ones((5, 3)), weight, bias)


@pytest.mark.parametrize("features", [(0, 2), (2, 0), (-1, 2)])
def test_fewer_than_one_feature_is_refused(features):
    with pytest.raises(ValueError, match=r"Linear\(.*1 or more"):
        Linear(*features)


@pytest.mark.parametrize("wrong", [64.0, "64", None, True, np.float32(3), np.False_, (3,), np.ones(2, int)], ids=repr)
@pytest.mark.parametrize("position", [0, 1])
def test_a_number_of_features_that_is_no_int_is_named(position, wrong):
    features = [3, 3]
    features[position] = wrong
    with pytest.raises(TypeError) as error:
        Linear(*features)
    assert f"Linear({features[0]!r}, {features[1]!r}): a number of features is an int, such as 64" in str(error.value)


def test_numpys_integers_count_as_well():
    layer = Linear(np.int64(3), np.uint8(2))
    assert repr(layer) == "Linear(in_features=3, out_features=2, bias=True)"


@pytest.mark.parametrize("integers", [np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_are_taken_in_the_weights_dtype(dtype, integers):
    layer, x = Linear(3, 2, dtype=dtype), np.array([[1, 0, 1], [0, 1, 1]], integers)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == layer.weight.grad.dtype == dtype
    np.testing.assert_array_equal(y.data, layer(x.astype(dtype)).data)


def test_a_list_of_integers_leaves_a_float32_model_in_float32():
    assert Linear(2, 1)([[1, 2], [3, 4]]).dtype == np.float32


def test_integers_times_integers_stay_integers():
    assert linear(np.arange(6).reshape(2, 3), np.ones((2, 3), int)).dtype == int


def test_repr_of_linear_is_that_of_pytorch():
    assert repr(Linear(3, 2, bias=False)) == "Linear(in_features=3, out_features=2, bias=False)"


FLAT = [((2, 3, 4), (2, 12)), ((2, 3), (2, 3)), ((5,), (5, 1)), ((1, 1, 1, 1), (1, 1)), ((0, 3, 4), (0, 12))]


@pytest.mark.parametrize(("shape", "flat"), FLAT)
def test_flatten_keeps_the_batch_axis_and_joins_the_others(shape, flat):
    x = random(*shape)
    y = Flatten()(x)
    assert y.shape == flat
    np.testing.assert_array_equal(y.data.ravel(), x.ravel())


@pytest.mark.parametrize(("shape", "flat"), FLAT)
def test_gradients_of_flatten_match_finite_differences(shape, flat):
    assert gradcheck(Flatten(), Tensor(random(*shape), requires_grad=True))


def test_flatten_refuses_a_scalar():
    with pytest.raises(ValueError, match="Flatten"):
        Flatten()(1.0)


def test_flatten_has_no_parameters():
    assert isinstance(Flatten(), Module)
    assert list(Flatten().parameters()) == []
