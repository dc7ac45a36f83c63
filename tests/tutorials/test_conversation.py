"""A lesson as a conversation: what is asked and shown, where it goes on, and what the student may type."""

import builtins
import contextlib
import json
import os
import re
import subprocess
import sys

import pytest
from run_lesson import TIMEOUT

from tutorials import conversation, lesson, percent, questions

LESSON = """# %% [markdown]
# # Lesson 3: counting
#
# You will learn to count to $2^2$.

# %%
from tutorials.lesson import check, predict
total = 1

# %% [markdown]
# ## Doubling

# %%
twice = predict("What is twice 1?", ["one", "two"], right=1, because="One and one.")
total = total * 2
twice.confirm([total == 1, total == 2])

# %%
half = predict("And half of that?", right=1, within=0.1, because="As before.")
print("total is", total)
half.confirm(total / 2)

# %% [markdown]
# ## The claims

# %%
check({"two is even": total % 2 == 0})
"""
ENTER = ""


@pytest.fixture(autouse=True)
def progress(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGRAD_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(questions, "asked", {})
    monkeypatch.setattr(conversation, "show_figures", list)
    return tmp_path / "progress.json"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "03_counting.py"
    file.write_text(LESSON)
    return file


@pytest.fixture
def hold(path, monkeypatch, capsys):
    """Hold the conversation with these lines typed, and then Ctrl-D; returns what was printed, prompts included."""

    def talk(*typed, auto=False):
        lines = iter(typed)

        def answer(prompt=""):
            print(prompt, end="")
            line = next(lines, None)
            if line is None:
                raise EOFError
            if isinstance(line, type):
                raise line
            print(line)
            return line

        monkeypatch.setattr(builtins, "input", answer)
        capsys.readouterr()
        conversation.hold(path, auto)
        assert next(lines, None) is None, "not everything that was typed was read"
        return capsys.readouterr().out

    return talk


def test_enter_goes_through_the_whole_lesson(hold, progress):
    said = hold(ENTER, ENTER, "b", ENTER, "1", ENTER, "y")
    for text in (
        "Lesson 3: counting\n====",
        "count to 2^2.",
        "    total = 1",
        "[2/7]",
        "total is 2",
        "holds: two is even",
    ):
        assert text in said
    assert "2 of 2 questions right at the first try" in said
    assert json.loads(progress.read_text())["03_counting"]["done"]


def test_a_text_and_the_code_below_it_are_shown_together(hold):
    said = hold()
    assert said.index("You will learn") < said.index("total = 1") < said.index("[2/7]")
    assert "Doubling" not in said


def test_the_code_that_is_shown_does_not_tell_the_answer(hold):
    said = hold(ENTER)
    assert 'predict("What is twice 1?", ...)' in said
    assert "One and one" not in said


def test_a_wrong_answer_is_told_why_and_counts(hold, progress):
    said = hold(ENTER, ENTER, "a")
    assert "Not quite: b) two. One and one." in said
    assert json.loads(progress.read_text())["03_counting"]["answers"] == {"What is twice 1?": False}


def test_what_is_no_answer_is_asked_again(hold):
    said = hold(ENTER, ENTER, "two", "c", "B)", ENTER, "one", "1.05")
    assert said.count("Please answer with a to b") == 2
    assert said.count("Please answer with a number") == 1
    assert said.count("Right: ") == 2


def test_a_question_can_be_left(hold):
    assert "Until next time" in hold(ENTER, ENTER, ":quit")


def test_the_first_answer_counts(hold, progress):
    hold(ENTER, ENTER, "a", ":back", ENTER, "b")
    assert json.loads(progress.read_text())["03_counting"]["answers"] == {"What is twice 1?": False}


def test_python_runs_in_the_lessons_variables(hold):
    said = hold(ENTER, "total + 40", "for i in range(2):", "    print('line', i)", ENTER, "1 / 0")
    assert "41\n" in said
    assert "line 0\nline 1" in said


def test_an_error_that_the_student_makes_is_shown_and_the_lesson_goes_on(hold):
    said = hold(ENTER, "nonsense", "total")
    assert "1\n" in said[said.index("nonsense") :]


def test_going_back_makes_the_variables_anew(hold):
    said = hold(ENTER, ENTER, "b", "total = 77", ":back", "total", ENTER, "b", "total")
    assert "77\n" not in said.replace("total = 77\n", "")
    assert re.search(r"\[4/7\] total\n1\n", said)
    assert re.search(r"\[5/7\] total\n2\n", said)


def test_going_back_asks_nothing_of_what_lies_before(hold):
    said = hold(ENTER, ENTER, "b", ENTER, "1", ":back", "total")
    assert said.count("Question: What is twice 1?") == 1


def test_a_number_leads_to_any_cell(hold):
    said = hold(ENTER, ":go 7", "total")
    assert re.search(r"\[7/7\] total\n2\n", said)


def test_where_marks_the_part_that_is_shown(hold):
    said = hold(ENTER, ":where")
    assert re.search(r"->\s+3  Doubling", said)
    assert re.search(r"^\s+6  The claims", said, re.M)


@pytest.mark.parametrize("typed", [":help", ":go 99", ":go", ":dance"])
def test_help_is_given_on_request_and_where_a_command_is_not_known(hold, typed):
    assert "any Python" in hold(typed)


def test_the_student_goes_on_where_they_left(hold):
    said = hold(ENTER, ENTER, "b")
    assert "Until next time: python -m tutorials 3" in said
    said = hold("y", "total", ENTER, "1", ENTER, "n")
    assert "You stopped in 'Doubling', cell 5 of 7." in said
    assert "[5/7] total\n2\n" in said
    assert "Question: What is twice 1?" not in said


def test_the_student_may_begin_anew(hold):
    hold(ENTER, ENTER, "b")
    assert "Lesson 3: counting" in hold("n")


def test_leaving_at_a_question_leaves_the_cell_to_be_run_again(hold):
    hold(ENTER, ENTER)
    assert "cell 4 of 7" in hold("y")


def test_a_bet_is_won_by_who_sees_through_the_opposite(hold, monkeypatch):
    monkeypatch.setattr(conversation.random.Random, "random", lambda self: 0.1)
    said = hold(ENTER, ENTER, "b", ENTER, "1", ENTER, "n")
    assert "Somebody claims the opposite of: two is even" in said
    assert "won 1 of 1 bets" in said


def test_auto_runs_everything_without_asking_and_saves_nothing(hold, progress):
    said = hold(auto=True)
    assert "Answer: b) two. One and one." in said
    assert "holds: two is even" in said
    assert not progress.exists()


def test_auto_says_by_its_exit_code_that_a_cell_failed(path):
    path.write_text(LESSON.replace("right=1, because", "right=0, because"))
    assert conversation.hold(path, auto=True) is False


def test_a_cell_that_fails_is_shown_with_its_line_and_can_be_mended(path, hold):
    path.write_text(LESSON.replace("total = total * 2", "total = total * two"))
    said = hold(ENTER, ENTER, "b", "two = 2", ENTER, "b")
    assert "line 15" in said
    assert "NameError: name 'two' is not defined" in said
    assert "[5/7]" in said


def test_ctrl_c_stops_a_cell_and_not_the_lesson(path, hold):
    path.write_text(LESSON.replace("total = total * 2", "raise KeyboardInterrupt"))
    assert "Enter runs it again" in hold(ENTER, ENTER, "b")


def test_ctrl_c_at_the_prompt_empties_the_line(hold):
    said = hold(KeyboardInterrupt, ENTER)
    assert "(Ctrl-D or :quit leaves.)" in said
    assert "Doubling" in said


@pytest.mark.parametrize("content", ["", "[]", '{"03_counting": 3}', "\0"])
def test_a_damaged_progress_file_counts_as_none(progress, hold, content):
    progress.write_text(content)
    assert "Lesson 3: counting" in hold()


def test_progress_that_cannot_be_saved_is_said(hold, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGRAD_PROGRESS", str(tmp_path / "nowhere" / "progress.json"))
    assert "could not be saved" in hold(ENTER)


def test_a_long_cell_is_cut_and_shown_whole_on_request(path, hold):
    path.write_text(LESSON.replace("total = 1\n", "total = 1\n" + "".join(f"x{i} = {i}\n" for i in range(60))))
    said = hold(":again")
    assert "more lines (:again shows all)" in said
    assert said.count("x59 = 59") == 1


def test_with_a_display_figures_open_in_windows(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(lesson, "has_display", lambda: True)
    assert conversation.show_figures() == ["--show"]
    monkeypatch.setattr(lesson, "has_display", lambda: False)
    assert conversation.show_figures() == []


def test_a_lesson_gets_the_options_of_the_conversation(monkeypatch, tmp_path):
    monkeypatch.setattr(lesson, "arguments", ["--show"])
    assert lesson.parse(lesson.parser(""), "03_counting").show


def start(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tutorials", *arguments],
        capture_output=True, text=True, timeout=TIMEOUT, check=False, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_the_overview_lists_lessons_and_exercises_with_what_is_done(progress):
    stem = percent.lessons()["6"].stem
    progress.write_text(json.dumps({stem: {"cell": 4, "answers": {"a": True, "b": False}}}))
    said = start().stdout
    assert re.search(r"^ +6  batch normalization, backward +at cell 5 of \d+, 1 of 2 right$", said, re.M)
    assert re.search(r"^ +5  batch normalization, forward +-$", said, re.M)
    assert re.search(r"^ +10  batchnorm backward +\d to write$", said, re.M)


@pytest.mark.slow
def test_a_lesson_that_there_is_not_is_refused():
    finished = start("99")
    assert finished.returncode == 2
    assert "there is no lesson '99'; there are 1, 2" in finished.stderr


@pytest.mark.slow
def test_a_lesson_is_held_in_a_pseudo_terminal_of_eighty_columns(path):
    pty = pytest.importorskip("pty")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": "80", "TERM": "dumb", "MPLBACKEND": "Agg"}
        code = f"import pathlib; from tutorials import conversation; conversation.hold(pathlib.Path({str(path)!r}))"
        os.execv(sys.executable, [sys.executable, "-W", "error", "-c", code])
    os.write(terminal, b"\n\nb\ntotal + 40\n:quit\n")  # whole lines wait until they are read, unlike a Ctrl-D
    written = b""
    with contextlib.suppress(OSError):  # what Linux raises at the end
        while data := os.read(terminal, 4096):
            written += data
    os.waitpid(pid, 0)
    os.close(terminal)
    text = written.decode().replace("\r", "")
    assert "Right: b) two." in text
    assert "\n42\n" in text
    assert "goes on from here" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "")


@pytest.mark.slow
def test_a_whole_lesson_runs_by_itself(tmp_path):
    finished = start("1", "--auto", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "DOES NOT HOLD" not in finished.stdout
    assert finished.stdout.count(" holds: ") >= 3
    assert list(tmp_path.glob("figures/01_*.png"))
