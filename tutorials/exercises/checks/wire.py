"""What the checker and a student's process say to each other: plain data as bytes.

JSON, and after it the bytes of the arrays in it, so reading a message runs nothing. What can't be said is sent by the
name of its type. Whoever reads believes nothing: a message that isn't right is ``Malformed``. (A student's process
imports this file by itself, so it needs NumPy alone.)
"""

from __future__ import annotations

import json
import math
import os
import struct
import traceback
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

LARGEST = 2**26  # bytes of a message
MOST_JSON = 2**23  # of these, in JSON
HEAD = struct.Struct("<QQ")  # bytes of JSON, bytes of arrays
TYPES = {np.dtype(code).str for code in "?bhilqBHILQefdFD"}
CHARACTERS = 10_000  # of a text


class Malformed(ValueError):
    """Bytes that are no message."""


class Other:
    """Something that can't be sent: only the name of its type arrives."""


def clean(text: str) -> str:
    """The text without what a terminal, a table or UTF-8 could stumble over."""
    text = text[:CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in text if c in "\n\t" or (c.isprintable() or c == " "))


class Wire:
    """Messages in both directions. Functions stay where they are: the other side gets a number to call them by.

    Args:
        stand_in: from a number, what stands for a function of the other side. Without it, functions that are sent are
            numbered here.
    """

    def __init__(self, stand_in: Callable[[int], Callable] | None = None) -> None:
        self.stand_in = stand_in
        self.functions: dict[int, Callable] = {}
        self.tuples: dict[str, type] = {}

    def pack(self, message: Any) -> bytes:
        """A message as bytes; ValueError if it is too large."""
        blobs: list[bytes] = []
        text = json.dumps(self._encode(message, blobs)).encode("ascii")
        size = sum(map(len, blobs))
        if len(text) + size > LARGEST:
            raise ValueError(f"{(len(text) + size) / 2**20:.0f} megabytes are more than an answer may have")
        return HEAD.pack(len(text), size) + text + b"".join(blobs)

    def unpack(self, text: bytes, blobs: bytes) -> Any:
        """The message that ``pack`` was given."""
        try:
            return self._decode(json.loads(text), Reader(blobs))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, MemoryError) as error:
            raise Malformed(str(error)) from error

    def _encode(self, value: Any, blobs: list[bytes]) -> Any:
        if value is None or type(value) in (bool, float):
            return value
        if type(value) is int:
            return value if value.bit_length() < 1000 else ["other", "int"]
        if isinstance(value, str):
            return clean(str(value))
        if type(value) is list or type(value) is tuple:
            return [type(value).__name__, *(self._encode(item, blobs) for item in value)]
        if isinstance(value, dict):
            pairs = [[self._encode(key, blobs), self._encode(item, blobs)] for key, item in value.items()]
            return ["dict", *pairs]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._encode_named(value, blobs)
        if callable(value) and not isinstance(value, np.ndarray):
            return self._encode_function(value)
        return self._encode_array(value, blobs)

    def _encode_named(self, value: tuple, blobs: list[bytes]) -> list:
        name = type(value).__name__
        if self.stand_in is not None and self.tuples.get(name) is not type(value):  # the student's own
            return self._encode(tuple(value), blobs)
        self.tuples.setdefault(name, type(value))
        return ["named", name, list(value._fields), *(self._encode(item, blobs) for item in value)]

    def _encode_function(self, value: Callable) -> list:
        for number, function in self.functions.items():
            if function is value:
                return ["function", number]
        if self.stand_in is not None:
            return ["other", type(value).__name__]
        number = len(self.functions)
        self.functions[number] = value
        return ["function", number]

    def _encode_array(self, value: Any, blobs: list[bytes]) -> list:
        """Arrays, NumPy's numbers, and whatever can be made an array of numbers."""
        try:
            array = np.asarray(value)
            if array.dtype.str not in TYPES:
                kind = np.complex128 if array.dtype.kind == "c" else np.float64
                array = array.astype(kind, copy=False)
        except (TypeError, ValueError, OverflowError):
            return ["other", clean(type(value).__name__)[:100]]
        if array.nbytes > LARGEST:
            raise ValueError(f"an array of shape {array.shape} is too large for an answer")
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        blobs.append(array.tobytes(order))
        tag = "array" if isinstance(value, np.ndarray) or array.ndim else "number"
        return [tag, array.dtype.str, list(array.shape), order]

    def _decode(self, data: Any, reader: Reader) -> Any:
        if isinstance(data, str):
            return clean(data)
        if not isinstance(data, list):
            if isinstance(data, dict):
                raise Malformed("a dict that isn't marked as one")
            return data
        tag, *rest = data
        if tag in ("list", "tuple"):
            items = [self._decode(item, reader) for item in rest]
            return items if tag == "list" else tuple(items)
        if tag == "dict":
            return {self._decode(key, reader): self._decode(item, reader) for key, item in rest}
        if tag == "named":
            return self._decode_named(*rest[:2], [self._decode(item, reader) for item in rest[2:]])
        if tag == "function":
            return self._decode_function(*rest)
        if tag == "other":
            return type(clean(str(rest[0]))[:100] or "object", (Other,), {})()
        if tag not in ("array", "number"):
            raise Malformed(f"an unknown mark, {str(tag)[:50]}")
        array = reader.array(*rest)
        return array[()] if tag == "number" else array

    def _decode_named(self, name: str, fields: list[str], values: list) -> tuple:
        if self.stand_in is not None and name not in self.tuples:
            self.tuples[name] = namedtuple(name, fields)
        return self.tuples[name](*values)

    def _decode_function(self, number: int) -> Callable:
        if self.stand_in is not None and number not in self.functions:
            self.functions[number] = self.stand_in(number)
        return self.functions[number]


class Reader:
    """Takes arrays, one after the other, from the bytes after a message."""

    def __init__(self, blobs: bytes) -> None:
        self.blobs, self.at = blobs, 0

    def array(self, dtype: str, shape: list[int], order: str) -> np.ndarray:
        """The next array. Its shape may be large in no axis, not even beside an axis of length 0."""
        if dtype not in TYPES or order not in ("C", "F") or len(shape) > 32:
            raise Malformed("an array of a kind that isn't sent")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise Malformed("an array with a strange shape")
        if math.prod(max(length, 1) for length in shape) > LARGEST:
            raise Malformed("an array with an enormous shape")
        count = math.prod(shape)
        found = np.frombuffer(self.blobs, dtype, count, self.at) if count else np.empty(0, dtype)
        self.at += found.nbytes
        return found.reshape(shape, order=order).copy(order)


# Errors, as plain data.


class LibraryUsed(Exception):
    """Something of the library was called; the name is all that is there of it."""


def message_of(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {str(error)[:500]}"
    except BaseException:  # an exception of the student's own
        return type(error).__name__


def failure_of(error: BaseException, function: Any) -> dict[str, str]:
    """What went wrong in a function, and at which line of the student's file."""
    name = getattr(function, "__name__", "the function")
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    where = f"  when {name} was called"
    if own:
        where = f"  in line {own[-1].lineno} of {os.path.basename(file)}: {own[-1].line}"
    return {
        "message": message_of(error),
        "where": where,
        "unwritten": frames[-1].name if isinstance(error, NotImplementedError) and frames else "",
        "library": str(error.args[0]) if isinstance(error, LibraryUsed) else "",
    }
