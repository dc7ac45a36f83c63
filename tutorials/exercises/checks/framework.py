"""Run a student's function, compare it with the right values, and say which mistake was made.

A ``Task`` is one function to write. Its ``mistakes`` are wrong derivations that can be run: a student's result that
agrees with one of them on every case was, as far as anybody can tell, derived that way.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .slips import slips
from .wire import failure_of

NAMED = "This is what you get when"  # begins what is said of mistakes that were recognized
IS_QUICK = 0.5  # seconds for all cases, so that another call is sure to have the time
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
        models: the solution as one would write it, without settings: what ``slips`` are made from.
        ordinary: how many cases, from the first on, are ordinary ones; None for all of them. What is done in extreme
            ones has to agree with a mistake only if the ordinary ones are right.
        through: from what finds the student's functions by name, what is called in place of the student's ``function``,
            if that could say what it likes.
    """

    function: str
    cases: Callable[[np.random.Generator], Sequence[tuple]]
    right: Callable
    mistakes: Sequence[Mistake] = ()
    parts: Callable | None = None
    after: tuple[str, ...] = ()
    models: tuple[Callable, ...] = ()
    ordinary: int | None = None
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
    results, complaint, begun = [], "", time.monotonic()
    for case, right in zip(cases, expected, strict=True):
        try:
            result, arguments = call(function, copy.deepcopy(case))
        except Failure as failure:
            if failure.unwritten or failure.library:
                return not_tried(task, failure)
            complaint = complaint or f"{failure.message}\n{failure.where}\n{shown(task, case)}"
            results.append(None)
            continue
        if fault := misshapen(result, right):
            return Verdict(task.function, "wrong", text=fault, mistake=[fault.partition(".")[0]])
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
    if not complaint and all(good.values()):
        return Verdict(task.function, "right", 1.0)
    is_quick = time.monotonic() - begun < IS_QUICK and not task.through
    search = Search(task, cases, results, expected)
    text, mistakes = search.failing(complaint) if complaint else search.diagnosis()
    if NAMED not in text and results[0] and is_quick and differs_again(function, cases[0], results[0]):
        text, mistakes = AGAIN, ["it differs when called a second time"]
    return Verdict(task.function, "wrong", share, text, mistakes)


def not_tried(task: Task, failure: Failure) -> Verdict:
    """What is said if something isn't written yet, or if the library was asked."""
    if failure.unwritten:
        other = failure.unwritten != task.function
        text = f"It calls {failure.unwritten}, which isn't written yet." if other else ""
        return Verdict(task.function, "not started", text=text)
    text = f"Your function calls the library's {failure.library}. Write it out in NumPy."
    return Verdict(task.function, "library", text=text)


def differs_again(function: Callable, case: tuple, before: dict[str, np.ndarray]) -> bool:
    """Whether a function gives something else when it is called with the first arguments again."""
    try:
        result, _ = call(function, copy.deepcopy(case))
    except Failure:
        return True
    return bool(misshapen(result, before)) or not agree(named(result), before)


AGAIN = (
    "Your function differs when it is called a second time with the same arguments: it keeps something from one call "
    "to the next.\nHint: what is made outside of the function, or as the default of an argument (`found={}`), is made "
    "once; what belongs to one call has to be made inside."
)
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


def misshapen(result: Any, right: dict[str, np.ndarray]) -> str:
    """A complaint if this isn't an array of numbers, or a dict of them."""
    if result is None:
        return (
            "Your function returns None. Is there a `return` at its end? `print` shows a value, but doesn't return it."
        )
    if "result" not in right and not isinstance(result, dict):
        return f"Your function should return a dict with {', '.join(right)}, and returns {a_kind(result)}."
    for name, value in (result if isinstance(result, dict) else {"The result": result}).items():
        if value is None:
            return f"{name} is None."
        try:
            np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return f"{name} should be an array of numbers, and is {a_kind(value)}."
        if np.iscomplexobj(value):
            return f"{name} is complex, and should be real."
    return ""


def a_kind(value: Any) -> str:
    """The type, with its article."""
    kind = {"ndarray": "array"}.get(type(value).__name__, type(value).__name__)
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def other_names(result: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> str:
    """A complaint if a dict is returned where an array is due, or one with other names."""
    if set(result) == set(right):
        return ""
    if "result" in right:
        return "Your function should return an array, and returns a dict."
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


class Search:
    """Looks for the mistakes that explain a student's results: alone, then in pairs; ``None`` is a call that failed."""

    def __init__(self, task: Task, cases: Sequence[tuple], results: Sequence, expected: Sequence) -> None:
        self.task, self.cases, self.results, self.expected = task, cases, results, expected
        count = task.ordinary or len(cases)
        is_right = [r is not None and agree(r, e) for r, e in zip(results, expected, strict=True)]
        self.count = len(cases) if all(is_right[:count]) else count  # of the cases that have to agree
        self.found: dict[tuple[Callable, int], dict[str, np.ndarray] | None] = {}

    def value(self, wrong: Callable, number: int) -> dict[str, np.ndarray] | None:
        """What a wrong derivation gives in a case."""
        key = (wrong, number)
        if key not in self.found:
            self.found[key] = run(wrong, self.cases[number])
        return self.found[key]

    def explains(self, wrong: Callable, keep: bool = True) -> bool:
        """Whether it gives the student's results, all of them, also those that are right, and fails where they do."""
        value = self.value if keep else lambda wrong, i: run(wrong, self.cases[i])
        return all(same(self.results[i], value(wrong, i)) for i in range(self.count))

    def says_something(self) -> bool:
        """Not if all that is wrong is 0, one and the same number, or not finite: there are too many ways to that."""
        values: list[np.ndarray] = []
        for got, right in zip(self.results[: self.count], self.expected, strict=False):
            for name, array in (got or {}).items():
                if name not in right:
                    return True
                if not close(array, right[name]):
                    largest = np.abs(right[name]).max(initial=1e-300)
                    values.append(np.where(np.abs(array) < 1e-9 * largest, 0, array)[np.isfinite(array)].ravel())
        found = np.concatenate(values) if values else np.zeros(0)
        return bool(found.size) and (not np.allclose(found, found[0]) or (found.size == 1 and found[0] != 0))

    def single(self) -> Mistake | None:
        """The first of the catalogue that explains all; if what is wrong is 0 or not finite, the only one."""
        found = (mistake for mistake in self.task.mistakes if self.explains(mistake.wrong))
        first = next(found, None)
        return first if self.says_something() or next(found, None) is None else None

    def slip(self) -> Mistake | None:
        """A small change to the plain solution that explains all, if what is wrong says enough."""
        for model in self.task.models:
            for says, hint, wrong in slips(model):
                if self.explains(wrong):
                    return Mistake(says, hint, wrong)
        return None

    def singles(self) -> list[Mistake]:
        """The catalogue and all slips."""
        made = [Mistake(*slip) for model in self.task.models for slip in slips(model)]
        return [*self.task.mistakes, *made]

    def pair(self) -> tuple[Mistake, ...]:
        """Two of the catalogue that can be made together, and together explain all."""
        for a, b in itertools.combinations(self.task.mistakes, 2):
            can_meet = type(a.wrong) is type(b.wrong) and hasattr(a.wrong, "fits") and a.wrong.fits(b.wrong)
            if can_meet and self.explains(a.wrong.with_(b.wrong), keep=False):
                return a, b
        return ()

    def side_by_side(self) -> tuple[Mistake, ...]:
        """Two mistakes in different quantities, each of which explains its own and leaves the other's as they are."""
        wrong = [name for name in self.expected[0] if not self.good(name)]
        if len(wrong) < 2 or None in self.results:
            return ()
        sets = [(mistake, found) for mistake in self.singles() if (found := self.part_of(mistake, wrong))]
        for (a, own), (b, others) in itertools.combinations(sets, 2):
            if not own & others and own | others == set(wrong):
                return a, b
        return ()

    def good(self, name: str) -> bool:
        pairs = list(zip(self.results, self.expected, strict=True))[: self.count]
        return all(close(got[name], right[name]) for got, right in pairs)

    def part_of(self, mistake: Mistake, wrong: Sequence[str]) -> set[str]:
        """The quantities that a mistake changes, if each is then as the student has it, and there are others."""
        changed: set[str] = set()
        for i in range(self.count):
            value, got, right = self.value(mistake.wrong, i), self.results[i], self.expected[i]
            if value is None or set(value) != set(right):
                return set()
            new = {name for name in right if not close(value[name], right[name])}
            if any(name not in wrong or not close(value[name], got[name]) for name in new):
                return set()
            changed |= new
        return changed if len(changed) < len(wrong) else set()

    def first(self, name: str) -> Mistake | None:
        """The mistake that explains the first quantity that is wrong, and leaves right what the student has right."""
        right = [other for other in self.expected[0] if self.good(other)]
        for mistake in self.singles():
            values = [self.value(mistake.wrong, i) for i in range(self.count)]
            if any(value is None or not {name, *right} <= set(value) for value in values):
                continue
            if all(
                close(value[name], got[name]) and all(close(value[other], got[other]) for other in right)
                for value, got in zip(values, self.results, strict=False)
            ):
                return mistake
        return None

    def failing(self, complaint: str) -> tuple[str, list[str]]:
        """What is said if the function fails in some cases, or returns other names."""
        says_something = self.says_something()
        mistake = self.single() if any(self.results) else None
        if mistake and not says_something and not self.fails_alike(mistake, complaint):
            mistake = None
        if mistake is None and says_something:
            mistake = self.slip()
        return ("\n".join([complaint, describe((mistake,))]), [mistake.says]) if mistake else (complaint, [])

    def fails_alike(self, mistake: Mistake, complaint: str) -> bool:
        """Whether a mistake fails with the same words in the first case in which the student's function fails."""
        if None not in self.results:
            return True
        try:
            mistake.wrong(*copy.deepcopy(self.cases[self.results.index(None)]))
        except Exception as error:
            return complaint.startswith(failure_of(error, mistake.wrong)["message"])
        return False

    def diagnosis(self) -> tuple[str, list[str]]:
        """The feedback on wrong results, and the mistakes that were recognized in them."""
        first = next(name for name in self.expected[0] if not self.good(name))
        pairs = [(e[first], r[first]) for e, r in zip(self.expected, self.results, strict=True)][: self.count]
        mistakes = self.mistakes(pairs, first)
        if mistakes:
            return "\n".join([describe(mistakes), *self.beyond(mistakes)]), [mistake.says for mistake in mistakes]
        texts = [f"The first that is wrong is {first}." if first != "result" else "The result is wrong."]
        if self.says_something() and first != "result" and (mistake := self.first(first)):
            return f"{texts[0]} {describe((mistake,))}\n{ELSEWHERE}", [mistake.says]
        found, which = relation(pairs, self.cases)
        if found:
            texts.append(f"It is {found}.")
        elif self.task.parts and (found := wrong_term(self.task, self.cases[: self.count], pairs, first)):
            texts.append(f"{found[0].upper()}{found[1:]}.")
        texts += [worst_entry(*pairs[which]), shown(self.task, self.cases[which])]
        named_relation = found if first == "result" else f"{first}: {found}"
        return "\n".join(texts), [named_relation] if found else []

    def mistakes(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], first: str) -> tuple[Mistake, ...]:
        """Those that explain all, the simplest first."""
        if mistake := self.single():
            return (mistake,)
        if mistake := self.alike_but_for_overflow():
            return (mistake,)
        plain = first == "result" and any(all(test(*pair) for pair in pairs) for test in PLAIN)
        if plain or not self.says_something():
            return ()
        if mistake := self.slip():
            return (mistake,)
        return self.pair() or self.side_by_side()

    def alike_but_for_overflow(self) -> Mistake | None:
        """The one mistake after which the same quantities aren't finite in extreme cases, and the others agree."""
        if self.count <= (self.task.ordinary or self.count):
            return None

        def alike(got, value) -> bool:
            if got is None or value is None or set(got) != set(value):
                return False
            finite = {name: np.isfinite(array).all() for name, array in got.items()}
            return all(finite[n] == np.isfinite(value[n]).all() for n in got) and all(
                close(got[n], value[n]) for n in got if finite[n]
            )

        found = [
            m for m in self.task.mistakes if all(alike(g, self.value(m.wrong, i)) for i, g in enumerate(self.results))
        ]
        return found[0] if len(found) == 1 else None

    def beyond(self, mistakes: tuple[Mistake, ...]) -> list[str]:
        """What else is wrong in extreme cases, if they weren't explained by the mistakes."""
        wrong = mistakes[0].wrong if len(mistakes) == 1 else None
        for i in range(self.count, len(self.cases)):
            if wrong and not same(self.results[i], self.value(wrong, i)):
                return [f"In extreme cases there is something else, too:\n{shown(self.task, self.cases[i])}"]
        return []


ELSEWHERE = "What comes after it may be wrong for another reason, too."


def same(got: dict[str, np.ndarray] | None, value: dict[str, np.ndarray] | None) -> bool:
    return got is value if got is None or value is None else agree(got, value)


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


def run(wrong: Callable, case: tuple) -> dict[str, np.ndarray] | None:
    """What a wrong derivation gives; None if it fails on this case."""
    try:
        with np.errstate(all="ignore"):
            return named(wrong(*copy.deepcopy(case)))
    except Exception:  # a wrong derivation may fail in any way, above all in a pair
        return None


def agree(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return set(a) == set(b) and all(close(a[name], b[name]) for name in a)


def describe(mistakes: Sequence[Mistake]) -> str:
    if len(mistakes) == 1:
        return f"{NAMED} {mistakes[0].says}.\nHint: {mistakes[0].hint}"
    says = "\n".join(f"- {mistake.says}. Hint: {mistake.hint}" for mistake in mistakes)
    return f"{NAMED} two things come together:\n{says}"


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


def relation(pairs: Sequence[tuple[np.ndarray, np.ndarray]], cases: Sequence[tuple]) -> tuple[str, int]:
    """A simple relation between expected and got that holds in every case, or '', and the case to show it by."""
    for number, (_, got) in enumerate(pairs):
        if not np.isfinite(got).all():
            return "not finite: it holds nan or infinity", number
    which = next(number for number, (expected, got) in enumerate(pairs) if not close(got, expected))
    for text, test in RELATIONS.items():
        if all(test(expected, got) for expected, got in pairs):
            return text, which
    if all(expected.shape == got.shape for expected, got in pairs):
        return factor_in_all(pairs, cases), which
    return "", which


def factor_in_all(pairs, cases) -> str:
    """By which factor everything is wrong, or ''."""
    factors = [factor_of(expected, got) for expected, got in pairs]
    if None in factors:
        return ""
    if np.allclose(factors, factors[0]):
        return f"{factors[0]:.4g} times what it should be"
    shapes = [getattr(case[0], "shape", ()) for case in cases[: len(pairs)]]
    for axis in (0, 1, -1):
        if all(len(shape) > max(axis, 0) for shape in shapes):
            lengths = np.array([shape[axis] for shape in shapes])
            if np.allclose(factors, lengths):
                return f"too large by a factor of the length of axis {axis} of the first argument"
            if np.allclose(factors, 1 / lengths):
                return f"too small by a factor of the length of axis {axis} of the first argument"
    return ""


def wrong_term(task: Task, cases, pairs, name: str) -> str:
    """Which one term is missing, superfluous, or multiplied by a power of a factor; '' if none or several could be."""
    parts = [task.parts(*copy.deepcopy(case)) for case in cases]
    if any(expected.shape != got.shape or not np.isfinite(got).all() for expected, got in pairs):
        return ""
    if law := power_law([got for _, got in pairs], [expected for expected, _ in pairs], parts):
        return f"it is what it should be times {law}"
    found = [text for term in parts[0].terms.get(name, ()) if (text := instead_of(term, parts, pairs, name))]
    if found:
        return found[0] if len(found) == 1 else ""
    return instead_of_all(parts, pairs, name)


def instead_of(term: str, parts: Sequence[Parts], pairs, name: str) -> str:
    """What has become of a term, if all the others are right."""
    terms = [part.terms[name][term] for part in parts]
    instead = [got - expected + value for (expected, got), value in zip(pairs, terms, strict=True)]
    if all(close(expected + i, expected) for (expected, _), i in zip(pairs, instead, strict=True)):
        return f"the term {term} is missing"
    law = power_law(instead, terms, parts)
    return law and (f"the term {term} is multiplied by {law}" if law != "-1" else f"the term {term} has the wrong sign")


def instead_of_all(parts: Sequence[Parts], pairs, name: str) -> str:
    """What stands in place of the whole, or is added to it."""
    for other in parts[0].others.get(name, ()):
        values = [part.others[name][other] for part in parts]
        if all(close(got, value) for (_, got), value in zip(pairs, values, strict=True)):
            return f"it is {other}"
        if law := power_law([got for _, got in pairs], values, parts):
            return f"it is {other} times {law}"
        if law := power_law([got - expected for expected, got in pairs], values, parts):
            return f"something is added to what is right: {other} times {law}"
    return ""


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


def is_stretched(expected: np.ndarray, got: np.ndarray) -> bool:
    """Whether ``got`` is copies of ``expected``."""
    try:
        return got.size > expected.size and close(got, np.broadcast_to(expected, got.shape))
    except ValueError:
        return False


def begins_right(expected: np.ndarray, got: np.ndarray) -> bool:
    """Whether the first values are right, and all after them 0."""
    if expected.shape != got.shape or got.size < 2 or not expected.all():
        return False
    end = int(np.flatnonzero(np.append(got.ravel(), 1))[-2]) + 1 if got.any() else 0
    return 0 < end < got.size and close(np.append(got.ravel()[:end], expected.ravel()[end:]), expected.ravel())


RELATIONS: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "zero": lambda e, g: np.abs(g).max(initial=0) <= ATOL * np.abs(e).max(initial=0),
    "right but for its sign": lambda e, g: close(-g, e),
    "right but for its shape": lambda e, g: g.shape != e.shape and g.size == e.size and close(g.reshape(e.shape), e),
    "transposed": lambda e, g: g.ndim == 2 and close(g.T, e),
    "broadcast to a larger shape": is_stretched,
    "not summed over an axis": one_axis(lambda e, g, axis: close(g.sum(axis), e)),
    "not averaged over an axis": one_axis(lambda e, g, axis: close(g.mean(axis), e)),
    "right at its beginning and zero in the rest": begins_right,
    "right in size, with some wrong signs": lambda e, g: close(np.abs(g), np.abs(e)),
    "right in some places and zero in others": lambda e, g: (
        g.shape == e.shape and bool(np.any(g == 0)) and close(np.where(g == 0, e, g), e)
    ),
    "in whole numbers, cut off behind the point": lambda e, g: close(g, np.trunc(e)),
}
PLAIN = (RELATIONS["right but for its sign"], RELATIONS["transposed"])  # nothing that was written is simpler
