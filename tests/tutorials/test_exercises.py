"""The exercises: solutions get full marks, every wrong derivation its own diagnosis, and nothing stops the board."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from wrong_solutions import WRONG

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


@pytest.mark.parametrize(
    ("number", "function", "changes", "told"), WRONG, ids=[f"{row[0]}-{row[2][0][1][:60]}" for row in WRONG]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_solution_is_told_what_it_does(number, function, changes, told):
    (exercise,) = (exercise for exercise in EXERCISES if exercise.number == number)
    (task,) = (task for task in exercise.tasks if task.function == function)
    text = (SOLUTIONS / exercise.file).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    space = {}
    exec(compile(text, "wrong", "exec"), space)
    verdict = check(task, space[function], seed=0)
    assert verdict.status == "wrong"
    assert re.search(told, verdict.text), verdict.text


def test_a_gradient_of_zeros_is_not_explained_by_one_of_many_ways_to_it():
    verdict = check(EXERCISES[9].tasks[0], lambda d_y, gamma: 0 * d_y, seed=0)
    assert verdict.mistake == ["zero"]


def test_what_is_not_finite_is_shown_where_it_is_not_finite():
    verdict = check(EXERCISES[9].tasks[0], lambda d_y, gamma: np.where(len(d_y) == 7, np.nan, 2 * d_y), seed=0)
    assert "not finite" in verdict.text
    assert "got nan" in verdict.text


def test_a_mistake_is_not_named_if_it_would_change_what_is_right():
    (task,) = EXERCISES[7].tasks

    def root_in_running_var(*arguments):
        found = task.right(*arguments)
        _, _, _, _, running_var, momentum, _ = arguments
        return found | {"running_var": (1 - momentum) * running_var + momentum * found["var"] ** 0.25}

    assert "var is the standard deviation" not in check(task, root_in_running_var, seed=0).text


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
