"""Random arrays that collide on purpose: few lengths, so axes are often equally long; every memory layout.

What the other generators draw from, with a ``numpy.random.Generator``: a seed gives the same arrays everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator

LENGTHS = (1, 2, 2, 2, 3, 3, 3)  # few, so that C == L == N is frequent
THRESHOLDS = (65536,)  # sizes at which the code takes another way


def shape(rng: Rng, ndim: int, zeros: bool = False) -> tuple[int, ...]:
    """A shape of small lengths; in one of three, all axes are equally long; with ``zeros``, rarely a length of 0."""
    if ndim and rng.random() < 1 / 3:
        return (int(rng.choice(LENGTHS)),) * ndim
    return tuple(0 if zeros and rng.random() < 0.04 else int(rng.choice(LENGTHS)) for _ in range(ndim))


def large_shape(rng: Rng, ndim: int, size: int) -> tuple[int, ...]:
    """A shape of just ``size`` values: its prime factors, dealt out to the axes."""
    lengths = [1] * ndim
    for factor in prime_factors(size):
        lengths[rng.integers(ndim)] *= factor
    return tuple(lengths)


def prime_factors(n: int) -> list[int]:
    for p in range(2, math.isqrt(n) + 1):
        if n % p == 0:
            return [p, *prime_factors(n // p)]
    return [n] if n > 1 else []


# Memory layouts: each gives an array of the same shape and, but for zero strides, the same values.


def plain(rng: Rng, a: np.ndarray) -> np.ndarray:
    return np.array(a, order="C")


def fortran(rng: Rng, a: np.ndarray) -> np.ndarray:
    return np.array(a, order="F")


def permuted(rng: Rng, a: np.ndarray) -> np.ndarray:
    """Contiguous, with the axes in memory in some other order."""
    order = rng.permutation(a.ndim)
    return np.array(a.transpose(order), order="C").transpose(np.argsort(order))


def negative_strides(rng: Rng, a: np.ndarray) -> np.ndarray:
    back = tuple(slice(None, None, int(rng.choice([-1, 1]))) for _ in a.shape)
    return np.array(a[back], order="C")[(*back, ...)]


def gaps(rng: Rng, a: np.ndarray) -> np.ndarray:
    """A slice of a larger array; what lies between would be noticed."""
    larger = np.full(tuple(2 * n + 1 for n in a.shape), 1e3, a.dtype)
    view = larger[(*(slice(1, None, 2) for _ in a.shape), ...)]
    view[...] = a
    return view


def zero_strides(rng: Rng, a: np.ndarray) -> np.ndarray:
    """The first values along an axis or more, broadcast along it."""
    if not a.size:
        return plain(rng, a)
    first = tuple(slice(0, 1) if rng.random() < 0.5 else slice(None) for _ in a.shape)
    return np.broadcast_to(np.array(a[first]), a.shape)


def read_only(rng: Rng, a: np.ndarray) -> np.ndarray:
    a = np.array(a)
    a.flags.writeable = False
    return a


def misaligned(rng: Rng, a: np.ndarray) -> np.ndarray:
    """At an odd address."""
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def big_endian(rng: Rng, a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder(">"))


LAYOUTS: dict[str, Callable[[Rng, np.ndarray], np.ndarray]] = {
    layout.__name__: layout
    for layout in (
        plain,
        fortran,
        permuted,
        negative_strides,
        gaps,
        zero_strides,
        read_only,
        misaligned,
        big_endian,
    )
}
WRITEABLE = ("plain", "fortran", "permuted", "negative_strides", "gaps", "misaligned")


def lay_out(rng: Rng, a: np.ndarray, odd: float = 0.5, among: tuple[str, ...] = tuple(LAYOUTS)) -> np.ndarray:
    """The array in a random layout, or, with probability ``1 - odd``, in the ordinary one."""
    return LAYOUTS[rng.choice(among)](rng, a) if rng.random() < odd else plain(rng, a)


def native(a: np.ndarray) -> np.ndarray:
    """The same values in an ordinary array of one's own, which PyTorch takes, too."""
    return np.array(a, a.dtype.newbyteorder("="), order="C")


class Disagreement(AssertionError):
    """A result isn't what the reference says."""


def agree(what: str, ours: np.ndarray | None, expected: np.ndarray | None, allowed: float | np.ndarray) -> None:
    """Raise Disagreement unless ``ours`` is ``expected``, shape and all, but for an error of ``allowed``.

    None stands for no gradient; nan and infinity agree with themselves.
    """
    if (ours is None) != (expected is None):
        raise Disagreement(f"{what}: got {ours}, expected {expected}")
    if ours is None or expected is None:
        return
    ours, expected = np.asarray(ours), np.asarray(expected)
    if ours.shape != expected.shape:
        raise Disagreement(f"{what}: got shape {ours.shape}, expected {expected.shape}")
    with np.errstate(invalid="ignore"):
        off = np.abs(np.subtract(ours, expected, dtype=np.float64))
    off = np.where((ours == expected) | (np.isnan(ours) & np.isnan(expected)), 0, off)
    excess = np.where(np.isnan(off), np.inf, off) - allowed
    if (excess > 0).any():
        at = tuple(map(int, np.unravel_index(np.argmax(excess), off.shape)))
        raise Disagreement(
            f"{what}, shape {ours.shape}: {np.count_nonzero(excess > 0)} of {off.size} values are off; "
            f"worst: {list(at)} is {ours[at]:.10g}, expected {expected[at]:.10g}"
        )


def size_of(a: np.ndarray | None) -> float:
    """The largest finite absolute value, or 1 if that is larger."""
    return 1.0 if a is None else float(np.abs(a[np.isfinite(a)]).max(initial=1))
