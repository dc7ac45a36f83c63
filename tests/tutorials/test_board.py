"""What students and instructors see: feedback on files as students write them, the board, and the grades."""

import csv
import os
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from run_lesson import TIMEOUT

from tutorials.exercises.__main__ import feedback, status
from tutorials.exercises.checks import run, sandbox
from tutorials.exercises.checks.framework import Verdict
from tutorials.exercises.checks.run import FOLDER, check_file, exercises, points

pytestmark = pytest.mark.slow
SOLUTIONS = Path(__file__).parent / "solutions"
EXERCISES = {exercise.number: exercise for exercise in exercises()}
ROOT = FOLDER.parents[1]


def judge(folder, number, *changes, seconds=None):
    """The verdicts on a reference solution in which texts have been replaced: {function: verdict}."""
    exercise = EXERCISES[number]
    text = (SOLUTIONS / exercise.file).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / exercise.file).write_text(text, encoding="utf-8")
    if seconds:
        exercise = type(exercise)(exercise.number, exercise.file, exercise.title, exercise.tasks, seconds)
    return {verdict.function: verdict for verdict in check_file(exercise, folder)}


def test_feedback_names_the_mistake_and_gives_a_hint(tmp_path):
    verdict = judge(tmp_path, 10, ("+ d_mean / m", ""))["step_4_d_x"]
    assert verdict.status == "wrong"
    assert verdict.text.splitlines() == [
        "This is what you get when the mean is treated as a constant.",
        "Hint: x also reaches the output through mean: where does d_mean go?",
    ]


def test_a_mistake_in_one_step_leaves_the_others_right(tmp_path):
    found = judge(tmp_path, 10, ("-1 / 2 *", "-1 *"))
    assert found["step_2_d_var"].mistake == ["the factor 1/2 of the root's derivative is missing"]
    wrong = {function for function, verdict in found.items() if verdict.status != "right"}
    assert wrong == {"step_2_d_var", "batch_norm_backward"}
    assert found["batch_norm_backward"].share == pytest.approx(4 / 6)  # d_var and d_x are wrong, the rest right


def test_two_mistakes_at_once_are_recognized(tmp_path):
    changes = ("+ d_mean / m", ""), ("d_var * 2 * (x - mean) / m", "d_var * 2 * (x - mean)")
    verdict = judge(tmp_path, 10, *changes)["step_4_d_x"]
    assert set(verdict.mistake) == {"the mean is treated as a constant", "the 1/m of the variance is missing"}
    assert "two things come together" in verdict.text


def test_without_a_match_the_first_wrong_intermediate_the_worst_entry_and_a_relation_are_told(tmp_path):
    verdict = judge(tmp_path, 10, ('"d_mean": d_mean', '"d_mean": 7 * d_mean'))["batch_norm_backward"]
    assert "The first that is wrong is d_mean." in verdict.text
    assert "7 times what it should be" in verdict.text
    assert "expected" in verdict.text
    assert "got" in verdict.text


def test_a_wrong_factor_in_one_term_is_told(tmp_path):
    verdict = judge(tmp_path, 10, ("d_var * 2 * (x - mean) / m", "d_var * 6 * (x - mean) / m"))["step_4_d_x"]
    assert "The term through the variance is multiplied by 3." in verdict.text


LIBRARY = """
from layers import batch_norm_backward as theirs
def batch_norm_backward(d_y, x, gamma, eps=1e-5):
    return theirs(d_y, x, gamma, eps)
"""
TAPE = """
import numpy as np
from layers import linear
from minigrad import Tensor
def linear_backward(g, x, weight):
    x, weight = Tensor(x, requires_grad=True), Tensor(weight, requires_grad=True)
    bias = Tensor(np.zeros(len(weight.data)), requires_grad=True)
    linear(x, weight, bias).backward(g)
    return {"d_x": x.grad, "d_weight": weight.grad, "d_bias": bias.grad}
"""


@pytest.mark.parametrize(("number", "code"), [(10, LIBRARY), (5, TAPE)], ids=["backward", "tape"])
def test_the_librarys_own_backward_is_recognized(tmp_path, number, code):
    shutil.copy(SOLUTIONS / EXERCISES[number].file, tmp_path)
    with open(tmp_path / EXERCISES[number].file, "a", encoding="utf-8") as file:
        file.write(code)
    found = {v.function: v for v in check_file(EXERCISES[number], tmp_path)}
    function = "batch_norm_backward" if number == 10 else "linear_backward"
    assert (found[function].status, found[function].share) == ("library", 0)
    assert "Write it out in NumPy" in found[function].text


def test_an_input_that_is_overwritten_is_told(tmp_path):
    verdict = judge(tmp_path, 10, ("    return d_y * gamma", "    d_y *= gamma\n    return d_y"))["step_1_d_x_hat"]
    assert verdict.mistake == ["an input is overwritten in place"]


def test_another_form_of_a_right_answer_is_right(tmp_path):
    old = "    return np.sum(d_y * x_hat, axis=0)"
    new = "    return np.array([sum(d_y[i, c] * x_hat[i, c] for i in range(len(d_y))) for c in range(d_y.shape[1])])"
    assert judge(tmp_path, 10, (old, new))["step_5_d_gamma"].status == "right"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    return None", "returns None"),
        ("    return 'text'", "array of numbers"),
        ("    return d_y @ gamma @ gamma", "ValueError"),
        ("    nonsense", "NameError: name 'nonsense' is not defined"),
        ("    return {'d_x_hat': d_y}", "should return an array"),
    ],
)
def test_what_is_no_answer_is_told_at_the_students_line(tmp_path, body, told):
    verdict = judge(tmp_path, 10, ("    return d_y * gamma", body))["step_1_d_x_hat"]
    assert told in verdict.text
    if "Error" in told:
        assert "in line 7 of 10_batchnorm_backward.py" in verdict.text
        assert body.strip() in verdict.text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    while True: pass", "No answer after 3 seconds"),
        ("    import os; os._exit(7)", "exit code 7"),
        ("    import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended early"),
        ("    return step_1_d_x_hat(d_y, gamma)", "RecursionError"),
        ("    raise SystemExit", "SystemExit"),
        ("    import sys; sys.stderr.buffer.write(b'\\xff'); os = __import__('os'); os._exit(1)", "exit code 1"),
        ("    return np.ones((200_000, 200_000))", "MemoryError"),
    ],
)
def test_nothing_hangs_or_crashes_the_board(tmp_path, body, told):
    found = judge(tmp_path, 10, ("    return d_y * gamma", body), seconds=3)
    assert found["step_1_d_x_hat"].status == "wrong"
    assert told in found["step_1_d_x_hat"].text
    assert found["step_2_d_var"].status == "right"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def f(:\n    pass\n", "SyntaxError in line 1"),
        ("import nothing_of_that_name\n", "ModuleNotFoundError"),
        ("def another_name(d_y): return d_y\n", "no function step_1_d_x_hat"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path, text, told):
    (tmp_path / EXERCISES[10].file).write_text(text, encoding="utf-8")
    assert told in check_file(EXERCISES[10], tmp_path)[0].text


def test_a_file_that_hangs_costs_one_time_limit_and_no_more(tmp_path, monkeypatch):
    (tmp_path / EXERCISES[10].file).write_text("while True: pass\n", encoding="utf-8")
    exercise = type(EXERCISES[10])(10, EXERCISES[10].file, "", EXERCISES[10].tasks, seconds=1)
    started, start = [], sandbox.Sandbox.open
    monkeypatch.setattr(sandbox.Sandbox, "open", lambda *arguments: started.append(True) or start(*arguments))
    assert {verdict.status for verdict in check_file(exercise, tmp_path)} == {"wrong"}
    assert len(started) == 1  # one process for each function would be more


def test_functions_without_an_end_share_a_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "BUDGET", 2)
    text = "".join(f"def {task.function}(*_):\n    while True: pass\n" for task in EXERCISES[6].tasks)
    (tmp_path / EXERCISES[6].file).write_text(text, encoding="utf-8")
    exercise = type(EXERCISES[6])(6, EXERCISES[6].file, "", EXERCISES[6].tasks, seconds=2)
    relu, relu_backward = check_file(exercise, tmp_path)
    assert "No answer after 2 seconds" in relu.text
    assert "No answer after 1 seconds" in relu_backward.text


def test_a_function_that_waits_for_ever_is_found_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "PATIENCE", 1)
    body = "    import time; time.sleep(1e6)"
    found = judge(tmp_path, 10, ("    return d_y * gamma", body), seconds=1)
    assert "No answer after 1 seconds" in found["step_1_d_x_hat"].text


def test_a_function_that_waits_less_than_that_is_none_the_worse_for_it(tmp_path):
    body = "    import time; time.sleep(0.7)\n    return d_y * gamma"  # as on a machine that has other things to do
    found = judge(tmp_path, 10, ("    return d_y * gamma", body), seconds=4)
    assert {verdict.status for verdict in found.values()} == {"right"}


@pytest.mark.parametrize(
    "line", ["print('[]')", "import atexit; atexit.register(print, 'bye')", "import sys; sys.stdout.write('x' * 10**6)"]
)
def test_what_students_print_does_not_disturb(tmp_path, line):
    change = ("    return d_y * gamma", f"    {line}\n    return d_y * gamma")
    verdict = judge(tmp_path, 10, change)["step_1_d_x_hat"]
    assert verdict.status == "right"
    assert len(verdict.printed) <= 2000


def test_what_students_print_is_shown(tmp_path):
    change = ("    return d_y * gamma", "    print('shape', d_y.shape)\n    return d_y * gamma")
    verdict = judge(tmp_path, 10, change)["step_1_d_x_hat"]
    assert "It printed:\n    shape (4, 3)" in feedback(EXERCISES[10], [verdict])


def test_two_saves_within_a_second_are_told_apart(tmp_path):
    right, wrong = "np.sum(d_y, axis=0)", "np.sum(d_y, axis=1)"
    for text, expected in ((wrong, "wrong"), (right, "right"), (wrong, "wrong")):
        assert judge(tmp_path, 10, (f"    return {right}", f"    return {text}"))["step_6_d_beta"].status == expected


def test_a_folder_that_is_called_like_the_library_is_no_library():
    folder = ROOT / "minigrad_submissions_of_a_test"
    folder.mkdir()
    try:
        assert judge(folder, 6)["relu"].status == "right"
    finally:
        shutil.rmtree(folder)


def test_single_precision_is_right_too(tmp_path):
    change = ("    return d_y * gamma", "    return (d_y * gamma).astype(np.float32)")
    assert judge(tmp_path, 10, change)["step_1_d_x_hat"].status == "right"


def test_the_library_with_one_value_changed_earns_nothing(tmp_path):
    shutil.copy(SOLUTIONS / EXERCISES[10].file, tmp_path)
    with open(tmp_path / EXERCISES[10].file, "a", encoding="utf-8") as file:
        file.write(
            LIBRARY.replace("return theirs(d_y, x, gamma, eps)", "return theirs(d_y, x, gamma, eps) | {'d_var': x[0]}")
        )
    found = {verdict.function: verdict for verdict in check_file(EXERCISES[10], tmp_path)}
    assert (found["batch_norm_backward"].status, found["batch_norm_backward"].share) == ("library", 0)


def test_a_function_that_calls_one_not_yet_written_says_so(tmp_path):
    verdict = judge(tmp_path, 10, ("    return d_y * gamma", "    raise NotImplementedError"))["batch_norm_backward"]
    assert (verdict.status, verdict.text) == ("not started", "It calls step_1_d_x_hat, which isn't written yet.")


def test_points_may_come_from_a_spreadsheet(tmp_path, monkeypatch):
    text = "exercise;function;points\n6;relu;1.5\n"
    (tmp_path / "points.csv").write_text(text, encoding="utf-8-sig")
    monkeypatch.setattr("tutorials.exercises.checks.run.FOLDER", tmp_path)
    assert points()[6, "relu"] == 1.5
    assert points()[6, "relu_backward"] == 0


def test_the_board_sums_up_an_exercise_in_a_word_or_two():
    right, wrong, fresh = Verdict("f", "right", 1.0), Verdict("g", "wrong"), Verdict("h", "not started")
    assert status([right, right]) == "done"
    assert status([right, wrong]) == "1 of 2 done"
    assert status([wrong, fresh]) == "wrong"
    assert status([fresh]) == "not started"
    assert status([Verdict("f", "wrong", 0.5)]) == "partly right"
    assert "f: done" in feedback(EXERCISES[10], [right])


def command(*arguments, folder):
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return [sys.executable, "-m", *map(str, arguments)], {"cwd": folder, "env": environment, "text": True}


def test_the_board_shows_all_exercises_and_feedback_on_the_first_open_one(tmp_path):
    shutil.copytree(SOLUTIONS, tmp_path / "mine")
    judge(tmp_path / "mine", 11, ("return", "return -1 *"))
    arguments, options = command("tutorials.exercises", "--folder", "mine", folder=tmp_path)
    finished = subprocess.run(arguments, capture_output=True, timeout=TIMEOUT, **options)
    assert finished.returncode == 1
    assert finished.stdout.count(" done ") == len(EXERCISES) - 1
    assert "Exercise 11" in finished.stdout
    assert "batch_norm_d_x: wrong" in finished.stdout


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [("def relu(x): return x", [], 1), ("def relu(x): return x", ["--no-fail"], 0), ("nonsense", [], 1), (None, [], 0)],
    ids=["wrong", "no fail", "no Python", "not started"],
)
def test_the_board_fails_if_something_that_was_tried_is_wrong(tmp_path, text, options, code):
    if text:
        (tmp_path / EXERCISES[6].file).write_text(text, encoding="utf-8")
    arguments, settings = command("tutorials.exercises", "6", "--folder", ".", *options, folder=tmp_path)
    assert subprocess.run(arguments, stdout=subprocess.DEVNULL, timeout=TIMEOUT, **settings).returncode == code


def test_a_syntax_error_is_said_once(tmp_path):
    (tmp_path / EXERCISES[10].file).write_text("def f(:\n", encoding="utf-8")
    text = feedback(EXERCISES[10], check_file(EXERCISES[10], tmp_path))
    assert text.count("SyntaxError") == 1
    assert text.count("def f(:") == 1
    assert "all 7 functions: wrong" in text


def test_nothing_is_said_when_head_has_read_enough(tmp_path):
    arguments, options = command("tutorials.exercises", "--folder", ".", folder=tmp_path)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        assert "not started" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(TIMEOUT) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_watching_begins_each_time_with_an_empty_screen(tmp_path):
    import pty

    path = tmp_path / EXERCISES[6].file
    shutil.copy(FOLDER / EXERCISES[6].file, path)
    arguments, options = command("tutorials.exercises", "6", "--folder", ".", "--watch", folder=tmp_path)
    ours, theirs = pty.openpty()
    with subprocess.Popen(arguments, stdout=theirs, stdin=subprocess.DEVNULL, **options) as process:
        os.close(theirs)
        limit = threading.Timer(TIMEOUT, process.kill)
        limit.start()
        seen = until(ours, b"relu_backward: not started")
        assert seen.count(b"\x1b[2J") == 1
        shutil.copyfile(SOLUTIONS / EXERCISES[6].file, path)
        assert b"\x1b[2J" in until(ours, b"relu_backward: done")
        limit.cancel()
        process.kill()
    os.close(ours)


def until(terminal, text):
    """What a terminal shows, up to a text."""
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 1000)
    return seen


def test_watching_checks_again_after_a_save(tmp_path):
    path = tmp_path / EXERCISES[6].file
    shutil.copy(FOLDER / EXERCISES[6].file, path)
    arguments, options = command("tutorials.exercises", "6", "--folder", ".", "--watch", folder=tmp_path)
    with subprocess.Popen([arguments[0], "-u", *arguments[1:]], stdout=subprocess.PIPE, **options) as process:
        limit = threading.Timer(TIMEOUT, process.kill)  # which ends the lines
        limit.start()
        lines = iter(process.stdout.readline, "")
        assert any("not started" in line for line in lines)
        time.sleep(0.5)
        shutil.copyfile(SOLUTIONS / EXERCISES[6].file, path)
        assert any("relu_backward: done" in line for line in lines)
        limit.cancel()
        process.kill()


@pytest.fixture(scope="module")
def submissions(tmp_path_factory):
    """Two students: one did everything, the other one exercise, with one mistake."""
    folder = tmp_path_factory.mktemp("submissions")
    shutil.copytree(SOLUTIONS, folder / "ada")
    (folder / "grace").mkdir()
    judge(folder / "grace", 10, ("+ d_mean / m", ""))
    return folder


def test_a_folder_of_submissions_is_graded_into_one_file(submissions, tmp_path):
    arguments, options = command("tutorials.exercises.grade", submissions, "--csv", "grades.csv", folder=tmp_path)
    printed = subprocess.run(arguments, capture_output=True, check=True, timeout=TIMEOUT, **options).stdout
    with open(tmp_path / "grades.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    functions = sum(len(exercise.tasks) for exercise in EXERCISES.values())
    assert len(rows) == 2 * functions
    of = sum(float(row["of"]) for row in rows) / 2
    assert sum(float(row["points"]) for row in rows if row["student"] == "ada") == of
    assert f"{of:g} of {of:g} points" in " ".join(printed.split())
    grace = {row["function"]: row for row in rows if row["student"] == "grace" and row["exercise"] == "10"}
    assert grace["step_4_d_x"]["diagnosis"] == "the mean is treated as a constant"
    assert float(grace["batch_norm_backward"]["points"]) == pytest.approx(3 * 5 / 6)
    assert {row["status"] for row in rows if row["student"] == "grace" and row["exercise"] == "3"} == {"not started"}


def test_pytest_grades_a_submission_with_points_in_the_junit_file(submissions, tmp_path):
    where = [
        "--submission",
        submissions / "grace",
        "--junitxml",
        tmp_path / "report.xml",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    arguments, options = command("pytest", FOLDER, *where, folder=ROOT)
    finished = subprocess.run(arguments, capture_output=True, timeout=TIMEOUT, **options)
    assert finished.returncode == 1, finished.stdout
    assert "the mean is treated as a constant" in finished.stdout
    points = {}
    for case in ET.parse(tmp_path / "report.xml").iter("testcase"):
        properties = {p.get("name"): float(p.get("value")) for p in case.iter("property")}
        points[case.get("name").partition("[")[2].rstrip("]")] = (properties["points"], properties["of"])
    assert points["10-step_1_d_x_hat"] == (1, 1)
    assert points["10-step_4_d_x"] == (0, 3)
    assert points["10-batch_norm_backward"] == (2.5, 3)
    assert points["01-central_difference"] == (0, 2)
