"""minigrad against values that PyTorch computed (make_pytorch.py makes them): float64 to 1e-10, float32 to 1e-5."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import layers
import minigrad as mg
from layers import BatchNorm1d, BatchNorm2d, BatchNorm3d, Dropout, Linear, ReLU, Sequential, load_arrays
from minigrad import Tensor
from minigrad.optim import SGD, Adam

GOLDEN = load_arrays(Path(__file__).with_name("pytorch.npz"))
LAYERS = {"1d": BatchNorm1d, "1d-sequence": BatchNorm1d, "2d": BatchNorm2d, "3d": BatchNorm3d}
MODES = ("train", "train", "eval", "train", "eval")
PRECISIONS = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def agree(actual, expected, dtype):
    """Relative to each array's largest value in float32, where a sum's rounding scales with its terms."""
    if dtype == np.float64:
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)
    else:
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * scale)


@PRECISIONS
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
@pytest.mark.parametrize(("affine", "track"), list(itertools.product([True, False], repeat=2)))
@pytest.mark.parametrize("kind", LAYERS)
def test_batch_norm_agrees_through_a_sequence_of_training_and_evaluation(kind, affine, track, momentum, eps, dtype):
    layer = LAYERS[kind](3, eps, momentum, affine, track, dtype=dtype)
    run_through_batches(layer, kind, GOLDEN[f"batchnorm/{kind}/{affine}/{track}/{momentum}/{eps}"], dtype)


@PRECISIONS
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_batch_norm_with_a_weight_and_no_bias_agrees(kind, track, momentum, dtype):
    layer = LAYERS[kind](3, 1e-3, momentum, True, track, bias=False, dtype=dtype)
    run_through_batches(layer, kind, GOLDEN[f"batchnorm-without-bias/{kind}/{track}/{momentum}"], dtype)


def test_batch_norm_without_bias_has_the_state_dict_keys_of_pytorch():
    assert list(BatchNorm1d(3, bias=False).state_dict()) == list(GOLDEN["batchnorm-without-bias/keys"])


def run_through_batches(layer, kind, results, dtype):
    """Compare outputs, gradients and buffers of every batch with ``results``, which holds them one after the other."""
    for name, parameter in layer.named_parameters():
        parameter.data = GOLDEN[f"batchnorm-inputs/{name}"]
    expected = iter(results)
    for number, mode in enumerate(MODES):
        x, g = (GOLDEN[f"batchnorm-inputs/{kind}/{number}/{name}"].astype(dtype) for name in "xg")
        if mode == "eval" and not layer.track_running_stats and x.size == x.shape[1]:
            continue
        x = Tensor(x, requires_grad=True)
        layer.train(mode == "train")
        layer.zero_grad()
        y = layer(x)
        y.backward(g)
        assert y.dtype == x.grad.dtype == dtype
        for actual in (y.data, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()):
            agree(actual.ravel(), np.array([next(expected) for _ in range(actual.size)]), dtype)
    assert next(expected, None) is None


TARGETS = GOLDEN["functions/cross_entropy/targets"]
FUNCTIONS = {
    "linear": layers.linear,
    "linear-sequence": layers.linear,
    "linear-without-bias": layers.linear,
    "relu": layers.relu,
    "sigmoid": layers.sigmoid,
    "tanh": layers.tanh,
    "softmax": mg.softmax,
    "log_softmax": mg.log_softmax,
    "cross_entropy": lambda x: layers.cross_entropy(x, TARGETS),
    "cross_entropy-random": lambda x: layers.cross_entropy(x, TARGETS),
    "mse_loss": layers.mse_loss,
    "amax": lambda x: x.max(axis=1),
    "amin": lambda x: x.min(axis=1),
    "relu-ties": mg.relu,
    "abs-ties": mg.abs,
    "maximum": mg.maximum,
    "minimum": mg.minimum,
    "clip-ties": lambda x: x.clip(-1, 1),
}


def test_every_function_that_pytorch_computed_is_compared():
    assert {key.split("/")[1] for key in GOLDEN if key.startswith("functions/")} == set(FUNCTIONS)


@PRECISIONS
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_agree_in_value_and_in_every_gradient(name, dtype):
    case = {key.split("/")[2]: value for key, value in GOLDEN.items() if key.startswith(f"functions/{name}/")}
    inputs = [Tensor(case[key].astype(dtype), requires_grad=True) for key in sorted(case) if key.startswith("x")]
    y = FUNCTIONS[name](*inputs)
    y.backward(case["g"])
    agree(y.data, case["y"], dtype)
    for i, x in enumerate(inputs):
        agree(x.grad, case[f"d_x{i}"], dtype)


def test_sigmoid_agrees_relative_to_its_smallest_values():
    np.testing.assert_allclose(
        mg.sigmoid(GOLDEN["functions/sigmoid/x0"]).data, GOLDEN["functions/sigmoid/y"], rtol=1e-12
    )


def test_dropout_scales_as_pytorch_scales():
    x, y, d_x = (GOLDEN[f"dropout/{name}"] for name in ("x", "y", "d_x"))
    layer = Dropout(0.3)
    layer.rng = PyTorchsMask(y != 0)
    ours = Tensor(x, requires_grad=True)
    result = layer(ours)
    result.sum().backward()
    agree(result.data, y, np.float64)
    agree(ours.grad, d_x, np.float64)


class PyTorchsMask:
    """Random numbers that make Dropout keep what PyTorch kept."""

    def __init__(self, kept):
        self.kept = kept

    def random(self, shape):
        assert shape == self.kept.shape
        return self.kept.astype(float)


OPTIMIZERS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "sgd-momentum": lambda p: SGD(p, lr=0.05, momentum=0.9),
    "sgd-nesterov": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "sgd-decay": lambda p: SGD(p, lr=0.1, momentum=0.5, weight_decay=0.1),
    "adam": lambda p: Adam(p, lr=0.1),
    "adam-betas": lambda p: Adam(p, lr=0.01, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
}


@PRECISIONS
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_the_same_twenty_steps(name, dtype):
    start, minimum, steepness = (GOLDEN[f"optimizers/{part}"] for part in ("start", "minimum", "steepness"))
    p = Tensor(start.copy(), requires_grad=True, dtype=dtype)
    optimizer = OPTIMIZERS[name]([p])
    for expected in GOLDEN[f"optimizers/{name}/path"]:
        optimizer.zero_grad()
        (steepness * (p - minimum) ** 2).sum().backward()
        optimizer.step()
        agree(p.data, expected, dtype)


def network():
    return Sequential(Linear(4, 6), BatchNorm1d(6), ReLU(), Linear(6, 2))


def test_weights_travel_from_pytorch_by_their_own_keys():
    state = {key.removeprefix("weights/state/"): value for key, value in GOLDEN.items() if "/state/" in key}
    model = network()
    model.load_state_dict(state)
    np.testing.assert_allclose(model.eval()(GOLDEN["weights/x"]).data, GOLDEN["weights/y"], rtol=1e-5, atol=1e-6)
    back = model.state_dict()
    assert list(back) == list(state)
    for key, value in state.items():
        np.testing.assert_array_equal(back[key], value)
        assert back[key].dtype == value.dtype


@pytest.mark.slow
def test_weights_travel_to_pytorch_and_give_the_same_output():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = network()
    model(GOLDEN["weights/x"])
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in model.state_dict().items()})
    expected = theirs.eval()(torch.from_numpy(GOLDEN["weights/x"])).detach().numpy()
    np.testing.assert_allclose(model.eval()(GOLDEN["weights/x"]).data, expected, rtol=1e-5, atol=1e-6)
