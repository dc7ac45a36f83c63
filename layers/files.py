"""Arrays to a ``.npz`` file and back, safely."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def save_arrays(path: str | os.PathLike, arrays: Mapping[str, ArrayLike]) -> None:
    """Write named arrays to ``path`` as an ``.npz`` file.

    Killed at any moment, it leaves under ``path`` either the old file or the new one, whole: it
    writes a file beside it and renames that when all is on the disk.

    Raises:
        FileNotFoundError: the folder doesn't exist.
        TypeError: an array of Python objects, which only pickle could store.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{path}: can't save {name}, an array of Python objects: give numbers or strings")
    path = os.path.abspath(path)
    if not os.path.isdir(os.path.dirname(path)):
        raise FileNotFoundError(f"can't save {path}: there is no such folder")
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=os.path.basename(path), suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode_of(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _mode_of(path: str) -> int:
    """Permissions for the new file: those of the old one, or what the umask leaves (mkstemp gives 0600)."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def load_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a file that ``save_arrays`` or ``np.savez`` wrote. Nothing in it is ever executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an ``.npz`` file of arrays, or a damaged one; names the file.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return {info.filename.removesuffix(".npy"): _read_member(archive, info) for info in archive.infolist()}
        except Exception as error:  # damage can surface as almost anything that zipfile, zlib or NumPy raise
            raise ValueError(f"{path}: not a whole .npz file of arrays: {error}") from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, after checking that its header claims no more bytes than are there."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{info.filename} has .npy version {version}, expected (1, 0)")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which only pickle could read")
        claimed = dtype.itemsize * int(np.prod(shape, dtype=object))
        data = file.read(info.file_size)
        if len(data) != claimed:
            raise ValueError(f"{info.filename} claims {claimed} bytes of data and has {len(data)}")
        array = np.frombuffer(data, dtype).copy()
        return array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)
