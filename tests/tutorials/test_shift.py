"""What moves a sigmoid's inputs, told apart: tutorials/shift.py, against computations of its own in NumPy."""

import base64
import json
import zlib

import numpy as np
import pytest

from layers import BatchNorm1d, Sigmoid, batch_norm
from minigrad import Tensor
from minigrad.optim import SGD, Adam
from tutorials import shift
from tutorials.data import Dataset, load_digits
from tutorials.shift import NAMES, Run, Setting

STEPS = 130
DATA = shift.hold_out(load_digits())
IMAGES = DATA.x_test[:90]


@pytest.fixture(scope="module")
def runs():
    setting = Setting(SGD, 1.0, 0.3)
    return {name: shift.train(Run(DATA, name == "with BN", setting, 3), DATA, STEPS, 20, 3) for name in NAMES}


@pytest.fixture(params=NAMES)
def run(runs, request):
    return runs[request.param]


# The validation split.


def test_what_is_held_out_is_every_fifth_of_each_class_and_nothing_is_lost():
    whole = load_digits()
    assert len(DATA.x_train) + len(DATA.x_val) == len(whole.x_train)
    both = np.concatenate([DATA.x_train, DATA.x_val])
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole.x_train))
    for digit in range(10):
        assert (DATA.y_val == digit).sum() == (whole.y_train == digit).sum() // 5


def test_the_test_images_stay_as_they_are():
    whole = load_digits()
    np.testing.assert_array_equal(DATA.x_test, whole.x_test)
    np.testing.assert_array_equal(DATA.y_test, whole.y_test)


def test_labels_stay_with_their_images_when_some_are_held_out():
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    y = np.arange(20) % 2
    split = shift.hold_out(Dataset(x, y, x, y), every=3)
    for images, labels in ((split.x_train, split.y_train), (split.x_val, split.y_val)):
        np.testing.assert_array_equal(images[:, 0] // 2 % 2, labels)


# The inputs of the sigmoids.


def through_the_network(network, x):
    """What reaches the sigmoids of the network itself, with the images' own statistics."""
    inputs, h = [], Tensor(x)
    for module in network:
        if isinstance(module, Sigmoid):
            inputs.append(h.numpy())
        if isinstance(module, BatchNorm1d):
            h = batch_norm(h, None, None, module.weight, module.bias, training=True)
        else:
            h = module(h)
    return inputs


def test_of_one_moment_they_are_those_of_the_network(run):
    found = shift.sigmoid_inputs(run.last, run.last, IMAGES)
    for ours, its in zip(found, through_the_network(run.network, IMAGES), strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-4, atol=1e-4)


def test_with_running_statistics_they_are_those_of_evaluation(runs):
    network, last = runs["with BN"].network.eval(), runs["with BN"].last
    h, inputs = Tensor(IMAGES), []
    for module in network:
        if isinstance(module, Sigmoid):
            inputs.append(h.numpy())
        h = module(h)
    network.train()
    for ours, its in zip(shift.sigmoid_inputs(last, last, IMAGES, running=True), inputs, strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-4, atol=1e-4)


def test_with_a_mini_batch_s_statistics_the_batch_itself_is_normalized_as_in_training(runs):
    last, batch = runs["with BN"].last, DATA.x_train[:20]
    found = shift.sigmoid_inputs(last, last, batch, batch)
    for ours, its in zip(found, through_the_network(runs["with BN"].network, batch), strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-4, atol=1e-4)


def test_with_a_mini_batch_s_statistics_other_images_are_moved_and_scaled_as_the_batch_is(runs):
    layer, batch = runs["with BN"].last[0], DATA.x_train[:20]
    x = batch @ layer.weight.T
    expected = (IMAGES @ layer.weight.T - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * layer.gamma + layer.beta
    found = shift.sigmoid_inputs(runs["with BN"].last, runs["with BN"].last, IMAGES, batch)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


def test_on_the_probe_s_own_statistics_the_mean_is_beta_and_the_variance_nearly_gamma_squared(runs):
    last = runs["with BN"].last
    for inputs, layer in zip(shift.sigmoid_inputs(last, last, IMAGES), last, strict=True):
        np.testing.assert_allclose(inputs.mean(axis=0), layer.beta, atol=1e-4)
        np.testing.assert_allclose(inputs.var(axis=0), layer.gamma**2, rtol=0.02)


def test_the_layers_below_are_of_one_moment_and_the_own_of_the_other(run):
    first, last = run.first, run.last
    h = 1 / (1 + np.exp(-shift.sigmoid_inputs(first, first, IMAGES)[0]))
    found = shift.sigmoid_inputs(first, last, IMAGES)[1]
    np.testing.assert_allclose(found, shift.one_layer(last[1], h), rtol=1e-4, atol=1e-5)


# What moves.


@pytest.mark.parametrize("what", shift.WHAT_MOVES)
def test_at_the_first_moment_nothing_has_moved(run, what):
    now = shift.choices(run.first, run.first)[what]
    for ours, whole in zip(shift.sigmoid_inputs(*now, IMAGES), shift.sigmoid_inputs(run.first, run.first, IMAGES)):
        np.testing.assert_array_equal(ours, whole)


@pytest.mark.parametrize("cause", ["below", "below, late weights"])
def test_layer_1_does_not_move_if_only_the_layers_below_do(run, cause):
    found = shift.decomposition(run.first, run.last, IMAGES)[cause]
    assert found[0] == 0
    assert (found[1:] > 0).all()


def test_layer_1_moves_by_its_own_weights_alone(run):
    found = shift.decomposition(run.first, run.last, IMAGES)
    assert found["everything"][0] == found["own"][0] > 0


def test_the_causes_need_not_add_up(runs):
    found = shift.decomposition(runs["without BN"].first, runs["without BN"].last, IMAGES)
    assert abs(found["below"] + found["own"] - found["everything"])[2] > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_does_not_learn_does_not_shift(name):
    run = shift.train(Run(DATA, name == "with BN", Setting(SGD, 0.0, 0.3), 0), DATA, 10, 20, 0)
    assert not any(values.any() for values in shift.decomposition(run.first, run.last, IMAGES).values())
    assert not shift.step_to_step(run, IMAGES, "probe", lambda: DATA.x_train[:20]).any()


def test_of_a_network_that_does_not_learn_a_mini_batch_s_statistics_move_the_inputs():
    run = shift.train(Run(DATA, True, Setting(SGD, 0.0, 0.3), 0), DATA, 10, 20, 0)
    draw = shift.drawer(DATA, 20, 0)
    assert shift.step_to_step(run, IMAGES, "batch", draw)[0] > 0.1


@pytest.mark.parametrize("levels", [[50], [0, 100], [5, 33.3, 95], shift.LEVELS])
@pytest.mark.parametrize("images", [1, 2, 90])
def test_percentiles_are_those_of_numpy(levels, images):
    inputs = np.random.default_rng(0).normal(size=(2, images, 3))
    expected = np.percentile(inputs, levels, axis=1).swapaxes(0, 1)
    np.testing.assert_allclose(shift.percentiles(list(inputs), levels), expected, atol=1e-12)


def test_a_distribution_that_is_moved_as_a_whole_has_moved_by_that():
    inputs = np.random.default_rng(0).normal(size=(1, 50, 4))
    found = shift.distance(shift.percentiles(inputs), shift.percentiles(inputs - 0.25))
    np.testing.assert_allclose(found, 0.25)


def test_a_shift_of_place_and_width_is_none_of_shape(runs):
    first = runs["without BN"].first
    wider = [layer._replace(weight=3 * layer.weight, beta=3 * layer.beta + 1) for layer in first[:1]] + first[1:]
    inputs = [shift.standardized(shift.sigmoid_inputs(first, own, IMAGES)) for own in (first, wider)]
    np.testing.assert_allclose(inputs[0][0], inputs[1][0], atol=1e-4)


# What is kept of a training.


def test_the_update_is_the_step_s_change_over_the_weights(run):
    for step, at in ((2, 0), (3, 2)):
        before, after = (run.kept[s][at].weight for s in (step - 1, step))
        expected = np.linalg.norm(after - before) / np.linalg.norm(before)
        assert run.update[step][at] == pytest.approx(expected, rel=1e-3)


def test_with_sgd_the_gradient_is_the_step_s_change_over_the_rate(run):
    change = np.linalg.norm(run.kept[2][1].weight - run.kept[1][1].weight)
    assert run.gradient[2][1] == pytest.approx(change / run.setting.lr, rel=1e-3)


def test_what_is_kept_does_not_change_with_the_network():
    run = Run(DATA, True, Setting(SGD, 1.0, 0.3), 0)
    run.step(DATA.x_train[:20], DATA.y_train[:20])
    run.read(1, IMAGES, DATA.y_test[:90])
    before = [array.copy() for layer in run.kept[1] for array in layer]
    run.step(DATA.x_train[:20], DATA.y_train[:20])
    for kept, copy in zip((array for layer in run.kept[1] for array in layer), before, strict=True):
        np.testing.assert_array_equal(kept, copy)


def test_both_networks_start_from_the_same_weights():
    first = [shift.hidden_layers(Run(DATA, bn, Setting(SGD, 0.1, 0.1), 5).network) for bn in (False, True)]
    for plain, bn in zip(*first, strict=True):
        np.testing.assert_array_equal(plain.weight, bn.weight)


@pytest.mark.parametrize("steps", [100, 101, 8000, 50_000])
def test_every_pair_of_successive_steps_is_read_twice_within_the_training(steps):
    moments = shift.moments(steps)
    assert {1, steps} <= moments
    assert max(moments) == steps
    assert all({step, step + 1} <= moments for step in shift.pairs(steps))
    assert len(shift.pairs(steps)) > 3


# Choosing a setting.


def test_a_trial_reads_the_validation_images_and_ends_at_90_percent():
    steps, error = shift.try_out(DATA, True, Setting(SGD, 1.0, 0.3), 200, 60, 0)
    assert steps < 100
    assert error <= 0.1
    blind = DATA._replace(x_test=DATA.x_test[:0], y_test=DATA.y_test[:0])
    assert shift.try_out(blind, True, Setting(SGD, 1.0, 0.3), 200, 60, 0) == (steps, error)


def test_of_settings_that_never_arrive_the_closest_is_best():
    near, far, other = Setting(SGD, 1, 0.1), Setting(SGD, 2, 0.1), Setting(Adam, 1, 0.1)
    assert shift.best({far: (np.inf, 0.5), near: (np.inf, 0.2), other: (5, 0.1)}, SGD) == near
    assert shift.best({near: (np.inf, 0.11), far: (90, 0.1)}, SGD) == far


# Frames and the page.


def test_frames_run_from_the_first_step_to_the_last_and_repeat_none(runs):
    frames = shift.frames_of(list(runs.values()), IMAGES, 30)
    assert frames[0] == 1
    assert frames[-1] == STEPS
    assert frames == sorted(set(frames))
    assert 20 <= len(frames) <= 30


def test_frames_are_dense_where_the_inputs_move():
    still, moving = Run(DATA, False, Setting(SGD, 0.0, 0.3), 0), Run(DATA, False, Setting(SGD, 0.0, 0.3), 0)
    layers = shift.hidden_layers(still.network)
    for step in range(1, 101):
        still.kept[step] = layers
        moving.kept[step] = [layer._replace(beta=layer.beta + max(0, min(step - 60, 20))) for layer in layers]
    frames = shift.frames_of([still, moving], IMAGES, 30)
    assert len([step for step in frames if 60 <= step <= 80]) > 2 * len([step for step in frames if 30 <= step < 60])


@pytest.fixture(scope="module")
def document(runs):
    both = [{"title": "a title", "note": "a note", "plain": runs["without BN"], "bn": runs["with BN"]}]
    return shift.page_data(both, DATA, IMAGES, {"data": "digits", "steps": STEPS, "batch_size": 20, "seed": 3})


def unpacked(packed):
    """The array of PACKED, its last axis the frames."""
    codes = np.array([ord(letter) - 35 for letter in packed["values"]])
    values = np.where(codes % 2, -(codes + 1) // 2, codes // 2).reshape(packed["shape"])
    return values.cumsum(axis=-1) * packed["scale"]


def test_three_runs_of_the_page_would_fit_into_its_budget(document):
    assert 3 * len(base64.b64encode(zlib.compress(document))) < 3_000_000


def test_the_page_s_views_are_all_there(document):
    (run,) = json.loads(document)["runs"]
    views = {name: sorted(net["views"]) for name, net in run["nets"].items()}
    moves = (*shift.WHAT_MOVES, "late")
    assert views["plain"] == sorted(f"{what}|probe" for what in moves)
    assert views["bn"] == sorted(f"{what}|{statistics}" for what in moves for statistics in shift.STATISTICS)


@pytest.mark.parametrize(("net", "name"), [("plain", "without BN"), ("bn", "with BN")])
@pytest.mark.parametrize("what", shift.WHAT_MOVES)
def test_percentiles_go_through_the_page_s_format(document, runs, net, name, what):
    found = json.loads(document)["runs"][0]["nets"][net]
    view, frames = found["views"][f"{what}|probe"], found["frames"]
    for i in (0, len(frames) // 2, -1):
        pair = shift.choices(runs[name].first, runs[name].kept[frames[i]])[what]
        expected = shift.percentiles(shift.sigmoid_inputs(*pair, IMAGES), shift.PAGE_LEVELS)
        for layer, q in zip(view, expected, strict=True):
            edge = 1.5 * layer["edges"][1]
            assert np.abs(unpacked(layer["units"])[..., i] - q.clip(-edge, edge)).max() <= layer["units"]["scale"]


def test_densities_are_the_shares_of_bins_over_their_width(document, run):
    net = json.loads(document)["runs"][0]["nets"]["bn" if run.batch_norm else "plain"]
    for layer, inputs in zip(net["views"]["everything|probe"], shift.sigmoid_inputs(run.last, run.last, IMAGES)):
        low, high = layer["edges"]
        bins = layer["all"]["shape"][0]
        counts, _ = np.histogram(inputs, bins, (low, high))
        expected = counts / inputs.size / ((high - low) / bins)
        assert np.abs(unpacked(layer["all"])[..., -1] - expected).max() <= 0.51 * layer["all"]["scale"]


def test_the_page_s_shift_is_that_of_the_decomposition(document, run):
    net = json.loads(document)["runs"][0]["nets"]["bn" if run.batch_norm else "plain"]
    causes = shift.decomposition(run.first, run.last, IMAGES)
    causes["late"] = causes["below, late weights"]
    for what in (*shift.WHAT_MOVES, "late"):
        found = [layer["shift"][-1] for layer in net["views"][f"{what}|probe"]]
        np.testing.assert_allclose(found, causes[what], rtol=1e-3, atol=1e-6)


def test_with_running_statistics_a_layer_takes_its_own_and_those_below_theirs(runs):
    first, last = runs["with BN"].first, runs["with BN"].last
    h = 1 / (1 + np.exp(-shift.sigmoid_inputs(last, last, IMAGES, running=True)[0]))
    found = shift.sigmoid_inputs(last, first, IMAGES, running=True)[1]
    expected = (h @ first[1].weight.T - first[1].mean) / np.sqrt(first[1].var + 1e-5) * first[1].gamma + first[1].beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_images_at_the_ends_are_those_of_lowest_and_highest_input(document, run):
    net = json.loads(document)["runs"][0]["nets"]["bn" if run.batch_norm else "plain"]
    for layer, inputs in zip(net["views"]["everything|probe"], shift.sigmoid_inputs(run.last, run.last, IMAGES)):
        for unit in (0, 57, 99):
            assert inputs[layer["low"][unit][0], unit] == inputs[:, unit].min()
            assert inputs[layer["high"][unit][-1], unit] == inputs[:, unit].max()


def test_the_page_s_pixels_are_the_probe_s(document):
    images = json.loads(document)["images"]
    pixels = np.frombuffer(base64.b64decode(images["pixels"]), np.uint8).reshape(-1, *images["shape"])
    np.testing.assert_allclose(pixels.reshape(len(pixels), -1) / 255, IMAGES[: len(pixels)], atol=1 / 255)


def test_steps_and_accuracies_of_the_page_are_the_lesson_s(document, run):
    net = json.loads(document)["runs"][0]["nets"]["bn" if run.batch_norm else "plain"]
    assert net["steps_to_90"] == run.steps_to(0.9)
    assert net["accuracy"][-1] == pytest.approx(100 * run.accuracies[-1], rel=1e-3)


# The tables.


def test_rows_of_a_table_have_the_range_of_seeds_in_brackets():
    tables = [{"steps": {"a row": (value, 0.0)}} for value in (10.0, 30.0, 1000.0)]
    several = shift.over_seeds(tables)
    assert several["steps"]["a row"] == ((pytest.approx(1040 / 3), 10, 1000), (0, 0, 0))
    assert shift.rows_of(several["steps"]) == [["a row", "347 (10 to 1,000)", "0 (0 to 0)"]]
    assert shift.rows_of({"a row": (30.0, np.inf)}, several["steps"]) == [
        ["a row", "30 (10 to 1,000)", "never (0 to 0)"]
    ]


@pytest.mark.slow
def test_the_table_of_five_seeds_has_this_seed_within_its_ranges():
    found = shift.experiment(DATA, DATA.x_test, Setting(SGD, 0.1, 0.1), 8000, 60, 1)
    assert {name: list(rows) for name, rows in found.items()} == {
        name: list(rows) for name, rows in shift.FIVE_SEEDS.items()
    }
    for name, rows in found.items():
        for row, values in rows.items():
            for value, (_, low, high) in zip(values, shift.FIVE_SEEDS[name][row], strict=True):
                assert 0.9 * low <= value <= 1.1 * high, (name, row)
