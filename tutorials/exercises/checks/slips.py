"""Slips: every small change to a plain solution, with words for it.

A catalogue holds the mistakes that are known to be made; this makes the others up, from the solution as one would write
it: another operator, a term left out, one quantity in the place of another, the other axis, parentheses forgotten.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@", ast.Pow: "**"}
PLAIN = (ast.Add, ast.Sub, ast.Mult, ast.Div)
COMPARISONS = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.NotEq: "!=", ast.Eq: "=="}
UNWRAPPED = {"sqrt": "the root", "exp": "exp", "log": "the logarithm", "tanh": "tanh"}
INSTEAD = {"sum": ("mean", "max"), "mean": ("sum", "max"), "var": ("std",), "max": ("min", "mean"), "exp": ("log",)}
WHICH_AXIS = "which axis has to disappear, and which has to stay?"
WHICH = "which quantity belongs in this place? Say it in words before you write it"
LEFT_OUT = "go through the formula from left to right: does everything in it stand in your line?"
ORDER = "in which order does Python work through your line? Add the parentheses that the formula implies"
COMBINED = "how are the two combined in the formula, and with which sign?"
NUMBER = "where does this number come from? Derive it once more"


@cache
def slips(model: Callable) -> tuple[tuple[str, str, Callable], ...]:
    """For each slip in ``model``: what was done, a hint, and the function with it."""
    tree = ast.parse(source_of(model))
    found, seen = [], {ast.unparse(tree)}
    for says, hint, source in Changes(tree):
        if source not in seen:
            seen.add(source)
            found.append((says, hint, made_from(source, model)))
    return tuple(found)


@dataclass(frozen=True)
class Edit:
    """A plain solution with pieces of its text replaced; two edits of different pieces can be combined."""

    model: Callable
    changes: tuple[tuple[str, str], ...]

    def __call__(self, *arguments):
        with np.errstate(all="ignore"):
            return compiled(self.model, self.changes)(*arguments)

    def fits(self, other: Edit) -> bool:
        if self.model is not other.model:
            return False
        return not any(a in b or b in a for a, _ in self.changes for b, _ in other.changes)

    def with_(self, other: Edit) -> Edit:
        return Edit(self.model, self.changes + other.changes)


@cache
def compiled(model: Callable, changes: tuple[tuple[str, str], ...]) -> Callable:
    """A model with texts of its source replaced."""
    source = source_of(model)
    for old, new in changes:
        if old not in source:
            raise ValueError(f"{old!r} isn't in {model.__name__}")
        source = source.replace(old, new)
    return made_from(source, model)


@cache
def source_of(model: Callable) -> str:
    return textwrap.dedent(inspect.getsource(model))


def made_from(source: str, model: Callable) -> Callable:
    """The function that this text defines, where the model is defined."""
    space = dict(model.__globals__)
    exec(compile(source, "<slip>", "exec"), space)
    return space[model.__name__]


def edit(model: Callable, *changes: tuple[str, str]) -> Edit:
    """``model`` with texts replaced, as the ``wrong`` of a ``Mistake``."""
    return Edit(model, changes)


def code(node: ast.AST) -> str:
    """An expression as text, shortened."""
    text = ast.unparse(node).replace("np.", "")
    return f"`{text}`" if len(text) < 50 else f"`{text[:22]} ... {text[-22:]}`"


class Changes:
    """Iterates over ``(says, hint, source)``."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        (function,) = tree.body
        self.function = function
        self.names = [argument.arg for argument in function.args.args]
        self.names += [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        self.names = list(dict.fromkeys(self.names))

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        changes = []
        for where, path, node in places(self.function):
            for rank, says, hint, new in self.of(node):
                changes.append((rank, f"in {where}, {says}", hint, path, new))
        for _, says, hint, path, new in sorted(changes, key=lambda change: change[0]):  # likely ones first
            yield says, hint, source_with(self.tree, path, new)

    def of(self, node: ast.AST) -> Iterator[tuple[int, str, str, ast.AST]]:
        """Rank, words, hint, and what stands in place of ``node``."""
        method = getattr(self, f"of_{type(node).__name__}", None)
        if method:
            yield from method(node)

    def of_BinOp(self, node: ast.BinOp) -> Iterator:
        left, right, kind = node.left, node.right, type(node.op)
        yield from self.left_out(node)
        for other in PLAIN if kind in PLAIN else ():
            if other is not kind:
                new = ast.BinOp(left, other(), right)
                yield 2, f"there is a {SIGNS[other]} in place of a {SIGNS[kind]}, as in {code(new)}", COMBINED, new
        if kind in (ast.Sub, ast.Div, ast.MatMult, ast.Pow):
            new = ast.BinOp(right, node.op, left)
            yield 2, f"{code(left)} and {code(right)} are the wrong way round", COMBINED, new
        yield from self.without_parentheses(node)

    def left_out(self, node: ast.BinOp) -> Iterator:
        left, right, kind = node.left, node.right, type(node.op)
        missing = {
            ast.Add: ("the term {} is missing",) * 2,
            ast.Sub: ("{} isn't subtracted", "the term {} is missing"),
            ast.Mult: ("the factor {} is missing",) * 2,
            ast.Div: ("the division by {} is missing", "there is a 1 in place of {}"),
            ast.Pow: ("the power {} is missing",),
            ast.MatMult: ("the product with {} is missing",) * 2,
        }.get(kind, ())
        without_left = {ast.Sub: ast.UnaryOp(ast.USub(), right), ast.Div: ast.BinOp(ast.Constant(1), ast.Div(), right)}
        for text, part, new in zip(missing, (right, left), (left, without_left.get(kind, right)), strict=False):
            yield 1, text.format(code(part)), LEFT_OUT, new
        if kind in (ast.Sub, ast.Div):
            yield 1, f"only {code(right)} remains of {code(node)}", LEFT_OUT, right

    def without_parentheses(self, node: ast.BinOp) -> Iterator:
        """``a * (b - c)`` as ``a * b - c``, ``(a - b) / c`` as ``a - b / c``, ``a / (b * c)`` as ``a / b * c``."""
        left, right, kind = node.left, node.right, type(node.op)
        if kind not in (ast.Mult, ast.Div, ast.Pow, ast.Sub):
            return
        binds = {ast.Add: 1, ast.Sub: 1, ast.Mult: 2, ast.Div: 2, ast.Pow: 3, ast.MatMult: 2}
        inner = right
        if isinstance(inner, ast.BinOp) and binds[type(inner.op)] <= binds[kind]:
            new = ast.parse(f"{ast.unparse(ast.BinOp(left, node.op, ast.Name('_')))[:-1]}{ast.unparse(inner)}").body[0]
            yield 0, f"parentheses are missing, as in {code(new.value)}", ORDER, new.value
        inner = left
        if isinstance(inner, ast.BinOp) and binds[type(inner.op)] < binds[kind]:
            new = ast.BinOp(inner.left, inner.op, ast.BinOp(inner.right, node.op, right))
            yield 0, f"parentheses are missing, as in {code(new)}", ORDER, new

    def of_UnaryOp(self, node: ast.UnaryOp) -> Iterator:
        if isinstance(node.op, ast.USub):
            yield 1, f"the minus before {code(node.operand)} is missing", COMBINED, node.operand

    def of_Constant(self, node: ast.Constant) -> Iterator:
        if type(node.value) in (int, float):
            for value in (0, 1, 2, 3, 4, 0.5):
                if value != node.value:
                    yield 3, f"there is a {value} in place of a {node.value}", NUMBER, ast.Constant(value)

    def of_Name(self, node: ast.Name) -> Iterator:
        if isinstance(node.ctx, ast.Load) and node.id in self.names:
            for name in self.names:
                if name != node.id:
                    yield 3, f"{name} stands in the place of {node.id}", WHICH, ast.Name(name, ast.Load())
            if node.id == "m":
                less = ast.BinOp(node, ast.Sub(), ast.Constant(1))
                yield 2, "m - 1 stands in the place of m", "of how many values is it a mean?", less
            if node.id not in ("eps", "m"):
                yield 5, f"{node.id} is squared", COMBINED, ast.BinOp(node, ast.Pow(), ast.Constant(2))
                yield 5, f"{node.id} has the wrong sign", COMBINED, ast.UnaryOp(ast.USub(), node)

    def of_Compare(self, node: ast.Compare) -> Iterator:
        for other, text in COMPARISONS.items():
            if not isinstance(node.ops[0], other) and type(node.ops[0]) in COMPARISONS:
                new = ast.Compare(node.left, [other()], node.comparators)
                yield (
                    2,
                    f"the comparison is {text}, as in {code(new)}",
                    "on which side, and what is with equal ones?",
                    new,
                )

    def of_Attribute(self, node: ast.Attribute) -> Iterator:
        if node.attr == "T":
            yield 1, f"the transpose of {code(node.value)} is missing", "which index is summed over?", node.value
        if node.attr == "shape":
            return
        for other in INSTEAD.get(node.attr, ()):
            new = ast.Attribute(node.value, other, node.ctx)
            yield 2, f"there is {other} in place of {node.attr}", "what does the formula ask for here?", new

    def of_Call(self, node: ast.Call) -> Iterator:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in UNWRAPPED and node.args:
            yield 1, f"{UNWRAPPED[name]} of {code(node.args[0])} is missing", LEFT_OUT, node.args[0]
        if name in ("sum", "mean", "max"):
            what = node.args[0] if node.args else node.func.value
            yield 2, f"{name} is missing: {code(what)} stands alone", WHICH_AXIS, what
        axes = [word for word in node.keywords if word.arg == "axis"]
        if axes:
            yield from self.other_axes(node, name, axes[0])
        if name == "var":
            new = ast.Call(node.func, node.args, [*node.keywords, ast.keyword("ddof", ast.Constant(1))])
            yield 1, "the variance is divided by m - 1", "which of the two variances does the forward pass have?", new
        if name == "maximum":
            new = ast.Call(ast.Attribute(node.func.value, "minimum", ast.Load()), node.args, [])
            yield 2, "there is minimum in place of maximum", "which of the two is wanted?", new

    def other_axes(self, node: ast.Call, name: str, word: ast.keyword) -> Iterator:
        rest = [other for other in node.keywords if other is not word]
        kept = any(other.arg == "keepdims" for other in rest)
        what = code(node.args[0] if node.args else node.func.value)
        for value, text in ((None, "all axes"), (1, "axis 1"), (0, "axis 0")):
            if not (isinstance(word.value, ast.Constant) and word.value.value == value):
                new = ast.Call(node.func, node.args, [ast.keyword("axis", ast.Constant(value)), *rest])
                yield 1, f"the {name} of {what} goes over {text}", WHICH_AXIS, new
                if value == 1 and not kept:
                    keep = ast.Call(node.func, node.args, [*new.keywords, ast.keyword("keepdims", ast.Constant(True))])
                    yield 1, f"the {name} of {what} goes over {text}", WHICH_AXIS, keep


def places(function: ast.FunctionDef) -> Iterator[tuple[str, tuple, ast.AST]]:
    """What is computed there, the path, and the node, for all expressions of a function."""
    for number, statement in enumerate(function.body):
        yield from inside(statement, (("body", number),), "the result")


def inside(node: ast.AST, path: tuple, where: str) -> Iterator[tuple[str, tuple, ast.AST]]:
    if isinstance(node, (ast.Assign, ast.AugAssign)):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        yield from inside(node.value, (*path, ("value", None)), ast.unparse(target))
    elif isinstance(node, ast.Dict):
        for number, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            name = key.value if isinstance(key, ast.Constant) else where
            yield from inside(value, (*path, ("values", number)), name)
    else:
        if isinstance(node, ast.expr):
            yield where, path, node
        for name, value in ast.iter_fields(node):
            if name not in ("keywords", "ctx", "op"):
                items = enumerate(value) if isinstance(value, list) else [(None, value)]
                for number, item in items:
                    if isinstance(item, ast.AST):
                        yield from inside(item, (*path, (name, number)), where)


def source_with(tree: ast.Module, path: tuple, new: ast.AST) -> str:
    """The text of the tree with ``new`` at this path inside of its function."""
    node: ast.AST = tree.body[0]
    for name, number in path[:-1]:
        node = getattr(node, name) if number is None else getattr(node, name)[number]
    name, number = path[-1]
    old = getattr(node, name) if number is None else getattr(node, name)[number]
    for value in (new, old):
        if number is None:
            setattr(node, name, value)
        else:
            getattr(node, name)[number] = value
        if value is new:
            text = ast.unparse(ast.fix_missing_locations(tree))
    return text
