"""Compute reference values with Keras 3's BatchNormalization and store them in keras.npz beside this file.

    pip install tensorflow-cpu
    python tests/golden/make_keras.py

Keras 3's ``momentum`` is the weight of the old value (here ``1 - momentum``), its epsilon is 1e-3, and its moving
variance averages the *biased* batch variance, where PyTorch and the paper take the unbiased one (m/(m-1)).
"""

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

RNG = np.random.default_rng(20261121)
SHAPES = {"2": (3,), "3": (4, 3), "4": (2, 3, 3)}  # number of axes: the shape of one sample, channels last
BATCHES = [("train", 5), ("train", 4), ("eval", 3), ("train", 6), ("eval", 1)]


def batch_norm(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A sequence of batches through the layer with its own defaults, and gamma and beta that aren't 1 and 0."""
    layer = keras.layers.BatchNormalization(dtype="float64")
    layer.build((None, *shape))
    gamma, beta = RNG.normal(1, 0.5, 3), RNG.normal(0, 1, 3)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    golden = {"gamma": gamma, "beta": beta}
    for number, (mode, size) in enumerate(BATCHES):
        x, g = tf.Variable(RNG.normal(0.5, 1.5, (size, *shape))), RNG.normal(0, 1, (size, *shape))
        with tf.GradientTape() as tape:
            y = layer(x, training=mode == "train")
            loss = tf.reduce_sum(y * g)
        d_x, d_gamma, d_beta = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
        arrays = {"x": x, "g": g, "y": y, "d_x": d_x, "d_gamma": d_gamma, "d_beta": d_beta}
        arrays |= {"moving_mean": layer.moving_mean, "moving_variance": layer.moving_variance}
        golden |= {f"{number}/{name}": np.asarray(value).copy() for name, value in arrays.items()}
    return golden


if __name__ == "__main__":
    golden = {f"{axes}/{name}": value for axes, shape in SHAPES.items() for name, value in batch_norm(shape).items()}
    path = Path(__file__).with_name("keras.npz")
    np.savez_compressed(path, **golden)
    print(f"Keras {keras.__version__}: {len(golden)} arrays, {path.stat().st_size / 1000:.0f} kB in {path.name}")
