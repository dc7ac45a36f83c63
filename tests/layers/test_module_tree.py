"""The tree of modules: names that tell where a parameter stands, modules used twice, parents, lists; loading."""

import copy
import gc
import pickle
import tracemalloc
import weakref

import numpy as np
import pytest

from layers import BatchNorm1d, Linear, Module, Parameter, ReLU, Sequential, Sigmoid, Tanh, relu, sigmoid, tanh
from minigrad import Tensor, optim


class Net(Module):
    """A model two levels deep."""

    def __init__(self):
        self.features = Sequential(Linear(3, 3), ReLU())
        self.head = Linear(3, 2)

    def forward(self, x):
        return self.head(self.features(x))


class Scale(Module):
    """Names its parameter itself."""

    def __init__(self):
        self.factor = Parameter([1.0], name="alpha")


def names(model):
    return [parameter.name for parameter in model.parameters()]


def paths(model):
    return [path for path, _ in model.named_parameters()]


def reloaded(model):
    return pickle.loads(pickle.dumps(model))


# Names.


@pytest.mark.parametrize(
    "model", [Net(), Sequential(Linear(2, 2), Linear(2, 2)), Linear(2, 2)], ids=["Net", "two", "one"]
)
def test_a_parameter_is_called_what_named_parameters_calls_it(model):
    assert names(model) == paths(model)


@pytest.mark.parametrize("part", [slice(1, None), slice(None, None, -1), slice(2, 3), slice(0, 0)], ids=str)
def test_taking_a_part_of_a_model_renames_nothing(part):
    model = Sequential(Linear(2, 2), Linear(2, 2), Linear(2, 2))
    kept = model[part]
    assert names(model) == paths(model)
    del model
    gc.collect()
    assert names(kept) == paths(kept)


@pytest.mark.parametrize("part", [slice(1, None), slice(None, None, -1), slice(2, 3), slice(0, 0)], ids=str)
def test_a_part_of_a_model_is_a_model_of_the_same_modules_numbered_from_0(part):
    model = Sequential(Linear(2, 2), ReLU(), Linear(2, 2))
    kept = model[part]
    assert list(kept) == list(model)[part]
    assert [name for name, _ in kept.named_children()] == [str(i) for i in range(len(kept))]


def test_a_layer_keeps_nothing_of_the_models_that_it_stood_in():
    layer = Linear(2, 2)
    Sequential(layer)
    tracemalloc.start()
    try:
        for _ in range(1000):
            Sequential(layer)
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()


def test_of_what_is_no_function_sequential_says_nothing_of_forward():
    with pytest.raises(TypeError, match=r"argument 1 is 3$"):
        Sequential(ReLU(), 3)


def test_a_module_shared_by_two_models_is_named_from_the_first_that_lives():
    shared = Linear(2, 2)
    first, second = Sequential(shared), Sequential(ReLU(), shared)
    assert names(shared) == ["0.weight", "0.bias"]
    del first
    gc.collect()
    assert names(shared) == ["1.weight", "1.bias"]
    assert names(second) == paths(second)


def test_a_module_that_was_taken_out_and_put_elsewhere_is_named_from_there():
    net = Net()
    layer = net.head
    net.head = None
    assert names(layer) == ["weight", "bias"]
    model = Sequential(ReLU(), layer)
    assert names(layer) == paths(model) == ["1.weight", "1.bias"]


def test_an_attribute_that_is_deleted_gives_no_name_any_more():
    net = Net()
    layer = net.features[0]
    del net.features
    gc.collect()
    layer.bias = None
    assert names(layer) == ["weight"]


def test_a_module_added_deep_inside_is_named_from_the_top():
    net = Net()
    net.features.extra = Linear(3, 3)
    assert names(net) == paths(net)


def test_a_shared_parameter_is_named_from_the_first_module_that_holds_it():
    model = Sequential(Linear(2, 2), Linear(2, 2))
    model[1].weight = model[0].weight
    assert model[1].weight.name == "0.weight"
    model[0].weight = None
    assert model[1].weight.name == "1.weight"


def test_a_name_that_was_given_stays():
    model = Sequential(Scale())
    assert names(model) == ["alpha"]
    model[0].factor.name = "beta"
    assert names(Sequential(ReLU(), model)) == ["beta"]
    assert names(copy.deepcopy(model)) == names(reloaded(model)) == ["beta"]


def test_a_parameter_that_stands_nowhere_has_no_name():
    assert Parameter([1.0]).name is None


def test_the_tape_calls_parameters_by_their_last_path_when_the_model_is_gone():
    table = str(Net()(np.ones((1, 3))).sum().tape())
    assert "features.0.weight" in table
    assert "head.bias" in table


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, reloaded], ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("original_lives", [True, False])
def test_a_copy_of_a_model_has_the_same_names(duplicate, original_lives):
    net = Net()
    twin = duplicate(net)
    if not original_lives:
        del net
        gc.collect()
    assert names(twin) == paths(twin)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, reloaded], ids=["deepcopy", "pickle"])
def test_a_copy_of_a_part_is_named_as_what_it_is(duplicate):
    assert names(duplicate(Net().features)) == ["0.weight", "0.bias"]
    assert names(duplicate(Net().head)) == ["weight", "bias"]


def test_what_is_put_into_a_copy_is_named_from_the_copy():
    twin = copy.deepcopy(Net())
    twin.extra = Linear(2, 2)
    assert twin.extra.weight.name == "extra.weight"


def test_names_keep_no_model_alive():
    net = Net()
    weight, gone = net.head.weight, weakref.ref(net)
    gc.disable()
    try:
        assert weight.name == "head.weight"
        del net
        assert gone() is None
    finally:
        gc.enable()
    assert weight.name == "head.weight"


def test_a_module_that_counts_as_false_or_equals_others_is_found_all_the_same():
    class Odd(Module):
        def __init__(self):
            self.layer = Linear(2, 2)

        def __len__(self):
            return 0

        def __eq__(self, other):
            raise AssertionError("compared")

        __hash__ = None

    model = Sequential(Odd(), Odd())
    assert names(model) == paths(model)


# A module used twice, and a child that points to its parent.


class Halve(Module):
    def __init__(self):
        self.value = Parameter([8.0])


def halve(module):
    if isinstance(module, Halve):
        module.value.data /= 2


def nested_twice():
    shared = Halve()
    return Sequential(shared, Sequential(shared, Sequential(shared)))


def test_apply_calls_once_on_each_module_however_often_it_is_used():
    visited = []
    model = nested_twice().apply(visited.append)
    assert visited == [model[0], model[1][1], model[1], model]
    assert model.apply(halve)[0].value.item() == 4


def test_the_state_dict_of_a_module_used_twice_has_it_under_each_path():
    assert list(nested_twice().state_dict()) == ["0.value", "1.0.value", "1.1.0.value"]


def test_a_model_that_uses_its_parts_twice_at_every_level_is_walked_in_no_time():
    model = Halve()
    for _ in range(60):  # 2**60 paths
        model = Sequential(model, model)
    assert len(list(model.modules())) == 61
    assert len(list(model.eval().apply(halve).parameters())) == 1


class Child(Module):
    def __init__(self, parent):
        self.parent = parent
        self.linear = Linear(3, 3)
        self.norm = BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.linear(x))


class Parent(Module):
    def __init__(self):
        self.scale = Parameter([1.0])
        self.child = Child(self)

    def forward(self, x):
        return self.child(x) * self.scale


def grandparent():
    model = Sequential(Parent(), ReLU())
    model[0].child.top = model
    return model


def itself():
    module = Linear(3, 3)
    module.me = module
    return module


CYCLES = pytest.mark.parametrize("make", [Parent, grandparent, itself])


@CYCLES
def test_a_child_that_points_to_its_parent_is_walked_once(make):
    model = make()
    assert len(list(model.modules())) == len({id(m) for m in model.modules()}) <= 6
    assert len(list(model.parameters())) == len({id(p) for p in model.parameters()})
    visited = []
    model.apply(visited.append)
    assert visited[-1] is model
    assert {id(m) for m in visited} == {id(m) for m in model.modules()}
    assert not any(m.training for m in model.eval().modules())
    assert {p.dtype for p in model.astype(np.float64).parameters()} == {np.dtype(np.float64)}


@CYCLES
def test_the_state_of_a_model_with_a_child_that_points_to_its_parent_can_be_loaded(make):
    model, other = make(), make()
    assert list(model.state_dict()) == list(dict.fromkeys(model.state_dict()))
    other.load_state_dict(model.state_dict())
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name])


def test_the_state_dict_has_no_detour_through_the_parent():
    assert [key for key in Parent().state_dict() if "parent" in key] == []


@CYCLES
def test_repr_shows_the_way_back_as_dots(make):
    assert repr(make()).count("...") == {Parent: 1, grandparent: 2, itself: 1}[make]


@CYCLES
@pytest.mark.parametrize("duplicate", [copy.deepcopy, reloaded], ids=["deepcopy", "pickle"])
def test_a_copy_of_a_model_with_a_child_that_points_to_its_parent_computes_the_same(make, duplicate):
    model, x = make(), np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(duplicate(model).eval()(x).data, model.eval()(x).data)


@CYCLES
def test_parameters_have_names_where_a_child_points_to_its_parent(make):
    assert all(names(make()))


# Modules where nobody finds them.

LISTERS = {
    "parameters": lambda m: list(m.parameters()),
    "named_parameters": lambda m: list(m.named_parameters()),
    "buffers": lambda m: list(m.buffers()),
    "modules": lambda m: list(m.modules()),
    "children": lambda m: list(m.children()),
    "train": lambda m: m.train(),
    "eval": lambda m: m.eval(),
    "apply": lambda m: m.apply(print),
    "zero_grad": lambda m: m.zero_grad(),
    "requires_grad_": lambda m: m.requires_grad_(False),
    "astype": lambda m: m.astype(np.float64),
    "state_dict": lambda m: m.state_dict(),
    "load_state_dict": lambda m: m.load_state_dict({}),
    "an optimizer": lambda m: optim.SGD(m.parameters(), 0.1),
}


@pytest.mark.parametrize("ask", LISTERS)
@pytest.mark.parametrize("below", [False, True], ids=["in the module", "below it"])
def test_a_module_appended_to_a_list_later_is_refused_by_whatever_would_not_find_it(ask, below):
    net = Net()
    net.blocks = []
    net.blocks.append(Linear(2, 2))
    with pytest.raises(TypeError, match=r"Net\.blocks: modules and parameters inside a list would not be found"):
        LISTERS[ask](Sequential(net) if below and ask != "children" else net)


NESTED = {
    "list in a list": lambda item: [[item]],
    "tuple in a dict": lambda item: {"a": (1, item)},
    "dict in a list": lambda item: ["a", {"b": item}],
    "deep": lambda item: [([{"a": [item]}],)],
    "set": lambda item: {item},
    "after many numbers": lambda item: [0.5] * 1000 + [item],
}


@pytest.mark.parametrize("nest", NESTED)
@pytest.mark.parametrize("item", [Linear(2, 2), Parameter([1.0])], ids=["module", "parameter"])
def test_modules_and_parameters_at_any_depth_of_containers_are_refused_at_once(item, nest):
    net = Net()
    with pytest.raises(TypeError, match=r"Net\.blocks.*would not be found"):
        net.blocks = NESTED[nest](item)
    assert not hasattr(net, "blocks")


def test_a_list_that_holds_itself_is_an_ordinary_attribute():
    net, endless = Net(), [1.0]
    endless.append(endless)
    net.endless = endless
    assert len(list(net.parameters())) == 4


def test_repr_shows_a_model_that_holds_modules_in_a_list():
    net = Net()
    net.blocks = []
    net.blocks.append(Linear(2, 2))
    assert "(head): Linear" in repr(net)
    assert net.head.weight.name == "head.weight"


# Loading: all or nothing.


def small():
    return Sequential(Linear(3, 4), BatchNorm1d(4))


@pytest.mark.parametrize("key", ["0.weight", "0.bias", "1.running_var", "1.num_batches_tracked"])
def test_a_read_only_array_is_named_and_nothing_is_loaded(key):
    model, state = small(), small().state_dict()
    before = model.state_dict()
    array = {**{k: p.data for k, p in model.named_parameters()}, **dict(model.named_buffers())}[key]
    array.flags.writeable = False
    with pytest.raises(ValueError, match=rf"nothing was loaded: {key} is read-only"):
        model.load_state_dict({name: value + 1 for name, value in state.items()})
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_value_that_overflows_loads_nothing_if_warnings_are_errors():
    model, state = small(), small().astype(np.float64).state_dict()
    before = model.state_dict()
    state["1.running_var"][...] = 1e300
    with pytest.raises(RuntimeWarning, match="overflow"):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_buffer_that_became_a_plain_number_is_named_and_nothing_is_loaded():
    model = small()
    before = model.state_dict()
    model[1].num_batches_tracked = 3
    with pytest.raises(ValueError, match=r"1\.num_batches_tracked is of type int here, not an array"):
        model.load_state_dict({name: value + 1 for name, value in before.items()})
    np.testing.assert_array_equal(model[0].weight.data, before["0.weight"])


def test_a_state_made_of_the_models_own_arrays_is_read_before_it_is_written():
    model = Sequential(Linear(2, 2, bias=False), Linear(2, 2, bias=False))
    first, second = (np.array(p.data) for p in model.parameters())
    model.load_state_dict({"0.weight": model[1].weight.data, "1.weight": model[0].weight.data})
    np.testing.assert_array_equal(model[0].weight.data, second)
    np.testing.assert_array_equal(model[1].weight.data, first)


# What beginners give to Sequential.


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (relu, r"use the module, ReLU\(\)"),
        (sigmoid, r"use the module, Sigmoid\(\)"),
        (tanh, r"use the module, Tanh\(\)"),
        (np.tanh, r"use the module, Tanh\(\)"),
        (ReLU, r"give an object, ReLU\(\.\.\.\), not the class"),
        (lambda x: x, "call it in the forward of a Module of your own"),
        ([Linear(2, 2), ReLU()], r"Sequential\(\*layers\)"),
        ((Linear(2, 2), ReLU()), r"Sequential\(\*layers\)"),
    ],
)
def test_sequential_says_what_to_give_instead(wrong, hint):
    with pytest.raises(TypeError, match=f"(?s)argument 0 is .*: .*{hint}$"):
        Sequential(wrong)


def test_the_modules_that_are_suggested_exist_and_agree():
    x = Tensor([-1.0, 2.0])
    for function, module in ((relu, ReLU()), (sigmoid, Sigmoid()), (tanh, Tanh())):
        np.testing.assert_array_equal(module(x).data, function(x).data)


def test_a_buffer_that_is_registered_again_is_replaced_and_listed_once():
    net = Net()
    net.register_buffer("calls", np.zeros(2))
    net.register_buffer("calls", np.ones(3))
    assert [(name, array.shape) for name, array in net.named_buffers()] == [("calls", (3,))]


def test_a_buffer_that_was_deleted_or_is_none_is_not_listed():
    net = Net()
    net.register_buffer("calls", np.zeros(2))
    net.register_buffer("nothing", None)
    del net.calls
    assert list(net.named_buffers()) == []
    assert "calls" not in net.state_dict()
