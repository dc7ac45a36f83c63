"""A rule such as ``d_x = g / (2 * y)`` as MathML, which browsers typeset by themselves."""

from __future__ import annotations

import ast
import re
import warnings
from html import escape

SYMBOLS = {
    ast.Add: "+",
    ast.Sub: "&minus;",
    ast.Mult: "&sdot;",
    ast.MatMult: "@",
    ast.Lt: "&lt;",
    ast.LtE: "&le;",
    ast.Gt: "&gt;",
    ast.GtE: "&ge;",
    ast.Eq: "=",
    ast.NotEq: "&ne;",
}
COMPARISON, SUM, PRODUCT, POWER, ATOM = range(5)  # how tightly an expression holds together


def rule_html(rule: str) -> str:
    """Each line of a rule as a paragraph, its formulas typeset and its words as they are."""
    return "".join(f"<p>{', '.join(map(typeset, split(line)))}</p>" for line in rule.replace("; ", "\n").split("\n"))


def split(line: str) -> list[str]:
    """The parts of a line between commas outside parentheses."""
    parts, depth = [""], 0
    for character in line:
        if character in "([":
            depth += 1
        if character in ")]":
            depth -= 1
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def typeset(part: str) -> str:
    """``d_name = expression and words``: the longest expression that there is, and the words as text."""
    parsed = parse(part)
    if parsed is None:
        return escape(part)
    left, expression, words = parsed
    shown = f"<math displaystyle='true'><mrow>{symbol(left)}<mo>=</mo>{formula(expression)[0]}</mrow></math>"
    return f"{shown}{escape(words)}"


def parse(part: str) -> tuple[str, ast.expr, str] | None:
    """A part's name, the longest expression that there is, and the words after it; None if there is no formula."""
    left, equals, right = part.partition(" = ")
    if not equals or not re.fullmatch(r"\w+", left):
        return None
    words = right.split(" ")
    for end in range(len(words), 0, -1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a rule in words may be odd Python
                expression = ast.parse(" ".join(words[:end]), mode="eval").body
            formula(expression)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
            continue
        return left, expression, "".join(f" {word}" for word in words[end:])
    return None


def symbol(text: str) -> str:
    if text.startswith("d_"):
        return f"<mfrac><mrow><mi>&part;</mi><mi>L</mi></mrow><mrow><mi>&part;</mi>{symbol(text[2:])}</mrow></mfrac>"
    if text.endswith("_hat"):
        return f"<mover><mi>{escape(text[:-4])}</mi><mo>^</mo></mover>"
    return f"<mi>{escape(text)}</mi>"


def formula(node: ast.expr) -> tuple[str, int]:  # noqa: C901  a case for each kind of expression, none inside another
    """MathML of an expression, and how tightly it holds together. Raises ValueError for what it doesn't know."""
    match node:
        case ast.Name(id=text):
            return symbol(text), ATOM
        case ast.Constant(value=int() | float() as value):
            return f"<mn>{value}</mn>", ATOM
        case ast.Attribute(value=value, attr="T"):
            return f"<msup>{hold(value, ATOM)}<mi>T</mi></msup>", ATOM
        case ast.UnaryOp(op=ast.USub(), operand=value):
            return f"<mo>&minus;</mo>{hold(value, PRODUCT)}", PRODUCT
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return f"<mfrac><mrow>{formula(left)[0]}</mrow><mrow>{formula(right)[0]}</mrow></mfrac>", POWER
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return f"<msup>{hold(left, ATOM)}<mrow>{exponent(right)}</mrow></msup>", POWER
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            return f"{hold(left, SUM)}<mo>{SYMBOLS[type(op)]}</mo>{hold(right, PRODUCT)}", SUM
        case ast.BinOp(left=left, op=ast.Mult() | ast.MatMult() as op, right=right):
            return f"{hold(left, PRODUCT)}<mo>{SYMBOLS[type(op)]}</mo>{hold(right, POWER)}", PRODUCT
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in SYMBOLS for op in ops):
            pairs = zip(ops, others)
            return hold(left, SUM) + "".join(
                f"<mo>{SYMBOLS[type(op)]}</mo>{hold(x, SUM)}" for op, x in pairs
            ), COMPARISON
        case ast.Call(func=ast.Name(id="sqrt"), args=[x], keywords=[]):
            return f"<msqrt>{formula(x)[0]}</msqrt>", ATOM
        case ast.Call(func=ast.Name(id="sum"), args=[x], keywords=[]):
            return f"<mo>&sum;</mo><mo>(</mo>{formula(x)[0]}<mo>)</mo>", ATOM
        case ast.Call(func=ast.Name(id=text), args=args, keywords=[]):
            return f"<mi>{escape(text)}</mi><mo>(</mo>{'<mo>,</mo>'.join(formula(x)[0] for x in args)}<mo>)</mo>", ATOM
    raise ValueError(f"no MathML for {ast.dump(node)}")


def hold(node: ast.expr, tightly: int) -> str:
    """The expression, in parentheses if it holds together less tightly than what it stands in."""
    text, held = formula(node)
    return f"<mrow>{text}</mrow>" if held >= tightly else f"<mrow><mo>(</mo>{text}<mo>)</mo></mrow>"


def exponent(node: ast.expr) -> str:
    """An exponent; a fraction on one line, because stacked up there it would be tiny."""
    match node:
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return f"{hold(left, PRODUCT)}<mo>/</mo>{hold(right, ATOM)}"
    return formula(node)[0]
