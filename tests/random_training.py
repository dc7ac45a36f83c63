"""Random networks in training and random optimizers, to compare with the plain formulas and with PyTorch.

A network is a list of layers: every layer that there is, nested, in every mode, with some parameters frozen. It is
trained for some steps with SGD or Adam, and compared after each, parameter by parameter. The plain version has the
layers composed of primitives and the optimizers as their documented formulas. Optimizers are tried alone as well, with
gradients of extreme sizes, and without some.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import random_arrays
from random_arrays import Rng, agree, size_of

import layers
import minigrad as mg
from minigrad import Tensor
from minigrad.optim import SGD, Adam

ACTIVATIONS = {"ReLU": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}


class Layer(NamedTuple):
    """A layer of a network: the class's name, its arguments, and whether it is in training mode."""

    name: str
    arguments: tuple = ()
    settings: dict[str, Any] = {}
    training: bool = True


class Training(NamedTuple):
    """A network, its batches and its optimizer."""

    layers: list[Layer]
    batches: list[np.ndarray]
    targets: list[np.ndarray]
    loss: str
    optimizer: str
    settings: dict[str, Any]
    frozen: int  # the number of a parameter that requires no gradient, counted modulo their number
    seed: int  # of the initial weights


class Scale(layers.Module):
    """A layer of one's own: y = x * factor."""

    def __init__(self, features: int) -> None:
        self.factor = layers.Parameter(np.linspace(0.5, 1.5, features))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def make(seed: int) -> Training:
    """The training of a seed."""
    rng = np.random.default_rng([seed, 2])
    shape = (int(rng.integers(3, 6)), *random_arrays.shape(rng, int(rng.integers(1, 5))))
    loss = str(rng.choice(["cross_entropy", "mse_loss"]))
    stack, out = draw_layers(rng, shape, int(rng.integers(1, 6)))
    if loss == "cross_entropy":
        if len(out) > 2:
            stack.append(Layer("Flatten"))
            out = (out[0], int(np.prod(out[1:])))
        stack.append(Layer("Linear", (out[1], 3), {"bias": True}))
    else:
        stack.append(Layer("Linear", (out[-1], 2), {"bias": bool(rng.random() < 0.5)}))
        out = (*out[:-1], 2)
    steps = int(rng.integers(1, 5))
    batches = [random_arrays.lay_out(rng, rng.normal(0, 1, shape), 0.3, random_arrays.WRITEABLE) for _ in range(steps)]
    targets = [rng.integers(0, 3, out[0]) if loss == "cross_entropy" else rng.normal(0, 1, out) for _ in range(steps)]
    optimizer, settings = draw_optimizer(rng)
    if optimizer == "Adam":
        settings["eps"] = 1e-3  # a bias before BatchNorm has gradients that are rounding noise, not to be scaled to 1
    return Training(stack, batches, targets, loss, optimizer, settings, int(rng.integers(0, 20)), seed)


def draw_layers(rng: Rng, shape: tuple[int, ...], count: int) -> tuple[list[Layer], tuple[int, ...]]:
    """Some layers that fit after each other, and the shape that comes out."""
    stack: list[Layer] = []
    for _ in range(count):
        kind = rng.choice(["Linear", "BatchNorm", "BatchNorm", "activation", "Dropout", "Flatten", "Scale", "nested"])
        if kind == "Linear":
            features = int(rng.integers(2, 5))
            stack.append(Layer("Linear", (shape[-1], features), {"bias": bool(rng.random() < 0.8)}))
            shape = (*shape[:-1], features)
        elif kind == "BatchNorm":
            stack.append(draw_norm(rng, shape))
        elif kind == "activation":
            stack.append(Layer(str(rng.choice(list(ACTIVATIONS)))))
        elif kind == "Dropout":
            stack.append(Layer("Dropout", (0.5,), training=False) if rng.random() < 0.5 else Layer("Dropout", (0.0,)))
        elif kind == "Flatten":
            stack.append(Layer("Flatten"))
            shape = (shape[0], int(np.prod(shape[1:])))
        elif kind == "Scale":
            stack.append(Layer("Scale", (shape[-1],)))
        else:
            inside, shape = draw_layers(rng, shape, int(rng.integers(0, 3)))
            stack.append(Layer("Sequential", tuple(inside)))
    return stack, shape


def draw_norm(rng: Rng, shape: tuple[int, ...]) -> Layer:
    name = "BatchNorm1d" if len(shape) < 4 else f"BatchNorm{len(shape) - 2}d"
    channels_last = bool(rng.random() < 0.5)
    settings = {
        "eps": float(rng.choice([1e-3, 0.1])),
        "momentum": [None, 0.1, 1.0][rng.integers(3)],
        "affine": bool(rng.random() < 0.7),
        "track_running_stats": bool(rng.random() < 0.8),
        "channels_last": channels_last,
    }
    return Layer(name, (shape[-1 if channels_last else 1],), settings, bool(rng.random() < 0.7))


def draw_optimizer(rng: Rng) -> tuple[str, dict[str, Any]]:
    weight_decay = float(rng.choice([0, 0, 0.1]))
    lr = float(rng.choice([0, 0.01, 0.1, 0.3]))
    if rng.random() < 0.5:
        momentum = float(rng.choice([0, 0.5, 0.9, 1]))
        nesterov = bool(momentum and rng.random() < 0.5)
        return "SGD", {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
    betas = [(0.9, 0.999), (0.0, 0.0), (0.5, 0.5), (0.0, 0.999), (0.9, 0.0)][rng.integers(5)]
    eps = float(rng.choice([1e-8, 1e-3]))
    return "Adam", {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}


class Ours:
    """A training in minigrad."""

    def __init__(self, training: Training) -> None:
        self.model = build(training.layers, np.random.default_rng(training.seed)).astype(np.float64)
        rng = np.random.default_rng([training.seed, 3])
        for name, array in self.model.named_buffers():
            if name.endswith("running_var"):
                array[...] = rng.uniform(0.5, 2, array.shape)
        parameters = list(self.model.parameters())
        parameters[training.frozen % (2 * len(parameters)) // 2].requires_grad = training.frozen % 2 == 0
        self.loss = getattr(layers, training.loss)
        self.optimizer = {"SGD": SGD, "Adam": Adam}[training.optimizer](parameters, **training.settings)

    def step(self, x: np.ndarray, target: np.ndarray) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), target)
        if loss.requires_grad:
            loss.backward()
            self.optimizer.step()
        return loss.item()

    def state(self) -> dict[str, np.ndarray]:
        return self.model.state_dict()


def build(stack: list[Layer] | tuple[Layer, ...], rng: Rng) -> layers.Sequential:
    """The network in minigrad."""
    modules = []
    for layer in stack:
        if layer.name == "Sequential":
            module = build(layer.arguments, rng)
        elif layer.name == "Scale":
            module = Scale(*layer.arguments)
        else:
            seeded = {"rng": rng} if layer.name in ("Linear", "Dropout") else {}
            module = getattr(layers, layer.name)(*layer.arguments, **layer.settings, **seeded)
            module.train(layer.training)
        modules.append(module)
    return layers.Sequential(*modules)


class Plain:
    """The same with the layers composed of primitives, and the optimizers' formulas in NumPy."""

    def __init__(self, training: Training, start: Ours) -> None:
        self.training, self.buffers = training, dict(start.state())
        self.parameters = {}
        for name, p in start.model.named_parameters():
            self.parameters[name] = Tensor(self.buffers.pop(name), requires_grad=p.requires_grad)
        optimizer = {"SGD": PlainSGD, "Adam": PlainAdam}[training.optimizer]
        self.optimizers = {name: optimizer(**training.settings) for name in self.parameters}
        self.batch_statistics: dict[str, list] = {}

    def step(self, x: np.ndarray, target: np.ndarray) -> float:
        y = self.forward(self.training.layers, Tensor(x))
        if self.training.loss == "cross_entropy":
            loss = -mg.log_softmax(y, 1)[np.arange(len(target)), target].mean()
        else:
            loss = ((y - target) ** 2).mean()
        if loss.requires_grad:
            loss.backward()
        for name, p in self.parameters.items():
            if p.grad is not None:
                p = self.parameters[name] = Tensor(self.optimizers[name].step(p.data, p.grad), requires_grad=True)
        return loss.item()

    def forward(self, stack: list[Layer] | tuple[Layer, ...], x: Tensor, prefix: str = "") -> Tensor:
        for position, layer in enumerate(stack):
            x = self.apply(layer, x, f"{prefix}{position}.")
        return x

    def apply(self, layer: Layer, x: Tensor, prefix: str) -> Tensor:
        weight, bias = (self.parameters.get(prefix + name) for name in ("weight", "bias"))
        if layer.name == "Linear":
            y = x @ weight.T
            return y if bias is None else y + bias
        if layer.name == "Scale":
            return x * self.parameters[prefix + "factor"]
        if layer.name == "Flatten":
            return x.reshape(len(x), -1)
        if layer.name == "Sequential":
            return self.forward(layer.arguments, x, prefix)
        if layer.name in ACTIVATIONS:
            return getattr(mg, ACTIVATIONS[layer.name])(x)
        return x if layer.name == "Dropout" else self.normalize(layer, x, weight, bias, prefix)

    def normalize(self, layer: Layer, x: Tensor, weight: Tensor | None, bias: Tensor | None, prefix: str) -> Tensor:
        axis = x.ndim - 1 if layer.settings["channels_last"] else 1
        order = (*(i for i in range(x.ndim) if i != axis), axis)
        u = x.transpose(order)
        axes = tuple(range(u.ndim - 1))
        tracked = layer.settings["track_running_stats"]
        if layer.training or not tracked:
            mean, var = u.mean(axes), u.var(axes)
        else:
            mean, var = self.buffers[prefix + "running_mean"], self.buffers[prefix + "running_var"]
        y = (u - mean) / mg.sqrt(var + layer.settings["eps"])
        if layer.training and tracked:
            self.update(layer, mean.data, u.data.var(axes, ddof=1), prefix)
        if weight is not None:
            y = y * weight + bias
        return y.transpose(tuple(int(i) for i in np.argsort(order)))

    def update(self, layer: Layer, mean: np.ndarray, var: np.ndarray, prefix: str) -> None:
        """The running statistics."""
        self.buffers[prefix + "num_batches_tracked"] = self.buffers[prefix + "num_batches_tracked"] + 1
        w = layer.settings["momentum"]
        w = 1 / self.buffers[prefix + "num_batches_tracked"] if w is None else w
        for name, new in (("running_mean", mean), ("running_var", var)):
            self.buffers[prefix + name] = (1 - w) * self.buffers[prefix + name] + w * new

    def state(self) -> dict[str, np.ndarray]:
        return {**self.buffers, **{name: p.data for name, p in self.parameters.items()}}


class PlainSGD:
    """The formulas in the docstring of SGD, for one parameter."""

    def __init__(self, lr: float, momentum: float, weight_decay: float, nesterov: bool) -> None:
        self.lr, self.momentum, self.weight_decay, self.nesterov = lr, momentum, weight_decay, nesterov
        self.v = None

    def step(self, p: np.ndarray, g: np.ndarray) -> np.ndarray:
        if self.weight_decay:
            g = g + self.weight_decay * p
        self.v = g if self.v is None else self.momentum * self.v + g
        if not self.momentum:
            return p - self.lr * g
        return p - self.lr * (g + self.momentum * self.v if self.nesterov else self.v)


class PlainAdam:
    """The formulas in the docstring of Adam, for one parameter."""

    def __init__(self, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.m = self.v = self.t = 0

    def step(self, p: np.ndarray, g: np.ndarray) -> np.ndarray:
        if self.weight_decay:
            g = g + self.weight_decay * p
        (beta1, beta2), self.t = self.betas, self.t + 1
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g**2
        return p - self.lr * (self.m / (1 - beta1**self.t)) / (np.sqrt(self.v / (1 - beta2**self.t)) + self.eps)


class Theirs:
    """The same in PyTorch."""

    def __init__(self, training: Training, start: Ours) -> None:
        import torch

        self.model = build_in_torch(training.layers).double()
        self.model.load_state_dict({name: torch.tensor(array) for name, array in start.state().items()})
        set_modes(self.model, training.layers)
        ours = dict(start.model.named_parameters())
        for name, p in self.model.named_parameters():
            p.requires_grad_(ours[name].requires_grad)
        self.loss = getattr(torch.nn.functional, training.loss)
        self.optimizer = getattr(torch.optim, training.optimizer)(self.model.parameters(), **training.settings)

    def step(self, x: np.ndarray, target: np.ndarray) -> float:
        import torch

        self.optimizer.zero_grad()
        loss = self.loss(self.model(torch.tensor(x.copy())), torch.tensor(target))
        if loss.requires_grad:
            loss.backward()
        self.optimizer.step()
        return loss.item()

    def state(self) -> dict[str, np.ndarray]:
        return {name: z.numpy() for name, z in self.model.state_dict().items()}


def build_in_torch(stack: list[Layer] | tuple[Layer, ...]) -> Any:
    """The network in PyTorch; a layer with channels last is one that moves them."""
    import torch

    class TorchScale(torch.nn.Module):
        def __init__(self, features):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.zeros(features))

        def forward(self, x):
            return x * self.factor

    modules = []
    for layer in stack:
        settings = {name: value for name, value in layer.settings.items() if name != "channels_last"}
        if layer.name == "Sequential":
            modules.append(build_in_torch(layer.arguments))
        elif layer.name == "Scale":
            modules.append(TorchScale(*layer.arguments))
        else:
            modules.append(getattr(torch.nn, layer.name)(*layer.arguments, **settings))
        if layer.settings.get("channels_last"):
            modules[-1].register_forward_pre_hook(lambda module, inputs: (inputs[0].movedim(-1, 1),))
            modules[-1].register_forward_hook(lambda module, inputs, y: y.movedim(1, -1))
    return torch.nn.Sequential(*modules)


def set_modes(model: Any, stack: list[Layer] | tuple[Layer, ...]) -> None:
    for module, layer in zip(model, stack, strict=True):
        if layer.name == "Sequential":
            set_modes(module, layer.arguments)
        else:
            module.train(layer.training)


def compare(training: Training, reference: type[Plain] | type[Theirs]) -> Counter[str]:
    """Train both, compare loss, parameters and buffers after each step, then try the tools; returns counts."""
    ours = Ours(training)
    other = reference(training, ours)
    for number, (x, target) in enumerate(zip(training.batches, training.targets, strict=True), 1):
        loss, expected_loss = np.asarray(ours.step(x, target)), np.asarray(other.step(x, target))
        agree(f"loss of step {number}", loss, expected_loss, 1e-7 * size_of(expected_loss))
        state, expected = ours.state(), other.state()
        if set(state) != set(expected):
            raise random_arrays.Disagreement(f"state has {sorted(state)}, expected {sorted(expected)}")
        for name, array in expected.items():
            agree(f"{name} after step {number}", state[name], array, 1e-7 * size_of(array))
    check_tools(ours.model, training)
    return Counter({"layer calls": len(training.batches) * count_layers(training.layers)}) + Counter(
        {"optimizer steps": len(training.batches)}
    )


def count_layers(stack: list[Layer] | tuple[Layer, ...]) -> int:
    return sum(count_layers(layer.arguments) if layer.name == "Sequential" else 1 for layer in stack)


def check_tools(model: layers.Sequential, training: Training) -> None:
    """What works on models: update_bn and fold_batchnorm always, files for some of the seeds."""
    norms = [m for m in model.modules() if "BatchNorm" in type(m).__name__ and m.track_running_stats]
    if norms:
        modes = [m.training for m in model.modules()]
        expected = plain_update_bn(model, training)
        layers.update_bn(model, training.batches)
        for name, array in model.named_buffers():
            agree(f"{name} after update_bn", array, expected[name], 1e-9 * size_of(expected[name]))
        if modes != [m.training for m in model.modules()]:
            raise random_arrays.Disagreement("update_bn left other modes")
    x = training.batches[0]
    expected = model.eval()(x).data
    # Channels first of (N, C, L) after a Linear: fold_batchnorm can't know, its docstring says so.
    foldable = all(m.channels_last or x.ndim == 2 for m in norms)
    if foldable and len(norms) == sum("BatchNorm" in type(m).__name__ for m in model.modules()):
        agree("fold_batchnorm(model)(x)", layers.fold_batchnorm(model)(x).data, expected, 1e-8 * size_of(expected))
    if training.seed % 25 == 0:
        check_files(model, build(training.layers, np.random.default_rng(0)).astype(np.float64))


def plain_update_bn(model: layers.Sequential, training: Training) -> dict[str, np.ndarray]:
    """The averages of all batches' statistics: what momentum None gives, from the beginning."""

    def averaging(stack):
        return [
            layer._replace(arguments=tuple(averaging(layer.arguments)))
            if layer.name == "Sequential"
            else layer._replace(training="BatchNorm" in layer.name, settings={**layer.settings, "momentum": None})
            for layer in stack
        ]

    plain = object.__new__(Plain)
    plain.parameters = dict(model.named_parameters())
    plain.buffers = {name: np.zeros_like(array) for name, array in model.named_buffers()}
    with mg.no_grad():
        for x in training.batches:
            plain.forward(averaging(training.layers), Tensor(x))
    return plain.buffers


def check_files(model: layers.Sequential, other: layers.Sequential) -> None:
    """What is saved is what is loaded, by the model's methods and by the functions."""
    with tempfile.TemporaryDirectory() as folder:
        path, second = Path(folder) / "model.npz", Path(folder) / "copy.npz"
        model.save(path)
        layers.save_arrays(second, layers.load_arrays(path))
        other.load(second)
    for name, array in model.state_dict().items():
        agree(f"{name} from a file", other.state_dict()[name], array, 0)


# Optimizers alone.


class Descent(NamedTuple):
    """Parameters, the gradients of each step (None: a parameter without one), and an optimizer."""

    parameters: list[np.ndarray]
    gradients: list[list[np.ndarray | None]]
    optimizer: str
    settings: dict[str, Any]
    reload: int  # after this step, the optimizer goes on as another that loaded its state


def make_descent(seed: int) -> Descent:
    """The descent of a seed: gradients of sizes from 1e-12 to infinity, in all memory layouts."""
    rng = np.random.default_rng([seed, 4])
    shapes = [random_arrays.shape(rng, int(rng.integers(0, 4)), zeros=True) for _ in range(rng.integers(1, 4))]
    parameters = [random_arrays.lay_out(rng, rng.normal(0, 1, s), 0.5, random_arrays.WRITEABLE) for s in shapes]
    sizes = rng.choice(
        [1e-12, 1e-3, 1, 1, 1e8, 1e200, np.inf], int(rng.integers(1, 7)), p=[0.1, 0.2, 0.25, 0.25, 0.1, 0.05, 0.05]
    )
    gradients = [
        [None if rng.random() < 0.1 else random_arrays.lay_out(rng, rng.normal(0, 1, s) * size) for s in shapes]
        for size in sizes
    ]
    gradients = [grads for grads in gradients if any(g is not None for g in grads)]
    return Descent(parameters, gradients, *draw_optimizer(rng), int(rng.integers(0, 8)))


def descend(descent: Descent) -> list[list[np.ndarray]]:
    """The parameters after each step, in minigrad."""
    parameters = [Tensor(random_arrays.plain(None, a), requires_grad=True) for a in descent.parameters]
    for p, a in zip(parameters, descent.parameters, strict=True):
        if not a.flags.c_contiguous:
            p.data = random_arrays.fortran(None, a)
    new = {"SGD": SGD, "Adam": Adam}[descent.optimizer]
    optimizer = new(parameters, **descent.settings)
    after = []
    for number, gradients in enumerate(descent.gradients):
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g
        optimizer.step()
        after.append([np.array(p.data) for p in parameters])
        if number == descent.reload:
            state = optimizer.state_dict()
            optimizer = new(parameters, lr=0.5)
            optimizer.load_state_dict(state)
    return after


def descend_plainly(descent: Descent) -> list[list[np.ndarray]]:
    """The same by the formulas."""
    optimizers = [
        {"SGD": PlainSGD, "Adam": PlainAdam}[descent.optimizer](**descent.settings) for _ in descent.parameters
    ]
    parameters, after = list(descent.parameters), []
    for gradients in descent.gradients:
        for i, g in enumerate(gradients):
            if g is not None:
                parameters[i] = optimizers[i].step(parameters[i], g)
        after.append(list(parameters))
    return after


def descend_in_torch(descent: Descent) -> list[list[np.ndarray]]:
    """The same in PyTorch."""
    import torch

    parameters = [torch.tensor(random_arrays.native(a), requires_grad=True) for a in descent.parameters]
    optimizer = getattr(torch.optim, descent.optimizer)(parameters, **descent.settings)
    after = []
    for gradients in descent.gradients:
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = None if g is None else torch.tensor(random_arrays.native(g))
        optimizer.step()
        after.append([p.detach().numpy().copy() for p in parameters])
    return after


def compare_descents(descent: Descent, reference: Any) -> Counter[str]:
    """Raise Disagreement unless all parameters agree after each step; returns counts."""
    with np.errstate(all="ignore"):
        pairs = zip(descend(descent), reference(descent), strict=True)
        size = 1.0
        for number, (ours, expected) in enumerate(pairs, 1):
            for i, (a, b) in enumerate(zip(ours, expected, strict=True)):
                size = max(size, size_of(b))
                what = f"parameter {i} after step {number} of {descent.optimizer}({descent.settings})"
                agree(what, a, b, 1e-10 * size)
    return Counter({"optimizer steps": len(descent.gradients)})
