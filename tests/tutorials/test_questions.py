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


@pytest.mark.parametrize("measured", [1, True, np.True_, np.int64(1)])
def test_a_choice_is_confirmed_by_its_index_or_by_a_truth(measured):
    question = ask_a_choice()
    question.confirm(measured)
    assert question.confirmed


@pytest.mark.parametrize("measured", [0, False, np.False_])
def test_a_wrong_key_fails_the_lesson(measured):
    with pytest.raises(AssertionError, match=r"How many legs\?.*b\) eight.*measured"):
        ask_a_choice().confirm(measured)


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
    ask_a_choice().confirm(1)
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
    question.confirm(1)
    check({"a claim": True})
    assert Listener.heard == [question, ["a claim"]]
