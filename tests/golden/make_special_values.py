"""Compute what PyTorch makes of zeros, infinities and nans, and store it in special_values.npz beside this file.

    pip install torch==2.13.0        # the CPU build
    python tests/golden/make_special_values.py

A function of one operand is computed on all of ``VALUES``, one of two on all pairs of them, one along an axis on all
pairs as rows of two; with each of ``GRADIENTS`` as the gradient of the result. Keys are paths: ``float32/power/y``,
``float32/power/d_x``, ``.../d_y``, the last two with one row for each gradient.
"""

from pathlib import Path

import numpy as np
import torch

VALUES = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.5, np.inf, -np.inf, np.nan]
GRADIENTS = [1.0, -3.0, 0.0, np.inf, np.nan]
ONE_OPERAND = {
    **{name: getattr(torch, name) for name in ("negative", "exp", "log", "sqrt", "abs", "tanh", "sigmoid", "relu")},
    "clip": lambda x: torch.clamp(x, -0.5, 1.0),
    "clip-below": lambda x: torch.clamp(x, min=-0.5),
    "clip-above": lambda x: torch.clamp(x, max=1.0),
}
TWO_OPERANDS = {
    **{name: getattr(torch, name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")},
    "power": torch.pow,
    "where": lambda x, y: torch.where(torch.arange(x.numel()) % 3 == 0, x, y),
}
ALONG_ROWS = {
    "sum": lambda x: torch.sum(x, 1),
    "mean": lambda x: torch.mean(x, 1),
    "var": lambda x: torch.var(x, 1, correction=0),
    "max": lambda x: torch.amax(x, 1),
    "min": lambda x: torch.amin(x, 1),
    "softmax": lambda x: torch.softmax(x, 1),
    "log_softmax": lambda x: torch.log_softmax(x, 1),
}


def results(function, inputs: list[torch.Tensor]) -> list[np.ndarray]:
    """The value, and each input's gradients with a row for each gradient of the result."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    y = function(*inputs)
    by_gradient = [torch.autograd.grad(y, inputs, torch.full_like(y, g), retain_graph=True) for g in GRADIENTS]
    return [y.detach().numpy(), *(torch.stack(rows).numpy() for rows in zip(*by_gradient, strict=True))]


def main() -> None:
    golden = {"values": np.array(VALUES), "gradients": np.array(GRADIENTS)}
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor(VALUES, dtype=dtype)
        left, right = x.repeat_interleave(len(x)), x.repeat(len(x))
        cases = [(name, function, [x]) for name, function in ONE_OPERAND.items()]
        cases += [(name, function, [left, right]) for name, function in TWO_OPERANDS.items()]
        cases += [(name, function, [torch.stack([left, right], 1)]) for name, function in ALONG_ROWS.items()]
        for name, function, inputs in cases:
            for part, array in zip(("y", "d_x", "d_y"), results(function, inputs), strict=False):
                golden[f"{str(dtype).removeprefix('torch.')}/{name}/{part}"] = array
    np.savez_compressed(Path(__file__).with_name("special_values.npz"), **golden)


if __name__ == "__main__":
    main()
