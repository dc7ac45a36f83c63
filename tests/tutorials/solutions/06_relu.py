"""Reference solution of exercise 6."""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def relu_backward(g, x):
    return g * (x > 0)
