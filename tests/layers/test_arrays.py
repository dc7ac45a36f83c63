"""The NumPy tricks of the layers, against plain sums in float64."""

import numpy as np
import pytest

from layers.arrays import (
    CACHE,
    ROWS,
    channel_last,
    channel_products,
    channel_sums,
    column_sums,
    in_dtype_of,
    multiply_add,
    ones,
)

SIZES = [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 1, ROWS * ROWS + 1]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_integers_take_the_dtype_of_the_first_floating_one_beside_them():
    integers, single, double = np.arange(3), np.ones(3, np.float32), np.ones(3)
    assert in_dtype_of(integers, None, integers, single, double).dtype == np.float32
    assert in_dtype_of(integers, None, integers) is integers
    assert in_dtype_of(double, single) is double


def test_what_is_kept_for_the_next_call_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        ones(3, "f")[0] = 2


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("columns", [1, 2])
def test_column_sums_of_any_number_of_rows(rows, columns):
    x = random(rows, columns)
    np.testing.assert_allclose(column_sums(x), x.sum(0), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("rows", [1_000_000, 40_000])
@pytest.mark.parametrize(
    "make", [lambda n: np.full((n, 2), 0.1, np.float32), lambda n: random(n, 2).astype(np.float32)]
)
def test_the_sum_of_many_float32_rows_is_as_exact_as_float32_allows(rows, make):
    x = make(rows)
    exact = x.astype(np.float64)
    scale = np.abs(exact).sum(0)
    assert (np.abs(column_sums(x) - exact.sum(0)) <= 1e-5 * scale).all()
    assert (np.abs(channel_products(x, x) - (exact * exact).sum(0)) <= 1e-5 * (exact * exact).sum(0)).all()


@pytest.mark.parametrize("length", [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 40_000])
@pytest.mark.parametrize("step", [1, 2])
def test_the_sum_over_many_pixels_is_as_exact_as_float32_allows(length, step):
    x = np.full((2, 3, length * step), 0.1, np.float32)[..., ::step]
    np.testing.assert_allclose(channel_sums(channel_last(x, False)), [np.float32(0.1) * 2.0 * length] * 3, rtol=5e-6)


@pytest.mark.parametrize("rows", [CACHE // 2 - 1, CACHE // 2, CACHE // 2 + 1, CACHE + 1])
def test_products_are_summed_in_blocks_and_in_one_alike(rows):
    x, y = random(rows, 2), random(rows, 2, seed=1)
    np.testing.assert_allclose(channel_products(x, y), (x * y).sum(0), rtol=1e-10)


@pytest.mark.parametrize("shape", [(3, 4), (4, 4, 4), (2, 3, 5, 7), (0, 3, 2), (2, 3, 0)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_sums_over_all_axes_but_the_channels(shape, channels_last):
    x = random(*shape)
    axes = tuple(i for i in range(x.ndim) if i != (x.ndim - 1 if channels_last else 1))
    u = channel_last(x, channels_last)
    np.testing.assert_allclose(channel_sums(u), x.sum(axes), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(channel_products(u, u), (x * x).sum(axes), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [2, CACHE // 2, CACHE // 2 + 1])
@pytest.mark.parametrize("dtypes", [(np.float32, np.float64), (np.float64, np.float32), (np.float32, np.float32)])
@pytest.mark.parametrize("with_shift", [True, False])
@pytest.mark.parametrize("with_z", [True, False])
def test_multiply_add_promotes_as_numpy_and_changes_no_operand(rows, dtypes, with_shift, with_z):
    x, z = (random(rows, 2, seed=i).astype(dtype) for i, dtype in enumerate(dtypes))
    scale, shift, z_scale = (random(2, seed=i).astype(dtypes[0]) for i in (2, 3, 4))
    kept = [a.copy() for a in (x, z, scale, shift, z_scale)]
    result = multiply_add(
        x, scale, shift if with_shift else None, x.shape, False, z if with_z else None, z_scale if with_z else None
    )
    expected = x * scale + (shift if with_shift else 0) + (z * z_scale if with_z else 0)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert result.dtype == expected.dtype
    for a, before in zip((x, z, scale, shift, z_scale), kept, strict=True):
        np.testing.assert_array_equal(a, before)
