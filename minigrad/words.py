"""NumPy's words for those who come with PyTorch's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    P = ParamSpec("P")
    R = TypeVar("R")

NUMPYS = {"dim": "axis", "dims": "axes", "keepdim": "keepdims", "correction": "ddof", "unbiased": "ddof"}


def numpy_words(function: Callable[P, R]) -> Callable[P, R]:
    """A function that answers PyTorch's name of an argument with NumPy's: TypeError, for ``x.sum(dim=1)``."""

    @functools.wraps(function)
    def call(*args: P.args, **settings: P.kwargs) -> R:
        for theirs in settings:
            if theirs in NUMPYS:
                name = f"{function.__name__}(..., {NUMPYS[theirs]}=...)"
                raise TypeError(
                    f"minigrad has NumPy's words for arrays: '{NUMPYS[theirs]}' for '{theirs}', as in {name}"
                )
        return function(*args, **settings)

    return call
