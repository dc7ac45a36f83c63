"""Reference solution of exercise 10."""

import numpy as np


def step_1_d_x_hat(d_y, gamma):
    return d_y * gamma


def step_2_d_var(d_x_hat, x, mean, var, eps):
    return np.sum(d_x_hat * (x - mean), axis=0) * -1 / 2 * (var + eps) ** (-3 / 2)


def step_3_d_mean(d_x_hat, d_var, x, mean, var, eps):
    m = x.shape[0]
    return np.sum(d_x_hat, axis=0) * -1 / np.sqrt(var + eps) + d_var * np.sum(-2 * (x - mean), axis=0) / m


def step_4_d_x(d_x_hat, d_var, d_mean, x, mean, var, eps):
    m = x.shape[0]
    return d_x_hat / np.sqrt(var + eps) + d_var * 2 * (x - mean) / m + d_mean / m


def step_5_d_gamma(d_y, x_hat):
    return np.sum(d_y * x_hat, axis=0)


def step_6_d_beta(d_y):
    return np.sum(d_y, axis=0)


def batch_norm_backward(d_y, x, gamma, eps=1e-5):
    mean, var = x.mean(axis=0), x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    d_x_hat = step_1_d_x_hat(d_y, gamma)
    d_var = step_2_d_var(d_x_hat, x, mean, var, eps)
    d_mean = step_3_d_mean(d_x_hat, d_var, x, mean, var, eps)
    d_x = step_4_d_x(d_x_hat, d_var, d_mean, x, mean, var, eps)
    d_gamma = step_5_d_gamma(d_y, x_hat)
    d_beta = step_6_d_beta(d_y)
    return {"d_x_hat": d_x_hat, "d_var": d_var, "d_mean": d_mean, "d_x": d_x, "d_gamma": d_gamma, "d_beta": d_beta}
