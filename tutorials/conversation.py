"""A lesson as a conversation in the terminal: read, answer, run, try something, go on."""

from __future__ import annotations

import ast
import code
import contextlib
import io
import json
import linecache
import os
import random
import sys
import textwrap
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutorials import lesson, percent, plain, questions

HELP = """\
Enter       run the cell that is shown, and go on to the next
any Python  is run in the lesson's own variables: try what you like
:back       to the cell before; the lesson's variables are made anew
:again      show this cell once more, with all of its code
:go 12      to cell 12, forwards or back
:where      the lesson's headings, and where you are
:quit       leave (Ctrl-D, too); the next time you go on from here"""
LONG = 40  # lines of code; of a longer cell, which draws something, only the beginning is shown


class Leave(BaseException):
    """The student has had enough for today."""


class Progress:
    """How far each lesson has been read, and which answers were right: a small file in the user's home.

    Where that is, the environment variable MINIGRAD_PROGRESS can change.
    """

    def __init__(self) -> None:
        self.path = Path(os.environ.get("MINIGRAD_PROGRESS") or Path.home() / ".minigrad-course.json")
        try:
            self.lessons: dict[str, dict] = json.loads(self.path.read_text(encoding="utf-8"))
            assert all(isinstance(value, dict) for value in self.lessons.values())
        except (OSError, ValueError, AttributeError, AssertionError):  # none yet, or not ours
            self.lessons = {}

    def of(self, stem: str) -> dict:
        """A lesson's part: ``cell``, the number of cells that were run, and ``answers`` by question."""
        own = self.lessons.setdefault(stem, {})
        own.setdefault("cell", 0)
        own.setdefault("answers", {})
        return own

    def save(self) -> None:
        try:
            fresh = self.path.with_suffix(".new")
            fresh.write_text(json.dumps(self.lessons, indent=1), encoding="utf-8")
            os.replace(fresh, self.path)
        except OSError as error:
            print(f"(Where you are could not be saved in {self.path}: {error.strerror})")


class Conversation(questions.Page):
    """One lesson, cell by cell.

    Args:
        auto: run everything without asking, and print the answers.
    """

    def __init__(self, path: Path, auto: bool = False) -> None:
        self.path, self.auto, self.cells = path, auto, percent.cells(path)
        self.progress = Progress()
        self.own = self.progress.of(path.stem)
        self.rebuilding = False
        self.start_afresh()

    # The lesson's variables.

    def start_afresh(self) -> None:
        """A module of the lesson's name without any variables, as before the first cell."""
        self.module = types.ModuleType(self.path.stem)
        self.module.__file__ = str(self.path)
        sys.modules[self.path.stem] = self.module  # where pickle and dataclasses look
        self.console = code.InteractiveConsole(vars(self.module), "<you>")
        questions.asked.clear()

    def run(self, cell: percent.Cell) -> bool:
        """Run a cell of code; whether it came to its end."""
        tree = ast.increment_lineno(ast.parse(cell.source), cell.line - 1)
        linecache.checkcache(str(self.path))
        try:
            exec(compile(tree, str(self.path), "exec"), vars(self.module))
        except SystemExit as stop:
            print(f"The lesson stopped here: {stop}")
        except KeyboardInterrupt:
            print("\nStopped by Ctrl-C. This cell didn't come to its end; Enter runs it again.")
        except Exception as error:
            print_traceback(error)
        else:
            return True
        return False

    def rebuild(self, position: int) -> bool:
        """Run all cells before ``position`` silently; what was typed between them isn't repeated."""
        self.start_afresh()
        earlier = [cell for cell in self.cells[:position] if cell.kind == "code"]
        if earlier:
            print(f"(Running {len(earlier)} cells again, up to here ...)", flush=True)
        self.rebuilding = True
        try:
            for cell in earlier:
                with contextlib.redirect_stdout(io.StringIO()) as said:
                    done = self.run(cell)
                if not done:
                    print(said.getvalue())
                    return False
        finally:
            self.rebuilding = False
        return True

    # Questions and bets: what ``predict`` and ``check`` call.

    def ask(self, question: questions.Question) -> None:
        if self.rebuilding:
            return
        if self.auto:
            super().ask(question)
            return
        show(f"\nQuestion: {question.text}")
        for option in question.options:
            show(f"  {option}", "     ")
        reply = self.reply_to(question)
        right = question.is_right(reply)
        self.own["answers"].setdefault(question.text, right)  # the first answer counts
        show(f"{'Right' if right else 'Not quite'}: {question.answer}. {question.because}\n")

    def reply_to(self, question: questions.Question) -> float:
        """The student's answer, asked for until it is one: a choice's letter as its index, or a number."""
        letters = "abcdefghij"[: len(question.choices)]
        wanted = f"{letters[0]} to {letters[-1]}" if letters else "a number"
        while True:
            text = read(f"Your answer ({wanted}): ").strip().lower().rstrip(").%").replace(",", "")
            if text in (":quit", ":q"):
                raise Leave
            if letters and len(text) == 1 and text in letters:
                return letters.index(text)
            if not letters:
                with contextlib.suppress(ValueError):
                    return float(text)
            print(f"Please answer with {wanted}; a guess is welcome. (:quit or Ctrl-D leaves.)")

    def bet(self, claims: Sequence[str]) -> None:
        if self.rebuilding or self.auto:
            return
        print("\nThe claims are about to be checked. Your bets first, on each or its opposite.")
        won, coin = 0, random.Random()
        for claim in claims:
            opposite = coin.random() < 0.5
            show(f"\n{'Somebody claims the opposite of: ' if opposite else ''}{claim}")
            won += (yes_or_no("True? (y/n): ")) is not opposite
        print(f"\nYou would have won {won} of {len(claims)} bets, if all claims hold:")
        self.own["bets"] = [won, len(claims)]

    def score(self) -> str:
        answers = list(self.own["answers"].values())
        text = f"{sum(answers)} of {len(answers)} questions right at the first try"
        won, of = self.own.get("bets", (0, 0))
        return text + (f", {won} of {of} bets won" if of else "")

    # The way through the lesson.

    def hold(self) -> bool:
        """Go through the lesson until its end, or until the student leaves; False if a cell failed with ``auto``."""
        previous = questions.surface, lesson.arguments
        questions.surface, lesson.arguments = self, show_figures()
        try:
            position = self.begin()
            while position < len(self.cells):
                position = self.at(position)
                self.own["cell"] = position
                if not self.auto:
                    self.progress.save()
            self.own["done"] = True
            print(f"\nThat was the lesson: {self.score()}." if self.own["answers"] else "\nThat was the lesson.")
            self.own["cell"] = 0
        except Leave:
            if self.auto:
                return False
            print(f"\nUntil next time: python -m tutorials {int(self.path.stem[:2])} goes on from here.")
        finally:
            questions.surface, lesson.arguments = previous
            if not self.auto:
                self.progress.save()
        return True

    def begin(self) -> int:
        """Where to begin: at the first cell, or where the student left."""
        stopped = self.own["cell"]
        if self.auto or not 0 < stopped < len(self.cells):
            print("(Enter goes on, :help tells what else you can do, Ctrl-D leaves.)\n" if not self.auto else "")
            return 0
        part = next((c.source for c in self.cells[stopped::-1] if c.source.startswith("#")), "").splitlines()
        print(f"You stopped in {part[0].lstrip('# ')!r}, cell {stopped + 1} of {len(self.cells)}." if part else "")
        if yes_or_no("Go on from there? (y/n; n begins anew): ") and self.rebuild(stopped):
            return self.with_text(stopped)
        self.start_afresh()
        return 0

    def at(self, position: int) -> int:
        """Show a cell, and return the position of the one that comes next."""
        cell = self.cells[position]
        self.show_cell(cell)
        if cell.kind == "markdown" and position + 1 < len(self.cells) and self.cells[position + 1].kind == "code":
            return position + 1  # text and the code that it speaks of are shown together
        if self.auto:
            if cell.kind == "code" and not self.run(cell):
                raise Leave
            return position + 1
        while True:
            typed = read(f"[{position + 1}/{len(self.cells)}] ")
            if typed.startswith(":"):
                target = self.command(typed, position)
                if target is not None:
                    return target
            elif typed.strip():
                self.let_try(typed)
            elif cell.kind == "markdown" or self.run(cell):
                return position + 1

    def show_cell(self, cell: percent.Cell, whole: bool = False) -> None:
        if cell.kind == "markdown":
            print(f"\n{plain.markdown(cell.source)}\n")
            return
        lines = percent.without_answers(cell.source).splitlines()
        rest = 0 if whole or len(lines) <= LONG else len(lines) - LONG // 2
        print("\n".join(f"    {line}".rstrip() for line in lines[: len(lines) - rest]))
        if rest:
            print(f"    ... and {rest} more lines (:again shows all)")
        print()

    def command(self, typed: str, position: int) -> int | None:
        """Do what a line with a colon says; where to go, or None to stay."""
        word, _, argument = typed[1:].strip().partition(" ")
        if word in ("quit", "q"):
            raise Leave
        if word in ("back", "b"):
            return self.go(self.before(position), position)
        if word == "go" and argument.strip().isdigit() and 1 <= int(argument) <= len(self.cells):
            return self.go(int(argument) - 1, position)
        if word in ("again", "a"):
            self.show_cell(self.cells[position], whole=True)
        elif word == "where":
            self.show_headings(position)
        elif word in ("help", "h"):
            print(HELP)
        else:
            print(f"There is no {typed.strip()!r} here.\n{HELP}")
        return None

    def before(self, position: int) -> int:
        """The code cell before this one, or the text that belongs to it."""
        earlier = [i for i in range(position) if self.cells[i].kind == "code"]
        return self.with_text(earlier[-1]) if earlier else 0

    def with_text(self, position: int) -> int:
        """The position of the text above a cell of code, or of the cell itself if there is none."""
        return position - 1 if position and self.cells[position - 1].kind == "markdown" else position

    def go(self, target: int, position: int) -> int:
        """Make the variables as they are before ``target``; forwards, run what lies between."""
        return target if self.rebuild(target) else position

    def show_headings(self, position: int) -> None:
        headings = [
            (number, line.lstrip("# "))
            for number, cell in enumerate(self.cells)
            if cell.kind == "markdown"
            for line in cell.source.splitlines()
            if line.startswith("#")
        ]
        here = max((number for number, _ in headings if number <= position), default=0)
        for number, heading in headings:
            print(f"{'->' if number == here else '  '} {number + 1:3}  {heading}")
        if self.own["answers"]:
            print(f"So far {self.score()}.")

    def let_try(self, typed: str) -> None:
        """Run what the student typed, over several lines if it needs them, and show its value as Python does."""
        try:
            while self.console.push(typed):
                typed = read("... ")
        except SystemExit:
            raise Leave from None
        except KeyboardInterrupt:
            self.console.resetbuffer()
            print("\nStopped by Ctrl-C.")


def show(text: str, indent: str = "") -> None:
    """Print a paragraph in lines of the terminal's width."""
    for line in text.split("\n"):
        print(textwrap.fill(line, plain.WIDTH, subsequent_indent=indent) if line else "")


def read(prompt: str) -> str:
    """A line from the student; Ctrl-D leaves the lesson, Ctrl-C empties the line."""
    while True:
        try:
            return input(prompt)
        except EOFError:
            raise Leave from None
        except KeyboardInterrupt:
            print("\n(Ctrl-D or :quit leaves.)")


def yes_or_no(prompt: str) -> bool:
    while (reply := read(prompt).strip().lower()[:1]) not in ("y", "n"):
        print("Please answer y or n.")
    return reply == "y"


def print_traceback(error: BaseException) -> None:
    """As Python does, from the lesson's own lines on."""
    trace = error.__traceback__
    traceback.print_exception(type(error), error, trace.tb_next if trace else None, file=sys.stdout)


def show_figures() -> list[str]:
    """The options of a lesson here: with a display, figures open in windows beside the terminal."""
    if not lesson.has_display():
        return []
    import matplotlib.pyplot as plt

    plt.ion()  # so that show() doesn't wait for the window to be closed
    return ["--show"]


@contextlib.contextmanager
def completion(conversation: Conversation) -> Iterator[None]:
    """Completion of the lesson's names with Tab, where readline is there."""
    try:
        import readline
        import rlcompleter
    except ImportError:
        yield
        return
    before = readline.get_completer()
    readline.set_completer(lambda text, state: rlcompleter.Completer(vars(conversation.module)).complete(text, state))
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)


def hold(path: Path, auto: bool = False) -> bool:
    """Go through the lesson in ``path``; False if a cell failed with ``auto``."""
    conversation = Conversation(path, auto)
    with completion(conversation):
        return conversation.hold()
