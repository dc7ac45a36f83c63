"""What happens when things go wrong around a model: killed while saving, interrupted in training, damaged files."""

import ast
import gzip
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from layers import BatchNorm1d, Dropout, Linear, ReLU, Sequential, cross_entropy, load_arrays, save_arrays
from minigrad import Tensor
from minigrad.optim import SGD, Adam
from tutorials.data import read_idx

ROOT = Path(__file__).parents[2]

# Saves over and over: version 1, 2, ... in each of 40 arrays.
SAVER = """
import sys, numpy as np
from layers import save_arrays
version = 1
while True:
    save_arrays(sys.argv[1], {str(i): np.full(2000, version) for i in range(40)})
    print(version, flush=True)
    version += 1
"""


@pytest.mark.slow
def test_a_save_killed_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path):
    path, rng = tmp_path / "model.npz", np.random.default_rng(0)
    for _ in range(50):
        save_arrays(path, {str(i): np.zeros(2000) for i in range(40)})
        saver = subprocess.Popen([sys.executable, "-c", SAVER, path], cwd=ROOT, stdout=subprocess.PIPE)
        saver.stdout.readline()  # the first version is saved, and the second on its way
        time.sleep(rng.uniform(0, 0.02))
        saver.kill()
        saver.wait()
        saver.stdout.close()
        arrays = load_arrays(path)
        assert len(arrays) == 40
        versions = {value for array in arrays.values() for value in array}
        assert len(versions) == 1
        assert versions.pop() >= 1


def make(optimizer_class):
    rng = np.random.default_rng(0)
    model = Sequential(Linear(5, 8, rng=rng), BatchNorm1d(8), ReLU(), Dropout(0.2, rng=rng), Linear(8, 3, rng=rng))
    return model, optimizer_class(model.parameters()), rng


def train(model, optimizer, rng, steps):
    for _ in range(steps):
        x, y = rng.normal(size=(12, 5)).astype(np.float32), rng.integers(0, 3, 12)
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def save_checkpoint(path, model, optimizer, rng, step):
    """Model, optimizer, random generator and step in one file."""
    state = {f"model/{name}": array for name, array in model.state_dict().items()}
    state |= {f"optimizer/{name}": value for name, value in optimizer.state_dict().items()}
    save_arrays(path, {**state, "rng": str(rng.bit_generator.state), "step": step})


def load_checkpoint(path, model, optimizer, rng):
    state = load_arrays(path)
    for part, target in (("model/", model), ("optimizer/", optimizer)):
        target.load_state_dict({key.removeprefix(part): state[key] for key in state if key.startswith(part)})
    rng.bit_generator.state = ast.literal_eval(str(state["rng"]))
    return int(state["step"])


@pytest.mark.parametrize(
    "optimizer_class",
    [
        lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda p: Adam(p, 0.01, weight_decay=1e-3),
    ],
    ids=["SGD", "Adam"],
)
def test_training_resumed_from_a_checkpoint_ends_with_the_same_bits(tmp_path, optimizer_class):
    never_interrupted = make(optimizer_class)
    train(*never_interrupted, steps=50)

    before = make(optimizer_class)
    train(*before, steps=20)
    save_checkpoint(tmp_path / "checkpoint.npz", *before, step=20)
    resumed = make(optimizer_class)
    step = load_checkpoint(tmp_path / "checkpoint.npz", *resumed)
    train(*resumed, steps=50 - step)

    for name, array in never_interrupted[0].state_dict().items():
        np.testing.assert_array_equal(resumed[0].state_dict()[name], array, err_msg=name)


# Extreme numbers: finite where the mathematics is finite.


def batch_norm_gradients(x, g):
    layer, x = BatchNorm1d(x.shape[1]), Tensor(x, requires_grad=True)
    y = layer(x)
    y.backward(g)
    return {"y": y.data, "d_x": x.grad, "d_weight": layer.weight.grad, "mean": layer.running_mean}


@pytest.mark.parametrize("size", [2, 60])
@pytest.mark.parametrize("column", [0.0, 1.0, -3.5, 1e-30, 1e15])
def test_a_constant_column_in_float32_gives_finite_numbers(column, size):
    x = np.full((size, 2), column, np.float32)
    g = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    for name, array in batch_norm_gradients(x, g).items():
        assert np.isfinite(array).all(), name


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e-2, 1.0, 1e10, 1e18])
def test_a_batch_of_two_is_normalized_at_any_scale_whose_square_float32_holds(scale):
    y = BatchNorm1d(1)(np.float32([[scale], [-scale]])).data
    expected = scale / np.sqrt(scale**2 + 1e-5)
    np.testing.assert_allclose(y, [[expected], [-expected]], rtol=1e-5)


def test_a_variance_that_float32_cannot_hold_warns_and_gives_beta():
    with pytest.warns(RuntimeWarning, match="overflow"):
        arrays = batch_norm_gradients(np.float32([[1e30], [-1e30]]), np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(arrays["y"], 0)
    assert np.isfinite(arrays["d_x"]).all()


@pytest.mark.parametrize("value", [0.0, 1e30, -1e30, 3e38])
def test_all_equal_logits_give_the_loss_of_guessing(value):
    logits = Tensor(np.full((3, 4), value, np.float32), requires_grad=True)
    loss = cross_entropy(logits, [0, 1, 2])
    loss.backward()
    np.testing.assert_allclose(loss.item(), np.log(4), rtol=1e-6)
    np.testing.assert_allclose(logits.grad.sum(1), 0, atol=1e-7)


def test_a_logit_of_minus_infinity_is_a_class_of_probability_zero():
    logits = Tensor([[-np.inf, 0.0, 0.0]], requires_grad=True)
    loss = cross_entropy(logits, [1])
    loss.backward()
    np.testing.assert_allclose(loss.item(), np.log(2))
    np.testing.assert_allclose(logits.grad, [[0, -0.5, 0.5]])


def damaged(whole: bytes, rng) -> bytes:
    """Cut off somewhere, or with one to four bits flipped."""
    if rng.random() < 0.3:
        return whole[: rng.integers(len(whole))]
    changed = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def files(tmp_path):
    """A file of each format, with the function that reads it and what it should read."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (20, 4, 4)).astype(np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in images.shape)
    arrays = {"0.weight": rng.normal(size=(3, 4)), "1.num_batches_tracked": np.array(7)}
    np.savez_compressed(tmp_path / "compressed.npz", **arrays)
    save_arrays(tmp_path / "model.npz", arrays)
    (tmp_path / "images").write_bytes(header + images.tobytes())
    (tmp_path / "images.gz").write_bytes(gzip.compress(header + images.tobytes()))
    return {
        "model.npz": (load_arrays, arrays),
        "compressed.npz": (load_arrays, arrays),
        "images": (lambda path: {"images": read_idx(path, 3)}, {"images": images}),
        "images.gz": (lambda path: {"images": read_idx(path, 3)}, {"images": images}),
    }


@pytest.mark.slow
def test_a_thousand_damaged_files_are_refused_by_name_or_read_right(tmp_path):
    rng, refused = np.random.default_rng(1), 0
    tracemalloc.start()
    for name, (read, expected) in files(tmp_path).items():
        path, whole = tmp_path / name, (tmp_path / name).read_bytes()
        for _ in range(250):
            path.write_bytes(damaged(whole, rng))
            try:
                arrays = read(path)
            except ValueError as error:
                assert name in str(error)
                refused += 1
                continue
            if name == "images":  # plain bytes have no checksum: a changed pixel is a changed pixel
                assert arrays["images"].shape == (20, 4, 4)
                continue
            for key in arrays.keys() & expected.keys():
                np.testing.assert_array_equal(arrays[key], expected[key])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > 500
    assert peak < 50e6
