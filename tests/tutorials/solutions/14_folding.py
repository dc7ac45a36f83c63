"""Reference solution of exercise 14."""

import numpy as np


def fold(weight, bias, gamma, beta, running_mean, running_var, eps=1e-5):
    scale = gamma / np.sqrt(running_var + eps)
    return {"weight": scale[:, None] * weight, "bias": scale * (bias - running_mean) + beta}
