"""SGD and Adam against their formulas, written here once more as plain loops over arrays."""

import numpy as np
import pytest

from minigrad import Tensor
from minigrad.optim import SGD, Adam


def leaf(values, dtype=np.float64, name=None):
    return Tensor(np.array(values, dtype), requires_grad=True, name=name)


def gradients(shape, steps=7):
    return np.random.default_rng(0).normal(size=(steps, *shape))


def run(optimizer, p, all_gradients):
    """The parameter after each step."""
    path = []
    for g in all_gradients:
        p.grad = np.array(g, p.dtype)
        optimizer.step()
        path.append(p.data.copy())
    return np.array(path)


def sgd_by_formula(p, all_gradients, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    path, velocity = [], None
    for g in all_gradients:
        g = g + weight_decay * p
        velocity = g if velocity is None else momentum * velocity + g
        p = p - lr * (g + momentum * velocity if nesterov else velocity)
        path.append(p)
    return np.array(path)


def adam_by_formula(p, all_gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    path, m, v = [], np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(all_gradients, 1):
        g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
        path.append(p)
    return np.array(path)


START = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"weight_decay": 0.1},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "weight_decay": 0.01, "nesterov": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("lr", [0.1, 0.0, 1])
def test_sgd_follows_its_formula(settings, lr):
    p = leaf(START)
    path = run(SGD([p], lr, **settings), p, gradients(START.shape))
    np.testing.assert_allclose(path, sgd_by_formula(START, gradients(START.shape), lr, **settings), rtol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 0.1},
        {"lr": 0.1, "betas": (0.5, 0.9)},
        {"lr": 0.1, "betas": (0.0, 0.0)},
        {"lr": 0.1, "eps": 0.1},
        {"lr": 0.1, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_adam_follows_its_formula(settings):
    p = leaf(START)
    path = run(Adam([p], **settings), p, gradients(START.shape))
    np.testing.assert_allclose(path, adam_by_formula(START, gradients(START.shape), **settings), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_first_step_of_adam_is_lr_against_the_sign_of_the_gradient(scale):
    p = leaf([1.0, 1.0])
    p.grad = scale * np.array([2.0, -3.0])
    Adam([p], lr=0.25).step()
    np.testing.assert_allclose(p.data, [0.75, 1.25], rtol=1e-2 if scale < 1 else 1e-7)


EVERY_OPTIMIZER = {
    "SGD": lambda params: SGD(params, lr=0.1),
    "momentum": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: Adam(params, lr=0.1, weight_decay=0.01),
}

every_optimizer = pytest.mark.parametrize("make", EVERY_OPTIMIZER.values(), ids=EVERY_OPTIMIZER)


@every_optimizer
def test_training_reaches_the_minimum(make):
    p = leaf([5.0, -3.0])
    optimizer = make([p])
    for _ in range(500):
        optimizer.zero_grad()
        ((p - [1.0, 2.0]) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(p.data, [1, 2], atol=0.05)


@every_optimizer
def test_each_parameter_is_updated_as_if_it_were_alone(make):
    together, alone = [leaf([1.0, 2.0]), leaf(3.0)], [leaf([1.0, 2.0]), leaf(3.0)]
    optimizers = [make(together), make(alone[:1]), make(alone[1:])]
    for _ in range(3):
        for p in together + alone:
            p.grad = np.array(p.data)
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


@every_optimizer
def test_the_array_is_updated_in_place(make):
    array = np.array([1.0, 2.0])
    p = Tensor(array, requires_grad=True)
    p.grad = np.array([1.0, 1.0])
    make([p]).step()
    assert p.data is array
    assert (array < [1, 2]).all()


@every_optimizer
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_parameters_may_have_any_shape(make, shape):
    p = leaf(np.ones(shape))
    optimizer = make([p])
    for _ in range(2):
        p.grad = np.ones(shape)
        optimizer.step()
    assert p.shape == shape
    assert (p.data < 1).all()


@every_optimizer
def test_parameters_without_a_gradient_are_skipped(make):
    p, frozen = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    optimizer = make([frozen, p])
    p.grad = np.array([1.0, 1.0])
    optimizer.step()
    np.testing.assert_array_equal(frozen.data, [3, 4])
    assert (p.data != [1, 2]).all()


@every_optimizer
def test_a_parameter_that_was_skipped_starts_as_if_new(make):
    late, new = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    other = leaf(1.0)
    optimizer = make([late, other])
    for _ in range(3):
        other.grad = np.array(1.0)
        optimizer.step()
    run(optimizer, late, gradients((2,)))
    run(make([new]), new, gradients((2,)))
    np.testing.assert_array_equal(late.data, new.data)


@every_optimizer
def test_zero_grad_forgets_the_gradients_of_all_parameters(make):
    params = [leaf([1.0]), leaf([2.0])]
    for p in params:
        p.grad = np.array([1.0])
    make(params).zero_grad()
    assert [p.grad for p in params] == [None, None]


@every_optimizer
def test_step_leaves_the_gradient_as_it_is(make):
    p = leaf([1.0, 2.0])
    optimizer = make([p])
    p.grad = gradient = np.array([3.0, 4.0])
    for _ in range(3):
        optimizer.step()
    assert p.grad is gradient
    np.testing.assert_array_equal(gradient, [3, 4])


@every_optimizer
def test_nothing_is_remembered_of_a_gradient_that_is_edited_later(make):
    edited, replaced = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    optimizers = make([edited]), make([replaced])
    edited.grad = np.zeros(2)
    for g in gradients((2,)):
        edited.grad[...] = g
        replaced.grad = g.copy()
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_array_equal(edited.data, replaced.data)


@every_optimizer
def test_float32_parameters_stay_float32(make):
    p = leaf([1.0, 2.0], np.float32)
    optimizer = make([p])
    run(optimizer, p, gradients((2,)))
    assert p.dtype == np.float32
    arrays = [value for value in optimizer.state_dict().values() if getattr(value, "shape", None) == (2,)]
    assert all(array.dtype == np.float32 for array in arrays)


@every_optimizer
def test_the_learning_rate_can_be_changed_between_steps(make):
    p = leaf([1.0, 2.0])
    optimizer = make([p])
    p.grad = np.array([1.0, 1.0])
    optimizer.step()
    before = p.data.copy()
    optimizer.lr = 0.0
    optimizer.step()
    np.testing.assert_array_equal(p.data, before)


def test_parameters_may_come_from_a_generator():
    params = [leaf([1.0]), leaf([2.0])]
    optimizer = SGD((p for p in params), lr=1)
    for p in params:
        p.grad = np.array([1.0])
    optimizer.step()
    assert [p.item() for p in params] == [0, 1]


# state_dict and load_state_dict.


def trained(make, steps=3):
    """Two parameters and their optimizer after some steps; the second parameter has seen fewer."""
    params = [leaf([1.0, 2.0]), leaf(3.0)]
    optimizer = make(params)
    for step in range(steps):
        params[0].grad = np.array([0.3, -0.7]) * (step + 1)
        params[1].grad = None if step == 0 else np.array(0.1)
        optimizer.step()
    return params, optimizer


def train_on(params, optimizer):
    for _ in range(3):
        for p in params:
            p.grad = 0.1 * p.data
        optimizer.step()
    return [p.data for p in params]


@every_optimizer
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_loaded_optimizer_goes_on_bit_for_bit(make, steps):
    params, optimizer = trained(make, steps)
    copies = [leaf(p.data) for p in params]
    resumed = make(copies)
    resumed.load_state_dict(optimizer.state_dict())
    for a, b in zip(train_on(params, optimizer), train_on(copies, resumed), strict=True):
        np.testing.assert_array_equal(a, b)


@every_optimizer
def test_the_state_survives_a_file_read_without_pickle(make, tmp_path):
    params, optimizer = trained(make)
    np.savez(tmp_path / "state.npz", **optimizer.state_dict())
    copies = [leaf(p.data) for p in params]
    resumed = make(copies)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        resumed.load_state_dict(state)
    for a, b in zip(train_on(params, optimizer), train_on(copies, resumed), strict=True):
        np.testing.assert_array_equal(a, b)


@every_optimizer
def test_a_state_is_a_copy_that_later_steps_do_not_change(make):
    params, optimizer = trained(make)
    state = optimizer.state_dict()
    before = {key: np.array(value) for key, value in state.items()}
    train_on(params, optimizer)
    assert state.keys() == before.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(value, before[key])


@every_optimizer
def test_a_loaded_state_is_copied(make):
    params, optimizer = trained(make)
    state = optimizer.state_dict()
    before = {key: np.array(value) for key, value in state.items()}
    optimizer.load_state_dict(state)
    train_on(params, optimizer)
    for key, value in state.items():
        np.testing.assert_array_equal(value, before[key])


def test_loading_takes_over_the_settings():
    source = SGD([leaf([1.0])], lr=0.5, momentum=0.9, weight_decay=0.01, nesterov=True)
    target = SGD([leaf([1.0])], lr=0.1)
    target.load_state_dict(source.state_dict())
    assert (target.lr, target.momentum, target.weight_decay, target.nesterov) == (0.5, 0.9, 0.01, True)


def test_loading_fractions_into_settings_that_were_given_as_integers_keeps_them():
    source = SGD([leaf([1.0])], lr=0.5, momentum=0.9)
    target = SGD([leaf([1.0])], lr=1, momentum=0)
    target.load_state_dict(source.state_dict())
    assert (target.lr, target.momentum) == (0.5, 0.9)


def test_loading_forgets_what_the_state_does_not_have():
    make = EVERY_OPTIMIZER["momentum"]
    fresh = make([leaf([1.0, 2.0]), leaf(3.0)])
    params, optimizer = trained(make)
    optimizer.load_state_dict(fresh.state_dict())
    copies = [leaf(p.data) for p in params]
    for a, b in zip(train_on(params, optimizer), train_on(copies, make(copies)), strict=True):
        np.testing.assert_array_equal(a, b)


def without(key):
    def spoil(state):
        del state[key]

    return spoil


def changed_to(key, value):
    def spoil(state):
        state[key] = value

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("SGD", without("lr"), r"missing.*lr"),
        ("momentum", without("momentum"), r"missing.*momentum"),
        ("momentum", changed_to("velocity.2", np.zeros(2)), r"unexpected.*velocity\.2"),
        ("momentum", changed_to("velocity.0", np.zeros(3)), r"velocity\.0.*\(3,\).*\(2,\)"),
        ("momentum", changed_to("velocity.1", np.zeros(1)), r"velocity\.1.*\(1,\).*\(\)"),
        ("momentum", changed_to("m.0", np.zeros(2)), r"unexpected.*m\.0"),
        ("Adam", without("beta1"), r"missing.*beta1"),
        ("Adam", without("t"), r"missing.*t"),
        ("Adam", without("m.1"), r"missing.*m\.1"),
        ("Adam", without("v.0"), r"missing.*v\.0"),
        ("Adam", changed_to("t", [3]), "t needs"),
        ("Adam", changed_to("t", 3), "t needs"),
        ("Adam", changed_to("v.1", np.zeros((1, 1))), r"v\.1"),
        ("Adam", changed_to("velocity.0", np.zeros(2)), r"unexpected.*velocity\.0"),
        ("Adam", changed_to("extra", 1), r"unexpected.*extra"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(name, spoil, message):
    _, optimizer = trained(EVERY_OPTIMIZER[name])
    before = optimizer.state_dict()
    spoiled = {key: np.array(value) * 2 for key, value in before.items()}
    spoil(spoiled)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(spoiled)
    after = optimizer.state_dict()
    assert after.keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


# What the constructors refuse.

both = pytest.mark.parametrize("make", [lambda params: SGD(params, lr=0.1), Adam], ids=["SGD", "Adam"])


@both
def test_no_parameters_are_refused(make):
    with pytest.raises(ValueError, match="no parameters"):
        make([])


@both
def test_a_generator_that_is_used_up_is_refused(make):
    params = iter([leaf([1.0])])
    make(params)
    with pytest.raises(ValueError, match="no parameters"):
        make(params)


@both
def test_a_parameter_given_twice_is_refused(make):
    p = leaf([1.0])
    with pytest.raises(ValueError, match="twice"):
        make([p, leaf([1.0]), p])


@both
def test_equal_parameters_are_not_one_parameter_twice(make):
    make([leaf([1.0]), leaf([1.0])])


@both
@pytest.mark.parametrize(
    "params", [[np.ones(2)], [leaf([1.0]), 3.0], {"w": leaf([1.0])}], ids=["array", "float", "dict"]
)
def test_parameters_that_are_no_tensors_are_refused(make, params):
    with pytest.raises(TypeError, match="Tensors"):
        make(params)


@both
def test_a_single_tensor_in_place_of_a_list_is_refused(make):
    with pytest.raises(TypeError, match="list"):
        make(leaf([1.0, 2.0]))


@both
def test_a_computed_tensor_is_refused(make):
    y = leaf([1.0]) * 2
    y.name = "y"
    with pytest.raises(ValueError, match=r"'y'.*leaves"):
        make([y])


@pytest.mark.parametrize("bad", [-0.1, float("nan")])
@pytest.mark.parametrize("setting", ["lr", "momentum", "weight_decay"])
def test_sgd_refuses_negative_settings(setting, bad):
    with pytest.raises(ValueError, match=rf"SGD.*{setting}.*{bad}"):
        SGD([leaf([1.0])], **{"lr": 0.1, setting: bad})


@pytest.mark.parametrize("bad", [-0.1, float("nan")])
@pytest.mark.parametrize("setting", ["lr", "eps", "weight_decay"])
def test_adam_refuses_negative_settings(setting, bad):
    with pytest.raises(ValueError, match=rf"Adam.*{setting}.*{bad}"):
        Adam([leaf([1.0])], **{setting: bad})


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, -0.1), (0.9, 2.0), (float("nan"), 0.9)])
def test_adam_refuses_betas_outside_0_to_1(betas):
    with pytest.raises(ValueError, match=r"Adam.*beta"):
        Adam([leaf([1.0])], betas=betas)


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match=r"nesterov.*momentum"):
        SGD([leaf([1.0])], lr=0.1, nesterov=True)


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1), Adam], ids=["SGD", "Adam"])
def test_a_gradient_of_another_shape_is_refused_before_anything_changes(make):
    a, b = Tensor([1.0], requires_grad=True), Tensor([1.0, 2.0], requires_grad=True, name="b")
    a.grad, b.grad = np.ones(1), np.ones(3)
    with pytest.raises(ValueError, match=r"'b'.*\(3,\)"):
        make([a, b]).step()
    assert a.item() == 1


def test_loading_settings_that_could_not_be_given_is_refused():
    p = Tensor([1.0], requires_grad=True)
    optimizer = SGD([p], 0.1)
    with pytest.raises(ValueError, match="lr must be 0 or more"):
        optimizer.load_state_dict({**optimizer.state_dict(), "lr": -5})
    assert optimizer.lr == 0.1


# Gradients near the ends of a dtype's range, against the path of one parameter under torch.optim.Adam (2.13.0, lr=0.1).


@pytest.mark.parametrize(
    ("dtype", "betas", "gs", "path"),
    [
        ("float32", (0.9, 0.999), [1, 1e30, 1, 1], [0.900000036, 0.900000036, 0.900000036, 0.900000036]),
        ("float32", (0.9, 0.999), [1, 5e19, 1, 1], [0.900000036, 0.825586379, 0.76806438, 0.720945895]),
        ("float32", (0.9, 0.999), [1e-23, 1e-23, 1e-23, 1e-23], [1.0, 1.0, 1.0, 1.0]),
        ("float32", (0.9, 0.999), [1e10, 1, 1, 1], [0.899999976, 0.832994163, 0.781198442, 0.738770545]),
        ("float32", (0.9, 0.999), [1, np.inf, 1, 1], [0.900000036, np.nan, np.nan, np.nan]),
        ("float32", (0.0, 0.0), [1e10, 1, 1, 1], [0.899999976, 0.799999952, 0.699999928, 0.599999905]),
        ("float32", (0.0, 0.0), [1, 1e30, 1, 1], [0.899999976, 0.899999976, np.nan, np.nan]),
        ("float32", (0.0, 0.999), [1, 1e30, 1, 1], [0.900000036, 0.900000036, 0.900000036, 0.900000036]),
        ("float32", (0.9, 0.0), [1e10, 1, 1, 1], [0.899999976, -473684224.0, -772577216.0, -984557440.0]),
        ("float64", (0.0, 0.0), [1, 1e30, 1, 1], [0.900000001, 0.800000001, 0.700000002, 0.600000003]),
        ("float64", (0.9, 0.0), [1, 1e30, 1, 1], [0.900000001, 0.847368422, -3.32103318e28, -5.67636901e28]),
        ("float64", (0.0, 0.999), [1, 1e30, 1, 1], [0.900000001, 0.758614005, 0.758614005, 0.758614005]),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_adam_goes_through_extreme_gradients_as_pytorch_does(dtype, betas, gs, path):
    p = leaf([1.0], dtype)
    actual = run(Adam([p], lr=0.1, betas=betas), p, np.array(gs)[:, None])
    np.testing.assert_allclose(actual[:, 0], path, rtol=2e-6 if dtype == "float32" else 1e-8)


def test_the_moments_of_adam_are_those_of_its_formula_to_the_last_bit():
    p = leaf([1.0, 1.0])
    optimizer = Adam([p], betas=(0.9, 0.99))
    m = v = np.zeros(2)
    for g in gradients((2,)):
        p.grad = g
        optimizer.step()
        m, v = 0.9 * m + (1 - 0.9) * g, 0.99 * v + (1 - 0.99) * g * g
        np.testing.assert_array_equal(optimizer.m[0], m)
        np.testing.assert_array_equal(optimizer.v[0], v)


# A step is made for all parameters or for none.


def state_of(params, optimizer):
    return {**optimizer.state_dict(), **{f"p.{i}": p.data.copy() for i, p in enumerate(params)}}


def assert_same_state(after, before):
    assert after.keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


class OtherArray:
    shape = (2,)


@every_optimizer
@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (np.ones(3), ValueError, r"'second'.*\(3,\).*\(2,\)"),
        (np.ones((1, 2)), ValueError, r"\(1, 2\)"),
        (1.0, TypeError, r"'second'.*floating array.*float"),
        ([1.0, 1.0], TypeError, "list"),
        (np.ones(2, int), TypeError, "int64"),
        (np.ones(2, complex), TypeError, "complex128"),
        (np.array([1.0, None]), TypeError, "object"),
        (np.array(["a", "b"]), TypeError, "<U1"),
        (OtherArray(), TypeError, "OtherArray"),
        (Tensor([1.0, 1.0]), TypeError, r"'second' is a Tensor.*\.data"),
    ],
    ids=repr,
)
def test_a_gradient_that_is_no_array_of_the_parameters_shape_changes_nothing(make, gradient, error, message):
    params = [leaf([1.0, 2.0]), leaf([3.0, 4.0], name="second")]
    optimizer = make(params)
    for g in (np.ones(2), gradient):
        params[0].grad, params[1].grad = np.ones(2), g
        before = state_of(params, optimizer)
        if g is gradient:
            with pytest.raises(error, match=message):
                optimizer.step()
            assert_same_state(state_of(params, optimizer), before)
        else:
            optimizer.step()


@every_optimizer
def test_a_read_only_parameter_is_refused_before_anything_changes(make):
    params = [leaf([1.0, 2.0]), leaf([3.0, 4.0], name="second")]
    params[1].data.flags.writeable = False
    optimizer = make(params)
    for p in params:
        p.grad = np.ones(2)
    before = state_of(params, optimizer)
    with pytest.raises(ValueError, match=r"'second' is read-only"):
        optimizer.step()
    assert_same_state(state_of(params, optimizer), before)


@every_optimizer
@pytest.mark.parametrize("how", ["raise", "a warning that is an error"])
def test_an_update_that_overflows_changes_nothing(make, how):
    params = [leaf([1.0, 2.0]), leaf([3.0, 4.0])]
    optimizer = make(params)
    optimizer.lr = 100.0
    params[0].grad, params[1].grad = np.ones(2), np.array([1.0, 1.7e308])
    before = state_of(params, optimizer)
    with np.errstate(all="raise" if how == "raise" else "warn"), pytest.raises((FloatingPointError, RuntimeWarning)):
        optimizer.step()
    assert_same_state(state_of(params, optimizer), before)


def test_a_parameter_that_overflows_changes_nothing_where_numpy_raises():
    params = [leaf([1.0]), leaf([1.7e308])]
    params[0].grad, params[1].grad = np.ones(1), np.array([-1e308])
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        SGD(params, lr=1).step()
    assert [p.item() for p in params] == [1, 1.7e308]


def test_a_parameter_that_overflows_does_not_stop_the_step_half_way():
    params = [leaf([1.7e308]), leaf([1.0])]
    params[0].grad, params[1].grad = np.array([-1e308]), np.ones(1)
    SGD(params, lr=1).step()
    assert [p.item() for p in params] == [np.inf, 0]


@every_optimizer
def test_a_refused_step_leaves_the_tape_as_good_as_it_was(make):
    params = [leaf([1.0, 2.0]), leaf([3.0, 4.0])]
    loss = (params[0] * params[0]).sum()
    params[0].grad, params[1].grad = np.ones(2), np.ones(3)
    with pytest.raises(ValueError, match="shape"):
        make(params).step()
    params[0].grad = None
    loss.backward()
    np.testing.assert_array_equal(params[0].grad, [2, 4])


def test_two_parameters_on_the_same_memory_both_count():
    array = np.array([1.0, 2.0])
    tied, apart = [Tensor(array, requires_grad=True) for _ in range(2)], [leaf([1.0, 2.0]) for _ in range(2)]
    for params in (tied, apart):
        for p in params:
            p.grad = np.ones(2)
        SGD(params, lr=0.25).step()
    np.testing.assert_array_equal(array, [0.5, 1.5])
    np.testing.assert_array_equal(apart[0].data, [0.75, 1.75])


# What is accepted.


@every_optimizer
@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", ">f8", "float64", "longdouble"])
def test_gradients_and_moments_take_the_parameters_dtype(make, dtype):
    p, same = leaf([1.0, 2.0], np.float32), leaf([1.0, 2.0], np.float32)
    optimizers = make([p]), make([same])
    for g in (np.array([0.25, -0.5]), np.array([1.0, 2.0])):
        p.grad, same.grad = g.astype(dtype), g.astype(np.float32)
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_array_equal(p.data, same.data)
    assert_same_state(optimizers[0].state_dict(), optimizers[1].state_dict())
    for key, value in optimizers[0].state_dict().items():
        assert np.shape(value) != (2,) or value.dtype == np.float32, key


@every_optimizer
def test_the_gradient_of_a_single_number_may_be_a_numpy_scalar(make):
    p = leaf(1.0)
    optimizer = make([p])
    for _ in range(3):
        p.grad = np.float64(2.0) * np.array(0.5)
        assert not isinstance(p.grad, np.ndarray)
        optimizer.step()
    assert p.data.shape == ()
    assert p.item() < 1


@every_optimizer
@pytest.mark.parametrize("number", [np.float64, np.float32, np.array])
def test_settings_may_be_numpys_numbers_and_float32_stays(make, number):
    p, same = leaf([1.0, 2.0], np.float32), leaf([1.0, 2.0], np.float32)
    optimizers = make([p]), make([same])
    for name in optimizers[0].settings:
        if name != "nesterov":
            setattr(optimizers[1], name, float(number(getattr(optimizers[0], name))))
            setattr(optimizers[0], name, number(getattr(optimizers[0], name)))
    for _ in range(3):
        p.grad, same.grad = np.ones(2, np.float32), np.ones(2, np.float32)
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_array_equal(p.data, same.data)
    assert_same_state(optimizers[0].state_dict(), optimizers[1].state_dict())
    assert all(value.dtype == np.float32 for value in optimizers[0].state_dict().values() if np.shape(value) == (2,))


# step() before backward().


@every_optimizer
def test_a_step_without_any_gradient_says_that_backward_was_forgotten(make):
    with pytest.raises(RuntimeError, match=r"no parameter has a gradient.*backward"):
        make([leaf([1.0]), leaf([2.0])]).step()


@every_optimizer
def test_a_step_after_zero_grad_says_so_too(make):
    p = leaf([1.0])
    optimizer = make([p])
    (p * p).sum().backward()
    optimizer.zero_grad()
    with pytest.raises(RuntimeError, match="backward"):
        optimizer.step()


@every_optimizer
def test_a_step_with_all_parameters_frozen_does_nothing(make):
    p = leaf([1.0])
    p.requires_grad = False
    make([p]).step()
    assert p.item() == 1


# What is given in place of parameters.


class Net:
    """As much of a layers.Module as an optimizer sees."""

    def __init__(self):
        self.weight = leaf([1.0], name="weight")

    def __call__(self, x):
        return x * self.weight

    def parameters(self):
        return iter([self.weight])


@both
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (Net(), r"a Net in place of its parameters.*net\.parameters\(\)"),
        (Net().parameters, r"function.*call it"),
        (Net()(np.ones(1)), r"result in place of parameters.*net\.parameters\(\)"),
        ([Net()], r"takes Tensors, got Net.*\.parameters\(\)"),
        (None, r"NoneType in place of parameters"),
        (0.1, r"float in place of parameters"),
        (Net().weight, r"list, \[weight\]"),
    ],
)
def test_what_is_no_list_of_parameters_is_met_with_what_to_write(make, params, message):
    with pytest.raises(TypeError, match=message):
        make(params)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed_to("t", [1.5, 2.0]), "t needs a count"),
        (changed_to("t", [-1, 2]), "t needs a count"),
        (changed_to("t", ["a", "b"]), "t needs a count"),
        (changed_to("lr", np.nan), "lr must be"),
        (changed_to("beta2", 1.0), "betas"),
        (changed_to("eps", "small"), "small"),
        (changed_to("m.0", np.array(["a", "b"])), "could not convert"),
        (changed_to("v.1", np.zeros(2)), r"v\.1"),
    ],
)
def test_a_spoilt_number_in_a_state_changes_nothing(spoil, message):
    params, optimizer = trained(EVERY_OPTIMIZER["Adam"])
    before = state_of(params, optimizer)
    spoilt = optimizer.state_dict()
    spoil(spoilt)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(spoilt)
    assert_same_state(state_of(params, optimizer), before)


def test_a_setting_changed_to_an_integer_is_loaded_as_the_fraction_it_was():
    source, target = Adam([leaf([1.0])], lr=0.5), Adam([leaf([1.0])])
    target.lr = 1
    target.load_state_dict(source.state_dict())
    assert target.lr == 0.5
