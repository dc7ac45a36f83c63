"""The data loaders: digits, MNIST files with every kind of damage, spirals."""

import gzip
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tutorials.data
from tutorials.data import LARGEST, load_digits, load_mnist, read_idx, two_spirals

# The digits that come with the course.


def test_digits_are_1442_training_and_355_test_images_of_64_pixels():
    digits = load_digits()
    assert [a.shape for a in digits] == [(1442, 64), (1442,), (355, 64), (355,)]
    assert [str(a.dtype) for a in digits] == ["float32", "int64", "float32", "int64"]


def test_pixels_of_the_digits_go_from_0_to_1_in_steps_of_a_sixteenth():
    digits = load_digits()
    pixels = np.concatenate([digits.x_train, digits.x_test])
    np.testing.assert_array_equal(np.unique(pixels), np.arange(17) / 16)


def test_every_digit_has_the_same_share_in_both_parts():
    digits = load_digits()
    assert np.bincount(digits.y_train).tolist() == [143, 146, 142, 147, 145, 146, 145, 144, 140, 144]
    assert np.bincount(digits.y_test).tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]


def test_no_image_is_in_both_parts_and_none_is_lost():
    digits = load_digits()
    assert len(np.unique(np.concatenate([digits.x_train, digits.x_test]), axis=0)) == 1797  # all images differ


def test_the_split_of_the_digits_is_always_the_same():
    for one, two in zip(load_digits(), load_digits(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_first_digit_looks_like_a_zero():
    digits = load_digits()
    image = digits.x_train[0].reshape(8, 8)
    assert digits.y_train[0] == 0
    assert image[3:5, 3:5].max() < 0.1  # the hole in the middle
    assert image.max() > 0.9


def test_images_and_labels_belong_together():
    digits = load_digits()
    means = np.array([digits.x_train[digits.y_train == k].mean(0) for k in range(10)])
    nearest = ((digits.x_test[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == digits.y_test).mean() > 0.85


def test_changing_the_digits_does_not_change_the_next_ones():
    load_digits().x_train[...] = 0
    assert load_digits().x_train.max() == 1


# MNIST from a folder.


def idx(array, type_code=8):
    """An array of bytes in the IDX format."""
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, type_code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def header(*shape):
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def images(n, size=28):
    return np.random.default_rng(n).integers(0, 256, (n, size, size), np.uint8)


def labels(n):
    return np.arange(n) % 10


def write_mnist(folder, dash="-", gz=False, **replaced):
    """Six training and four test images; ``replaced`` gives other bytes for a file, or None to leave it out."""
    contents = {
        "train_images": idx(images(6)),
        "train_labels": idx(labels(6)),
        "t10k_images": idx(images(4)),
        "t10k_labels": idx(labels(4)),
    }
    for name, content in (contents | replaced).items():
        ndim = 3 if name.endswith("images") else 1
        path = folder / (name.replace("_", "-") + f"{dash}idx{ndim}-ubyte" + (".gz" if gz else ""))
        if content is not None:
            path.write_bytes(gzip.compress(content, mtime=0) if gz else content)
    return folder


@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("dash", ["-", "."])
def test_mnist_is_read_plain_or_gzipped_under_both_names(tmp_path, dash, gz):
    data = load_mnist(write_mnist(tmp_path, dash, gz))
    np.testing.assert_allclose(data.x_train, images(6).reshape(6, 784) / 255, rtol=1e-6)
    np.testing.assert_allclose(data.x_test, images(4).reshape(4, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.y_train, labels(6))
    np.testing.assert_array_equal(data.y_test, labels(4))
    assert [str(a.dtype) for a in data] == ["float32", "int64", "float32", "int64"]


def test_the_folder_may_be_a_string(tmp_path):
    assert len(load_mnist(str(write_mnist(tmp_path))).x_train) == 6


def test_a_mix_of_names_and_compression_is_fine(tmp_path):
    write_mnist(tmp_path, t10k_images=None, t10k_labels=None)
    write_mnist(tmp_path, ".", gz=True, train_images=None, train_labels=None)
    assert len(load_mnist(tmp_path).x_test) == 4


@pytest.mark.parametrize("missing", ["train_images", "train_labels", "t10k_images", "t10k_labels"])
def test_a_missing_file_lists_what_was_looked_for(tmp_path, missing):
    write_mnist(tmp_path, **{missing: None})
    with pytest.raises(FileNotFoundError) as error:
        load_mnist(tmp_path)
    name, ndim = missing.replace("_", "-"), 3 if missing.endswith("images") else 1
    for looked_for in (f"{name}-idx{ndim}-ubyte", f"{name}.idx{ndim}-ubyte", f"{name}-idx{ndim}-ubyte.gz"):
        assert looked_for in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_missing_file_names_all_four_files_and_the_page_that_says_where_they_come_from(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_mnist(tmp_path)
    page = Path(tutorials.data.__file__).with_name("README.md").read_text(encoding="utf-8")
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        assert f"{name}-ubyte" in str(error.value)
        assert len(re.findall(rf"^[0-9a-f]{{64}}  {name}-ubyte(?:\.gz)?$", page, re.MULTILINE)) == 2
    assert "README.md in tutorials/data" in str(error.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_mnist(tmp_path / "nowhere")


WRONG_FILES = {  # bytes of an images file, and what the error says
    "labels instead of images": (idx(labels(6)), "magic number 00000801, expected 00000803"),
    "type is not bytes": (idx(images(6), type_code=13), "magic number 00000d03"),
    "text": (b"hello, this is no IDX file", "magic number 68656c6c"),
    "empty": (b"", ""),
    "magic number cut off": (idx(images(6))[:3], ""),
    "header cut off": (idx(images(6))[:11], "truncated inside its header"),
    "only the header": (idx(images(6))[:16], "only 0 follow"),
    "one byte too few": (idx(images(6))[:-1], f"only {6 * 784 - 1} follow"),
    "one byte too many": (idx(images(6)) + b"x", "more bytes follow"),
}


@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("wrong", WRONG_FILES)
@pytest.mark.parametrize("file", ["train_images", "t10k_images"])
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, file, wrong, gz):
    content, problem = WRONG_FILES[wrong]
    write_mnist(tmp_path, gz=gz, **{file: content})
    with pytest.raises(ValueError) as error:
        load_mnist(tmp_path)
    assert file.replace("_", "-") in str(error.value)
    assert "not a whole IDX file" in str(error.value)
    assert problem in str(error.value)


@pytest.mark.parametrize("length", [0, 3])
def test_a_file_too_short_for_a_magic_number_is_called_truncated(tmp_path, length):
    path = tmp_path / "images"
    path.write_bytes(idx(images(6))[:length])
    with pytest.raises(ValueError, match="truncated"):
        read_idx(path, ndim=3)


@pytest.mark.parametrize(("part", "count"), [("train", 5), ("train", 7), ("t10k", 3)])
def test_another_number_of_labels_than_images_names_both_files(tmp_path, part, count):
    write_mnist(tmp_path, **{f"{part}_labels": idx(labels(count))})
    with pytest.raises(ValueError) as error:
        load_mnist(tmp_path)
    assert f"{part}-images" in str(error.value)
    assert f"{part}-labels" in str(error.value)
    assert f"{count} labels" in str(error.value)


def test_a_label_above_nine_names_its_file(tmp_path):
    write_mnist(tmp_path, train_labels=idx([0, 1, 2, 3, 4, 10]))
    with pytest.raises(ValueError, match=r"train-labels.*0 to 9, got 10"):
        load_mnist(tmp_path)


def test_a_file_without_images_is_no_error_about_reshaping(tmp_path):
    write_mnist(tmp_path, t10k_images=idx(images(0)), t10k_labels=idx(labels(0)))
    assert load_mnist(tmp_path).x_test.shape == (0, 784)


def test_training_and_test_images_of_different_sizes_are_refused(tmp_path):
    write_mnist(tmp_path, t10k_images=idx(images(4, size=14)))
    with pytest.raises(ValueError, match="t10k-images"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((2**32 - 1, 28, 28), "3,367,254,359,280 bytes, more than the 268,435,456"),
        ((2**32 - 1,) * 3, "more than the 268,435,456"),
        ((LARGEST + 1, 1, 1), "268,435,457 bytes, more than"),
        ((LARGEST, 1, 1), "only 1000 follow"),
        ((60_000, 28, 28), "only 1000 follow"),
    ],
    ids=str,
)
@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gzipped"])
def test_a_header_that_claims_billions_of_images_allocates_nothing(tmp_path, shape, problem, gz):
    write_mnist(tmp_path, gz=gz, train_images=header(*shape) + bytes(1000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"train-images.*{problem}"):
            load_mnist(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6


def test_a_small_gzip_file_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    block = gzip.compress(bytes(2**24), mtime=0)  # members of a gzip file follow each other
    bomb = gzip.compress(header(256, 2**12, 2**12), mtime=0) + 256 * block
    (tmp_path / "images.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"4,294,967,296 bytes, more than"):
            read_idx(tmp_path / "images.gz", ndim=3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 0), (0, 2**32 - 1, 2**32 - 1)], ids=str)
def test_a_header_that_claims_billions_of_empty_images_is_refused_by_name(tmp_path, shape):
    write_mnist(tmp_path, train_images=header(*shape))
    with pytest.raises(ValueError, match="train-images"):
        load_mnist(tmp_path)


def test_a_gzip_file_cut_off_anywhere_is_refused_by_name(tmp_path):
    path, whole = tmp_path / "labels.gz", gzip.compress(idx(labels(50)), mtime=0)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"labels\.gz"):
            read_idx(path, ndim=1)


@pytest.mark.slow
def test_a_gzip_file_with_a_flipped_bit_is_refused_by_name_or_changes_no_value(tmp_path):
    path, whole = tmp_path / "labels.gz", gzip.compress(idx(labels(50)), mtime=0)
    refused = 0
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            values = read_idx(path, ndim=1)
        except ValueError as error:
            assert "labels.gz" in str(error)
            refused += 1
        else:  # such as a bit of the time of compression
            np.testing.assert_array_equal(values, labels(50))
    assert refused > 6 * len(whole)


def test_a_plain_file_called_gz_is_refused_by_name(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(idx(labels(5)))
    with pytest.raises(ValueError, match=r"labels\.gz.*gzip"):
        read_idx(path, ndim=1)


# Two spirals.


@pytest.mark.parametrize("n", [1, 50, 200])
def test_two_spirals_have_n_points_each(n):
    x, y = two_spirals(n, rng=0)
    assert (x.shape, str(x.dtype)) == ((2 * n, 2), "float32")
    assert str(y.dtype) == "int64"
    assert np.bincount(y).tolist() == [n, n]


def test_the_same_seed_gives_the_same_spirals():
    for one, two in zip(two_spirals(rng=3), two_spirals(rng=np.random.default_rng(3)), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("other", [4, None])
def test_another_seed_gives_other_points(other):
    assert not np.array_equal(two_spirals(rng=3)[0], two_spirals(rng=other)[0])


def test_without_noise_one_spiral_is_the_other_turned_by_half_a_turn():
    x, y = two_spirals(200, noise=0, rng=0)
    angle, radius = np.arctan2(x[:, 1], x[:, 0]), np.hypot(x[:, 0], x[:, 1])
    turns = (angle / np.pi - radius - y) % 2  # along an arm the radius grows by 1 every half turn
    np.testing.assert_allclose(np.minimum(turns, 2 - turns), 0, atol=1e-5)


def test_noise_is_the_standard_deviation_of_each_coordinate():
    exact, noisy = two_spirals(5000, noise=0, rng=0)[0], two_spirals(5000, noise=0.3, rng=0)[0]
    np.testing.assert_allclose((noisy - exact).std(0), 0.3, rtol=0.05)


def test_no_straight_line_separates_the_spirals():
    x, y = two_spirals(rng=0)
    inputs = np.column_stack([x, np.ones(len(x))])
    weights = np.linalg.lstsq(inputs, 2.0 * y - 1, rcond=None)[0]
    assert ((inputs @ weights > 0) == y).mean() < 0.75
