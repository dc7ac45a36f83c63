"""The arithmetic by which an entry sends one gradient: its rule, with the numbers put into it or the shapes below."""

from __future__ import annotations

import ast
import re
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from .mathml import formula, parse, split, symbol
from .text import letter_pairs, rule_of, saved_arrays, short_number, shown_array

if TYPE_CHECKING:
    from .text import Sent, Step

MOST = 9  # numbers of an array that is written into a formula


def arithmetic_html(step: Step, sent: Sent, slot: int) -> str:
    """The rule's lines for one of an entry's inputs as formulas: with the numbers if all arrays are small."""
    letters = {slot: letter for letter, slot in letter_pairs(step.entry).items() if slot is not None}
    lines = lines_for(f"d_{letters[slot]}", rule_of(step.entry)) if slot in letters else []
    arrays = known_arrays(step)
    used = {name for _, expression, _ in lines for name in names_in(expression) if name in arrays}
    small = len(lines) == 1 and all(is_small(arrays[name]) for name in used)
    known = {name: numbers(arrays[name]) if small else below(symbol(name), arrays[name]) for name in used}
    result = np.asarray(sent.gradient)
    shown = numbers(result) if is_small(result) else f"<mtext>an array of shape {result.shape}</mtext>"
    paragraphs = []
    for left, expression, words in lines:
        rule = formula(expression)[0]
        terms = [symbol(left), rule, put_in(rule, known)] if small else [symbol(left), put_in(rule, known)]
        if left == lines[-1][0]:
            words += summed(step, slot, expression)
            terms += [] if words else [shown]
            words += f": {math([shown])}" if words else ""
        paragraphs.append(math(list(dict.fromkeys(terms))) + words)  # "g = g" would say nothing
    if not lines:  # a rule in words
        paragraphs = [*map(escape, rule_of(step.entry)), math([shown])]
    return "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)


def math(terms: list[str]) -> str:
    return f"<math displaystyle='true'><mrow>{'<mo>=</mo>'.join(terms)}</mrow></math>"


def names_in(expression: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(expression) if isinstance(node, ast.Name)]


def lines_for(wanted: str, rule: list[str]) -> list[tuple[str, ast.expr, str]]:
    """The name, formula and words of ``wanted``, after those that it uses; nothing if the rule has it in words only."""
    found: dict[str, tuple[str, ast.expr, str]] = {}
    for line in "\n".join(rule).replace("; ", "\n").split("\n"):
        parts = [(part, parse(part)) for part in split(line)]
        words = "".join(f", {part}" for part, parsed in parts if parsed is None and " = " not in part)
        found |= {parsed[0]: (*parsed[:2], escape(parsed[2] + words)) for _, parsed in parts if parsed}
    used, todo = set(), [wanted]
    while todo:
        name = todo.pop()
        if name in found and name not in used:
            used.add(name)
            todo += names_in(found[name][1])
    return [parsed for name, parsed in found.items() if name in used] if wanted in found else []


def known_arrays(step: Step) -> dict[str, np.ndarray]:
    """The arrays that a rule's letters stand for: the gradient, inputs, the result, and what was saved."""
    entry = step.entry
    arrays = dict(saved_arrays(entry))
    for letter, slot in letter_pairs(entry).items():
        arrays[letter] = shown_array(step.tensor if slot is None else entry.inputs[slot])
    return arrays | {"g": step.gradient}


def summed(step: Step, slot: int, expression: ast.expr) -> str:
    """What is to be said of the sum that undoes broadcasting, which no rule mentions."""
    shapes = [shown_array(x).shape for x in step.entry.inputs]
    try:
        stretched = np.broadcast_shapes(*shapes) == step.tensor.shape != shapes[slot]
    except ValueError:  # the operation doesn't broadcast
        stretched = False
    if not stretched or "sum" in names_in(expression):
        return ""
    return f", summed over the copies that broadcasting made: from {step.tensor.shape} to {shapes[slot]}"


def put_in(mathml: str, shown: dict[str, str]) -> str:
    """A formula with its letters replaced; a function's name is none of them."""

    def replaced(match: re.Match) -> str:
        name = f"{match[1]}_hat" if match[1] else match[2]
        return shown.get(name, match[0])

    return re.sub(r"<mover><mi>(\w+)</mi><mo>\^</mo></mover>|<mi>(\w+)</mi>(?!<mo>\()", replaced, mathml)


def is_small(array: np.ndarray) -> bool:
    return array.size <= MOST and array.ndim <= 2 and array.dtype.kind in "fiub"


def below(letter: str, array: np.ndarray) -> str:
    """A letter with the shape of its array below."""
    return f"<munder>{letter}<mtext>{array.shape}</mtext></munder>" if array.ndim else letter


def numbers(array: np.ndarray) -> str:
    """A small array as MathML."""
    if array.ndim == 0:
        text = number(array[()])
        return f"<mrow><mo>(</mo>{text}<mo>)</mo></mrow>" if "&minus;" in text else text
    rows = "".join(
        "<mtr>" + "".join(f"<mtd>{number(value)}</mtd>" for value in row) + "</mtr>" for row in np.atleast_2d(array)
    )
    return f"<mrow><mo>[</mo><mtable>{rows}</mtable><mo>]</mo></mrow>"


def number(value: object) -> str:
    return f"<mn>{short_number(value).replace('-', '&minus;', 1)}</mn>"
