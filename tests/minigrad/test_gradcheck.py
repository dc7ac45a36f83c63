"""gradcheck: it must pass what is right, find what is wrong, say where, and leave no trace."""

import re

import numpy as np
import pytest

import minigrad as mg
from layers import BatchNorm1d
from minigrad import GradcheckError, Tensor, gradcheck, gradcheck_module, record


def leaf(values, name=None):
    return Tensor(np.array(values, dtype=float), requires_grad=True, name=name)


def square_with_rule(rule):
    """x**2 with a derivative of your own: ``rule(g, a)``."""

    def square(x):
        a = np.array(x.data)
        return record("square", a * a, (x,), (lambda g: rule(g, a),), "")

    return square


right = square_with_rule(lambda g, a: 2 * a * g)
doubled = square_with_rule(lambda g, a: 4 * a * g)
wrong = square_with_rule(lambda g, a: g * (2 * a + (a > 2)))  # off by 1 where x > 2


# What passes.


@pytest.mark.parametrize(
    "x", [leaf(1.5), leaf([1.0, 2.0]), leaf([[1.0], [3.0]]), leaf(np.ones((0, 2)))], ids=lambda x: str(x.shape)
)
def test_a_right_rule_passes(x):
    assert gradcheck(right, x) is True


@pytest.mark.parametrize("inputs", [leaf([1.0, 2.0]), [leaf([1.0, 2.0])], (leaf([1.0, 2.0]),)])
def test_inputs_may_be_one_tensor_or_a_sequence(inputs):
    assert gradcheck(right, inputs)


def test_several_inputs_and_outputs_are_all_checked():
    assert gradcheck(lambda x, y: (x * y, x.sum(), y.exp()), [leaf([1.0, 2.0]), leaf([[3.0], [4.0]])])


def test_inputs_that_require_no_gradient_are_passed_on():
    assert gradcheck(lambda x, y, flag: x * y * flag, [leaf([1.0, 2.0]), Tensor([3.0, 4.0]), 5])


def test_constants_among_the_inputs_may_have_any_dtype():
    assert gradcheck(lambda x, y: x * y, [leaf([1.0, 2.0]), Tensor([3.0, 4.0], dtype=np.float32)])


def test_an_output_that_does_not_depend_on_the_input_has_gradient_0():
    assert gradcheck(lambda x, y: (x * 2, Tensor([1.0]), y * 3), [leaf([1.0, 2.0]), leaf(3.0)])


def test_one_tensor_may_be_two_inputs():
    x = leaf([1.0, 2.0])
    assert gradcheck(lambda a, b: a * b, [x, x])


def test_fn_may_close_over_the_tensor():
    x = leaf([1.0, 2.0])
    assert gradcheck(lambda _: x * x, x)
    assert gradcheck(lambda a: x * a, x)


def test_fn_may_return_a_view_of_its_input():
    assert gradcheck(lambda x: x.reshape(4)[::2], leaf([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize("make", [lambda x: (x * x).sum().detach(), lambda x: (x * x).detach()])
def test_a_detached_result_can_be_an_input(make):
    x = make(leaf([1.0, 2.0]))
    x.requires_grad = True
    assert gradcheck(right, x)


def test_tolerances_can_be_widened():
    slightly_off = square_with_rule(lambda g, a: 2.01 * a * g)
    x = leaf([1.0, 2.0])
    assert not gradcheck(slightly_off, x, raise_exception=False)
    assert gradcheck(slightly_off, x, rtol=0.01)
    assert gradcheck(slightly_off, x, atol=0.1)


def test_the_step_can_be_chosen():
    x = leaf([1e-7])
    assert not gradcheck(mg.sqrt, leaf([2e-6]), raise_exception=False)
    assert gradcheck(mg.sqrt, x, eps=1e-11)


# What fails.


def test_a_wrong_rule_fails():
    with pytest.raises(GradcheckError):
        gradcheck(wrong, leaf([1.0, 2.0, 3.0]))


def test_without_raise_exception_a_wrong_rule_gives_false():
    assert gradcheck(wrong, leaf([1.0, 3.0]), raise_exception=False) is False


def test_a_rule_that_is_wrong_only_where_it_is_not_looked_at_passes():
    assert gradcheck(wrong, leaf([1.0, 1.5]))


def test_a_gradcheck_error_is_a_runtime_error():
    assert issubclass(GradcheckError, RuntimeError)


def test_the_report_has_the_worst_index_both_values_and_the_count():
    x = leaf([[1.0, 3.0, 1.5], [1.0, 1.0, 4.0]], name="x")

    def fn(x):
        return mg.where(np.array([[False, False, False], [False, False, True]]), 10.0 * wrong(x), wrong(x))

    with pytest.raises(GradcheckError) as error:
        gradcheck(fn, x)
    report = str(error.value)
    assert "input 0 (tensor 'x'), output 0" in report
    assert "2 of 36 derivatives are off" in report
    assert "output[1, 2] / d input[1, 2] is 90 by backward, 80 by finite differences" in report


def test_the_report_names_each_wrong_input_and_output():
    def fn(x, y):
        return right(x), doubled(x) + right(y), doubled(y)

    with pytest.raises(GradcheckError) as error:
        gradcheck(fn, [leaf([1.0], name="x"), leaf([2.0], name="y")])
    report = str(error.value)
    assert "input 0 (tensor 'x'), output 1" in report
    assert "input 1 (tensor 'y'), output 2" in report
    assert "output 0" not in report
    assert "input 1 (tensor 'y'), output 1" not in report


@pytest.mark.parametrize(("factor", "shown"), [(2.0, "2 times"), (-1.0, "-1 times"), (0.25, "0.25 times")])
def test_the_report_hints_at_a_constant_factor(factor, shown):
    with pytest.raises(GradcheckError, match=f"all are {shown}"):
        gradcheck(square_with_rule(lambda g, a: factor * 2 * a * g), leaf([1.0, 2.0, -3.0]))


@pytest.mark.parametrize("settings", [{"rtol": 1e-3}, {"atol": 1e-4}], ids=["rtol", "atol"])
def test_a_constant_factor_is_found_within_the_tolerances(settings):
    off = np.array([[2, 5e-5 * ("atol" in settings)], [0, 2 + 1e-3 * ("rtol" in settings)]])

    def doubled_roughly(x):
        return record("same", np.array(x.data), (x,), (lambda g: g @ off,), "d_x = g", saved=())

    with pytest.raises(GradcheckError, match="all are 2"):
        gradcheck(doubled_roughly, leaf([1.0, 2.0]), **{"atol": 1e-6, "rtol": 1e-6, **settings})


def test_a_result_that_is_nan_twice_is_no_change_of_the_result():
    with pytest.raises(GradcheckError, match="derivatives are off"):
        gradcheck(lambda x: x * np.nan, leaf([1.0, 2.0]))


def test_the_report_on_random_gradients_speaks_of_needs_only_where_they_were_varied():
    with pytest.raises(GradcheckError) as error:
        gradcheck(square_with_rule(lambda g, a: 2 * a * g * abs(g)), leaf([1.0, 2.0]))
    assert str(error.value).endswith("look at what the rule does with g")


@pytest.mark.parametrize(("size", "shown"), [(6, r"( *-?\d\.\d{1,3} *,){5} *-?\d\.\d{1,3} *"), (7, r".*, \.\.\., .*")])
def test_the_report_shows_a_random_gradient_in_short(size, shown):
    with pytest.raises(GradcheckError, match=rf"for g = \[{shown}\]; worst"):
        gradcheck(square_with_rule(lambda g, a: 2 * a * g * abs(g)), leaf(np.linspace(1, 2, size)))


def test_the_report_does_not_hint_at_a_factor_where_there_is_none():
    with pytest.raises(GradcheckError) as error:
        gradcheck(wrong, leaf([1.0, 3.0]))
    assert "times" not in str(error.value)


def test_a_forgotten_gradient_fails():
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: x * Tensor(np.array(x.data)), leaf([1.0, 2.0]))


def test_a_result_cut_off_the_tape_fails():
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: (x * x).detach(), leaf([1.0, 2.0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_fails(bad):
    assert not gradcheck(square_with_rule(lambda g, a: np.full(2, bad)), leaf([1.0, 2.0]), raise_exception=False)


def test_a_value_that_is_not_finite_fails():
    def nan_near_1(x):
        return record("f", np.where(x.data == 1, 0.0, np.nan), (x,), (lambda g: g,), "")

    assert not gradcheck(nan_near_1, leaf([1.0]), raise_exception=False)


def test_a_wrong_gradient_through_broadcasting_fails():
    def add_without_sum(x, y):
        return record("add", x.data + y.data, (x, y), (lambda g: g, lambda g: g[0]), "")

    assert not gradcheck(add_without_sum, [leaf([[1.0], [2.0]]), leaf([3.0])], raise_exception=False)


def test_fn_must_give_the_same_result_each_time():
    rng = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="different results"):
        gradcheck(lambda x: x * rng.normal(), leaf([1.0, 2.0]))


# What only a g that is not one-hot brings to light.


def sum_of_squares(rule):
    """sum(x**2), a single number, with a derivative of your own: ``rule(g, a)``."""

    def fn(x):
        a = np.array(x.data)
        return record("sum_of_squares", np.sum(a * a), (x,), (lambda g: rule(g, a),), "")

    return fn


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, a: 2 * a,
        lambda g, a: 2 * a * g * g,
        lambda g, a: 2 * a * abs(g),
        lambda g, a: 2 * a * np.sign(g),
        lambda g, a: 2 * a * np.maximum(g, 0),
        lambda g, a: 2 * a * np.clip(g, -5, 5),
        lambda g, a: 2 * a * (g == 1),
        lambda g, a: 2 * a + 0 * g,
        lambda g, a: 2 * a / g,
        lambda g, a: 2 * a * g + (g - 1),
    ],
)
def test_a_rule_that_is_not_linear_in_the_gradient_of_a_single_number_fails(rule):
    with pytest.raises(GradcheckError, match=r"output 0.*sum\(g \* output\).*g = .*by backward"):
        gradcheck(sum_of_squares(rule), leaf([1.0, -2.0, 3.0], name="x"))


def test_a_rule_that_is_linear_in_the_gradient_of_a_single_number_passes():
    assert gradcheck(sum_of_squares(lambda g, a: 2 * a * g), leaf([1.0, -2.0, 3.0]))


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, a: 2 * a * g * g,
        lambda g, a: 2 * a * (g != 0),
        lambda g, a: 2 * a * g * g.sum(),
        lambda g, a: 2 * a * g / np.sqrt((g * g).sum()),
        lambda g, a: 2 * a * np.eye(g.size)[g.argmax()] * g.max(),
        lambda g, a: 2 * a * np.where(g == g.max(), g, 0),
        lambda g, a: 2 * a * g.round(),
    ],
)
def test_a_rule_that_is_right_only_for_one_hot_gradients_fails(rule):
    with pytest.raises(GradcheckError, match=r"Every one-hot g gives the right derivatives"):
        gradcheck(square_with_rule(rule), leaf([1.0, -2.0, 3.0]))


def test_a_small_departure_from_linearity_is_noticed():
    with pytest.raises(GradcheckError, match="look at what the rule does with g"):
        gradcheck(square_with_rule(lambda g, a: 2 * a * g * (1 + 0.01 * (abs(g) > 1.2))), leaf([1.0, -2.0, 3.0]))


def test_every_output_gets_its_own_random_gradient():
    wrong = sum_of_squares(lambda g, a: 2 * a)
    with pytest.raises(GradcheckError) as error:
        gradcheck(lambda x, y: (right(x), wrong(y)), [leaf([1.0, 2.0]), leaf([3.0], name="y")])
    assert "input 1 (tensor 'y'), output 1" in str(error.value)
    assert "output 0" not in str(error.value)


def test_the_report_on_a_random_gradient_has_the_gradient_and_both_values():
    with pytest.raises(GradcheckError) as error:
        gradcheck(sum_of_squares(lambda g, a: np.array([2 * a[0] * g, 2 * a[1]])), leaf([3.0, 5.0], name="x"))
    assert "input 0 (tensor 'x'), output 0: 1 of 2 derivatives" in str(error.value)
    found = re.search(r"g = (\S+); worst: d / d input\[1\] is 10 by backward, (\S+) by finite", str(error.value))
    g, expected = map(float, found.groups())
    assert abs(expected - 10 * g) < 0.01


# Inputs that require a gradient and inputs that don't, in turns.


def product(vjp):
    """x * y * z, with a joint vjp(g, needs, arrays) of your own."""

    def fn(*inputs):
        arrays = [np.array(x.data) for x in inputs]
        return record("product", np.prod(arrays, axis=0), inputs, lambda g, needs: vjp(g, needs, arrays), "")

    return fn


def gradients_of_product(g, arrays):
    return [g * np.prod(arrays[:i] + arrays[i + 1 :], axis=0) for i in range(len(arrays))]


def right_vjp(g, needs, arrays):
    return gradients_of_product(g, arrays)


def only_what_is_needed_without_gaps(g, needs, arrays):
    needed = [d for d, need in zip(gradients_of_product(g, arrays), needs, strict=True) if need]
    return needed + [np.zeros_like(g)] * (len(arrays) - len(needed))


def zero_if_another_is_constant(g, needs, arrays):
    return [d * all(needs) for d in gradients_of_product(g, arrays)]


def wrong_if_the_first_is_constant(g, needs, arrays):
    return [d if needs[0] else 2 * d for d in gradients_of_product(g, arrays)]


def wrong_if_one_alone_is_constant(g, needs, arrays):
    return [d if sum(needs) != len(needs) - 1 else -d for d in gradients_of_product(g, arrays)]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(
    "vjp",
    [
        only_what_is_needed_without_gaps,
        zero_if_another_is_constant,
        wrong_if_the_first_is_constant,
        wrong_if_one_alone_is_constant,
    ],
)
def test_a_joint_rule_that_is_wrong_while_some_inputs_are_constant_fails(vjp, count):
    inputs = [leaf([1.0 + i, 2.0]) for i in range(count)]
    with pytest.raises(GradcheckError, match=r"while .*requires .*gradient.*needs"):
        gradcheck(product(vjp), inputs)
    assert all(x.requires_grad for x in inputs)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_right_joint_rule_passes_whatever_is_constant(count):
    inputs = [leaf([1.0 + i, 2.0]) for i in range(count)]
    assert gradcheck(product(right_vjp), inputs)
    assert all(x.requires_grad for x in inputs)


def test_constants_stay_constant():
    x, constant = leaf([1.0, 2.0]), Tensor([3.0, 4.0])
    assert gradcheck(product(right_vjp), [x, constant, leaf([5.0, 6.0])])
    assert not constant.requires_grad


def test_what_requires_a_gradient_still_does_after_fn_has_raised():
    x, y = leaf([1.0]), leaf([2.0])

    def fn(x, y):
        if x.requires_grad != y.requires_grad:
            raise KeyError
        return x * y

    with pytest.raises(KeyError):
        gradcheck(fn, [x, y])
    assert (x.requires_grad, y.requires_grad) == (True, True)


def test_an_input_given_twice_requires_its_gradient_in_both_places():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    assert gradcheck(lambda a, b, c: a * b * c, [x, y, x])
    assert gradcheck(product(right_vjp), [x, x, y])


def test_numpys_global_random_numbers_are_left_alone():
    np.random.seed(7)  # noqa: NPY002  the global state is what is looked at
    first = np.random.rand()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    gradcheck(right, leaf([1.0, 2.0]))
    assert np.random.rand() == first  # noqa: NPY002


# Inputs in odd memory.


def read_only(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    "array",
    [
        read_only(np.array([1.0, 2.0, 3.0])),
        np.broadcast_to(np.array([1.5]), (3,)),
        np.arange(1.0, 7.0)[::-2],
        np.array([1.0, 2.0, 3.0], ">f8"),
        np.array([1.0, 2.0, 3.0], np.longdouble),
    ],
    ids=["read-only", "zero strides", "negative strides", "big-endian", "longdouble"],
)
def test_inputs_may_have_any_memory(array):
    x = Tensor(array, requires_grad=True)
    assert gradcheck(right, x)
    assert not gradcheck(wrong, x, raise_exception=False) or array.max() <= 2
    assert x.data is array


def test_two_inputs_on_the_same_memory_are_two_inputs():
    array = np.array([1.0, 2.0])
    assert gradcheck(lambda x, y: x * x * y, [Tensor(array, requires_grad=True), Tensor(array, requires_grad=True)])
    np.testing.assert_array_equal(array, [1, 2])


def test_a_gradient_where_nothing_depends_on_the_input_fails_without_a_hint_at_a_factor():
    def constant(x):
        return record("constant", np.ones(2), (x,), (lambda g: g,), "")

    with pytest.raises(GradcheckError, match=r"is 1 by backward, 0 by finite differences") as error:
        gradcheck(constant, leaf([1.0, 2.0]))
    assert "times" not in str(error.value)


# What is refused.


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_single_precision_is_refused_with_advice(dtype):
    x = Tensor([1.0], requires_grad=True, dtype=dtype, name="x")
    with pytest.raises(TypeError, match=rf"'x' is {np.dtype(dtype)}.*float64"):
        gradcheck(right, x, raise_exception=False)


@pytest.mark.parametrize("inputs", [Tensor([1.0]), [Tensor([1.0]), 2.0], []])
def test_inputs_without_any_gradient_are_refused(inputs):
    with pytest.raises(ValueError, match="requires"):
        gradcheck(lambda *_: Tensor(1.0), inputs)


def test_a_computed_input_is_refused():
    with pytest.raises(ValueError, match=r"'y'.*detach"):
        y = leaf([1.0]) * 2
        y.name = "y"
        gradcheck(right, y)


@pytest.mark.parametrize("output", [np.ones(2), 1.0, None])
def test_an_fn_that_returns_no_tensor_is_refused(output):
    with pytest.raises(TypeError, match=r"gradcheck.*Tensor"):
        gradcheck(lambda x: output, leaf([1.0, 2.0]))


# It leaves no trace.


@pytest.mark.parametrize("fn", [right, wrong])
def test_data_and_gradients_of_the_inputs_are_left_as_they_were(fn):
    values = np.array([1 / 3, 3.3, 1e-30])
    x = leaf(values)
    array, gradient = x.data, np.array([7.0, 8.0, 9.0])
    x.grad = gradient
    gradcheck(fn, x, raise_exception=False)
    assert x.data is array
    np.testing.assert_array_equal(array, values)
    assert x.grad is gradient
    np.testing.assert_array_equal(gradient, [7, 8, 9])


def test_gradients_of_leaves_that_fn_closes_over_are_left_as_they_were():
    x, w, b = leaf([1.0, 2.0]), leaf([3.0, 4.0]), leaf([5.0, 6.0])
    w.grad = gradient = np.array([7.0, 8.0])
    assert gradcheck(lambda x: (x * w + b).tanh(), x)
    assert w.grad is gradient
    np.testing.assert_array_equal(gradient, [7, 8])
    assert (b.grad, x.grad) == (None, None)


def test_retained_gradients_of_results_that_fn_closes_over_are_left_as_they_were():
    x, kept = leaf([1.0, 2.0]), []

    def fn(x):
        y = x * x
        if y.requires_grad:
            y.retain_grad()
        kept.append(y)
        return y * 2

    assert gradcheck(fn, x)
    assert any(y.requires_grad for y in kept)
    assert all(y.grad is None for y in kept)


def test_inputs_are_put_back_when_fn_raises():
    x = leaf([1.0, 2.0])

    def fn(x):
        if x.data[1] > 2:
            raise KeyError
        return x * x

    with pytest.raises(KeyError):
        gradcheck(fn, x)
    np.testing.assert_array_equal(x.data, [1, 2])
    assert x.grad is None


def test_the_tensor_can_be_trained_on_afterwards():
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    gradcheck(right, x)
    loss.backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


# Layers.


class Scale:
    """Just enough of a module: a parameter, a frozen one, and a buffer that counts the calls."""

    def __init__(self, rule=right):
        self.weight, self.frozen, self.calls = leaf([1.0, 3.0], name="weight"), Tensor([5.0, 6.0]), np.zeros(1)
        self.rule = rule

    def __call__(self, x):
        self.calls += 1
        return self.rule(self.weight) * x * self.frozen

    def parameters(self):
        return iter([self.weight, self.frozen])

    def buffers(self):
        return iter([self.calls])


@pytest.mark.parametrize("x", [np.array([[1.0, 2.0]]), Tensor([[1.0, 2.0]]), leaf([[1.0, 2.0]])], ids=repr)
def test_a_module_is_checked_for_its_inputs_and_parameters(x):
    assert gradcheck_module(Scale(), x)


def test_a_wrong_gradient_of_a_parameter_is_found():
    with pytest.raises(GradcheckError, match="tensor 'weight'"):
        gradcheck_module(Scale(wrong), np.array([[1.0, 2.0]]))


def test_a_modules_buffers_and_gradients_are_left_as_they_were():
    module = Scale()
    x = leaf([[1.0, 2.0]])
    calls = module.calls
    gradcheck_module(module, x)
    assert module.calls is calls
    np.testing.assert_array_equal(calls, [0])
    assert (module.weight.grad, x.grad) == (None, None)


class Restless(Scale):
    """A module whose forward pass changes all it can: in place, by replacement, in a child, and at random."""

    def __init__(self):
        super().__init__()
        self.child, self.rng, self.training = Scale(), np.random.default_rng(0), True
        self.running = np.zeros(2)
        self.constant = read_only(np.ones(2))

    def __call__(self, x):
        self.running = 0.5 * self.running + 1
        self.child.calls = self.child.calls + 1
        self.training = False
        self.new = self.rng.normal()
        return super().__call__(x)

    def modules(self):
        return iter([self, self.child])

    def buffers(self):
        return iter([self.calls, self.running, self.constant, self.child.calls])


@pytest.mark.parametrize("fails", [False, True])
def test_everything_that_the_forward_pass_changes_in_a_module_is_put_back(fails):
    module = Restless()
    module.rule = wrong if fails else right
    running, childs_calls = module.running, module.child.calls
    if fails:
        with pytest.raises(GradcheckError):
            gradcheck_module(module, np.array([[1.0, 2.0]]))
    else:
        assert gradcheck_module(module, np.array([[1.0, 2.0]]))
    assert module.running is running
    assert module.child.calls is childs_calls
    for array in (module.calls, running, childs_calls):
        np.testing.assert_array_equal(array, np.zeros(array.shape))
    assert module.training is True
    assert not hasattr(module, "new")
    assert module.rng.normal() == np.random.default_rng(0).normal()


def test_a_modules_parameters_still_require_their_gradients_afterwards():
    module = Scale()
    gradcheck_module(module, np.array([[1.0, 2.0]]))
    assert (module.weight.requires_grad, module.frozen.requires_grad) == (True, False)


def test_inputs_of_a_module_may_be_integers_or_lists_without_a_gradient():
    module = Scale()
    assert gradcheck_module(module, np.array([[1, 2]]))
    assert gradcheck_module(module, [[1, 2]])
    assert gradcheck_module(module, [[1.0, 2.0]])


def test_a_batch_norm_is_left_as_it_was():
    layer = BatchNorm1d(3).astype(np.float64)
    before = {name: (array, array.copy()) for name, array in layer.named_buffers()}
    assert gradcheck_module(layer, np.random.default_rng(0).normal(size=(4, 3)))
    for name, array in layer.named_buffers():
        assert array is before[name][0]
        np.testing.assert_array_equal(array, before[name][1])


def test_a_rule_that_writes_into_its_gradient_is_noticed():
    def double(x):
        def vjp(g):
            g *= 2
            return g

        return record("double", x.data * 2, (x,), (vjp,), "d_x = 2 * g")

    with pytest.raises(GradcheckError, match="writes into the gradient g"):
        gradcheck(double, Tensor([1.0, 2.0], requires_grad=True))


def test_each_difference_is_taken_from_the_inputs_as_they_were():
    x = Tensor([2.0, 3.0, 5.0], requires_grad=True)  # central differences of a product of three are exact
    assert gradcheck(lambda x: x[0] * x[1] * x[2], x, eps=0.5, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_derivatives_that_are_exactly_right_need_no_tolerance(shape):
    x = Tensor(np.ones(shape), requires_grad=True)
    assert gradcheck(lambda x: x * 2, x, eps=2.0**-10, atol=0, rtol=0)
