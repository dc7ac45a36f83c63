"""Files: what is saved is loaded, damage is noticed, nothing is executed, an interrupted save harms nothing."""

import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from layers import BatchNorm1d, Linear, Sequential, load_arrays, save_arrays


def model(seed=0):
    return Sequential(Linear(3, 4, rng=seed), BatchNorm1d(4))


def trained(seed=0):
    """A model whose statistics aren't those of a new one."""
    trained = model(seed)
    trained(np.random.default_rng(seed).normal(size=(6, 3)))
    return trained


def assert_same_state(one, two):
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, two.state_dict()[name], err_msg=name)


# There and back.


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", ["model.npz", "model", "a model.v2"])
def test_a_loaded_model_is_the_saved_one(tmp_path, kind, name):
    saved, loaded, path = trained(seed=0), model(seed=1), kind(tmp_path / name)
    saved.save(path)
    loaded.load(path)
    assert_same_state(loaded, saved)
    assert os.listdir(tmp_path) == [name]


def test_a_saved_file_is_an_ordinary_npz(tmp_path):
    saved = trained()
    saved.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert sorted(file.files) == sorted(saved.state_dict())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_written_by_numpy_can_be_loaded(tmp_path, save):
    saved, loaded = trained(seed=0), model(seed=1)
    save(tmp_path / "model.npz", **saved.state_dict())
    loaded.load(tmp_path / "model.npz")
    assert_same_state(loaded, saved)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(3, 4)[::2, ::-1],
        np.array(3.5),
        np.zeros((0, 3)),
        np.array([1, -2, 3], ">i4"),
        np.array([True, False]),
        np.array(["sgd", "adam"]),
        np.array([np.nan, np.inf, -0.0]),
    ],
    ids=["float32", "fortran", "strided", "scalar", "empty", "big endian", "bool", "strings", "special"],
)
def test_an_array_comes_back_with_values_shape_and_dtype(tmp_path, array):
    save_arrays(tmp_path / "arrays.npz", {"array": array})
    back = load_arrays(tmp_path / "arrays.npz")["array"]
    np.testing.assert_array_equal(back, array)
    assert (back.shape, back.dtype) == (array.shape, array.dtype)
    back[...] = back  # it can be written to


@pytest.mark.parametrize("name", ["file", "args", "self", "path", "allow_pickle", "kwds"])
def test_an_array_may_have_any_name(tmp_path, name):
    save_arrays(tmp_path / "arrays.npz", {name: np.ones(2)})
    assert list(load_arrays(tmp_path / "arrays.npz")) == [name]


def test_saving_again_replaces_the_file(tmp_path):
    path = tmp_path / "model.npz"
    trained(seed=0).save(path)
    trained(seed=1).save(path)
    loaded = model()
    loaded.load(path)
    assert_same_state(loaded, trained(seed=1))


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_saving_again_keeps_the_permissions(tmp_path):
    path = tmp_path / "model.npz"
    trained().save(path)
    path.chmod(0o640)
    trained().save(path)
    assert path.stat().st_mode & 0o777 == 0o640


# What isn't there or doesn't fit.


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        model().load(tmp_path / "missing.npz")


def test_a_file_of_another_model_is_named_and_nothing_is_loaded(tmp_path):
    path = tmp_path / "other.npz"
    Sequential(Linear(3, 5), BatchNorm1d(4)).save(path)
    loaded = model()
    before = loaded.state_dict()
    with pytest.raises(ValueError, match=r"other\.npz.*0\.weight has shape \(5, 3\)"):
        loaded.load(path)
    for name, array in loaded.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_saving_into_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        model().save(tmp_path / "nowhere" / "model.npz")


# Damage.


def write_text(path):
    path.write_text("epoch 1, loss 2.3\n")


def write_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.ones(3))


def write_half(path):
    model().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_nothing(path):
    path.write_bytes(b"")


def write_zip_of_text(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "not an array")


def write_pickle(path):
    path.write_bytes(pickle.dumps({"0.weight": [1.0, 2.0]}))


@pytest.mark.parametrize(
    "write",
    [write_text, write_npy, write_half, write_nothing, write_zip_of_text, write_pickle],
    ids=lambda f: f.__name__,
)
def test_what_is_no_whole_npz_is_refused_by_name_and_nothing_is_loaded(tmp_path, write):
    path = tmp_path / "model.npz"
    write(path)
    loaded = model()
    before = loaded.state_dict()
    with pytest.raises(ValueError, match=r"model\.npz: not a whole \.npz file"):
        loaded.load(path)
    for name, array in loaded.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_file_cut_off_anywhere_is_refused_by_name(tmp_path):
    path = tmp_path / "model.npz"
    save_arrays(path, {"weight": np.arange(3.0)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.npz"):
            load_arrays(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_byte_changed_anywhere_is_refused_by_name_or_changes_no_value(tmp_path, save):
    path, weight = tmp_path / "model.npz", np.arange(3.0)
    save(path, weight=weight)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                arrays = load_arrays(path)
            except ValueError as error:
                assert "model.npz" in str(error)
            else:  # such as a byte of the time of saving
                np.testing.assert_array_equal(arrays.pop("weight"), weight)


def npz_claiming(path, shape, data, compression):
    """An .npz file in which a header claims ``shape`` (float64), whatever follows it."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w", compression) as archive:
        magic = np.lib.format.magic(1, 0)
        archive.writestr("weight.npy", magic + len(header).to_bytes(2, "little") + header.encode() + data)


def test_a_header_that_tells_the_truth_is_believed(tmp_path):
    npz_claiming(tmp_path / "model.npz", (2,), np.array([1.0, 2.0]).tobytes(), zipfile.ZIP_STORED)
    np.testing.assert_array_equal(load_arrays(tmp_path / "model.npz")["weight"], [1, 2])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(10**9,), (10**12, 10**12), (2**62, 4, 2), (3,), (1,), (-2,), (-1, -2)], ids=str)
def test_a_header_that_claims_another_size_is_refused_and_nothing_is_allocated(tmp_path, shape, compression):
    path = tmp_path / "model.npz"
    npz_claiming(path, shape, bytes(16), compression)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"model\.npz"):
            load_arrays(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6


# Nothing is executed.


class MakesFolder:
    """An object that, when unpickled, makes a folder: a stand-in for what an attacker's file would do."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_of_pickled_objects_is_refused_and_nothing_in_it_is_executed(tmp_path, save):
    path, folder = tmp_path / "model.npz", tmp_path / "executed"
    save(path, weight=np.array([MakesFolder(folder)], dtype=object))
    with pytest.raises(ValueError, match=r"model\.npz.*objects"):
        load_arrays(path)
    assert not folder.exists()


def test_a_pickle_under_the_name_of_an_npz_is_not_executed(tmp_path):
    path, folder = tmp_path / "model.npz", tmp_path / "executed"
    path.write_bytes(pickle.dumps(MakesFolder(folder)))
    with pytest.raises(ValueError, match=r"model\.npz"):
        load_arrays(path)
    assert not folder.exists()


def test_objects_are_not_saved_either(tmp_path):
    with pytest.raises(TypeError, match=r"weight.*objects"):
        save_arrays(tmp_path / "arrays.npz", {"weight": np.array([None, {}], dtype=object)})
    assert os.listdir(tmp_path) == []


# An interrupted save. The writing of its third array fails, in the middle of the archive.

ERRORS = [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]


def interrupt_the_third_array(monkeypatch, error):
    written, write_array = [], np.lib.format.write_array

    def write_or_fail(file, array, *args, **kwargs):
        if len(written) == 2:
            file.write(b"half of an ar")
            raise error
        written.append(array)
        write_array(file, array, *args, **kwargs)

    monkeypatch.setattr(np.lib.format, "write_array", write_or_fail)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_interrupted_save_leaves_the_old_file_whole_and_no_other(tmp_path, monkeypatch, error):
    path = tmp_path / "model.npz"
    trained(seed=0).save(path)
    before = path.read_bytes()
    interrupt_the_third_array(monkeypatch, error)
    with pytest.raises(type(error)):
        trained(seed=1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_interrupted_first_save_leaves_no_file(tmp_path, monkeypatch, error):
    interrupt_the_third_array(monkeypatch, error)
    with pytest.raises(type(error)):
        model().save(tmp_path / "model.npz")
    assert os.listdir(tmp_path) == []


def test_a_process_killed_while_saving_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "model.npz"
    trained().save(path)
    before = path.read_bytes()
    program = f"""
import os
import numpy as np
from layers import Linear
np.lib.format.write_array = lambda file, *_, **__: (file.write(b"half"), os._exit(9))
Linear(2, 2).save({str(path)!r})
"""
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, timeout=60).returncode == 9
    assert path.read_bytes() == before


def test_a_failed_rename_leaves_the_old_file_whole_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    trained(seed=0).save(path)
    before = path.read_bytes()

    def replace(*_):
        raise PermissionError("in use")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(PermissionError):
        trained(seed=1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"]
