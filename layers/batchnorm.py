"""Batch normalization, to be read beside the paper.

S. Ioffe, C. Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift*, arXiv 1502.03167. Names in this file are the paper's: ``x_hat``, ``gamma`` and ``beta``
(PyTorch's ``weight`` and ``bias``), ``mean`` and ``var`` of the mini-batch, ``m`` values for each channel,
and ``d_something`` for the gradient of the loss with respect to something. ``std`` is sqrt(var + eps).

First comes the textbook version, ``batch_norm_forward`` and ``batch_norm_backward``; then ``batch_norm``, which the
layers call and which computes the same numbers in fewer passes over the arrays. The tests compare the two over all
layouts.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from minigrad import Tensor, no_grad
from minigrad.extend import Operand, array_of, floating, if_needed, mark_changed, record

from .arrays import channel_last, channel_products, channel_sums, in_dtype_of, multiply_add, ones, zeros
from .linear import Linear, number_of_features
from .module import Module, Parameter, Sequential

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    M = TypeVar("M", bound=Module)

Running = tuple[np.ndarray, np.ndarray] | tuple[()]

SIX_LINES = """the six lines of the paper's section 3
d_x_hat = g * gamma
d_var = sum(d_x_hat * (x - mean)) * (-1/2) * (var + eps)**(-3/2)
d_mean = sum(d_x_hat) * (-1/sqrt(var + eps)) + d_var * sum(-2 * (x - mean)) / m
d_x = d_x_hat / sqrt(var + eps) + d_var * 2 * (x - mean) / m + d_mean / m
d_gamma = sum(g * x_hat)
d_beta = sum(g)"""


def batch_norm_forward(
    x: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    eps: float = 1e-5,
    *,
    channels_last: bool = False,
) -> dict[str, np.ndarray]:
    """The paper's algorithm 1, a training batch's forward, in plain NumPy, line by line.

    Args:
        x: shape (N, C) or (N, C, ...); with ``channels_last``, (N, ..., C).
        gamma, beta: shape (C,), or None for 1 and 0.

    Returns:
        ``mean`` and ``var`` of shape (C,), ``x_hat`` and ``y`` of x's shape.
    """
    axes, shape, m = _channel_axes(x, channels_last)
    gamma, beta = (a if a is None else a.reshape(shape) for a in (gamma, beta))
    mean = x.sum(axes).reshape(shape) / m
    var = ((x - mean) ** 2).sum(axes).reshape(shape) / m
    x_hat = (x - mean) / np.sqrt(var + eps)
    y = (1 if gamma is None else gamma) * x_hat + (0 if beta is None else beta)
    return {"mean": mean.ravel(), "var": var.ravel(), "x_hat": x_hat, "y": y}


def batch_norm_backward(
    d_y: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray | None = None,
    eps: float = 1e-5,
    *,
    channels_last: bool = False,
) -> dict[str, np.ndarray]:
    """The six gradients of the paper's section 3 for a training batch, in plain NumPy, nothing shared or skipped.

    Args:
        d_y: gradient of the loss with respect to y, of x's shape.
        x, gamma: as ``batch_norm_forward`` takes them.

    Returns:
        ``d_x_hat`` and ``d_x`` of x's shape; ``d_var``, ``d_mean``, ``d_gamma``, ``d_beta`` of shape (C,).
    """
    axes, shape, m = _channel_axes(x, channels_last)
    forward = batch_norm_forward(x, channels_last=channels_last, eps=eps)
    mean, var, x_hat = forward["mean"].reshape(shape), forward["var"].reshape(shape), forward["x_hat"]
    gamma = np.ones_like(mean) if gamma is None else gamma.reshape(shape)

    def total(values: np.ndarray) -> np.ndarray:
        return values.sum(axes).reshape(shape)

    d_x_hat = d_y * gamma
    d_var = total(d_x_hat * (x - mean)) * -1 / 2 * (var + eps) ** (-3 / 2)
    d_mean = total(d_x_hat) * -1 / np.sqrt(var + eps) + d_var * total(-2 * (x - mean)) / m
    d_x = d_x_hat / np.sqrt(var + eps) + d_var * 2 * (x - mean) / m + d_mean / m
    d_gamma = total(d_y * x_hat)
    d_beta = total(d_y)
    return {
        "d_x_hat": d_x_hat,
        "d_var": d_var.ravel(),
        "d_mean": d_mean.ravel(),
        "d_x": d_x,
        "d_gamma": d_gamma.ravel(),
        "d_beta": d_beta.ravel(),
    }


def _channel_axes(x: np.ndarray, channels_last: bool) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """All axes but the channel's; the shape in which a value for each channel broadcasts; how many values each has."""
    channel = x.ndim - 1 if channels_last else 1
    axes = tuple(axis for axis in range(x.ndim) if axis != channel)
    shape = tuple(n if axis == channel else 1 for axis, n in enumerate(x.shape))
    return axes, shape, x.size // x.shape[channel]


def batch_norm(
    x: Operand,
    running_mean: np.ndarray | Tensor | None,
    running_var: np.ndarray | Tensor | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    channels_last: bool = False,
) -> Tensor:
    """Normalize each channel, as ``torch.nn.functional.batch_norm``; one tape entry.

    In training, with the mini-batch's own statistics (the paper's algorithm 1), sums over all axes but the channel's::

        mean = sum(x) / m,   var = sum((x - mean)**2) / m
        y = weight * (x - mean) / sqrt(var + eps) + bias

    and ``running = (1 - momentum) * running + momentum * batch``, the variance with the factor m/(m-1). In
    evaluation, with ``running_mean`` and ``running_var`` as constants.

    Args:
        x: shape (N, C) or (N, C, ...); with ``channels_last``, (N, ..., C). Integers are taken in the dtype of weight,
            else of running_mean, else as float64.
        running_mean, running_var: arrays of shape (C,), or Tensors without a gradient, changed in place in training;
            None to keep none.
        weight, bias: gamma and beta, shape (C,), or None for 1 and 0.

    Raises:
        ValueError: fewer than 2 axes, arrays that aren't (C,), fewer than 2 values for each channel in training,
            running statistics that are read-only in training, or none in evaluation.
        TypeError: running statistics that require a gradient, or aren't floating-point arrays in training.
    """
    a = np.asarray(array_of(x))
    if a.ndim < 2:
        raise ValueError(f"batch_norm expects shape (N, C) or (N, C, ...), got {a.shape}")
    if a.dtype.kind != "f":
        a = floating(in_dtype_of(a, weight, running_mean))
    channels = a.shape[-1 if channels_last else 1]
    weight = ones(channels, a.dtype.char) if weight is None else weight
    bias = zeros(channels, a.dtype.char) if bias is None else bias
    inputs, gamma, beta = (x, weight, bias), np.asarray(array_of(weight)), np.asarray(array_of(bias))
    running = _running_statistics(running_mean, running_var, training, momentum)
    shapes = [array.shape for array in (gamma, beta, *running)]
    if shapes.count((channels,)) < len(shapes):
        names = ("weight", "bias", "running_mean", "running_var")
        name, shape = next(pair for pair in zip(names, shapes) if pair[1] != (channels,))
        raise ValueError(
            f"batch_norm: {name} must have shape ({channels},), a value for each channel of an input of shape "
            f"{a.shape}, got {shape}"
        )
    if training:
        y = _normalize_with_batch(inputs, a, gamma, beta, running, momentum, eps, channels_last)
        if isinstance(running_mean, Tensor) or isinstance(running_var, Tensor):
            # so that the tape notices, if an earlier entry needs their old values
            mark_changed([t for t in (running_mean, running_var) if isinstance(t, Tensor)])
        return y
    if not running:
        raise ValueError("batch_norm: evaluation (training=False) needs running_mean and running_var")
    return _normalize_with_constants(inputs, a, gamma, beta, *running, eps, channels_last)


def _running_statistics(running_mean: Any, running_var: Any, training: bool, momentum: float | None) -> Running:
    """Their two arrays, or none; an error if they are not what training can update."""
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: give both running_mean and running_var, or neither")
    if running_mean is None:
        return ()
    if training and momentum is None:
        raise TypeError("batch_norm needs a number for momentum; the layers take None, for the plain average")
    for given in (running_mean, running_var):
        if training and (not hasattr(given, "dtype") or given.dtype.kind != "f"):
            raise TypeError("batch_norm changes the running statistics in place: give floating-point arrays")
        if isinstance(given, Tensor) and given.requires_grad:
            raise TypeError(
                "batch_norm: no gradient reaches running_mean and running_var, and one of them requires one: "
                "give an array, or tensor.detach()"
            )
    running = np.asarray(array_of(running_mean)), np.asarray(array_of(running_var))
    if training:
        _refuse_read_only(*running)
    return running


def _normalize_with_batch(
    inputs: tuple[Operand, Operand, Operand],
    a: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    running: Running,
    momentum: Any,
    eps: float,
    channels_last: bool,
) -> Tensor:
    """Algorithm 1, and the chain rule of section 3 as its backward."""
    u = channel_last(a, channels_last)
    m = u.size // len(gamma) if len(gamma) else 0
    if m < 2:
        raise ValueError(
            f"batch_norm: training needs 2 or more values for each channel, got {m} in an input of shape {a.shape}: "
            "with one, x - mean is always 0; use a larger batch, or running statistics and eval()"
        )
    mean = channel_sums(u) / m
    centered = u - mean
    var = channel_products(centered, centered) / m
    std = np.sqrt(var + eps)
    # x_hat = centered / std is never stored: y = gamma * x_hat + beta, and gamma / std is one number a channel.
    scale = gamma / std
    y = multiply_add(centered, scale, beta, a.shape, channels_last)
    if running:
        _update(*running, mean, var, m, momentum)

    def backward(
        g: np.ndarray, needs: Sequence[bool], centered: np.ndarray, std: np.ndarray, scale: np.ndarray
    ) -> tuple[np.ndarray | None, ...]:
        # gamma and std are the same for a whole channel, so they move out of the sums, and the sums that remain are
        # those of d_gamma and d_beta.
        d_y = channel_last(g, channels_last)
        d_gamma = channel_products(d_y, centered) / std  # sum(d_y * x_hat)
        d_beta = channel_sums(d_y)
        if not needs[0]:
            return None, d_gamma, d_beta
        # d_x_hat is never stored: where it appears, it is d_y times a number for each channel.
        d_var = scale * d_gamma * (-1 / 2) / std  # sum(d_x_hat * (x - mean)) is gamma * std * d_gamma
        d_mean = -scale * d_beta  # sum(d_x_hat) is gamma * d_beta, and sum(x - mean) is 0
        d_x = multiply_add(d_y, scale, d_mean / m, g.shape, channels_last, centered, d_var * (2 / m))
        return d_x, d_gamma, d_beta

    return record("batch_norm", y, inputs, backward, SIX_LINES, (centered, std, scale))


def _refuse_read_only(*arrays: np.ndarray) -> None:
    """Training changes several arrays: find out before the first that one of them can't be changed."""
    for array in arrays:
        if not array.flags.writeable:
            raise ValueError(
                "batch normalization in training changes its running statistics in place, and one of these arrays is "
                "read-only: give a copy, np.array(...), or use eval()"
            )


def _update(
    running_mean: np.ndarray, running_var: np.ndarray, mean: np.ndarray, var: np.ndarray, m: int, momentum: float
) -> None:
    """new = (1 - momentum) * old + momentum * batch, in place and in the dtype of old, with the unbiased m/(m-1) * var.

    Not ``old += momentum * (batch - old)``: near momentum 1, that rounds away a batch's value beside a larger old one.
    """
    momentum = float(momentum)  # as a NumPy number it would widen float32 statistics
    new_mean, new_var = (1 - momentum) * running_mean, (1 - momentum) * running_var
    new_mean += momentum * mean
    new_var += momentum * (m / (m - 1)) * var
    running_mean[...] = new_mean  # only now that nothing can fail any more, so that both are changed or none
    running_var[...] = new_var


def _normalize_with_constants(
    inputs: tuple[Operand, Operand, Operand],
    a: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    eps: float,
    channels_last: bool,
) -> Tensor:
    """One multiply-add: y = x * scale + shift, with the statistics as constants, so d_x = d_y * scale."""
    u = channel_last(a, channels_last)
    mean, std = np.array(running_mean), np.sqrt(running_var + eps)  # copies: a later batch changes them in place
    scale, shift = scale_and_shift(running_mean, running_var, gamma, beta, eps)
    y = multiply_add(u, scale, shift, a.shape, channels_last)

    def d_x(g: np.ndarray, u: np.ndarray, mean: np.ndarray, std: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return multiply_add(channel_last(g, channels_last), scale, None, g.shape, channels_last)

    def d_gamma(g: np.ndarray, u: np.ndarray, mean: np.ndarray, std: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return channel_products(channel_last(g, channels_last), u - mean) / std  # sum(d_y * x_hat)

    def d_beta(g: np.ndarray, u: np.ndarray, mean: np.ndarray, std: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return channel_sums(channel_last(g, channels_last))

    rule = "d_x = g * scale, d_gamma = sum(g * x_hat), d_beta = sum(g); the statistics are constants"
    saved = if_needed(u, inputs[1]), mean, std, scale
    return record("batch_norm", y, inputs, (d_x, d_gamma, d_beta), rule, saved)


def scale_and_shift(
    running_mean: np.ndarray,
    running_var: np.ndarray,
    gamma: np.ndarray | float,
    beta: np.ndarray | float,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """The (C,) arrays with which evaluation is y = x * scale + shift (the paper's algorithm 2, line 11).

    scale = gamma / sqrt(running_var + eps), shift = beta - running_mean * scale.
    """
    scale = gamma / np.sqrt(running_var + eps)
    return scale, beta - running_mean * scale


class _BatchNorm(Module):
    """What the three classes share; they differ only in the number of axes that they accept."""

    spatial_axes: dict[int, str]  # number of axes: those of them that are neither batch nor channel
    running_mean: Any  # an array, or None without track_running_stats; so are the next two
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        channels_last: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> None:
        num_features = number_of_features(num_features, f"{type(self).__name__}({num_features!r})")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats, self.channels_last = affine, track_running_stats, channels_last
        self.weight = Parameter(np.ones(num_features), dtype) if affine else None
        self.bias = Parameter(np.zeros(num_features), dtype) if affine and bias else None
        tracked = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracked else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Put the running statistics back to mean 0, variance 1, no batches."""
        if self.track_running_stats:
            self.running_mean[...] = 0
            self.running_var[...] = 1
            self.num_batches_tracked[...] = 0

    def forward(self, x: Operand) -> Tensor:
        shape = np.asarray(array_of(x)).shape
        if len(shape) not in self.spatial_axes or shape[-1 if self.channels_last else 1] != self.num_features:
            form = "(N{}, C)" if self.channels_last else "(N, C{})"
            shapes = " or ".join(form.format(spatial) for spatial in self.spatial_axes.values())
            raise ValueError(f"{type(self).__name__} expects shape {shapes} with C = {self.num_features}, got {shape}")
        updates = self.training and self.track_running_stats
        momentum = self.momentum
        if updates:
            _refuse_read_only(self.num_batches_tracked)
            if momentum is None:
                momentum = 1 / (self.num_batches_tracked + 1)  # makes the update a plain average of all batches
        y = batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            momentum,
            self.eps,
            channels_last=self.channels_last,
        )
        if updates:
            self.num_batches_tracked[...] += 1
        return y

    def extra_repr(self) -> str:
        no_bias = ", bias=False" if self.affine and self.bias is None else ""
        channels_last = ", channels_last=True" if self.channels_last else ""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}{no_bias}, "
            f"track_running_stats={self.track_running_stats}{channels_last}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L), with ``channels_last`` (N, L, C); as ``torch.nn.BatchNorm1d``.

    y = weight * (x - mean) / sqrt(var + eps) + bias, for each channel. Where mean and var come from:

    ============  =====================  ======================  =====================================
    ``training``  track_running_stats    normalizes with         running statistics
    ============  =====================  ======================  =====================================
    True          True                   the batch               updated, ``num_batches_tracked += 1``
    True          False                  the batch               none kept
    False         True                   running statistics      untouched
    False         False                  the batch               none kept
    ============  =====================  ======================  =====================================

    The update happens in ``forward``, whether or not an optimizer steps afterwards:
    ``new = (1 - momentum) * old + momentum * batch``, with the unbiased batch variance (m/(m-1)). What
    TensorFlow calls ``momentum`` or ``decay`` is ``1 - momentum`` here; its defaults are decay 0.99, so
    ``momentum=0.01``, and ``eps=1e-3``.

    To freeze the statistics while the rest trains, call ``eval()`` on this layer after ``model.train()``; to freeze
    weight and bias as well, ``requires_grad_(False)``.

    Args:
        num_features: C.
        eps: added to the variance, so that a constant channel doesn't divide by 0.
        momentum: weight of the newest batch in the running statistics; None for the plain average of all batches.
        affine: learn ``weight`` (gamma, starts at 1) and ``bias`` (beta, starts at 0), of shape (C,).
        track_running_stats: keep ``running_mean`` and ``running_var`` for evaluation.
        bias: with False and ``affine``, learn ``weight`` alone, as in PyTorch 2.13.
        channels_last: the channel is the last axis instead of the second.

    Integers are taken in the layer's dtype (float64 if it keeps no array); a float64 input makes float64 of a float32
    layer's output.

    In float32, a channel whose values lie further from their mean than about 1e19 has a variance that float32 can't
    hold: NumPy warns of the overflow, and the output is beta. ``astype(np.float64)`` goes to 1e154.

    Raises:
        ValueError: an input of other shape, or with one value for each channel where the batch normalizes.
    """

    spatial_axes = {2: "", 3: ", L"}


class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W), with ``channels_last`` (N, H, W, C); otherwise as ``BatchNorm1d``."""

    spatial_axes = {4: ", H, W"}


class BatchNorm3d(_BatchNorm):
    """Batch normalization of (N, C, D, H, W), with ``channels_last`` (N, D, H, W, C); otherwise as ``BatchNorm1d``."""

    spatial_axes = {5: ", D, H, W"}


def update_bn(model: Module, batches: Iterable) -> None:
    """Estimate every BatchNorm's statistics afresh, over many mini-batches: the paper's algorithm 2, lines 7-10.

    ``running_mean`` becomes the average of the batches' means and ``running_var`` that of their unbiased
    variances, m/(m-1) * var. BatchNorm layers normalize with each batch, as in training; everything
    else, such as dropout, is as in evaluation. Modes and momenta are put back afterwards.

    Args:
        batches: inputs of the model, or tuples or lists that begin with one, such as (images, labels).

    Raises:
        TypeError: an array in place of a list of batches.
        ValueError: no batches, or a model without running statistics; the old statistics then stay.
    """
    if isinstance(batches, (np.ndarray, Tensor)):
        raise TypeError("update_bn takes several batches: put the one array into a list, or split it into batches")
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        raise ValueError(f"update_bn: no BatchNorm in this {type(model).__name__} keeps running statistics")
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(norm, norm.momentum) for norm in norms]
    try:
        with _buffers_kept_on_failure(model), no_grad():
            model.eval()
            for norm in norms:
                norm.training, norm.momentum = True, None
                norm.reset_running_stats()
            done = False
            for batch in batches:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
                done = True
            if not done:
                raise ValueError("update_bn got no batches; give a list, or a fresh generator")
    finally:
        for module, training in modes:
            module.training = training
        for norm, momentum in momenta:
            norm.momentum = momentum


@contextlib.contextmanager
def _buffers_kept_on_failure(model: Module) -> Iterator[None]:
    """Put all buffers back if the block fails, also those that forward replaced; a read-only one can't have changed."""
    before = [(m, name, array, np.array(array)) for m in model.modules() for name, array in m._own_buffers()]
    try:
        yield
    except BaseException:
        for module, name, array, values in before:
            if isinstance(array, np.ndarray) and array.flags.writeable:
                array[...] = values
            setattr(module, name, array)
        raise


def fold_batchnorm(model: M) -> M:
    """A copy for inference in which each BatchNorm right after a Linear has been merged into it.

    Evaluation's BatchNorm is y * scale + shift, so the two layers are one Linear with
    ``weight = scale * W`` (each output's row) and ``bias = scale * b + shift``. Looks inside every Sequential;
    a BatchNorm that follows no Linear is left in place, and so is every layer of a class of your own, whose forward
    may do more. The copy is in evaluation mode. A merged weight or bias requires a gradient if all parameters did that
    went into it. A BatchNorm1d without ``channels_last`` is taken to see inputs (N, C), as a Linear gives them.

    Raises:
        ValueError: a BatchNorm to be folded keeps no running statistics.
    """
    folded = copy.deepcopy(model)
    for module in list(folded.modules()):
        if _is_one_of(module, Sequential):  # only there is it known what follows what
            _fold(module)
    return folded.eval()


def _fold(sequence: Sequential) -> None:
    layers: list[Module] = []
    for layer in sequence:
        if layers and _foldable(layers[-1], layer):
            layers[-1] = _merge(layers[-1], layer)
        else:
            layers.append(layer)
    if len(layers) < len(sequence):
        for name, _ in list(sequence.named_children()):
            delattr(sequence, name)
        for position, layer in enumerate(layers):
            setattr(sequence, str(position), layer)


def _is_one_of(module: Module, *classes: type[M]) -> TypeGuard[M]:
    """Whether ``module`` does what these classes do: a subclass, or an object with a forward of its own, may not."""
    return type(module) in classes and "forward" not in vars(module)


def _foldable(before: Module, layer: Module) -> bool:
    """Whether ``layer`` normalizes just what a Linear before it puts out, on the axis where the Linear puts it."""
    if not (_is_one_of(before, Linear) and _is_one_of(layer, BatchNorm1d, BatchNorm2d, BatchNorm3d)):
        return False
    same_axis = layer.channels_last or isinstance(layer, BatchNorm1d)
    return same_axis and before.out_features == layer.num_features


def _merge(linear: Any, norm: Any) -> Linear:
    """What ``_foldable`` has found to be a Linear and its BatchNorm, as one Linear."""
    if norm.running_mean is None:
        raise ValueError(f"fold_batchnorm: {norm!r} has no running statistics, so its evaluation depends on the batch")
    gamma, beta = (default if p is None else array_of(p) for p, default in ((norm.weight, 1.0), (norm.bias, 0.0)))
    scale, shift = scale_and_shift(norm.running_mean, norm.running_var, gamma, beta, norm.eps)
    merged, dtype = copy.copy(linear), linear.weight.dtype
    merged.weight = Parameter(array_of(linear.weight) * scale[:, None], dtype)
    merged.bias = Parameter(shift if linear.bias is None else array_of(linear.bias) * scale + shift, dtype)
    merged.weight.requires_grad = _all_learn(linear.weight, norm.weight)
    merged.bias.requires_grad = _all_learn(linear.bias, norm.weight, norm.bias)
    return merged


def _all_learn(*parameters: Parameter | None) -> bool:
    """Whether there are any, and all require a gradient: what was frozen must not learn as a part of something else."""
    learn = [parameter.requires_grad for parameter in parameters if parameter is not None]
    return bool(learn) and all(learn)
