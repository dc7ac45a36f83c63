"""Questions before the answer, and claims after it: what a lesson asks of its reader, and of itself.

A script prints a question with its answer. A notebook, and the book made of it, show the question and fold the answer
away. Who steps through a lesson in the terminal is asked: ``tutorials.conversation`` puts a surface of its own here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np


@dataclass
class Question:
    """What ``predict`` asks, with its answer; ``confirm`` holds the answer to what the lesson measures."""

    text: str
    choices: tuple[str, ...]
    right: float
    within: float | None
    because: str
    confirmed: bool = field(default=False, compare=False)

    @property
    def options(self) -> list[str]:
        """The choices with their letters: ``a) ...``; none for a question about a number."""
        return [f"{letter}) {choice}" for letter, choice in zip("abcdefghij", self.choices)]

    @property
    def answer(self) -> str:
        """The right choice with its letter, or the number and how far from it still counts as right."""
        return self.options[int(self.right)] if self.choices else f"{self.right:g} (within {self.within:g})"

    def is_right(self, reply: float) -> bool:
        """Whether ``reply``, the index of a choice or a number, is right."""
        return reply == self.right if self.within is None else abs(reply - self.right) <= self.within

    def confirm(self, measured: float | Sequence[bool]) -> None:
        """Hold the answer to what the lesson measured: the number; or the choice, by index or by all truths.

        ``confirm([steps < 50, 50 <= steps < 500, steps >= 500])``: one must be true, and be the right one. (One truth,
        whether "the answer" is right, would tell nothing of a wrong key.)

        Raises:
            AssertionError: if that isn't the answer that the lesson gives.
            TypeError: not a number; for choices, one truth, or not as many as choices.
        """
        one_truth = isinstance(measured, (bool, np.bool))
        if self.choices and np.ndim(measured):
            if np.shape(measured) != (len(self.choices),):
                raise TypeError(f"confirm: {self.text!r} needs {len(self.choices)} truths, one for each choice")
            fits = [int(i) for i in np.flatnonzero(measured)] == [self.right]
        elif one_truth or np.ndim(measured):
            wanted = "an index, or a list of truths, one for each choice" if self.choices else "the number measured"
            raise TypeError(f"confirm: {self.text!r} needs {wanted}, got {measured!r}")
        else:
            fits = self.is_right(float(measured))  # type: ignore[arg-type]
        if not fits:
            raise AssertionError(f"the answer to {self.text!r} is {self.answer}, but the lesson measured {measured}")
        self.confirmed = True


class Page:
    """The surface of a script: question and answer are printed, one below the other."""

    def ask(self, question: Question) -> None:
        print("\n".join(["", f"Predict: {question.text}", *(f"    {option}" for option in question.options)]))
        print(f"  Answer: {question.answer}. {question.because}\n")

    def bet(self, claims: Sequence[str]) -> None:
        """Called with the claims before their verdicts; a page has nobody to ask."""


class Notebook(Page):
    """The surface of a notebook and of the book: the answer is folded away."""

    def ask(self, question: Question) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        options = "".join(f"<li>{escape(choice)}</li>" for choice in question.choices)
        display(
            HTML(
                f'<div class="predict"><p><strong>Predict:</strong> {escape(question.text)}</p>'
                + (f'<ol type="a">{options}</ol>' if options else "")
                + f"<details><summary>Answer</summary><p>{escape(question.answer)}. {escape(question.because)}</p>"
                "</details></div>"
            )
        )


surface: Page | None = None  # who asks; None: a notebook's or a script's way, by where the lesson runs
asked: dict[str, Question] = {}  # since the lesson began, by text: a cell may be run twice


def _surface() -> Page:
    if surface is not None:
        return surface
    ipython = sys.modules.get("IPython")
    return Notebook() if ipython and getattr(ipython.get_ipython(), "kernel", None) else Page()


def predict(
    question: str, choices: Sequence[str] = (), *, right: float, because: str, within: float | None = None
) -> Question:
    """Ask before the cell that answers: ``choices`` and the index of the right one, or a number and a tolerance.

    The lesson must say later what it measured, with ``confirm``; ``check`` at its end fails if it didn't.

        steps = predict("How many steps will it need?", ["20", "200", "2,000"], right=1, because="...")
        steps.confirm([measured < 60, 60 <= measured < 600, measured >= 600])
        share = predict("Which share of the units is dead?", right=0.5, within=0.1, because="...")
        share.confirm((active == 0).mean())

    Args:
        right: the index of the right choice, from 0; or the number.
        within: how far from the number an answer may be. Only, and always, without choices.
        because: the reason, in a sentence or two, shown after the answer.

    Raises:
        ValueError: if choices and ``within`` don't fit together, or ``right`` isn't the index of a choice.
    """
    if bool(choices) == (within is not None):
        raise ValueError("predict: give either choices, or a number with within=")
    if choices and right not in range(len(choices)):
        raise ValueError(f"predict: right={right} isn't the index of one of {len(choices)} choices")
    asked[question] = Question(question, tuple(choices), right, within, because)
    _surface().ask(asked[question])
    return asked[question]


def check(claims: dict[str, bool], strict: bool = True) -> None:
    """Print which claims hold, and raise AssertionError if one doesn't (only print, if not ``strict``).

    Raises it, too, if a question was asked whose answer the lesson never measured.
    """
    _surface().bet(list(claims))
    print()
    for claim, holds in claims.items():
        print(f"{'holds' if holds else 'DOES NOT HOLD':>13}: {claim}")
    failed = [claim for claim, holds in claims.items() if not holds]
    if strict and failed:
        raise AssertionError(f"measured otherwise: {'; '.join(failed)}")
    open_questions = [question.text for question in asked.values() if not question.confirmed]
    if strict and open_questions:
        raise AssertionError(f"asked, but never measured: {'; '.join(open_questions)}")
