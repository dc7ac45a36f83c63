"""Lesson 12, against values that PyTorch computed (make_relatives.py makes them): its functions, out of the lesson."""

import ast
from pathlib import Path

import numpy as np
import pytest

import layers
import minigrad
from layers import BatchNorm2d, load_arrays
from minigrad import Tensor

GOLDEN = load_arrays(Path(__file__).with_name("relatives.npz"))
CASES = sorted({key.rsplit("/", 1)[0] for key in GOLDEN})
LESSON = Path(__file__).parents[2] / "tutorials" / "12_relatives.py"
FUNCTIONS = ("in_sets", "layer_norm", "instance_norm", "group_norm", "convolution")


def functions_of_the_lesson():
    tree = ast.parse(LESSON.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS]
    names = {**vars(minigrad), **vars(layers), "np": np}
    exec(compile(tree, str(LESSON), "exec"), names)
    return {name: names[name] for name in FUNCTIONS}


LESSONS = functions_of_the_lesson()


def convolution_and_batch_norm(x, weight, bias, running_var):
    layer = BatchNorm2d(5, dtype=x.dtype)
    y = layer(LESSONS["convolution"](x, weight, bias))
    np.testing.assert_allclose(layer.running_var, running_var, rtol=1e-5 if x.dtype == np.float32 else 1e-10)
    return y


COMPUTE = {
    "layer_norm": LESSONS["layer_norm"],
    "instance_norm": LESSONS["instance_norm"],
    "group_norm_1": lambda x: LESSONS["group_norm"](x, 1),
    "group_norm_2": lambda x: LESSONS["group_norm"](x, 2),
    "convolution": LESSONS["convolution"],
    "convolution_bn": convolution_and_batch_norm,
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("case", CASES)
def test_the_lesson_computes_what_pytorch_does_and_has_its_gradients(case, dtype, tolerance):
    golden = {key.rsplit("/", 1)[1]: value for key, value in GOLDEN.items() if key.startswith(f"{case}/")}
    inputs = {
        name: Tensor(golden[name], requires_grad=True, dtype=dtype)
        for name in ("x", "weight", "bias")
        if name in golden
    }
    constants = [golden["running_var"]] if "running_var" in golden else []
    y = COMPUTE[case.split("/")[0]](*inputs.values(), *constants)
    y.backward(golden["g"].astype(dtype))
    np.testing.assert_allclose(y.data, golden["y"], rtol=tolerance, atol=tolerance)
    for name, tensor in inputs.items():
        expected = golden[f"d_{name}"]
        np.testing.assert_allclose(
            tensor.grad, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max())
        )


def test_every_function_that_pytorch_computed_is_compared():
    assert {case.split("/")[0] for case in CASES} == set(COMPUTE)
