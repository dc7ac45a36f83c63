"""What can go wrong on the tape, in words: functions that make an exception, for the place where it is raised."""

from __future__ import annotations

from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    F = TypeVar("F")


def used_tape(label: str) -> RuntimeError:
    """A second ``backward`` through the same entries."""
    advice = "compute it again, or add up the losses and call backward() once"
    return RuntimeError(f"the tape of {label} was already used by backward() and released: {advice}")


def no_gradient_here(label: str) -> RuntimeError:
    """``backward`` on a constant."""
    advice = "give a parameter requires_grad=True, and compute the result outside no_grad()"
    return RuntimeError(f"backward() on {label}, which depends on nothing that requires a gradient: {advice}")


def several_values(label: str, size: int) -> RuntimeError:
    """``backward`` without a gradient on a result of several values."""
    advice = "give backward(gradient) the weight of each, or reduce it to one value first, with sum() or mean()"
    return RuntimeError(f"backward() on {label}, which has {size} values: {advice}")


def no_gradient_of(op: str, position: int, shape: tuple[int, ...], d: Any) -> Exception:
    """A vjp that returned no array of numbers, or one of a shape that can't be its input's."""
    wanted = f"the vjp of '{op}' must return real numbers of shape {shape} for input {position}"
    if not isinstance(d, (np.ndarray, np.generic)):
        return TypeError(f"{wanted}, got {type(d).__name__}")
    return (
        ValueError(f"{wanted}, got shape {d.shape}")
        if d.dtype.kind in "fiub"
        else TypeError(f"{wanted}, got {d.dtype}")
    )


def not_as_many(op: str, wanted: int, got: int) -> ValueError:
    """One vjp for all inputs that returned too few gradients, or too many."""
    return ValueError(f"the vjp of '{op}' must return {wanted} gradients, got {got}")


def run_when_called(function: F) -> F:
    """The function itself; TypeError if a call of it returns before its body has run, as a generator's does."""
    if any(is_kind(function) for is_kind in (isgeneratorfunction, iscoroutinefunction, isasyncgenfunction)):
        advice = "write `with no_grad():` inside it"
        raise TypeError(f"@no_grad() on a generator or asynchronous function would end before its body: {advice}")
    return function
