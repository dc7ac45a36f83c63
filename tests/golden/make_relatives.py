"""Compute reference values for lesson 12 with PyTorch and store them in relatives.npz beside this file.

    pip install torch==2.13.0        # the CPU build
    python tests/golden/make_relatives.py

Everything is computed in float64. A case is ``name/shape``; it holds x, g (the gradient of the result), y and d_x, for
the convolution also d_weight and d_bias. The shapes have equal axis lengths, and lengths of 1.
"""

from pathlib import Path

import numpy as np
import torch

GOLDEN = {}
RNG = np.random.default_rng(20261121)
F = torch.nn.functional
UNITS, IMAGES = ((4, 4), (1, 4), (3, 8)), ((4, 4, 4, 4), (1, 4, 2, 2), (3, 4, 1, 2), (2, 8, 3, 3))
FUNCTIONS = {
    "layer_norm": (lambda x: F.layer_norm(x, x.shape[1:]), UNITS + IMAGES),
    "group_norm_1": (lambda x: F.group_norm(x, 1), UNITS + IMAGES),
    "group_norm_2": (lambda x: F.group_norm(x, 2), UNITS + IMAGES),
    "instance_norm": (F.instance_norm, IMAGES),
}


def random(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RNG.normal(0.5, 1.5, shape)).requires_grad_()


def put(case: str, function, **inputs: torch.Tensor) -> None:
    """Store the inputs, the result, a random gradient of it, and the gradients of all inputs."""
    y = function(*inputs.values())
    g = random(*y.shape).detach()
    y.backward(g)
    arrays = {"y": y, "g": g, **inputs, **{f"d_{name}": tensor.grad for name, tensor in inputs.items()}}
    GOLDEN.update({f"{case}/{name}": tensor.detach().numpy().copy() for name, tensor in arrays.items()})


def relatives() -> None:
    for name, (function, shapes) in FUNCTIONS.items():
        for shape in shapes:
            put(f"{name}/{'x'.join(map(str, shape))}", function, x=random(*shape))


def convolution() -> None:
    """A 3 x 3 convolution with a border of zeros, and the same with BatchNorm2d in training after it."""
    for shape in IMAGES:
        name = "x".join(map(str, shape))
        inputs = {"x": random(*shape), "weight": random(5, shape[1], 3, 3), "bias": random(5)}
        put(f"convolution/{name}", lambda x, w, b: F.conv2d(x, w, b, padding=1), **inputs)
        norm = torch.nn.BatchNorm2d(5, dtype=torch.float64)
        inputs = {key: tensor.detach().clone().requires_grad_() for key, tensor in inputs.items()}
        put(f"convolution_bn/{name}", lambda x, w, b, norm=norm: norm(F.conv2d(x, w, b, padding=1)), **inputs)
        GOLDEN[f"convolution_bn/{name}/running_var"] = norm.running_var.numpy().copy()


if __name__ == "__main__":
    relatives()
    convolution()
    path = Path(__file__).with_name("relatives.npz")
    np.savez_compressed(path, **GOLDEN)
    print(f"PyTorch {torch.__version__}: {len(GOLDEN)} arrays, {path.stat().st_size / 1000:.0f} kB in {path.name}")
