"""Questions in the lessons: asked, answered, and held to what is measured."""

import numpy as np
import pytest

from tutorials import questions
from tutorials.lesson import check, predict


@pytest.fixture(autouse=True)
def no_questions_from_elsewhere(monkeypatch):
    monkeypatch.setattr(questions, "asked", {})


def ask_a_choice():
    return predict("How many legs?", ["six", "eight"], right=1, because="It is a spider.")


def ask_a_number():
    return predict("How many degrees?", right=90, within=2, because="It boils soon.")


def test_a_script_prints_question_choices_answer_and_reason(capsys):
    ask_a_choice()
    assert capsys.readouterr().out.split("\n") == [
        "", "Predict: How many legs?", "    a) six", "    b) eight", "  Answer: b) eight. It is a spider.", "", ""
    ]  # fmt: skip


def test_a_number_is_shown_with_its_tolerance(capsys):
    ask_a_number()
    assert "Answer: 90 (within 2). It boils soon." in capsys.readouterr().out


@pytest.mark.parametrize("measured", [[False, True], (False, np.True_), np.array([False, True]), 1, np.int64(1)])
def test_a_choice_is_confirmed_by_what_is_so_and_what_is_not(measured):
    question = ask_a_choice()
    question.confirm(measured)
    assert question.confirmed


@pytest.mark.parametrize("measured", [[True, False], [False, False], [True, True], 0, 2])
def test_a_wrong_key_fails_the_lesson(measured):
    question = ask_a_choice()
    with pytest.raises(AssertionError, match=r"How many legs\?.*b\) eight.*measured"):
        question.confirm(measured)
    assert not question.confirmed


@pytest.mark.parametrize("measured", [True, np.True_, [True], [False, True, False], [[False, True]]])
def test_a_choice_is_not_confirmed_by_less_than_a_truth_for_each(measured):
    with pytest.raises(TypeError, match="truths, one for each choice"):
        ask_a_choice().confirm(measured)


@pytest.mark.parametrize("measured", [True, np.False_, [90.0]])
def test_a_number_is_not_confirmed_by_something_else(measured):
    with pytest.raises(TypeError, match="the number measured"):
        ask_a_number().confirm(measured)


@pytest.mark.parametrize(("measured", "right"), [(88, True), (92.0, True), (92.1, False), (np.float64(87.9), False)])
def test_a_number_is_right_within_its_tolerance(measured, right):
    assert ask_a_number().is_right(measured) == right


def test_a_number_measured_outside_its_tolerance_fails_the_lesson():
    with pytest.raises(AssertionError, match="measured 80"):
        ask_a_number().confirm(80)


def test_a_question_that_is_never_measured_fails_the_lesson():
    ask_a_number().confirm(90)
    ask_a_choice()
    with pytest.raises(AssertionError, match=r"never measured: How many legs\?$"):
        check({"a claim": True})


def test_a_cell_may_be_run_twice():
    ask_a_choice()
    ask_a_choice().confirm([False, True])
    check({"a claim": True})


@pytest.mark.parametrize("arguments", [
    {"choices": ["a"], "right": 0, "within": 1}, {"right": 0}, {"choices": ["a"], "right": 1},
    {"choices": ["a"], "right": -1},
])  # fmt: skip
def test_a_question_that_does_not_fit_together_is_refused(arguments):
    with pytest.raises(ValueError, match="predict: "):
        predict("?", because="", **arguments)
    assert not questions.asked


def test_a_false_claim_fails_the_lesson_unless_the_settings_are_not_its_own(capsys):
    with pytest.raises(AssertionError, match="measured otherwise: the moon is cheese"):
        check({"the moon is cheese": False, "it is round": True})
    check({"the moon is cheese": False}, strict=False)
    assert "DOES NOT HOLD: the moon is cheese" in capsys.readouterr().out


def test_a_surface_of_ones_own_gets_questions_and_claims(monkeypatch):
    class Listener:
        heard = []
        ask = bet = heard.append

    monkeypatch.setattr(questions, "surface", Listener)
    question = ask_a_choice()
    question.confirm([False, True])
    check({"a claim": True})
    assert Listener.heard == [question, ["a claim"]]
