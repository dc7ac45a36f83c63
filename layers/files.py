"""Arrays to a ``.npz`` file and back, safely."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MAX_BYTES = 2**30  # what a file may unpack to, unless the caller says more


def save_arrays(path: str | os.PathLike, arrays: Mapping[str, ArrayLike]) -> None:
    """Write named arrays to ``path`` as an ``.npz`` file; through a symbolic link, to the file that it points to.

    Killed at any moment, it leaves under ``path`` either the old file or the new one, whole: it
    writes a file beside it and renames that when all is on the disk.

    Raises:
        FileNotFoundError: the folder doesn't exist.
        OSError: ``path`` is a folder or a device.
        TypeError: an array of Python objects, which only pickle could store.
    """
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"{path}: can't save {name}, an array of Python objects: give numbers or strings")
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"can't save {path}: there is no folder {folder}")
    if os.path.lexists(target) and not os.path.isfile(target):
        raise OSError(f"can't save {path}: {target} is there and no file")
    # The new file gets the permissions of the old one, or those that the system gives to new files.
    mode = os.stat(target).st_mode & 0o777 if os.path.exists(target) else None
    temporary = os.path.join(folder, f"{os.path.basename(target)[:50]}{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=functools.partial(os.open, mode=0o666 if mode is None else mode)) as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in plain.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, version=(1, 0))
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def load_arrays(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read a file that ``save_arrays`` or ``np.savez`` wrote. Nothing in it is ever executed.

    Args:
        max_bytes: refuse a file whose arrays need more memory than this: a small one can unpack to a thousand times
            its size. For a larger file that you trust, give more.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an ``.npz`` file of arrays, a damaged one, one with two arrays of the same name, or one that
            unpacks to more than ``max_bytes``; names the file.
    """
    with open(path, "rb") as file:
        with _named(path):
            archive = zipfile.ZipFile(file)
            members = archive.infolist()
        size = sum(info.file_size for info in members)
        if size > max_bytes:
            raise ValueError(
                f"{path} would unpack to {size:,} bytes, more than max_bytes = {max_bytes:,}: "
                f"if you trust the file, load it with max_bytes={size}"
            )
        with _named(path):
            arrays: dict[str, np.ndarray] = {}
            for info in members:
                name = info.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"it holds two arrays of the name {name}")
                arrays[name] = _read_member(archive, info)
            return arrays


@contextlib.contextmanager
def _named(path: str | os.PathLike) -> Iterator[None]:
    """Make a ValueError that names the file of whatever goes wrong."""
    try:
        yield
    except Exception as error:  # damage can surface as almost anything that zipfile, zlib or NumPy raise
        raise ValueError(f"{path}: not a whole .npz file of arrays: {error}") from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array. NumPy believes what a header claims and reserves that much memory, so the claim is checked before."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{info.filename} has .npy version {version}, expected (1, 0)")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which only pickle could read")
        claimed, there = dtype.itemsize * math.prod(shape), info.file_size - file.tell()
        if claimed != there:
            raise ValueError(f"{info.filename} claims {claimed} bytes of data and has {there}")
    with archive.open(info) as file:  # zipfile compares the checksum as soon as the last byte is read
        return np.lib.format.read_array(file, allow_pickle=False)
