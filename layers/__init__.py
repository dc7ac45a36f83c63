"""Layers on minigrad, with PyTorch's names and state dict keys.

>>> from layers import BatchNorm1d, Linear, ReLU, Sequential
>>> model = Sequential(Linear(64, 100), BatchNorm1d(100), ReLU(), Linear(100, 10))
"""

from minigrad import relu, sigmoid, tanh

from .activations import ReLU, Sigmoid, Tanh
from .batchnorm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    batch_norm,
    batch_norm_backward,
    batch_norm_forward,
    fold_batchnorm,
    scale_and_shift,
    update_bn,
)
from .dropout import Dropout
from .files import load_arrays, save_arrays
from .linear import Flatten, Linear, linear
from .losses import cross_entropy, mse_loss
from .module import Module, Parameter, Sequential

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Dropout",
    "Flatten",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_forward",
    "cross_entropy",
    "fold_batchnorm",
    "linear",
    "load_arrays",
    "mse_loss",
    "relu",
    "save_arrays",
    "scale_and_shift",
    "sigmoid",
    "tanh",
    "update_bn",
]
