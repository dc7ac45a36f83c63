"""Students' words where others read them, and how points are written."""

from __future__ import annotations

import re
from typing import Any

# What readers of HTML and JSON, databases and terminals refuse or obey; a tab and a line feed may stay.
UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    """The text without characters that can't be shown, so that it is UTF-8 and plain."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def number(points: float) -> str:
    """Points with two decimals at most, as gradebooks show them."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def word(verdict: dict[str, Any]) -> str:
    """How a function is, in a word or two."""
    partly = verdict["status"] == "wrong" and verdict["share"]
    return "partly right" if partly else {"library": "library's own"}.get(verdict["status"], verdict["status"])


def told(verdict: dict[str, Any], longest: int = 20_000) -> str:
    """What a student is told of a function: the board's text, and what the function printed."""
    printed = f"\nIt printed:\n{verdict['printed']}" if verdict["printed"] else ""
    text = clean(f"{verdict['text']}{printed}".strip() or f"{word(verdict).capitalize()}.")
    return text if len(text) <= longest else f"{text[:longest]} ..."


def name(verdict: dict[str, Any]) -> str:
    """A function's name beside others, with its exercise."""
    return f"Exercise {verdict['exercise']}: {verdict['function']}"
