"""What type checkers have to make of a program that uses minigrad: read by mypy (see .ci/run), never run."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import minigrad as mg
from layers import BatchNorm1d, Linear, Module, Parameter, ReLU, Sequential, cross_entropy, fold_batchnorm
from minigrad import Tensor, no_grad
from minigrad.extend import Operand, array_of, record
from minigrad.optim import SGD


def operators(x: Tensor, array: NDArray[np.float32]) -> None:
    assert_type(x * x, Tensor)
    assert_type(2 * x, Tensor)
    assert_type(2.5 - x, Tensor)
    assert_type(-x / 3, Tensor)
    assert_type(x**2 + 2**x, Tensor)
    assert_type(array + x, Tensor)
    assert_type(array @ x - x @ array, Tensor)
    assert_type(x < array, np.ndarray)
    assert_type(x == 1, np.ndarray)
    assert_type(abs(x), Tensor)
    x += array
    assert_type(x, Tensor)


def indexing_and_methods(x: Tensor) -> None:
    assert_type(x[0], Tensor)
    assert_type(x[1:, ..., None], Tensor)
    assert_type(x[x > 0], Tensor)
    assert_type([row.grad for row in x], list[np.ndarray | None])
    assert_type(x.sum(axis=0), Tensor)
    assert_type(x.var((0, -1), ddof=1, keepdims=True), Tensor)
    assert_type(x.reshape(2, -1).T.exp(), Tensor)
    assert_type(x.grad, np.ndarray | None)
    assert_type(x.data, np.ndarray)
    assert_type(x.item(), float)
    x.sum(axis="first")  # type: ignore[arg-type]


def functions(x: Tensor, array: np.ndarray) -> None:
    assert_type(mg.exp(x) + mg.max(array), Tensor)
    assert_type(mg.where(x > 0, x, 0), Tensor)
    assert_type(mg.stack([x, x], axis=1), Tensor)
    np.exp(x)  # type: ignore[call-overload]  # it would have no gradient


def tapes(x: Tensor) -> None:
    tape = x.tape()
    assert_type(tape[0], mg.Entry)
    assert_type(tape[1:3], mg.Tape)
    assert_type([entry.op for entry in tape], list[str])
    assert_type([sent.total for step in tape.steps() for sent in step.sent], list[np.ndarray])


class Scale(Module):
    def __init__(self) -> None:
        self.factor = Parameter([1.0])

    def forward(self, x: Operand) -> Tensor:
        return x * self.factor


def models(x: Tensor, labels: np.ndarray) -> None:
    model = Sequential(Linear(3, 4, rng=0), BatchNorm1d(4), ReLU(), Scale())
    assert_type(model(x), Tensor)
    assert_type(model.eval().train().astype(np.float64), Sequential)
    assert_type(model[0], Module)
    assert_type(model[:2], Sequential)
    assert_type(fold_batchnorm(model), Sequential)
    assert_type([(name, p.name) for name, p in model.named_parameters()], list[tuple[str, str | None]])
    assert_type(Linear(3, 4).weight, Parameter)
    assert_type(Linear(3, 4).bias, Parameter | None)
    assert_type(list(model.parameters()), list[Parameter])
    optimizer = SGD(model.parameters(), lr=0.1)
    optimizer.step()
    assert_type(cross_entropy(model(x), labels), Tensor)


@no_grad()
def accuracy(model: Module, x: np.ndarray, labels: np.ndarray) -> float:
    return float((model(x).data.argmax(1) == labels).mean())


def decorated(model: Module, x: np.ndarray) -> None:
    assert_type(accuracy(model, x, x), float)
    accuracy(model)  # type: ignore[call-arg]


def square(x: Operand) -> Tensor:
    a = array_of(x)
    return record("square", a * a, (x,), (lambda g, a: 2 * g * a,), "d_x = 2 * g * x", saved=(a,))
