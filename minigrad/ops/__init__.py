"""The primitives: the only functions that the tape knows how to differentiate."""

from .arithmetic import add, divide, matmul, multiply, negative, power, subtract
from .elementwise import abs, clip, exp, log, maximum, minimum, relu, sigmoid, sqrt, tanh, where
from .reductions import log_softmax, max, mean, min, softmax, sum, var
from .shapes import broadcast_to, concatenate, expand_dims, getitem, reshape, squeeze, stack, swapaxes, transpose

__all__ = [
    "abs",
    "add",
    "broadcast_to",
    "clip",
    "concatenate",
    "divide",
    "exp",
    "expand_dims",
    "getitem",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "squeeze",
    "stack",
    "subtract",
    "sum",
    "swapaxes",
    "tanh",
    "transpose",
    "var",
    "where",
]
