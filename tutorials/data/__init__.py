"""Data for the lessons: real handwritten digits, MNIST from a folder of yours, and two spirals."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from layers import load_arrays

LARGEST = 2**28  # bytes in an IDX file, unpacked: MNIST's largest has 47 million

MNIST = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"


class Dataset(NamedTuple):
    """A fixed split into training and test data.

    ``x_*``: float32 of shape (N, features), pixels from 0 to 1; ``y_*``: int64 class numbers of shape (N,).
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load_digits() -> Dataset:
    """The 1,797 handwritten digits of 8x8 pixels that come with the course (see README.md beside this file).

    Every fifth image of each class is test data: 1,442 to train on and 355 to test.
    """
    arrays = load_arrays(Path(__file__).with_name("digits.npz"))
    x = (arrays["images"].reshape(-1, 64) / 16).astype(np.float32)
    y = arrays["labels"].astype(np.int64)
    test = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        test[np.flatnonzero(y == digit)[4::5]] = True
    return Dataset(x[~test], y[~test], x[test], y[test])


def load_mnist(folder: str | os.PathLike) -> Dataset:
    """MNIST, or data in its format, from four IDX files in ``folder``, plain or gzipped: 28x28 pixels each.

    Looks for ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``, with or without ``.gz``; so for
    ``train-labels`` (``idx1``), ``t10k-images`` and ``t10k-labels``, the test data.

    Raises:
        FileNotFoundError: a file is missing; the message lists what was looked for, and MNIST's four files.
        ValueError: a file is damaged, or images and labels don't match; the message names the file.
    """
    parts = []
    for name in ("train", "t10k"):
        image_file, label_file = _find(folder, f"{name}-images", 3), _find(folder, f"{name}-labels", 1)
        images, labels = read_idx(image_file, ndim=3), read_idx(label_file, ndim=1)
        pixels = math.prod(images.shape[1:])
        if len(images) != len(labels):
            raise ValueError(f"{image_file} has {len(images)} images, but {label_file} has {len(labels)} labels")
        if len(labels) and labels.max() > 9:
            raise ValueError(f"{label_file}: labels must be 0 to 9, got {labels.max()}")
        if parts and pixels != parts[0].shape[1]:
            raise ValueError(f"{image_file} has images of {pixels} pixels, the training images {parts[0].shape[1]}")
        parts += [images.reshape(len(images), pixels).astype(np.float32) / 255, labels.astype(np.int64)]
    return Dataset(*parts)


def _find(folder: str | os.PathLike, name: str, ndim: int) -> Path:
    names = [f"{name}{dash}idx{ndim}-ubyte{gz}" for dash in "-." for gz in ("", ".gz")]
    for candidate in names:
        if (path := Path(folder, candidate)).is_file():
            return path
    raise FileNotFoundError(
        f"no {name} file in {str(folder)!r}: looked for {', '.join(names)}. MNIST is the four files {MNIST}, each with "
        "or without .gz; README.md in tutorials/data says where to get them"
    )


def read_idx(path: str | os.PathLike, ndim: int) -> np.ndarray:
    """The uint8 array of ``ndim`` axes in an IDX file, gzipped if its name ends in .gz.

    The format (described on the MNIST page by Y. LeCun and others): two zero bytes, a type code (8 for unsigned
    bytes), the number of axes, each axis's length as a big-endian uint32, then the values. The header is
    believed only as far as there are bytes: nothing is allocated for what it merely claims. And because a small
    gzip file may unpack to a very large one, no more than ``LARGEST`` bytes are read.

    Raises:
        ValueError: wrong magic number, truncated, trailing bytes, too large, or damaged compression; names the file.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            header = _read(file, 4 + 4 * ndim)
            expected = bytes([0, 0, 8, ndim])
            if not expected.startswith(header[:4]):
                raise ValueError(f"magic number {header[:4].hex()}, expected {expected.hex()} ({ndim} axes of bytes)")
            if len(header) < 4 + 4 * ndim:
                raise ValueError("truncated inside its header")
            shape = struct.unpack(f">{ndim}I", header[4:])
            size = math.prod(shape)
            if size > LARGEST:
                raise ValueError(f"the header {shape} means {size:,} bytes, more than the {LARGEST:,} that are read")
            values = _read(file, size + 1)  # one more than there should be, to notice trailing bytes
            if len(values) != size:
                problem = f"truncated, only {len(values)} follow" if len(values) < size else "but more bytes follow"
                raise ValueError(f"the header {shape} means {size} bytes, {problem}")
            return np.frombuffer(values, np.uint8).reshape(shape)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{path}: not a whole IDX file: {error}") from None


def _read(file, count: int) -> bytes:
    """Up to ``count`` bytes in small pieces: ``file.read(count)`` would first allocate what a bad header claims."""
    pieces, missing = [], count
    while missing and (piece := file.read(min(missing, 1 << 20))):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def two_spirals(n: int = 200, noise: float = 0.1, rng: int | np.random.Generator | None = None) -> tuple:
    """Two interleaved spirals of ``n`` points each, which no straight line separates.

    Args:
        noise: standard deviation of the Gaussian added to each coordinate; the spirals' arms are 1 apart.

    Returns:
        x: float32 (2n, 2). y: int64 (2n,), 0 or 1.
    """
    rng = np.random.default_rng(rng)
    # The square root spreads the points evenly along the arms.
    angle = np.sqrt(rng.uniform(0.02, 1, (2, n))) * 3 * np.pi
    radius = angle / np.pi
    turn = angle + np.array([[0], [np.pi]])
    x = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=-1).reshape(2 * n, 2)
    x += rng.normal(0, noise, x.shape)
    return x.astype(np.float32), np.repeat([0, 1], n)
