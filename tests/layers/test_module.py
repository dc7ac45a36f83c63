"""Module, Parameter and Sequential: what is found, what is changed, what is saved."""

import numpy as np
import pytest

from layers import BatchNorm1d, Dropout, Linear, Module, Parameter, ReLU, Sequential, Tanh, cross_entropy
from minigrad import Tensor, no_grad, optim


class Net(Module):
    """A model as a student writes it: a parameter, a buffer, a Sequential and a layer."""

    def __init__(self):
        super().__init__()
        self.features = Sequential(Linear(3, 4, rng=0), BatchNorm1d(4), ReLU())
        self.head = Linear(4, 2, bias=False, rng=1)
        self.scale = Parameter([2.0])
        self.register_buffer("calls", np.zeros((), np.int64))

    def forward(self, x):
        self.calls += 1
        return self.head(self.features(x)) * self.scale


def small(seed=0):
    return Sequential(Linear(3, 4, rng=seed), BatchNorm1d(4))


def batch(n=6):
    return np.random.default_rng(0).normal(size=(n, 3))


# What is found.


def test_parameters_are_named_by_their_path_a_modules_own_before_its_childrens():
    names = [name for name, _ in Net().named_parameters()]
    assert names == [
        "scale",
        "features.0.weight",
        "features.0.bias",
        "features.1.weight",
        "features.1.bias",
        "head.weight",
    ]


def test_parameters_are_those_of_named_parameters():
    net = Net()
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]


def test_buffers_are_named_by_their_path():
    net = Net()
    assert [name for name, _ in net.named_buffers()] == [
        "calls",
        "features.1.running_mean",
        "features.1.running_var",
        "features.1.num_batches_tracked",
    ]
    assert [id(b) for b in net.buffers()] == [id(b) for _, b in net.named_buffers()]


def test_children_are_the_modules_assigned_to_this_one():
    net = Net()
    assert list(net.children()) == [net.features, net.head]


def test_modules_are_this_one_and_all_below_it():
    net = Net()
    assert list(net.modules()) == [net, net.features, *net.features, net.head]


def test_modules_are_named_by_their_path_and_the_root_by_nothing():
    names = [name for name, _ in Net().named_modules()]
    assert names == ["", "features", "features.0", "features.1", "features.2", "head"]


def test_a_shared_parameter_is_listed_once():
    model = Sequential(Linear(3, 3), Linear(3, 3))
    model[1].weight = model[0].weight
    assert len(list(model.parameters())) == 3


def test_a_module_used_twice_is_listed_once():
    layer = Linear(3, 3)
    model = Sequential(layer, ReLU(), layer)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert list(model.modules()) == [model, layer, model[1]]


def test_an_attribute_that_is_replaced_is_found_no_more():
    net = Net()
    net.features = Tanh()
    net.scale = None
    assert [name for name, _ in net.named_parameters()] == ["head.weight"]


def test_a_parameter_requires_a_gradient_and_is_a_tensor():
    parameter = Parameter([1.0, 2.0])
    assert isinstance(parameter, Tensor)
    assert parameter.requires_grad


def test_apply_visits_children_first_and_returns_the_module():
    net, visited = Net(), []
    assert net.apply(visited.append) is net
    assert visited == [*net.features, net.features, net.head, net]


@pytest.mark.parametrize(
    "container", [list, tuple, lambda items: dict(enumerate(items))], ids=["list", "tuple", "dict"]
)
@pytest.mark.parametrize("item", [Linear(2, 2), Parameter([1.0])], ids=["module", "parameter"])
def test_modules_and_parameters_in_a_container_are_refused_because_they_would_be_lost(container, item):
    with pytest.raises(TypeError, match=r"Net.blocks.*would not be found"):
        Net().blocks = container([item])


def test_other_lists_are_ordinary_attributes():
    net = Net()
    net.history = [0.5, 0.25]
    assert net.history == [0.5, 0.25]


def test_a_module_without_forward_says_so():
    class Empty(Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define forward"):
        Empty()(1.0)


def test_a_module_may_take_several_inputs():
    class Add(Module):
        def forward(self, x, y):
            return x + y

    assert Add()(Tensor(1.0), Tensor(2.0)).item() == 3


# What is changed.


def test_a_module_starts_in_training_mode_and_train_and_eval_reach_all_below():
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train() is net
    assert all(m.training for m in net.modules())
    assert not any(m.training for m in net.train(False).modules())


def test_zero_grad_forgets_all_gradients():
    net = Net()
    net(batch()).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_requires_grad_false_freezes_and_true_unfreezes():
    net = Net()
    assert net.requires_grad_(False) is net
    assert not net(batch()).requires_grad
    net.requires_grad_()
    net(batch()).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_frozen_parameters_get_no_gradient_while_the_rest_does():
    net = Net()
    net.features.requires_grad_(False)
    net(batch()).sum().backward()
    assert {name for name, p in net.named_parameters() if p.grad is not None} == {"scale", "head.weight"}


def test_astype_converts_parameters_gradients_and_floating_buffers_in_place():
    net = Net()
    net(batch()).sum().backward()
    parameters = list(net.parameters())
    assert net.astype(np.float64) is net
    assert [id(p) for p in net.parameters()] == [id(p) for p in parameters]
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {np.dtype(np.float64)}
    dtypes = {name: str(buffer.dtype) for name, buffer in net.named_buffers()}
    assert dtypes == {
        "calls": "int64",
        "features.1.running_mean": "float64",
        "features.1.running_var": "float64",
        "features.1.num_batches_tracked": "int64",
    }


def test_astype_keeps_the_values():
    net = Net()
    before = net.state_dict()
    for name, array in net.astype(np.float64).state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("dtype", [np.int64, bool, complex])
def test_astype_refuses_a_dtype_without_gradients(dtype):
    with pytest.raises(TypeError, match="floating"):
        Net().astype(dtype)


# The tape calls parameters by their path.


def test_the_tape_names_parameters_by_their_path_from_the_model():
    tape = str(cross_entropy(Net()(batch()), [0] * 6).tape())
    for name in ("features.0.weight", "features.1.bias", "head.weight", "scale"):
        assert name in tape


def test_an_error_about_a_parameter_names_its_path():
    model = Sequential(Linear(3, 3), Linear(3, 2))
    loss = model(Tensor(batch(), requires_grad=True)).sum()
    model[1].weight.data += 1
    with pytest.raises(RuntimeError, match=r"'1\.weight' was changed"):
        loss.backward()


# State dicts.

PYTORCH_KEYS = [
    "0.weight",
    "0.bias",
    "1.weight",
    "1.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
]


def test_state_dict_has_the_keys_of_pytorch_in_its_order():
    assert list(small().state_dict()) == PYTORCH_KEYS


def test_state_dict_of_a_module_has_its_own_entries_before_its_childrens():
    keys = list(Net().state_dict())
    assert keys == ["scale", "calls", *(f"features.{key}" for key in PYTORCH_KEYS), "head.weight"]


def test_state_dict_has_the_shapes_and_dtypes_of_pytorch():
    state = small().state_dict()
    assert [state[key].shape for key in PYTORCH_KEYS] == [(4, 3), (4,), (4,), (4,), (4,), (4,), ()]
    assert [str(state[key].dtype) for key in PYTORCH_KEYS] == ["float32"] * 6 + ["int64"]


def test_state_dict_lists_a_shared_module_under_each_path():
    layer = Linear(3, 3, bias=False)
    assert list(Sequential(layer, layer).state_dict()) == ["0.weight", "1.weight"]


def test_state_dict_is_a_copy():
    model = small()
    state = model.state_dict()
    for array in state.values():
        array += 1
    for name, array in model.state_dict().items():
        assert not np.array_equal(array, state[name])


def test_state_dict_does_not_follow_the_model():
    model = small()
    state = model.state_dict()
    before = {name: array.copy() for name, array in state.items()}
    model(batch())
    for p in model.parameters():
        p.data += 1
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_loaded_model_computes_the_same():
    one, two = small(seed=0), small(seed=1)
    one(batch())
    assert two.load_state_dict(one.state_dict()) == ([], [])
    np.testing.assert_array_equal(two.eval()(batch()).data, one.eval()(batch()).data)
    assert two[1].num_batches_tracked == 1


def test_loading_copies_so_that_models_stay_apart():
    one, two = small(seed=0), small(seed=1)
    state = one.state_dict()
    two.load_state_dict(state)
    two[0].weight.data[...] = 0
    two[1].running_mean[...] = 5
    assert np.abs(state["0.weight"]).max() > 0
    assert np.abs(state["1.running_mean"]).max() == 0


def test_loading_takes_lists_and_other_array_likes():
    layer = Linear(2, 1)
    layer.load_state_dict({"weight": [[1, 2]], "bias": [3.0]})
    assert layer([1.0, 1.0]).item() == 6


def test_loading_keeps_dtypes():
    model = small()
    model.load_state_dict(small(seed=1).astype(np.float64).state_dict())
    assert [str(a.dtype) for a in model.state_dict().values()] == ["float32"] * 6 + ["int64"]


def test_an_optimizer_made_before_loading_still_trains_the_model():
    model = Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    model.load_state_dict({"weight": np.ones((2, 3)), "bias": np.zeros(2)})
    model(np.ones((1, 3))).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(model.weight.data, 0.5)
    np.testing.assert_allclose(model.bias.data, -0.5)


def test_loading_between_forward_and_backward_is_noticed():
    model = Sequential(Linear(3, 3), Linear(3, 2))
    loss = model(batch()).sum()
    model.load_state_dict(Sequential(Linear(3, 3), Linear(3, 2)).state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def broken_state():
    """Everything wrong at once: one entry missing, one unexpected, two of another shape, one no number."""
    state = small(seed=1).state_dict()
    del state["0.bias"]
    state["2.weight"] = np.ones(3, np.float32)
    state["0.weight"] = np.ones((4, 5), np.float32)
    state["1.running_mean"] = np.ones(3, np.float32)
    state["1.running_var"] = np.array(["a", "b", "c", "d"])
    return state


def test_a_state_that_does_not_fit_is_refused_with_all_problems_listed():
    with pytest.raises(ValueError) as error:
        small().load_state_dict(broken_state())
    for problem in (
        "Sequential.load_state_dict",
        "missing 0.bias",
        "unexpected 2.weight",
        "0.weight has shape (4, 5), here (4, 3)",
        "1.running_mean has shape (3,), here (4,)",
        "1.running_var has dtype <U1, here float32",
    ):
        assert problem in str(error.value)


@pytest.mark.parametrize("strict", [True, False])
def test_a_state_that_does_not_fit_loads_nothing(strict):
    model = small()
    before = model.state_dict()
    with pytest.raises(ValueError):
        model.load_state_dict(broken_state(), strict=strict)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_strict_false_still_refuses_another_shape_and_lists_only_what_it_refuses():
    with pytest.raises(ValueError, match=r"nothing was loaded.*0\.weight has shape") as error:
        small().load_state_dict(broken_state(), strict=False)
    assert "missing" not in str(error.value)
    assert "unexpected" not in str(error.value)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_strict_is_the_default_and_refuses_missing_and_unexpected_entries(change):
    state = small().state_dict()
    if change == "missing":
        del state["1.running_var"]
    else:
        state["extra"] = np.ones(2)
    with pytest.raises(ValueError, match=change):
        small().load_state_dict(state)


def test_strict_false_loads_what_fits_and_returns_the_rest():
    model, state = small(), small(seed=1).state_dict()
    del state["0.bias"], state["1.running_var"]
    state["extra"] = np.ones(2)
    assert model.load_state_dict(state, strict=False) == (["0.bias", "1.running_var"], ["extra"])
    np.testing.assert_array_equal(model[0].weight.data, state["0.weight"])


def test_a_counter_takes_no_fraction():
    state = small().state_dict()
    state["1.num_batches_tracked"] = np.array(1.5)
    with pytest.raises(ValueError, match="num_batches_tracked has dtype float64"):
        small().load_state_dict(state)


# Sequential and repr.


def test_sequential_applies_its_modules_in_order():
    model = Sequential(Linear(3, 4, rng=0), Tanh(), Linear(4, 2, rng=1))
    x = batch()
    np.testing.assert_array_equal(model(x).data, model[2](model[1](model[0](x))).data)


def test_an_empty_sequential_gives_its_input_back():
    x = Tensor([1.0])
    assert Sequential()(x) is x


def test_sequential_can_be_indexed_counted_and_iterated():
    layers = [Linear(3, 4), ReLU(), Linear(4, 2)]
    model = Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert [model[0], model[1], model[-1]] == layers
    with pytest.raises(IndexError):
        model[3]


def test_more_than_ten_modules_stay_in_order():
    layers = [Linear(1, 1) for _ in range(12)]
    assert list(Sequential(*layers)) == layers


@pytest.mark.parametrize("wrong", [ReLU, np.tanh, None, [Linear(2, 2)], 3])
def test_sequential_names_an_argument_that_is_no_module(wrong):
    with pytest.raises(TypeError, match=r"Sequential takes Modules, and argument 1 is"):
        Sequential(Linear(2, 2), wrong)


def test_repr_is_the_tree_that_pytorch_prints():
    assert repr(Net()) == "\n".join(
        [
            "Net(",
            "  (features): Sequential(",
            "    (0): Linear(in_features=3, out_features=4, bias=True)",
            "    (1): BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
            "    (2): ReLU()",
            "  )",
            "  (head): Linear(in_features=4, out_features=2, bias=False)",
            ")",
        ]
    )


def test_repr_of_an_empty_sequential_is_one_line():
    assert repr(Sequential()) == "Sequential()"


# All of it together.


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.3, momentum=0.9), lambda p: optim.Adam(p, lr=0.02)])
def test_a_model_with_batchnorm_and_dropout_learns_to_separate_two_clouds(make):
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    x = rng.normal(size=(64, 3)) + 3 * labels[:, None]
    model = Sequential(Linear(3, 8, rng=rng), BatchNorm1d(8), ReLU(), Dropout(0.2, rng=rng), Linear(8, 2, rng=rng))
    optimizer = make(model.parameters())
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(model(x), labels).backward()
        optimizer.step()
    with no_grad():
        predicted = model.eval()(x).data.argmax(1)
    assert (predicted == labels).mean() > 0.95


def test_a_parameter_of_a_single_value_is_saved_and_loaded(tmp_path):
    class Scale(Module):
        def __init__(self, value):
            self.factor = Parameter(value)

        def forward(self, x):
            return x * self.factor

    model, other = Scale(0.5), Scale(2.0)
    model.save(tmp_path / "scale.npz")
    other.load(tmp_path / "scale.npz")
    assert other.factor.item() == 0.5
