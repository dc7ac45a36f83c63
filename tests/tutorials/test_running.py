"""What a lesson does where it can't do its work: nothing installed, nowhere to save, no display, Ctrl-C."""

import ast
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from run_lesson import LESSONS, TIMEOUT, TUTORIALS, run

from tutorials import lesson as lessons

pytestmark = pytest.mark.slow
ROOT = TUTORIALS.parent


def python(*arguments, folder, path=(), **environment):
    """Run Python as from a terminal: Ctrl-C works, even if the tests were started in the background."""
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))), **environment}
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def parse(monkeypatch, *options, name="a_lesson"):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
    return lessons.parse(lessons.parser("A lesson."), name)


# Where figures can't be saved.


def a_file_in_its_place(folder):
    (folder / "out").touch()
    return folder / "out"


def a_folder_inside_a_file(folder):
    (folder / "file").touch()
    return folder / "file" / "out" / "deeper"


def a_folder_in_place_of_a_figure(folder):
    (folder / "a_lesson_2.png").mkdir()
    return folder


def a_link_to_nowhere(folder):
    (folder / "out").symlink_to(folder / "missing" / "device")
    return folder / "out"


OBSTACLES = [
    a_file_in_its_place,
    a_folder_inside_a_file,
    a_folder_in_place_of_a_figure,
    a_link_to_nowhere,
    lambda folder: folder / ("x" * 5000),
    lambda folder: "/dev/null/figures",
    lambda folder: "/proc/figures",
    lambda folder: "/proc",
]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_folder_that_cannot_be_written_is_refused_in_one_line_before_anything_is_computed(
    tmp_path, monkeypatch, capsys, obstacle
):
    with pytest.raises(SystemExit) as ended:
        parse(monkeypatch, "--out", obstacle(tmp_path))
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("usage", " "))]
    assert "error: argument --out: can't save figures in" in line


@pytest.mark.parametrize("folder", [".", "new", "new/and/deeper", "ünï côdé", "\udcff"])
def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path, monkeypatch, folder):
    assert parse(monkeypatch, "--out", tmp_path / folder).out == tmp_path / folder
    assert list((tmp_path / folder).iterdir()) in ([], [tmp_path / "new"])


def test_figures_of_an_earlier_run_stay_as_they_were(tmp_path, monkeypatch):
    (tmp_path / "a_lesson.png").write_bytes(b"the old figure")
    parse(monkeypatch, "--out", tmp_path)
    assert (tmp_path / "a_lesson.png").read_bytes() == b"the old figure"


def test_a_disk_too_full_for_a_figure_is_found_out(tmp_path):
    resource = pytest.importorskip("resource")
    code = "import resource, sys; sys.argv = ['a_lesson.py']; from tutorials.lesson import parse, parser\n"
    code += f"resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {resource.RLIM_INFINITY}))\n"
    finished = python("-c", code + "parse(parser(''), 'a_lesson')", folder=tmp_path)
    assert finished.returncode == 2
    assert "File too large" in finished.stderr
    assert list((tmp_path / "figures").iterdir()) == []


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_gives_parse_its_own_name_before_its_first_part(name):
    source = (TUTORIALS / f"{name}.py").read_text(encoding="utf-8")
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    (call,) = [call for call in calls if getattr(call.func, "id", "") in ("parse", "arguments")]
    assert [node.value for node in ast.walk(call.args[-1]) if isinstance(node, ast.Constant)] == [name]
    first_part = source[: source.index("# %% [markdown]\n# ## ")].count("\n") + 1
    assert call.end_lineno < first_part


def test_a_lesson_says_so_without_a_traceback(tmp_path):
    (tmp_path / "figures").touch()
    finished = run("07_internal_covariate_shift", folder=tmp_path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert "can't save figures in 'figures'" in finished.stderr
    assert "Traceback" not in finished.stderr


# Windows.


@pytest.mark.parametrize("environment", [{}, {"MPLBACKEND": "TkAgg"}, {"MPLBACKEND": "svg"}], ids=str)
def test_without_a_display_show_says_so_and_saves(tmp_path, environment):
    code = "import sys; sys.argv = ['a_lesson.py', '--show']; from tutorials.lesson import parse, parser, save\n"
    code += "args = parse(parser(''), 'a_lesson'); import matplotlib.pyplot as plt; save(plt.figure(), args, 'figure')"
    finished = python("-c", code, folder=tmp_path, **environment)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == "--show: there is no display to open windows on, so the figures are only saved\n"
    assert (tmp_path / "figures" / "figure.png").exists()


# Without the installation.


def test_a_lesson_without_the_installation_says_in_one_line_how_to_install(tmp_path):
    finished = python("-S", "-E", TUTORIALS / "01_the_tape.py", folder=tmp_path)  # no installed packages
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    command = "python3 -m venv .venv && .venv/bin/python -m pip install --quiet --editable ."
    assert command in line
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("start", [["-m", "tutorials.exercises"], [TUTORIALS / "01_the_tape.py"]], ids=["-m", "script"])
@pytest.mark.parametrize("place", ["layers/__init__.py", "layers.py", "minigrad/__init__.py"])
def test_a_package_of_ones_own_in_the_way_is_named(tmp_path, start, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    finished = python(*start, folder=tmp_path, path=[tmp_path])
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert str(tmp_path / place.removesuffix("/__init__.py")) in last
    assert "rename that, or start from another folder" in last


# Ctrl-C.


@pytest.fixture
def ctrl_c():
    """Lets Ctrl-C interrupt, as it does in a terminal, and gives a function that presses it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_ctrl_c_ends_a_loop_after_the_step_that_it_is_at(ctrl_c):
    done = []
    for step in lessons.until_ctrl_c(range(10)):
        if step == 3:
            ctrl_c()
        done.append(step)
    assert done == [0, 1, 2, 3]
    with pytest.raises(KeyboardInterrupt):  # what it does afterwards is as before
        ctrl_c()


def test_a_second_ctrl_c_interrupts_the_step(ctrl_c):
    done = []
    with pytest.raises(KeyboardInterrupt):
        for step in lessons.until_ctrl_c(range(10)):
            ctrl_c()
            ctrl_c()
            done.append(step)
    assert done == []


@pytest.mark.parametrize("leave", ["end", "break", "raise"])
def test_a_loop_however_left_gives_ctrl_c_back(ctrl_c, leave):
    try:
        for step in lessons.until_ctrl_c(range(3)):
            if leave == "break" and step == 1:
                break
            if leave == "raise" and step == 1:
                raise ValueError
    except ValueError:
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loop_leaves_another_meaning_of_ctrl_c_alone(ctrl_c):
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        for _ in lessons.until_ctrl_c(range(3)):
            ctrl_c()
        assert len(pressed) == 3
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_loop_in_another_thread_is_an_ordinary_loop():
    done = []
    thread = threading.Thread(target=lambda: done.extend(lessons.until_ctrl_c(range(3))))
    thread.start()
    thread.join()
    assert done == [0, 1, 2]


PRESS_IN_STEP = """
import os, runpy, signal, sys
import tutorials.lesson

train_step, count, wanted = tutorials.lesson.train_step, 0, int(sys.argv[2])


def pressed_once(*arguments):
    global count
    count += 1
    if count == wanted:
        os.kill(os.getpid(), signal.SIGINT)
    return train_step(*arguments)


tutorials.lesson.train_step = pressed_once
sys.argv = [sys.argv[1], *sys.argv[3:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(("call", "step"), [(1, 1), (2, 1), (2 * 130 - 1, 130)])
def test_lesson_07_stopped_by_ctrl_c_saves_what_there_is_and_marks_it(tmp_path, call, step):
    (tmp_path / "press.py").write_text(PRESS_IN_STEP, encoding="utf-8")
    lesson = TUTORIALS / "07_internal_covariate_shift.py"
    finished = python("press.py", lesson, call, "--steps", 200, folder=tmp_path)
    assert finished.returncode == 130, finished.stderr
    assert finished.stderr == ""
    assert f"Stopped by Ctrl-C after step {step:,} of 200" in finished.stdout
    assert "final test accuracy" in finished.stdout
    assert " holds: " not in finished.stdout
    assert "HOLD" not in finished.stdout
    for ending in ("png", "html"):
        assert (tmp_path / "figures" / f"07_internal_covariate_shift.{ending}").stat().st_size > 20_000


def test_lesson_07_stopped_by_ctrl_c_among_the_settings_it_tries_keeps_the_training(tmp_path):
    (tmp_path / "press.py").write_text(PRESS_IN_STEP, encoding="utf-8")
    lesson = TUTORIALS / "07_internal_covariate_shift.py"
    finished = python("press.py", lesson, 2 * 100 + 50, "--steps", 100, folder=tmp_path)
    assert finished.returncode == 130, finished.stderr
    assert finished.stderr == ""
    assert "1 of 30 settings tried" in finished.stdout
    assert "Stopped by Ctrl-C after step 100 of 100" in finished.stdout
    assert (tmp_path / "figures" / "07_internal_covariate_shift.png").stat().st_size > 20_000


PRESS_AT = """
import os, signal, sys


def press(event, arguments):
    global wanted
    if event == wanted[0] and wanted[1] in str(arguments[0]):
        wanted = ("", "")
        os.kill(os.getpid(), signal.SIGINT)


wanted = os.environ["PRESS_AT"].split(" ", 1)
sys.addaudithook(press)
"""


@pytest.mark.parametrize(
    ("moment", "part"),
    [
        ("import numpy", "Lesson 1: the tape"),
        ("import matplotlib.pyplot", "Lesson 1: the tape"),
        ("import minigrad.autograd", "Lesson 1: the tape"),
        ("open 01_the_tape.png", "Watching the gradient travel"),
    ],
)
def test_ctrl_c_at_any_moment_says_where_and_leaves_no_traceback(tmp_path, moment, part):
    (tmp_path / "sitecustomize.py").write_text(PRESS_AT, encoding="utf-8")
    finished = python(TUTORIALS / "01_the_tape.py", folder=tmp_path, path=[tmp_path], PRESS_AT=moment)
    assert finished.stderr.splitlines() == [
        "",
        f'Stopped by Ctrl-C in "{part}". Figures that were saved before stay.',
    ]
    assert finished.returncode == 130


def test_an_error_in_a_lesson_keeps_its_traceback(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        PRESS_AT.replace("os.kill(os.getpid(), signal.SIGINT)", "raise ZeroDivisionError"), encoding="utf-8"
    )
    finished = python(
        TUTORIALS / "01_the_tape.py", folder=tmp_path, path=[tmp_path], PRESS_AT="import matplotlib.pyplot"
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("Traceback")
    assert "ZeroDivisionError" in finished.stderr


# What is said on the way.


@pytest.mark.parametrize(
    ("step", "seconds", "left"),
    [
        (1, 0.0, "0 s left"),
        (50, 10.0, "10 s left"),
        (25, 60.0, "3 min left"),
        (1, 100.0, "2.8 h left"),
        (100, 60, None),
    ],
)
def test_progress_estimates_the_time_left(monkeypatch, capsys, step, seconds, left):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    lessons.progress(step, 100, "all is well", seconds)
    line = capsys.readouterr().out
    assert line.strip().endswith(f"step {step} of 100{f', {left}' if left else ''}: all is well")
    assert line.endswith("\n") == (left is None)


@pytest.mark.parametrize("width", [20, 80, 200])
def test_progress_on_a_terminal_never_wraps(monkeypatch, capsys, width):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    lessons.progress(1, 100, "text " * 30, 1.0)
    assert len(capsys.readouterr().out) == width  # a return to the line's start, and one character less


def test_progress_in_a_file_is_a_line_for_every_tenth_of_the_way(capsys):
    for step in range(1, 101):
        lessons.progress(step, 100, "text", float(step))
    lines = capsys.readouterr().out.splitlines()
    assert [int(re.match(r"step (\d+) of 100", line)[1]) for line in lines] == [*range(10, 101, 10)]
