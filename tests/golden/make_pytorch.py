"""Compute reference values with PyTorch and store them in pytorch.npz beside this file; the tests need only that file.

    pip install torch==2.13.0        # the CPU build
    python tests/golden/make_pytorch.py

Everything is computed in float64. Keys are paths, such as ``functions/relu/d_x0``; what goes in is stored as well as
what comes out, so that a test reads a case without repeating how it was made.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import nn

GOLDEN = {}
SHAPES = {"1d": (3,), "1d-sequence": (3, 4), "2d": (3, 2, 3), "3d": (3, 2, 1, 2)}
LAYERS = {"1d": nn.BatchNorm1d, "1d-sequence": nn.BatchNorm1d, "2d": nn.BatchNorm2d, "3d": nn.BatchNorm3d}
BATCHES = [("train", 5), ("train", 2), ("eval", 3), ("train", 4), ("eval", 1)]


def random(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RNG.normal(0.5, 1.5, shape))


RNG = np.random.default_rng(20261121)


def put(key: str, value) -> None:
    GOLDEN[key] = value.detach().numpy().copy() if isinstance(value, torch.Tensor) else np.array(value)


def batch_norm() -> None:
    """Sequences of training and evaluation batches of different sizes, over all settings.

    A case is one flat array: for each batch y, d_x, then d_weight and d_bias if affine, then running_mean,
    running_var and num_batches_tracked if they are kept.
    """
    for kind, shape in SHAPES.items():
        for number, (_, size) in enumerate(BATCHES):
            put(f"batchnorm-inputs/{kind}/{number}/x", random(size, *shape))
            put(f"batchnorm-inputs/{kind}/{number}/g", random(size, *shape))
    put("batchnorm-inputs/weight", random(3))
    put("batchnorm-inputs/bias", random(3))
    for kind, affine, track, momentum, eps in itertools.product(
        SHAPES, (True, False), (True, False), (0.1, 0.7, None), (1e-5, 1e-3)
    ):
        layer = LAYERS[kind](3, eps, momentum, affine, track, dtype=torch.float64)
        put(f"batchnorm/{kind}/{affine}/{track}/{momentum}/{eps}", run_through_batches(layer, kind))


def batch_norm_without_bias() -> None:
    """The same for layers that learn gamma and no beta: ``bias=False``."""
    for kind, track, momentum in itertools.product(SHAPES, (True, False), (0.1, None)):
        layer = LAYERS[kind](3, 1e-3, momentum, True, track, bias=False, dtype=torch.float64)
        put(f"batchnorm-without-bias/{kind}/{track}/{momentum}", run_through_batches(layer, kind))
    put("batchnorm-without-bias/keys", list(nn.BatchNorm1d(3, bias=False).state_dict()))


def run_through_batches(layer: nn.Module, kind: str) -> torch.Tensor:
    """All results of a case in one array: many small ones would be mostly file format."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter[:] = torch.from_numpy(GOLDEN[f"batchnorm-inputs/{name}"])
    results = []
    for number, (mode, _) in enumerate(BATCHES):
        x = torch.tensor(GOLDEN[f"batchnorm-inputs/{kind}/{number}/x"], requires_grad=True)
        if mode == "eval" and not layer.track_running_stats and x.numel() == x.shape[1]:
            continue  # normalizing with the batch, PyTorch refuses one value a channel
        layer.train(mode == "train")
        layer.zero_grad()
        y = layer(x)
        y.backward(torch.from_numpy(GOLDEN[f"batchnorm-inputs/{kind}/{number}/g"]))
        for result in (y, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()):
            results.append(result.detach().double().ravel().clone())
    return torch.cat(results)


def functions() -> None:
    """Linear, the activations, cross-entropy and mean squared error, with the gradients of all that goes in."""
    f = nn.functional
    rising = torch.linspace(-40, 40, 33, dtype=torch.float64).reshape(3, 11)
    logits = torch.tensor(
        [[1e4, -1e4, 0.0], [-1e30, 0.0, 1e30], [700.0, 710.0, 720.0], [-torch.inf, 0.0, 1.0], [2.0, 2.0, 2.0]],
        dtype=torch.float64,
    )
    targets = torch.tensor([0, 2, 1, 1, 0])
    cases = {
        "linear": (f.linear, random(4, 3), random(2, 3), random(2)),
        "linear-sequence": (f.linear, random(2, 4, 3), random(2, 3), random(2)),
        "linear-without-bias": (f.linear, random(4, 3), random(2, 3)),
        "relu": (f.relu, rising),
        "sigmoid": (f.sigmoid, rising),
        "tanh": (f.tanh, rising),
        "softmax": (lambda x: f.softmax(x, 1), logits[[0, 1, 2, 4]]),
        "log_softmax": (lambda x: f.log_softmax(x, 1), logits[[0, 1, 2, 4]]),
        "cross_entropy": (lambda x: f.cross_entropy(x, targets), logits),
        "cross_entropy-random": (lambda x: f.cross_entropy(x, targets), random(5, 3)),
        "mse_loss": (f.mse_loss, random(4, 3), random(4, 3)),
        "amax": (lambda x: torch.amax(x, 1), TIES),
        "amin": (lambda x: torch.amin(x, 1), TIES),
        "relu-ties": (f.relu, TIES),
        "abs-ties": (torch.abs, TIES),
        "maximum": (torch.maximum, TIES, TIES.flip(1)),
        "minimum": (torch.minimum, TIES, TIES.flip(1)),
        "clip-ties": (lambda x: torch.clamp(x, -1, 1), TIES),
    }
    put("functions/cross_entropy/targets", targets)
    for name, (function, *inputs) in cases.items():
        inputs = [x.clone().requires_grad_() for x in inputs]
        y = function(*inputs)
        g = random(*y.shape)
        y.backward(g)
        put(f"functions/{name}/y", y)
        put(f"functions/{name}/g", g)
        for i, x in enumerate(inputs):
            put(f"functions/{name}/x{i}", x)
            put(f"functions/{name}/d_x{i}", x.grad)


TIES = torch.tensor(
    [[1, 2, 2, -1], [0, 0, 0, 0], [-1, -2, -1, -1], [3, 1, 3, 3]],
    dtype=torch.float64,
)


def dropout() -> None:
    """PyTorch's mask is its own, but what it does with a mask can be compared."""
    torch.manual_seed(0)
    x = random(6, 5).requires_grad_()
    y = nn.Dropout(0.3)(x)
    y.backward(torch.ones_like(y))
    for name, value in {"x": x, "y": y, "d_x": x.grad}.items():
        put(f"dropout/{name}", value)


def optimizers() -> None:
    """Twenty steps on a quadratic with a different minimum and steepness for each value."""
    cases = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
        "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        "sgd-nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
        "sgd-decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, weight_decay=0.1),
        "adam": lambda p: torch.optim.Adam(p, lr=0.1),
        "adam-betas": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
    }
    start, minimum, steepness = random(3, 2), random(3, 2), torch.from_numpy(RNG.uniform(0.5, 3, (3, 2)))
    for name, value in {"start": start, "minimum": minimum, "steepness": steepness}.items():
        put(f"optimizers/{name}", value)
    for name, make in cases.items():
        p = start.clone().requires_grad_()
        optimizer, path = make([p]), []
        for _ in range(20):
            optimizer.zero_grad()
            (steepness * (p - minimum) ** 2).sum().backward()
            optimizer.step()
            path.append(p.detach().clone())
        put(f"optimizers/{name}/path", torch.stack(path))


def travelling_weights() -> None:
    """A trained Linear-BatchNorm1d-ReLU-Linear network's own state dict and what it computes in evaluation."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        model(random(16, 4).float()).square().mean().backward()
        optimizer.step()
    x = random(7, 4).float()
    for name, value in model.state_dict().items():
        put(f"weights/state/{name}", value)
    put("weights/x", x)
    put("weights/y", model.eval()(x))


if __name__ == "__main__":
    for make in (batch_norm, functions, dropout, optimizers, travelling_weights, batch_norm_without_bias):
        make()
    path = Path(__file__).with_name("pytorch.npz")
    np.savez_compressed(path, **GOLDEN)
    print(f"PyTorch {torch.__version__}: {len(GOLDEN)} arrays, {path.stat().st_size / 1000:.0f} kB in {path.name}")
