"""The exercises: solutions get full marks, every wrong derivation its own diagnosis, and nothing stops the board."""

import importlib.util
from pathlib import Path

import pytest

from tutorials.exercises.checks.framework import check
from tutorials.exercises.checks.run import FOLDER, check_file, exercises, points

pytestmark = pytest.mark.slow

SOLUTIONS = Path(__file__).parent / "solutions"
EXERCISES = exercises()
TASKS = [pytest.param(e, t, id=f"{e.number}-{t.function}") for e in EXERCISES for t in e.tasks]
MISTAKES = [
    pytest.param(t, m, id=f"{e.number}-{t.function}-{m.says}") for e in EXERCISES for t in e.tasks for m in t.mistakes
]


def load(path):
    spec = importlib.util.spec_from_file_location(f"solution_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.file)
def test_a_reference_solution_gets_full_marks(exercise):
    for verdict in check_file(exercise, SOLUTIONS):
        assert (verdict.status, verdict.share, verdict.text) == ("right", 1, ""), verdict


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.file)
def test_an_exercise_as_handed_out_is_not_started_and_nothing_else(exercise):
    for verdict in check_file(exercise, FOLDER):
        assert (verdict.status, verdict.share, verdict.text) == ("not started", 0, "")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("exercise", "task"), TASKS)
def test_a_solution_is_right_for_other_seeds(exercise, task, seed):
    function = getattr(load(SOLUTIONS / exercise.file), task.function)
    assert check(task, function, seed).status == "right"


@pytest.mark.parametrize(("task", "mistake"), MISTAKES)
def test_every_mistake_gets_its_own_diagnosis(task, mistake):
    verdict = check(task, mistake.wrong, seed=0)
    assert verdict.status == "wrong"
    assert verdict.mistake == [mistake.says]
    assert mistake.says in verdict.text
    assert mistake.hint in verdict.text


@pytest.mark.parametrize(("exercise", "task"), TASKS)
def test_hints_and_diagnoses_are_distinct_and_read_as_sentences(exercise, task):
    says = [mistake.says for mistake in task.mistakes]
    assert len(set(says)) == len(says)
    for mistake in task.mistakes:
        assert not mistake.says.endswith((".", " "))
        assert mistake.hint


def test_there_are_at_least_40_wrong_derivations():
    assert len(MISTAKES) >= 40


def test_every_function_has_its_points():
    assert all(value > 0 for value in points().values())
