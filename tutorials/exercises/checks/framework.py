"""Run a student's function, compare it with the right values, and say which mistake was made.

A ``Task`` is one function to write. Its ``mistakes`` are wrong derivations that can be run: a student's result that
agrees with one of them on every case was, as far as anybody can tell, derived that way.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .wire import failure_of

RTOL, ATOL = 1e-6, 1e-9  # ATOL relative to the largest value


@dataclass(frozen=True)
class Mistake:
    """A wrong derivation.

    Attributes:
        says: what was done, ending the sentence "This is what you get when ...".
        hint: what to think about; not the solution.
        wrong: the function that a student with this mistake would have written.
    """

    says: str
    hint: str
    wrong: Callable


@dataclass(frozen=True)
class Task:
    """One function for a student to write.

    Attributes:
        function: its name.
        cases: from a random generator, the argument tuples to try.
        right: the reference, with the same signature and result. A result is an array, or a dict of named arrays in
            the order in which they are derived, each of which earns its share of the points.
        mistakes: the catalogue.
        parts: from a case's arguments, the ``Parts`` that the results are made of, by name: with them, a term that is
            missing, superfluous or multiplied by something is recognized without being in the catalogue.
        after: functions of the same exercise that this one is put together from.
        through: from what finds the student's functions by name, what is called in place of the student's ``function``,
            if that could say what it likes.
    """

    function: str
    cases: Callable[[np.random.Generator], Sequence[tuple]]
    right: Callable
    mistakes: Sequence[Mistake] = ()
    parts: Callable | None = None
    after: tuple[str, ...] = ()
    through: Callable | None = None


@dataclass(frozen=True)
class Parts:
    """What results are made of, in one case.

    Attributes:
        factors: quantities that may be multiplied to a term by mistake, each a number or of shape (C,), positive.
        terms: for each result its terms, by what to call them; their sum is the right result.
        others: for each result what students put there that doesn't belong there.
    """

    factors: dict[str, np.ndarray | float]
    terms: dict[str, dict[str, np.ndarray]]
    others: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class Exercise:
    """One file of the hand-out."""

    number: int
    file: str
    title: str
    tasks: Sequence[Task]
    seconds: float = 5  # of processor time for each function, however busy the machine is
    pieces: dict[tuple[int, str], Callable] = field(default_factory=dict)  # by exercise and function, what is given in
    # place of an earlier function of the student's that isn't right


@dataclass
class Verdict:
    """What is said of one task.

    Attributes:
        status: "right", "wrong", "not started", or "library" for an answer that the library was to compute.
        share: the part of the points that was earned, 0 to 1.
        text: the feedback.
        mistake: the ``says`` of the mistakes that were recognized.
        printed: what the function printed.
        seconds: how long it took, by the clock.
    """

    function: str
    status: str
    share: float = 0.0
    text: str = ""
    mistake: list[str] = field(default_factory=list)
    printed: str = ""
    seconds: float = 0.0


class Failure(Exception):
    """A student's function raised an error.

    Attributes:
        message: the error's type and text.
        where: the line of the student's file, as a line of feedback.
        unwritten: which function isn't written yet, if that is the error.
        library: what of the library was called, if that is the error.
    """

    def __init__(self, message: str, where: str = "", unwritten: str = "", library: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.unwritten, self.library = message, where, unwritten, library


def check(task: Task, function: Callable, seed: int) -> Verdict:
    """Run ``function`` on the task's cases, and compare: a plain function, or one of ``sandbox.py``."""
    cases = list(task.cases(np.random.default_rng(seed)))
    expected = [named(task.right(*copy.deepcopy(case))) for case in cases]
    results, complaint = [], ""
    for case, right in zip(cases, expected, strict=True):
        try:
            result, arguments = call(function, copy.deepcopy(case))
        except Failure as failure:
            if failure.unwritten:
                other = failure.unwritten != task.function
                text = f"It calls {failure.unwritten}, which isn't written yet." if other else ""
                return Verdict(task.function, "not started", text=text)
            if failure.library:
                text = f"Your function calls the library's {failure.library}. Write it out in NumPy."
                return Verdict(task.function, "library", text=text)
            complaint = complaint or f"{failure.message}\n{failure.where}\n{shown(task, case)}"
            results.append(None)
            continue
        if fault := misshapen(result):
            return Verdict(task.function, "wrong", text=fault)
        if not same_inputs(case, arguments):
            return Verdict(task.function, "wrong", text=OVERWRITTEN, mistake=["an input is overwritten in place"])
        results.append(named(result))
        if fault := other_names(results[-1], right):
            complaint = complaint or f"{fault}\n{shown(task, case)}"
    good = {
        name: all(r and name in r and close(r[name], e[name]) for r, e in zip(results, expected, strict=True))
        for name in expected[0]
    }
    share = sum(good.values()) / len(good)
    if complaint:
        mistakes = alike(task, cases, results, expected)
        text = "\n".join([complaint, *map(describe, mistakes)])
        return Verdict(task.function, "wrong", share, text, [m.says for (m,) in mistakes])
    if not all(good.values()):
        first = next(name for name, is_good in good.items() if not is_good)
        text, mistakes = diagnose(task, cases, results, expected, first)
        return Verdict(task.function, "wrong", share, text, mistakes)
    return Verdict(task.function, "right", 1.0)


OVERWRITTEN = (
    "Your function changes one of its inputs in place (with an operator such as `a *= b`, or with `a[...] = b`), and "
    "leaves it changed, if only in the last digit. The caller still needs that array, and so does whoever else was "
    "given it.\nHint: make a new array, as in `c = a * b`; or remember the old value itself, and put that back."
)


def call(function: Callable, arguments: tuple) -> tuple[Any, tuple]:
    """The function's result, and the arguments as they are then; ``Failure`` if it raises an error."""
    if hasattr(function, "remote"):
        return function.remote(arguments)
    try:
        return function(*arguments), arguments
    except (Exception, SystemExit) as error:
        raise Failure(**failure_of(error, function)) from error


def named(result: Any) -> dict[str, np.ndarray]:
    """A result as named arrays; a single one is called 'result'."""
    result = result if isinstance(result, dict) else {"result": result}
    arrays = {name: np.array(value) for name, value in result.items()}
    return {name: a if a.dtype == np.float32 else a.astype(np.float64) for name, a in arrays.items()}


def misshapen(result: Any) -> str:
    """A complaint if this isn't an array of numbers, or a dict of them."""
    if result is None:
        return "Your function returns None. Is there a `return` at its end?"
    for name, value in (result if isinstance(result, dict) else {"The result": result}).items():
        if value is None:
            return f"{name} is None."
        try:
            np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return f"{name} should be an array of numbers, and is a {type(value).__name__}."
        if np.iscomplexobj(value):
            return f"{name} is complex, and should be real."
    return ""


def other_names(result: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> str:
    """A complaint if a dict is returned where an array is due, or the other way round, or one with other names."""
    if set(result) == set(right):
        return ""
    if "result" in right:
        return "Your function should return an array, and returns a dict."
    if "result" in result:
        return f"Your function should return a dict with {', '.join(right)}, and doesn't."
    missing, extra = sorted(set(right) - set(result)), sorted(map(str, set(result) - set(right)))
    lacks = f"lacks {', '.join(missing)}" if missing else ""
    has = f"should not have {', '.join(extra)}" if extra else ""
    return f"The dict that you return {' and '.join(filter(None, (lacks, has)))}."


def same_inputs(before: tuple, after: tuple) -> bool:
    """Whether all arrays among the arguments, also inside lists and dicts, are as they were."""

    def arrays(value):
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, dict):
            yield from itertools.chain.from_iterable(map(arrays, value.values()))
        elif isinstance(value, (list, tuple)):
            yield from itertools.chain.from_iterable(map(arrays, value))

    if [brief(value) for value in before] != [brief(value) for value in after]:  # a list that was turned round
        return False
    pairs = zip(arrays(before), arrays(after), strict=False)
    return all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def shown(task: Task, case: tuple) -> str:
    """With which arguments it was called: small ones as they are, of large arrays the shape."""
    names = inspect.signature(task.right).parameters
    return "  called with " + ", ".join(f"{name} {brief(value)}" for name, value in zip(names, case, strict=False))


def brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return (
            f"of shape {value.shape}" if value.size > 6 else f"= {np.array2string(value, precision=4, separator=', ')}"
        )
    if isinstance(value, dict):
        return "with " + ", ".join(f"{name} of shape {np.shape(item)}" for name, item in value.items())
    if isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) == 3 for item in value):
        return "= " + "; ".join(f"{output} from {', '.join(inputs)}" for output, inputs, _ in value)
    plain = isinstance(value, (int, float, str)) or (isinstance(value, tuple) and len(repr(value)) < 60)
    return f"= {value!r}" if plain else f"(a {type(value).__name__})"


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for rounding: the same shape, and values within 1e-6."""
    if a.shape != b.shape:
        return False
    largest = np.abs(b[np.isfinite(b)]).max(initial=0)
    single = np.float32 in (a.dtype, b.dtype)  # a student may have computed in single precision
    rtol, atol = (1e-4, 1e-5) if single else (RTOL, ATOL)
    return bool(np.allclose(a, b, rtol=rtol, atol=atol * max(largest, 1e-3), equal_nan=True))


def alike(task: Task, cases, results, expected) -> list[tuple[Mistake]]:
    """The mistake that fails or returns other names in the same cases, and agrees in the others, if there is one."""

    def same(got, wrong, right) -> bool:
        if got is None or wrong is None:
            return got is wrong
        if {name: value.shape for name, value in got.items()} == {name: value.shape for name, value in right.items()}:
            return agree(got, wrong)
        return set(got) == set(wrong) and all(got[name].shape == wrong[name].shape for name in got)

    if not any(results):
        return []
    for mistake in task.mistakes:
        wrong = [run((mistake,), case) for case in cases]
        if all(same(g, w, e) for g, w, e in zip(results, wrong, expected, strict=True)):
            return [(mistake,)]
    return []


def diagnose(task: Task, cases, results, expected, first: str) -> tuple[str, list[str]]:
    """What a wrong result is: the feedback, and the mistakes that were recognized in it."""
    for mistakes in single_and_pairs(task.mistakes):
        wrong = [run(mistakes, case) for case in cases]
        if None in wrong:
            continue
        if all(agree(w, r) for w, r in zip(wrong, results, strict=True)):
            return describe(mistakes), [m.says for m in mistakes]
    for mistake in task.mistakes:  # perhaps something else went wrong further on
        wrong = [run((mistake,), case) for case in cases]
        if None in wrong or "result" in results[0] or any(first not in w for w in wrong):
            continue
        same = all(close(r[first], w[first]) for r, w in zip(results, wrong, strict=True))
        differs = not all(close(e[first], w[first]) for e, w in zip(expected, wrong, strict=True))
        if same and differs:
            return f"The first that is wrong is {first}. {describe((mistake,))}", [mistake.says]
    pairs = [(e[first], r[first]) for e, r in zip(expected, results, strict=True)]
    texts = [f"The first that is wrong is {first}." if first != "result" else "The result is wrong."]
    found = relation(pairs, cases)
    if found:
        texts.append(f"It is {found}.")
    elif task.parts and (found := wrong_term(task, cases, pairs, first)):
        texts.append(f"{found[0].upper()}{found[1:]}.")
    expected_array, got = next((e, r) for e, r in pairs if not close(r, e))
    texts.append(worst_entry(expected_array, got))
    texts.append(shown(task, next(case for case, (e, r) in zip(cases, pairs, strict=True) if not close(r, e))))
    named_relation = found if first == "result" else f"{first}: {found}"
    return "\n".join(texts), [named_relation] if found else []


def single_and_pairs(mistakes: Sequence[Mistake]):
    """Every mistake alone, then every two that can be combined (that are made from one function by its settings)."""
    yield from ((mistake,) for mistake in mistakes)
    for a, b in itertools.combinations(mistakes, 2):
        if isinstance(a.wrong, Variant) and isinstance(b.wrong, Variant) and a.wrong.fits(b.wrong):
            yield a, b


@dataclass(frozen=True)
class Variant:
    """A function with some of its keyword arguments set: two variants of one function can be combined."""

    function: Callable
    settings: tuple[tuple[str, Any], ...]

    def __call__(self, *arguments):
        return self.function(*arguments, **dict(self.settings))

    def fits(self, other: Variant) -> bool:
        own, others = {name for name, _ in self.settings}, {name for name, _ in other.settings}
        return self.function is other.function and not own & others

    def with_(self, other: Variant) -> Variant:
        return Variant(self.function, self.settings + other.settings)


def variant(function: Callable, **settings: Any) -> Variant:
    """``function`` with these settings, as the ``wrong`` of a ``Mistake``."""
    return Variant(function, tuple(settings.items()))


def fixed_eps(function: Callable) -> Mistake:
    """Of a function whose last argument is eps."""
    hint = "eps is an argument of your function, and may be another number"
    return Mistake("1e-5 is used for eps, whatever is given", hint, lambda *given: function(*given[:-1], 1e-5))


def run(mistakes: Sequence[Mistake], case: tuple) -> dict[str, np.ndarray] | None:
    """What a wrong derivation gives; None if it fails on this case."""
    wrong = mistakes[0].wrong if len(mistakes) == 1 else mistakes[0].wrong.with_(mistakes[1].wrong)
    try:
        with np.errstate(all="ignore"):
            return named(wrong(*copy.deepcopy(case)))
    except Exception:  # a wrong derivation may fail in any way, above all in a pair
        return None


def agree(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return set(a) == set(b) and all(close(a[name], b[name]) for name in a)


def describe(mistakes: Sequence[Mistake]) -> str:
    if len(mistakes) == 1:
        return f"This is what you get when {mistakes[0].says}.\nHint: {mistakes[0].hint}"
    says = "\n".join(f"- {mistake.says}. Hint: {mistake.hint}" for mistake in mistakes)
    return f"This is what you get when two things come together:\n{says}"


def worst_entry(expected: np.ndarray, got: np.ndarray) -> str:
    if expected.shape != got.shape:
        return f"The shape should be {expected.shape}, and is {got.shape}."
    with np.errstate(invalid="ignore"):
        difference = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    index = np.unravel_index(np.argmax(difference), expected.shape)
    if not index:
        return f"It should be {expected:.6g}, and is {got:.6g}."
    place = f"At {[int(i) for i in index]}"
    return f"{place} of an array of shape {expected.shape}: expected {expected[index]:.6g}, got {got[index]:.6g}."


def relation(pairs: Sequence[tuple[np.ndarray, np.ndarray]], cases: Sequence[tuple]) -> str:
    """A simple relation between expected and got that holds in every case, or ''."""
    if not all(np.isfinite(got).all() for _, got in pairs):
        return "not finite: it holds nan or infinity"
    for text, test in RELATIONS.items():
        if all(test(expected, got) for expected, got in pairs):
            return text
    if all(expected.shape == got.shape for expected, got in pairs):
        factors = [factor_of(expected, got) for expected, got in pairs]
        if None not in factors:
            if np.allclose(factors, factors[0]):
                return f"{factors[0]:.4g} times what it should be"
            for axis in (0, 1, -1):
                shapes = [getattr(case[0], "shape", ()) for case in cases]
                if all(len(shape) > max(axis, 0) for shape in shapes):
                    lengths = np.array([shape[axis] for shape in shapes])
                    if np.allclose(factors, lengths):
                        return f"too large by a factor of the length of axis {axis} of the first argument"
                    if np.allclose(factors, 1 / lengths):
                        return f"too small by a factor of the length of axis {axis} of the first argument"
    return ""


def wrong_term(task: Task, cases, pairs, name: str) -> str:
    """Which one term is missing, superfluous, or multiplied by a power of a factor; '' if that doesn't explain it."""
    parts = [task.parts(*copy.deepcopy(case)) for case in cases]
    if any(expected.shape != got.shape or not np.isfinite(got).all() for expected, got in pairs):
        return ""
    if law := power_law([got for _, got in pairs], [expected for expected, _ in pairs], parts):
        return f"it is what it should be times {law}"
    for term in parts[0].terms.get(name, ()):
        terms = [part.terms[name][term] for part in parts]
        instead = [got - expected + value for (expected, got), value in zip(pairs, terms, strict=True)]
        if all(close(expected + i, expected) for (expected, _), i in zip(pairs, instead, strict=True)):
            return f"the term {term} is missing"
        if law := power_law(instead, terms, parts):
            return f"the term {term} is multiplied by {law}" if law != "-1" else f"the term {term} has the wrong sign"
        if all(proportional(i, t) for i, t in zip(instead, terms, strict=True)):
            return f"the mistake is in the term {term}: in each channel it has a factor that it should not have"
    for other in parts[0].others.get(name, ()):
        values = [part.others[name][other] for part in parts]
        if all(close(got, value) for (_, got), value in zip(pairs, values, strict=True)):
            return f"it is {other}"
        if law := power_law([got for _, got in pairs], values, parts):
            return f"it is {other} times {law}"
        if law := power_law([got - expected for expected, got in pairs], values, parts):
            return f"something is added to what is right: {other} times {law}"
    return ""


def proportional(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether each column of ``a`` is a multiple of that column of ``b``."""
    if a.ndim < 2:
        return False
    factor = (a * b).sum(0) / np.maximum((b * b).sum(0), 1e-300)
    return close(a, b * factor) and not np.allclose(factor, 1, rtol=1e-3)


def power_law(got, base, parts: Sequence[Parts]) -> str:
    """``got = base * number * product of powers of the factors`` in all cases: the factor as text, or ''."""
    logs, rows, signs = [], [], set()
    for g, b, part in zip(got, base, parts, strict=True):
        g, b = np.atleast_2d(g), np.atleast_2d(b)
        shape = np.broadcast_shapes(g.shape, b.shape)
        g, b = np.broadcast_to(g, shape), np.broadcast_to(b, shape)
        size = np.abs(b).max()
        large = np.abs(b) > 1e-6 * size if size else np.zeros(shape, bool)
        if not large.any() or not np.all(np.abs(g[~large]) <= 1e-6 * max(np.abs(g).max(), 1e-300)):
            return ""
        ratio = g[large] / b[large]
        if np.any(ratio == 0):
            return ""
        factors = [np.broadcast_to(value, shape)[large] for value in part.factors.values()]
        signs |= set(np.sign(ratio))
        logs += list(np.log(np.abs(ratio)))
        rows += list(np.column_stack([np.ones(len(ratio)), *map(np.log, factors)]))
    rows, logs = np.array(rows), np.array(logs)
    if len(signs) > 1 or np.linalg.matrix_rank(rows) < rows.shape[1]:
        return ""
    solution = np.linalg.lstsq(rows, logs, rcond=None)[0]
    powers = np.round(2 * solution[1:]) / 2
    number = np.exp(np.median(logs - rows[:, 1:] @ powers)) * signs.pop()
    if not np.allclose(logs, np.log(abs(number)) + rows[:, 1:] @ powers, atol=1e-5):
        return ""
    if np.isclose(number, 1) and not powers.any():
        return ""
    shown = [f"{number:.4g}"] if not np.isclose(number, 1) else []
    shown += [
        f"{name}**{power:g}" if power != 1 else name
        for name, power in zip(parts[0].factors, powers, strict=True)
        if power
    ]
    return " * ".join(shown)


def factor_of(expected: np.ndarray, got: np.ndarray) -> float | None:
    """The number c with got = c * expected, if there is one."""
    norm = float(np.vdot(expected, expected))
    factor = float(np.vdot(expected, got)) / norm if norm else np.nan
    return factor if np.isfinite(factor) and close(got, factor * expected) else None


def one_axis(test: Callable) -> Callable:
    """A relation that holds for at least one axis of ``got``."""
    return lambda expected, got: any(test(expected, got, axis) for axis in range(got.ndim))


RELATIONS: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "zero": lambda e, g: np.abs(g).max(initial=0) <= ATOL * np.abs(e).max(initial=0),
    "right but for its sign": lambda e, g: close(-g, e),
    "right but for its shape": lambda e, g: g.shape != e.shape and g.size == e.size and close(g.reshape(e.shape), e),
    "transposed": lambda e, g: g.ndim == 2 and close(g.T, e),
    "not summed over an axis": one_axis(lambda e, g, axis: close(g.sum(axis), e)),
    "not averaged over an axis": one_axis(lambda e, g, axis: close(g.mean(axis), e)),
    "broadcast to a larger shape": lambda e, g: g.ndim > 0 and g.shape != e.shape and close(g[0], e),
    "right in size, with some wrong signs": lambda e, g: close(np.abs(g), np.abs(e)),
    "right in some places and zero in others": lambda e, g: (
        g.shape == e.shape and bool(np.any(g == 0)) and close(np.where(g == 0, e, g), e)
    ),
}
