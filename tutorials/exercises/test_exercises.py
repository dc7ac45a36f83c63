"""The exercises as tests, for autograders: a test for each function, with its points.

pytest tutorials/exercises --submission FOLDER --junitxml report.xml
"""

import functools

import pytest

from tutorials.exercises.checks.run import check_file, exercises, points

WORTH = points()
FUNCTIONS = [
    pytest.param(exercise, task.function, id=f"{exercise.number:02}-{task.function}",
                 marks=pytest.mark.points(WORTH[exercise.number, task.function]))
    for exercise in exercises()
    for task in exercise.tasks
]  # fmt: skip


@functools.cache
def verdicts(number, folder, seed):
    (exercise,) = (exercise for exercise in exercises() if exercise.number == number)
    return {verdict.function: verdict for verdict in check_file(exercise, folder, seed)}


@pytest.mark.parametrize(("exercise", "function"), FUNCTIONS)
def test_function(request, record_property, exercise, function):
    options = request.config.option
    verdict = verdicts(exercise.number, options.submission, options.seed)[function]
    of = request.node.get_closest_marker("points").args[0]
    record_property("points", of * verdict.share)
    record_property("of", of)
    if verdict.status != "right":
        pytest.fail(f"{verdict.status}\n{verdict.text}", pytrace=False)
