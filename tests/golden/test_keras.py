"""minigrad's BatchNorm, channels last, against values that Keras computed (make_keras.py makes them)."""

from pathlib import Path

import numpy as np
import pytest

from layers import BatchNorm1d, BatchNorm2d, load_arrays
from minigrad import Tensor

GOLDEN = load_arrays(Path(__file__).with_name("keras.npz"))
LAYERS = {"2": BatchNorm1d, "3": BatchNorm1d, "4": BatchNorm2d}
MODES = ("train", "train", "eval", "train", "eval")


@pytest.mark.parametrize("axes", LAYERS)
def test_batch_norm_with_keras_defaults_agrees_with_keras(axes):
    golden = {key.removeprefix(f"{axes}/"): value for key, value in GOLDEN.items() if key.startswith(f"{axes}/")}
    # Keras's momentum=0.99 is the weight of the old value.
    layer = LAYERS[axes](3, eps=1e-3, momentum=1 - 0.99, channels_last=True, dtype=np.float64)
    layer.weight.data, layer.bias.data = golden["gamma"], golden["beta"]
    for number, mode in enumerate(MODES):
        x = Tensor(golden[f"{number}/x"], requires_grad=True)
        before = layer.running_var.copy()
        layer.train(mode == "train").zero_grad()
        y = layer(x)
        y.backward(golden[f"{number}/g"])
        if mode == "train":
            # Keras averages the biased variances: take the factor m / (m - 1) out of what this batch added.
            m, kept = x.size // 3, 0.99 * before
            layer.running_var[...] = kept + (layer.running_var - kept) * (m - 1) / m
        ours = {"y": y.data, "d_x": x.grad, "d_gamma": layer.weight.grad, "d_beta": layer.bias.grad}
        ours |= {"moving_mean": layer.running_mean, "moving_variance": layer.running_var}
        for name, array in ours.items():
            np.testing.assert_allclose(array, golden[f"{number}/{name}"], rtol=1e-10, atol=1e-10, err_msg=name)
