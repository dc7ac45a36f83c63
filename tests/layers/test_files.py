"""Files: what is saved is loaded, damage is noticed, nothing is executed, an interrupted save harms nothing."""

import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from run_lesson import TIMEOUT

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


def test_an_array_that_loading_would_refuse_is_not_saved(tmp_path):
    with pytest.raises(ValueError):
        save_arrays(tmp_path / "odd.npz", {"a": np.zeros(1, [("\N{GREEK SMALL LETTER GAMMA}", int)])})
    assert not list(tmp_path.iterdir())


def test_all_was_sent_to_the_disk_before_the_new_file_takes_the_name(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "fsync", lambda number: sent.append(os.fstat(number).st_size))
    save_arrays(tmp_path / "small.npz", {"a": np.ones(3)})
    assert sent == [(tmp_path / "small.npz").stat().st_size]


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


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_a_new_file_gets_the_permissions_that_the_system_gives_and_the_umask_is_never_touched(
    tmp_path, monkeypatch, umask
):
    before = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)  # a call would fail
            model().save(tmp_path / "model.npz")
    finally:
        os.umask(before)
    assert (tmp_path / "model.npz").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_private_file_is_private_while_it_is_written_too(tmp_path, monkeypatch):
    path, modes = tmp_path / "model.npz", []
    model().save(path)
    path.chmod(0o600)
    write_array = np.lib.format.write_array

    def look(file, array, **options):
        modes.extend(other.stat().st_mode & 0o777 for other in tmp_path.iterdir())
        write_array(file, array, **options)

    monkeypatch.setattr(np.lib.format, "write_array", look)
    model().save(path)
    assert set(modes) == {0o600}


def test_saving_through_a_symbolic_link_writes_the_target_and_keeps_the_link(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link, chain = tmp_path / "folder" / "target.npz", tmp_path / "link.npz", tmp_path / "chain.npz"
    link.symlink_to(Path("folder", "target.npz"))
    chain.symlink_to(link)
    for path in (link, chain):  # first to a target that isn't there yet
        trained(seed=0).save(path)
        loaded = model()
        loaded.load(target)
        assert_same_state(loaded, trained(seed=0))
        assert link.is_symlink()
        assert chain.is_symlink()
        assert not target.is_symlink()
    assert os.listdir(tmp_path / "folder") == ["target.npz"]


def test_a_link_that_leads_to_no_folder_names_the_folder(tmp_path):
    (tmp_path / "link.npz").symlink_to(tmp_path / "nowhere" / "target.npz")
    with pytest.raises(FileNotFoundError, match=r"link\.npz: there is no folder .*nowhere"):
        model().save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.symlink_to(path)], ids=["folder", "ring"]
)
def test_what_is_there_and_no_file_is_not_replaced(tmp_path, make):
    make(tmp_path / "model.npz")
    with pytest.raises(OSError, match=r"can't save .*model\.npz"):
        model().save(tmp_path / "model.npz")
    assert os.listdir(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("length", [200, 255])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path, length):
    model().save(tmp_path / ("m" * length))
    assert os.listdir(tmp_path) == ["m" * length]


def test_names_that_differ_by_the_ending_npy_stay_apart(tmp_path):
    save_arrays(tmp_path / "arrays.npz", {"a": np.ones(2), "a.npy": np.zeros(3)})
    arrays = load_arrays(tmp_path / "arrays.npz")
    assert {name: array.shape for name, array in arrays.items()} == {"a": (2,), "a.npy": (3,)}


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


@pytest.mark.slow
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


def npy_bytes(array, version=(1, 0)):
    with io.BytesIO() as file:
        np.lib.format.write_array(file, array, version)
        return file.getvalue()


@pytest.mark.parametrize("names", [("weight.npy", "weight.npy"), ("weight", "weight.npy"), ("weight.npy", "weight")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, npy_bytes(np.full(2, number)))
    with pytest.raises(ValueError, match=r"model\.npz.*two arrays of the name weight"):
        load_arrays(tmp_path / "model.npz")


def test_another_version_of_the_format_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        archive.writestr("weight.npy", npy_bytes(np.ones(2), (2, 0)))
    with pytest.raises(ValueError, match=r"model\.npz.*weight\.npy has \.npy version \(2, 0\)"):
        load_arrays(tmp_path / "model.npz")


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_wrong_checksum_is_refused_whatever_the_size(tmp_path, save, size):
    path = tmp_path / "model.npz"
    save(path, weight=np.zeros(size))
    damaged = bytearray(path.read_bytes())
    damaged[damaged.rindex(b"PK\x01\x02") + 16] ^= 0xFF  # the checksum in the table of contents
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"model\.npz"):
        load_arrays(path)


# A small file may unpack to a large one.


def bomb(path, megabytes):
    """An .npz file of less than 1 MB whose one array takes ``megabytes``; returns how many bytes it unpacks to."""
    data = npy_bytes(np.zeros(0, np.uint8)).replace(b"(0,), }", b"(%d,), }" % (megabytes * 10**6), 1)
    header = data[: 10 + int.from_bytes(data[8:10], "little")]
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("weight.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(megabytes):
            member.write(bytes(10**6))
    assert path.stat().st_size < 10**6
    return len(header) + megabytes * 10**6


def peak_while(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_that_unpacks_to_more_than_allowed_is_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "model.npz"
    size = bomb(path, megabytes=30)

    def refused():
        with pytest.raises(ValueError, match=rf"model\.npz would unpack to {size:,} bytes.*max_bytes={size}"):
            load_arrays(path, max_bytes=size - 1)

    assert peak_while(refused) < 2e6


def test_the_limit_counts_all_arrays_together(tmp_path):
    path = tmp_path / "model.npz"
    save_arrays(path, {"a": np.zeros(1000), "b": np.zeros(1000)})
    with pytest.raises(ValueError, match="would unpack to"):
        load_arrays(path, max_bytes=10_000)


def test_max_bytes_raises_the_limit(tmp_path):
    path = tmp_path / "model.npz"
    size = bomb(path, megabytes=2)
    assert load_arrays(path, max_bytes=size)["weight"].shape == (2 * 10**6,)


def test_a_model_takes_the_limit_too(tmp_path):
    model().save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="more than max_bytes = 100"):
        model().load(tmp_path / "model.npz", max_bytes=100)
    model().load(tmp_path / "model.npz", max_bytes=10**6)


def test_a_gigabyte_is_the_limit_without_a_word(tmp_path):
    path = tmp_path / "model.npz"
    save_arrays(path, {"weight": np.zeros(3)})
    whole = bytearray(path.read_bytes())
    place = whole.rindex(b"PK\x01\x02") + 24  # the size in the table of contents
    whole[place : place + 4] = (2**30 + 1).to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="would unpack to 1,073,741,825 bytes"):
        load_arrays(path)


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
    assert subprocess.run([sys.executable, "-c", program], cwd=root, timeout=TIMEOUT).returncode == 9
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
