"""The solutions as one would write them, in one or two forms: what ``slips`` are made from.

Without ``while``: a slip in its condition would never end.
"""

from __future__ import annotations

import numpy as np

# Exercises 1 to 4.


def central_difference(f, x, eps):
    d_x = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] = x[index] + eps
        below[index] = x[index] - eps
        d_x[index] = (f(above) - f(below)) / (2 * eps)
    return d_x


def unbroadcast(d, shape):
    for _ in range(d.ndim - len(shape)):
        d = d.sum(axis=0)
    for axis, length in enumerate(shape):
        if length == 1:
            d = d.sum(axis=axis, keepdims=True)
    return d


def multiply_backward(g, x, y):
    return {"d_x": g * y, "d_y": g * x}


def exp_backward(g, x):
    return g * np.exp(x)


def log_backward(g, x):
    return g / x


def log_backward_times(g, x):
    return g * (1 / x)


def tanh_backward(g, x):
    y = np.tanh(x)
    return g * (1 - y**2)


def tanh_backward_quotient(g, x):
    return g / np.cosh(x) ** 2


def tape_backward(tape, result):
    gradients = {result: 1.0}
    for output, inputs, rules in reversed(tape):
        if output not in gradients:
            continue
        g = gradients[output]
        for name, rule in zip(inputs, rules, strict=True):
            gradients[name] = gradients.get(name, 0.0) + rule(g)
    return gradients


# Exercises 5 to 7.


def matmul_backward(g, a, b):
    return {"d_a": g @ b.T, "d_b": a.T @ g}


def linear_backward(g, x, weight):
    return {"d_x": g @ weight, "d_weight": g.T @ x, "d_bias": g.sum(axis=0)}


def relu(x):
    return np.maximum(x, 0)


def relu_by_mask(x):
    return x * (x > 0)


def relu_backward(g, x):
    return g * (x > 0)


def relu_backward_where(g, x):
    return np.where(x > 0, g, 0)


def cross_entropy(logits, targets):
    rows = np.arange(len(logits))
    centered = logits - logits.max(axis=1, keepdims=True)
    log_softmax = centered - np.log(np.exp(centered).sum(axis=1, keepdims=True))
    softmax = np.exp(log_softmax)
    loss = -log_softmax[rows, targets].mean()
    return {"softmax": softmax, "log_softmax": log_softmax, "loss": loss}


def cross_entropy_backward(logits, targets):
    n = len(logits)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    one_hot = np.eye(logits.shape[1])[targets]
    return (softmax - one_hot) / n


# Batch normalization.


def batch_norm_forward(x, gamma, beta, running_mean, running_var, momentum, eps):
    m = len(x)
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    unbiased_var = var * m / (m - 1)
    return {
        "mean": mean,
        "var": var,
        "x_hat": x_hat,
        "y": gamma * x_hat + beta,
        "running_mean": (1 - momentum) * running_mean + momentum * mean,
        "running_var": (1 - momentum) * running_var + momentum * unbiased_var,
    }


def batch_norm_forward_squares(x, gamma, beta, running_mean, running_var, momentum, eps):
    m = len(x)
    mean = x.sum(axis=0) / m
    var = ((x - mean) ** 2).sum(axis=0) / m
    x_hat = (x - mean) / (var + eps) ** 0.5
    return {
        "mean": mean,
        "var": var,
        "x_hat": x_hat,
        "y": gamma * x_hat + beta,
        "running_mean": (1 - momentum) * running_mean + momentum * mean,
        "running_var": (1 - momentum) * running_var + momentum * m / (m - 1) * var,
    }


def batch_norm_eval(x, gamma, beta, running_mean, running_var, eps):
    x_hat = (x - running_mean) / np.sqrt(running_var + eps)
    return gamma * x_hat + beta


def batch_norm_eval_in_one(x, gamma, beta, running_mean, running_var, eps):
    return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta


def scale_and_shift(gamma, beta, running_mean, running_var, eps):
    scale = gamma / np.sqrt(running_var + eps)
    return {"scale": scale, "shift": beta - running_mean * scale}


def scale_and_shift_apart(gamma, beta, running_mean, running_var, eps):
    scale = gamma / np.sqrt(running_var + eps)
    return {"scale": scale, "shift": beta - gamma * running_mean / np.sqrt(running_var + eps)}


def d_x_hat(d_y, gamma):
    return d_y * gamma


def d_var(d_x_hat, x, mean, var, eps):
    return np.sum(d_x_hat * (x - mean), axis=0) * -1 / 2 * (var + eps) ** (-3 / 2)


def d_var_inside(d_x_hat, x, mean, var, eps):
    std = np.sqrt(var + eps)
    return np.sum(d_x_hat * (x - mean) * -0.5 / std**3, axis=0)


def d_mean(d_x_hat, d_var, x, mean, var, eps):
    m = len(x)
    return np.sum(d_x_hat, axis=0) * -1 / np.sqrt(var + eps) + d_var * np.sum(-2 * (x - mean), axis=0) / m


def d_mean_short(d_x_hat, d_var, x, mean, var, eps):
    return np.sum(-d_x_hat / np.sqrt(var + eps), axis=0)


def d_x(d_x_hat, d_var, d_mean, x, mean, var, eps):
    m = len(x)
    return d_x_hat / np.sqrt(var + eps) + d_var * 2 * (x - mean) / m + d_mean / m


def d_x_together(d_x_hat, d_var, d_mean, x, mean, var, eps):
    m = len(x)
    return d_x_hat / np.sqrt(var + eps) + (d_var * 2 * (x - mean) + d_mean) / m


def d_gamma(d_y, x_hat):
    return np.sum(d_y * x_hat, axis=0)


def d_beta(d_y):
    return np.sum(d_y, axis=0)


def batch_norm_backward(d_y, x, gamma, eps):
    m = len(x)
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    d_x_hat = d_y * gamma
    d_var = np.sum(d_x_hat * (x - mean), axis=0) * -1 / 2 * (var + eps) ** (-3 / 2)
    d_mean = np.sum(d_x_hat, axis=0) * -1 / np.sqrt(var + eps) + d_var * np.sum(-2 * (x - mean), axis=0) / m
    d_x = d_x_hat / np.sqrt(var + eps) + d_var * 2 * (x - mean) / m + d_mean / m
    d_gamma = np.sum(d_y * x_hat, axis=0)
    d_beta = np.sum(d_y, axis=0)
    return {"d_x_hat": d_x_hat, "d_var": d_var, "d_mean": d_mean, "d_x": d_x, "d_gamma": d_gamma, "d_beta": d_beta}


def batch_norm_d_x(d_y, x_hat, gamma, std):
    return gamma / std * (d_y - d_y.mean(axis=0) - x_hat * (d_y * x_hat).mean(axis=0))


def batch_norm_d_x_with_sums(d_y, x_hat, gamma, std):
    m = len(d_y)
    return gamma / (m * std) * (m * d_y - d_y.sum(axis=0) - x_hat * (d_y * x_hat).sum(axis=0))


def batch_norm_backward_images(d_y, x, gamma, eps):
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    var = x.var(axis=(0, 2, 3), keepdims=True)
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    scale = gamma[:, None, None] / std
    from_mean = d_y.mean(axis=(0, 2, 3), keepdims=True)
    from_var = x_hat * (d_y * x_hat).mean(axis=(0, 2, 3), keepdims=True)
    d_x = scale * (d_y - from_mean - from_var)
    return {"d_x": d_x, "d_gamma": (d_y * x_hat).sum(axis=(0, 2, 3)), "d_beta": d_y.sum(axis=(0, 2, 3))}


def frozen_batch_norm_backward(d_y, x, gamma, running_mean, running_var, eps):
    std = np.sqrt(running_var + eps)
    x_hat = (x - running_mean) / std
    return {"d_x": d_y * gamma / std, "d_gamma": np.sum(d_y * x_hat, axis=0), "d_beta": np.sum(d_y, axis=0)}


def chain_backward(g, u, w1, w2):
    d_h = g @ w2
    return {"d_w1": d_h.T @ u}


def fold(weight, bias, gamma, beta, running_mean, running_var, eps):
    scale = gamma / np.sqrt(running_var + eps)
    return {"weight": scale[:, None] * weight, "bias": scale * (bias - running_mean) + beta}


def fold_apart(weight, bias, gamma, beta, running_mean, running_var, eps):
    scale = gamma / np.sqrt(running_var + eps)
    return {"weight": scale[:, None] * weight, "bias": scale * bias - scale * running_mean + beta}


def layer_norm_backward(d_y, x, gamma, eps):
    mean = x.mean(axis=1, keepdims=True)
    var = x.var(axis=1, keepdims=True)
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    d_x_hat = d_y * gamma
    from_mean = d_x_hat.mean(axis=1, keepdims=True)
    from_var = x_hat * (d_x_hat * x_hat).mean(axis=1, keepdims=True)
    d_x = (d_x_hat - from_mean - from_var) / std
    return {"d_x_hat": d_x_hat, "d_x": d_x, "d_gamma": (d_y * x_hat).sum(axis=0), "d_beta": d_y.sum(axis=0)}


def channel_statistics(x):
    m = x.shape[0] * x.shape[2] * x.shape[3]
    mean = x.mean(axis=(0, 2, 3))
    var = x.var(axis=(0, 2, 3))
    return {"mean": mean, "var": var, "unbiased_var": var * m / (m - 1)}


def convolution_backward(g, x):
    height, width = g.shape[2:]
    size = x.shape[2] - height + 1
    d_weight = np.zeros((g.shape[1], x.shape[1], size, size))
    for i in range(size):
        for j in range(size):
            seen = x[:, :, i : i + height, j : j + width]
            d_weight[:, :, i, j] = np.einsum("nohw,nchw->oc", g, seen)
    return {"d_weight": d_weight, "d_bias": g.sum(axis=(0, 2, 3))}
