"""Reference solution of exercise 3."""

import numpy as np


def multiply_backward(g, x, y):
    return {"d_x": g * y, "d_y": g * x}


def exp_backward(g, x):
    return g * np.exp(x)


def log_backward(g, x):
    return g / x


def tanh_backward(g, x):
    y = np.tanh(x)
    return g * (1 - y**2)
