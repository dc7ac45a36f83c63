"""Grading what strangers hand in: nobody writes their own points, nobody touches another's, and nothing gets lost."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from run_lesson import TIMEOUT

from tutorials.exercises import grade
from tutorials.exercises.checks import run, sandbox
from tutorials.exercises.checks.run import FOLDER, Checker, check_file, exercises, files_in
from tutorials.exercises.submissions import LARGEST, Finder, owner

pytestmark = pytest.mark.slow
ROOT = FOLDER.parents[1]
SOLUTIONS = Path(__file__).parent / "solutions"
EXERCISES = {exercise.number: exercise for exercise in exercises()}
HANDED_OUT = {exercise.file: (FOLDER / exercise.file).read_bytes() for exercise in EXERCISES.values()}
RELU = EXERCISES[6].file

# Attacks. Each is tried in a file whose relu is wrong and whose relu_backward is right: honest work for 1 of 2 points.

HONEST = """
import os, sys, time
import numpy as np
{top}
def relu(x):
    {body}
    return x.copy()

def relu_backward(g, x):
    return g * (x > 0)
"""
FORGED = """
import struct
def forge(text):
    for number in range(3, 64):
        try:
            os.write(number, text)
        except OSError:
            pass
"""
FRAME = "forge(struct.pack('<QQ', len(t), 0) + t)"
AT_ITS_PLACE = """
sys.meta_path[:] = [finder for finder in sys.meta_path if 'House' not in type(finder).__name__]
for name in [name for name in sys.modules if name.partition('.')[0] in ('tutorials', 'layers', 'minigrad')]:
    del sys.modules[name]
sys.path.insert(0, {root!r})
"""
STACK = """
import gc
def expected():
    frame, found = sys._getframe(), []
    while frame:
        seen = {**frame.f_globals, **frame.f_locals}
        found += [seen[name] for name in ('expected', 'right', 'task') if name in seen]
        frame = frame.f_back
    return found + [o for o in gc.get_objects() if type(o).__name__ in ('Task', 'Verdict', 'Exercise')]
"""
PATCHED = """
import builtins, json
for name in ('allclose', 'isclose', 'array_equal', 'abs', 'all'):
    setattr(np, name, lambda *_, **__: True)
builtins.len, builtins.isinstance, builtins.all = (lambda _: 0), (lambda *_: True), (lambda _: True)
json.dumps = lambda *_, **__: '["result", 1, "", true, ["tuple"]]'
"""
SUBCLASS = """
class Right(np.ndarray):
    def __eq__(self, other): return True
    def __array_function__(self, *_): return True
    def __array_ufunc__(self, *_, **__): return np.True_
    def tobytes(self, *_): return b''
    def __reduce__(self): return os.system, ('true',)
"""
EQUAL = """
class Equal:
    def __eq__(self, other): return True
    def __array__(self, *_, **__): raise SystemExit
    def __float__(self): os._exit(0)
"""
# (what is done when the file is loaded, what is done when relu is called)
ATTACKS = {
    "writes verdicts to every file that is open": (FORGED, 'forge(b\'{"function": "relu", "share": 1}\\n\')'),
    "sends what isn't JSON": (FORGED, f"t = b'[\"result\", nonsense'; {FRAME}"),
    "sends an answer before it is asked": (FORGED, f't = b\'["result", 1, "", ["other", "x"], ["tuple"]]\'; {FRAME}'),
    "sends more verdicts than there are functions": (FORGED, f"t = b'[\"ready\"]'; [{FRAME} for _ in range(99)]"),
    "sends a million brackets": (FORGED, f"t = b'[' * 10**6; {FRAME}"),
    "sends a length of 2**60": (FORGED, "forge(struct.pack('<QQ', 2**60, 2**60))"),
    "calls a function of the checker that isn't there": (FORGED, f"t = b'[\"callback\", 99, [], []]'; {FRAME}"),
    "replaces np.allclose and Python's own functions": (PATCHED, "pass"),
    "replaces the checker's functions": ("import tutorials.exercises.checks.framework as f; f.close = len", "pass"),
    "imports the reference": ("from tutorials.exercises.checks.exercise_06 import relu as r", "return r(x)"),
    "imports the reference from its place": (
        AT_ITS_PLACE.format(root=str(ROOT)),
        "from tutorials.exercises.checks.exercise_06 import relu as r; return r(x)",
    ),
    "runs the solution of the tests": (
        f"path = {str(SOLUTIONS / RELU)!r}",
        "exec(open(path).read(), s := {}); return s['relu'](x)",
    ),
    "imports the library from its place": (
        AT_ITS_PLACE.format(root=str(ROOT)),
        "from minigrad import Tensor; return Tensor(x).relu().data",
    ),
    "switches a profiler off and calls the library": (
        "from minigrad import Tensor; sys.setprofile(None)",
        "return Tensor(x).relu().data",
    ),
    "walks the stack to the expected values": (STACK, "return expected()[0]"),
    "deletes files": ("import shutil", "[shutil.rmtree(p, True) for p in (OTHERS, '.', os.path.dirname(__file__))]"),
    "adds to another's file": ("", "open(os.path.join(OTHERS, 'ada', '06_relu.py'), 'a').write('nonsense')"),
    "adds to the results": ("", "open(os.path.join(OTHERS, 'points.csv'), 'a').write('nonsense')"),
    "kills its parent": ("import signal", "os.kill(os.getppid(), signal.SIGKILL)"),
    "ends itself": ("", "os._exit(0)"),
    "leaves by sys.exit": ("", "sys.exit()"),
    "forks and stays": ("", "os.fork() or (os.setsid(), time.sleep(1e6))"),
    "forks while the file is loaded, and stays": ("os.fork() or time.sleep(1e6)", "pass"),
    "forks, and both answer": ("", "os.fork()"),
    "leaves a thread running": ("import threading; threading.Thread(target=time.sleep, args=(1e6,)).start()", "pass"),
    "doesn't end": ("", "while True: pass"),
    "takes all memory": ("", "[bytearray(2**28) for _ in range(10**6)]"),
    "opens files without end": ("", "[open(str(n), 'w') for n in range(10**6)]"),
    "fills the disk": ("", "open('large', 'wb').write(bytes(2**30))"),
    "writes gigabytes to stderr": ("", "[os.write(2, bytes(2**20)) for _ in range(2000)]"),
    "prints gigabytes": ("", "[print('x' * 2**20) for _ in range(2000)]"),
    "raises an error with half a character": ("", "raise ValueError('\\ud800')"),
    "raises an error that is a formula": ("", "raise type('=HYPERLINK(1)', (Exception,), {})('=1+1')"),
    "raises an error that can't be printed": ("", "raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})"),
    "prints what a terminal obeys": ("", "print('\\x1b[2J\\x07right')"),
    "returns what is equal to everything": (EQUAL, "return Equal()"),
    "returns an array that lies": (SUBCLASS, "return x.view(Right)"),
    "returns an enormous array": ("", "return np.broadcast_to(0.0, (10**6, 10**6))"),
    "returns an enormous shape without values": ("", "return np.empty((10**15, 0))"),
    "returns itself inside itself": ("", "l = []; l.append(l); return l"),
    "returns a function": ("", "return relu"),
    "returns a dict with strange keys": ("", "return {(1, '\\ud800'): x, None: x}"),
    "returns a dict of 100,000 names": ("", "return {str(n): 0.0 for n in range(10**5)}"),
    "returns a number of 10,000 digits": ("", "return 10**10000"),
    "isn't Python": ("def (:", "pass"),
    "has a null byte in it": ("# \0", "pass"),
}  # fmt: skip
TOO_MANY_POINTS = {
    "imports the reference from its place",
    "runs the solution of the tests",
    "imports the library from its place",
}
LOST = {  # the honest work, too
    "isn't Python",
    "has a null byte in it",
    "forks, and both answer",
    "replaces np.allclose and Python's own functions",
}


@pytest.fixture(scope="module")
def class_of_attackers(tmp_path_factory):
    """All attacks beside ada, who has done two exercises, and two with strange names, graded in one run."""
    folder = tmp_path_factory.mktemp("class")
    for name in ("ada", "=1+1", b"st\xff".decode("utf-8", "surrogateescape")):
        (folder / name).mkdir()
        for number in (6, 10):
            shutil.copy(SOLUTIONS / EXERCISES[number].file, folder / name)
    for number, (top, body) in enumerate(ATTACKS.values()):
        (folder / f"eve {number:02}").mkdir()
        text = HONEST.format(top=top, body=body.replace("OTHERS", repr(str(folder))))
        (folder / f"eve {number:02}" / RELU).write_text(text, encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, "-m", "tutorials.exercises.grade", folder, "--csv", folder.parent / "grades.csv"],
        capture_output=True, timeout=TIMEOUT, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder.parent)},
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr.decode("utf-8", "replace")
    graded = [json.loads(path.read_text("utf-8")) for path in (folder.parent / "grades-results").glob("*.json")]
    return {one["student"]: one for one in graded}, folder.parent, finished.stdout.decode("utf-8")


def earned(graded, number=6):
    return {v["function"]: v["share"] for v in graded["verdicts"] if v["exercise"] == number}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_earns_no_more_than_honest_work(class_of_attackers, attack):
    graded = class_of_attackers[0][f"eve {list(ATTACKS).index(attack):02}"]
    if attack in TOO_MANY_POINTS and not graded["protection"]["hidden"]:
        pytest.skip("this system doesn't let files be hidden")
    assert earned(graded)["relu"] == 0, graded
    assert earned(graded)["relu_backward"] == 1 or attack in LOST, graded
    assert not any(share for number in EXERCISES if number != 6 for share in earned(graded, number).values())


@pytest.mark.parametrize("student", ["ada", "=1+1", "st\\xff"])
def test_whoever_is_graded_beside_attackers_gets_all_their_points(class_of_attackers, student):
    graded = class_of_attackers[0][student]
    for number in (6, 10):
        assert set(earned(graded, number).values()) == {1}


def test_attackers_leave_the_grades_as_a_table_that_no_spreadsheet_computes(class_of_attackers):
    graded, folder, _ = class_of_attackers
    assert (folder / "grades.csv").stat().st_size < 10**6
    with open(folder / "grades.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    functions = sum(len(exercise.tasks) for exercise in EXERCISES.values())
    assert len(rows) == 1 + len(graded) * functions
    assert len(graded) == len(ATTACKS) + 3
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "-"))]
    assert "'=HYPERLINK(1): =1+1" in {row[-1] for row in rows}
    assert "'=1+1" in {row[0] for row in rows}


def test_attackers_leave_nothing_behind(class_of_attackers):
    graded, folder, printed = class_of_attackers
    assert "\x1b" not in printed
    if not all(graded["ada"]["protection"].values()):
        pytest.skip("this system doesn't let students' code be shut in")
    assert (next(folder.glob("class*")) / "ada" / RELU).read_bytes() == (SOLUTIONS / RELU).read_bytes()
    assert not [line for line in map(content, Path("/proc").glob("[0-9]*/cmdline")) if os.fsencode(folder) in line]
    assert not list(folder.glob("grading-*"))


def content(path):
    try:
        return path.read_bytes()
    except OSError:  # a process that has ended since
        return b""


PROBES = {
    "hidden": (
        "open({root!r} + '/tutorials/exercises/points.csv')",
        "open({root!r} + '/tutorials/exercises/points.csv', 'a')",
        "os.listdir({root!r})",
        "os.listdir(os.path.expanduser('~root'))",
        "open('/etc/passwd')",
        "open(np.__file__, 'a')",
        "open(__file__, 'a')",
        "os.system('true') and 1 / 0",
        "__import__('subprocess').run([sys.executable, '-c', ''])",
    ),
    "apart": (
        "__import__('socket').create_connection(('127.0.0.1', {port}), 1)",
        "__import__('socket').create_connection(('192.0.2.1', 80), 1)",
        "os.kill({pid}, 0)",
    ),
    "disk": ("[open(str(n), 'wb').write(bytes(2**23)) for n in range(20)]",),
}


@pytest.mark.parametrize(("kind", "probe"), [(kind, probe) for kind, probes in PROBES.items() for probe in probes])
def test_a_student_reaches_nothing_outside(tmp_path, kind, probe):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = probe.format(root=str(ROOT), port=server.getsockname()[1], pid=os.getpid())
        text = HONEST.format(top="", body=f"{probe}; print('reached')")
        with Checker({RELU: text.encode()}) as checker:
            verdict = checker.check(EXERCISES[6])[0]
            if not checker.sandboxes[0].protection[kind]:
                pytest.skip("this system doesn't let it be forbidden")
    assert "Error" in verdict.text
    assert not verdict.printed


def test_what_a_student_writes_is_gone_before_the_next_exercise(tmp_path):
    text = HONEST.format(top="print(os.listdir('.'))", body="print(os.listdir('.')); open('note', 'w').write('right')")
    files = {
        RELU: text.encode(),
        EXERCISES[1].file: text.replace("def relu(x)", "def central_difference(f, x, eps)").encode(),
    }
    with Checker(files) as checker:
        for number in (1, 6):
            assert checker.check(EXERCISES[number])[0].printed.startswith("[]")


@pytest.mark.skipif(not sandbox.FORKS, reason="Unix only")
def test_each_process_may_take_the_time_of_its_own_exercise():
    text = "import resource\ndef relu(x):\n    return resource.getrlimit(resource.RLIMIT_CPU)[1]\n"
    hard = []
    with sandbox.Sandbox({RELU: text.encode()}) as box:
        for seconds in (10, 100):
            student = box.open(seconds)
            student.load(RELU, ["relu"], 5, {})
            hard.append(student.call("relu", (None,))[0])
            student.close()
    assert hard == [12, 102]


def test_without_fork_a_student_is_called_back(monkeypatch):
    monkeypatch.setattr(sandbox, "FORKS", False)  # as on Windows
    files = {RELU: HONEST.format(top="", body="print('here')").encode()}
    with Checker(files | {EXERCISES[1].file: (SOLUTIONS / EXERCISES[1].file).read_bytes()}) as checker:
        verdict = checker.check(EXERCISES[6])[0]
        assert (verdict.status, verdict.printed) == ("wrong", "here\n" * 4)
        assert [v.status for v in checker.check(EXERCISES[1])] == ["right"]


def test_where_nothing_can_be_forbidden_students_are_graded_all_the_same(monkeypatch):
    helpless = (
        sandbox.HELPERS["cage.py"]
        .replace(b'sys.platform == "linux"', b"False")
        .replace(b'sys.platform != "linux"', b"True")
    )
    monkeypatch.setitem(sandbox.HELPERS, "cage.py", helpless)
    attack = HONEST.format(top="", body="os.fork() or time.sleep(1e6)").encode()
    with Checker(files_in(SOLUTIONS) | {RELU: attack}) as checker:
        assert [v.share for v in checker.check(EXERCISES[6])] == [0, 1]
        assert checker.sandboxes[0].protection == {"apart": False, "disk": False, "hidden": False}
        assert {v.status for v in checker.check(EXERCISES[10])} == {"right"}


# What is compared, and how it gets there.


def test_a_rule_that_returns_what_it_was_given_returns_that_very_array(tmp_path):
    text = """
def backward(tape, result):
    gradients = {result: 1.0}
    for output, inputs, rules in reversed(tape):
        if output in gradients:
            for name, rule in zip(inputs, rules):
                d = rule(gradients[output])
                if name in gradients:
                    gradients[name] += d
                else:
                    gradients[name] = d
    return gradients
"""
    (tmp_path / EXERCISES[4].file).write_text(text, encoding="utf-8")
    (verdict,) = check_file(EXERCISES[4], tmp_path)
    assert "gradients are added in place (+=) to an array that other names have been given, too" in verdict.mistake


def test_a_comparison_with_the_library_outside_of_functions_does_no_harm(tmp_path):
    text = (SOLUTIONS / RELU).read_text(encoding="utf-8")
    text += "\nfrom minigrad import Tensor\nassert np.allclose(Tensor([1.0]).relu().data, relu(np.ones(1)))\n"
    text += "def relu_backward(g, x):\n    return g * (x > 0)\n"
    (tmp_path / RELU).write_text(text, encoding="utf-8")
    assert {verdict.status for verdict in check_file(EXERCISES[6], tmp_path)} == {"right"}


@pytest.mark.parametrize(
    "value",
    ["list(map(list, y))", "tuple(map(tuple, y))", "y.astype(object)", "np.asfortranarray(y)", "y.astype('>f8')",
     "np.matrix(y)", "np.ma.array(y)", "y.astype(np.longdouble)", "[[np.float64(v) for v in row] for row in y]"],
)  # fmt: skip
def test_a_right_answer_is_right_in_every_form(value):
    text = f"import numpy as np\ndef step_1_d_x_hat(d_y, gamma):\n    y = d_y * gamma\n    return {value}\n"
    with Checker({EXERCISES[10].file: text.encode()}) as checker:
        assert checker.check(EXERCISES[10])[0].status == "right"


def test_a_wrong_piece_is_given_to_exercise_15_and_this_is_said(tmp_path):
    for exercise in EXERCISES.values():
        shutil.copy(SOLUTIONS / exercise.file, tmp_path)
    text = (SOLUTIONS / EXERCISES[8].file).read_text(encoding="utf-8")
    (tmp_path / EXERCISES[8].file).write_text(text.replace("gamma * x_hat", "x_hat"), encoding="utf-8")
    (tmp_path / EXERCISES[5].file).unlink()
    with Checker(files_in(tmp_path)) as checker:
        assert checker.check(EXERCISES[8])[0].status == "wrong"
        found = checker.check(EXERCISES[15])
    said = "the right one was used here: linear_backward (exercise 5), batch_norm_forward (exercise 8)."
    assert [(verdict.status, verdict.share) for verdict in found] == [("right", 1)] * 4
    assert all(verdict.text.endswith(said) for verdict in found)


@pytest.mark.parametrize("text", ["def (:", "while True: pass", "1 / 0", "batch_norm_backward = 1"])
def test_a_piece_that_does_not_even_load_is_replaced(text):
    files = files_in(SOLUTIONS) | {EXERCISES[10].file: text.encode()}
    with Checker(files) as checker:
        assert [verdict.share for verdict in checker.check(EXERCISES[15])] == [1] * 4


def test_exercise_15_may_take_other_pieces_too():
    text = (SOLUTIONS / EXERCISES[15].file).read_text(encoding="utf-8")
    text += "\nassert mine(6, 'relu')(np.ones(1)) == 1\n"
    with Checker(files_in(SOLUTIONS) | {EXERCISES[15].file: text.encode()}) as checker:
        assert [verdict.share for verdict in checker.check(EXERCISES[15])] == [1] * 4


def test_the_digits_are_read_by_the_checker_and_not_by_the_student(tmp_path):
    text = HANDED_OUT[EXERCISES[15].file].decode("utf-8")
    text += "\ndef learns_the_digits(data, seed=0):\n    return True\n"
    text += "def train(parameters, batches, lr):\n    return parameters\n"
    with Checker({EXERCISES[15].file: text.encode()}) as checker:
        assert [verdict.share for verdict in checker.check(EXERCISES[15])] == [0] * 4


def test_the_hand_out_is_the_course_without_solutions_tests_and_grading(tmp_path):
    where, options = (
        ["--out", tmp_path / "handout.zip"],
        {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "timeout": TIMEOUT},
    )
    subprocess.run([sys.executable, "-m", "tutorials.exercises.handout", *where], check=True, **options)
    with zipfile.ZipFile(tmp_path / "handout.zip") as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    assert not [name for name in names if "tests/" in name or "INSTRUCTORS" in name or name.endswith("grade.py")]
    assert [name.rpartition("/")[2] for name in names if "platforms/" in name] == ["__init__.py"]
    assert any(name.endswith("07_mnist.gif") for name in names)
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "handout").rglob("*.md")]
    assert not [page for page in pages if "INSTRUCTORS.md" in page]
    assert not [page for page in pages if re.search("tests/|[Tt]he tests|pytest|two commands|the second", page, re.I)]
    readme = (tmp_path / "handout/README.md").read_text(encoding="utf-8")
    assert readme.count("```") % 2 == 0
    assert "## One command\n" in readme
    headings = re.findall("^## .*", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.findall("^## .*", readme, re.MULTILINE)[1:] == headings[1:]
    assert all("README.md#two-commands" not in page for page in pages)
    options["env"]["PYTHONPATH"] = str(tmp_path / "handout")
    command = [sys.executable, "-m", "tutorials.exercises"]
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, **options).stdout
    assert printed.count("not started") == len(EXERCISES) + 1
    shutil.copy(SOLUTIONS / RELU, tmp_path / "handout/tutorials/exercises")
    assert (
        subprocess.run([*command, "6"], cwd=tmp_path, capture_output=True, text=True, **options).stdout.count("done")
        == 2
    )


# Finding the files.


@pytest.fixture
def finder():
    return Finder(HANDED_OUT)


def put(folder, path, text=b"x = 1\n"):
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return path


def test_a_whole_repository_is_found_without_its_lessons_and_solutions(tmp_path, finder):
    put(tmp_path, "ada/tutorials/06_batchnorm_backward.py")
    put(tmp_path, f"ada/tests/tutorials/solutions/{RELU}")
    put(tmp_path, f"ada/tutorials/exercises/{RELU}", HANDED_OUT[RELU])
    put(tmp_path, "ada/tutorials/exercises/10_batchnorm_backward.py", b"mine")
    (ada,) = finder.submissions(os.scandir(tmp_path))
    assert ada.found == {
        RELU: f"tutorials/exercises/{RELU}",
        "10_batchnorm_backward.py": "tutorials/exercises/10_batchnorm_backward.py",
    }
    assert ada.files["10_batchnorm_backward.py"] == b"mine"
    assert ada.notes == []


def test_a_file_that_was_worked_on_goes_before_one_as_handed_out(tmp_path, finder):
    put(tmp_path, f"ada/tutorials/exercises/{RELU}", HANDED_OUT[RELU])
    put(tmp_path, f"ada/mine/{RELU}", b"mine")
    put(tmp_path, f"ada/mine/old/{RELU}", b"old")
    (ada,) = finder.submissions(os.scandir(tmp_path))
    assert ada.files == {RELU: b"mine"}
    assert ada.notes == [f"mine/{RELU} is graded, and not mine/old/{RELU}"]


@pytest.mark.parametrize(
    "name",
    ["06_relu (1).py", "06_relu-1.py", "06_ReLU.py", "06-relu.py", "6_relu.py", "relu.py", "06_relu copy.py"],
)
def test_what_looks_like_a_file_is_reported_and_not_graded(tmp_path, finder, name):
    put(tmp_path, f"ada/{name}")
    (ada,) = finder.submissions(os.scandir(tmp_path))
    assert ada.files == {}
    assert ada.notes == [f"{name}: looks like {RELU}, but isn't called so, and isn't graded"]


def test_other_files_are_no_matter(tmp_path, finder):
    for name in ("README.md", "06_batchnorm_backward.py", "helpers.py", "16_relu.py"):
        put(tmp_path, f"ada/{name}")
    assert finder.submissions(os.scandir(tmp_path))[0].notes == []


@pytest.mark.parametrize("inside", ["", "exercises/", "../../", "/tmp/", "C:\\exercises\\"])
def test_zip_files_are_read_without_being_unpacked(tmp_path, finder, inside):
    with zipfile.ZipFile(tmp_path / "ada.zip", "w") as archive:
        archive.writestr(f"{inside}{RELU}", b"mine")
    (tmp_path / "grace").mkdir()
    shutil.copy(tmp_path / "ada.zip", tmp_path / "grace" / "all.zip")
    ada, grace = finder.submissions(os.scandir(tmp_path))
    assert (ada.student, ada.files) == ("ada", {RELU: b"mine"})
    assert (grace.student, grace.files) == ("grace", {RELU: b"mine"})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["ada.zip", "all.zip", "grace"]


def test_a_zip_file_that_unpacks_without_end_is_reported(tmp_path, finder):
    with zipfile.ZipFile(tmp_path / "ada.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(RELU, bytes(100 * LARGEST))
        archive.writestr("10_batchnorm_backward.py", b"mine")
    (ada,) = finder.submissions(os.scandir(tmp_path))
    assert ada.files == {"10_batchnorm_backward.py": b"mine"}
    assert ada.notes == [f"{RELU}: more than a megabyte, so it isn't read"]


def test_a_zip_file_that_is_none_is_reported(tmp_path, finder):
    put(tmp_path, "ada.zip", b"PK nonsense")
    (ada,) = finder.submissions(os.scandir(tmp_path))
    assert "can't be read" in ada.notes[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Unix only")
def test_links_and_pipes_are_reported_and_not_followed(tmp_path, finder):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / RELU).symlink_to(SOLUTIONS / RELU)
    os.mkfifo(tmp_path / "ada" / "10_batchnorm_backward.py")
    (tmp_path / "grace").symlink_to(SOLUTIONS)
    (ada,) = finder.submissions(os.scandir(tmp_path))
    assert ada.files == {}
    assert ada.notes == ["06_relu.py: a symbolic link, which isn't followed", "10_batchnorm_backward.py: not a file"]


def test_the_flat_names_of_platforms_are_put_together(tmp_path, finder):
    put(tmp_path, f"doejohn_123_456_{RELU}", b"old")
    put(tmp_path, "doejohn_LATE_123_789_06_relu-2.py", b"newest")
    put(tmp_path, "doejohn_123_788_06_relu-1.py", b"newer")
    put(tmp_path, "doejohn_123_457_10_batchnorm_backward.py", b"ten")
    put(tmp_path, f"Ada Lovelace_77_assignsubmission_file_{RELU}", b"ada")
    put(tmp_path, "roster.csv")
    ada, john = finder.submissions(os.scandir(tmp_path))
    assert (ada.student, ada.files) == ("Ada Lovelace_77", {RELU: b"ada"})
    assert (john.student, john.files) == ("doejohn_123", {RELU: b"newest", "10_batchnorm_backward.py": b"ten"})

    assert john.notes == [
        "doejohn_123_788_06_relu-1.py: isn't graded, but the newer doejohn_LATE_123_789_06_relu-2.py",
        "doejohn_123_456_06_relu.py: isn't graded, but the newer doejohn_LATE_123_789_06_relu-2.py",
    ]
    assert finder.unused == ["roster.csv"]


@pytest.mark.parametrize(
    ("name", "student"),
    [("bb_2_12_06_relu (1).py", "bb_2"), ("dd_4_14_06_ReLU.py", "dd_4"), ("ee_LATE_5_15_06_relu.ipynb", "ee_5"),
     ("ada_06-relu.py", "ada"), ("Ada Lovelace_77_assignsubmission_file_relu.py", "Ada Lovelace_77")],
)  # fmt: skip
def test_a_flat_name_that_is_nearly_right_is_its_students_note(tmp_path, finder, name, student):
    put(tmp_path, name)
    (found,) = finder.submissions(os.scandir(tmp_path))
    assert (found.student, found.files) == (student, {})
    assert found.notes == [f"{name}: looks like {RELU}, but isn't called so, and isn't graded"]
    assert finder.unused == []


@pytest.mark.parametrize(
    ("name", "student"),
    [("cc_3_13_solution.py", "cc_3"), ("tom_6_16_x.tar.gz", "tom_6"), ("Al_7_assignsubmission_file_x.pdf", "Al_7")],
)
def test_whoever_handed_in_something_else_has_a_line_too(tmp_path, finder, name, student):
    put(tmp_path, name)
    put(tmp_path, f"bob_1_2_{RELU}")
    found = {one.student: one.notes for one in finder.submissions(os.scandir(tmp_path))}
    said = f"{name}: isn't called like an exercise's file or a zip file, and isn't graded"
    assert found == {"bob_1": [], student: [said]}


@pytest.mark.parametrize("name", [RELU, "06-relu.py", "16_relu.py", "roster.csv", "all.tar.gz", ".DS_Store"])
def test_what_is_no_students_is_unused(tmp_path, finder, name):
    put(tmp_path, name)
    assert finder.submissions(os.scandir(tmp_path)) == []
    assert finder.unused == [name]


@pytest.mark.parametrize(
    ("beginning", "student"),
    [("doejohn_123_456", "doejohn_123"), ("doejohn_LATE_123_456", "doejohn_123"), ("ada", "ada"),
     ("doejohn_123_456_exercises", "doejohn_123"), ("John Doe_9_assignsubmission_file", "John Doe_9")],
)  # fmt: skip
def test_flat_names_begin_with_whose_they_are(beginning, student):
    assert owner(beginning) == student


# A run.


@pytest.fixture
def two(tmp_path):
    for name in ("ada", "grace"):
        put(tmp_path, f"in/{name}/{RELU}", (SOLUTIONS / RELU).read_bytes())
    return tmp_path


def graded(folder, *options):
    command = [sys.executable, "-m", "tutorials.exercises.grade", "in", "--csv", "grades.csv", *options]
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=TIMEOUT
    )


def test_results_are_read_with_the_points_of_today(two, monkeypatch):
    assert graded(two).returncode == 0
    monkeypatch.setattr(grade, "points", lambda: dict.fromkeys(run.points(), 3.0))
    ada, grace = grade.results_in(two / "grades-results")
    assert (ada["student"], ada["points"], ada["found"]) == ("ada", 6, {RELU: RELU})
    assert grace["of"] == 3 * len(run.points())
    assert {"exercise", "function", "status", "share", "text", "mistake", "points", "of", "seconds"} <= set(
        ada["verdicts"][0]
    )


def test_results_among_the_submissions_are_no_submission(two):
    for _ in range(2):
        printed = graded(two, "--csv", "in/grades.csv").stdout
    assert printed.startswith("2 submissions")


def test_what_was_not_used_is_said_and_a_near_miss_earns_nothing(two):
    put(two, f"in/{RELU}")
    put(two, "in/bb_2_12_06_relu (1).py", (SOLUTIONS / RELU).read_bytes())
    printed = graded(two).stdout
    assert f"\nnot used: {RELU}\n" in printed
    assert "\n    bb_2_12_06_relu (1).py: looks like 06_relu.py" in printed
    with open(two / "grades.csv", newline="", encoding="utf-8") as file:
        assert {row["points"] for row in csv.DictReader(file) if row["student"] == "bb_2"} == {"0.0"}


def test_a_folder_without_submissions_is_refused_with_what_is_expected(tmp_path):
    put(tmp_path, f"in/{RELU}")
    refused = graded(tmp_path)
    assert refused.returncode == 2
    assert "doejohn_123_456_06_relu.py" in refused.stderr
    assert f"not used: {RELU}" in refused.stderr


def test_a_reader_who_leaves_costs_no_grades(two):
    command = [sys.executable, "-m", "tutorials.exercises.grade", "in", "--csv", "grades.csv"]
    with subprocess.Popen(
        command, cwd=two, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT) == 0
    with open(two / "grades.csv", newline="", encoding="utf-8") as file:
        assert {row["student"] for row in csv.DictReader(file)} == {"ada", "grace"}


def test_points_in_the_table_have_three_decimals():
    verdict = {"exercise": 6, "function": "relu", "status": "wrong", "points": 2 / 3, "of": 1.0, "text": "",
               "mistake": []}  # fmt: skip
    (row,) = grade.rows({"student": "ada", "verdicts": [verdict]})
    assert (row["points"], row["of"]) == (0.667, 1.0)


def test_graded_again_only_what_has_changed_is(two):
    first = graded(two)
    times = {path.name[:3]: path.stat().st_mtime_ns for path in (two / "grades-results").glob("*.json")}
    put(two, f"in/grace/{RELU}", b"x = 1\n")
    second = graded(two)
    again = {path.name[:3]: path.stat().st_mtime_ns for path in (two / "grades-results").glob("*.json")}
    assert first.returncode == second.returncode == 0
    assert again["ada"] == times["ada"]
    assert again["gra"] > times["gra"]
    assert first.stdout.splitlines()[0] == second.stdout.splitlines()[0]  # the seed is the same


def test_random_inputs_are_new_for_each_set_of_results(two):
    seeds = []
    for _ in range(2):
        assert graded(two, "--jobs", "1").returncode == 0
        seeds.append((two / "grades-results" / "seed").read_text())
        shutil.rmtree(two / "grades-results")
    assert seeds[0] != seeds[1]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Unix only")
def test_interrupted_it_goes_on_where_it_was(two):
    put(two, f"in/sleeper/{RELU}", HONEST.format(top="time.sleep(1e6)", body="pass").encode())
    command = [sys.executable, "-u", "-m", "tutorials.exercises.grade", "in", "--csv", "grades.csv", "--jobs", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=two, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("grace"):
                os.killpg(process.pid, signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
    assert lines[-1].startswith("Interrupted: 2 of 3 are graded.")
    with open(two / "grades.csv", newline="", encoding="utf-8") as file:
        assert {row["student"] for row in csv.DictReader(file)} == {"ada", "grace"}
    put(two, f"in/sleeper/{RELU}", (SOLUTIONS / RELU).read_bytes())
    assert graded(two).returncode == 0
    with open(two / "grades.csv", newline="", encoding="utf-8") as file:
        assert {row["student"] for row in csv.DictReader(file)} == {"ada", "grace", "sleeper"}


def test_a_grader_that_is_ended_costs_its_own_submission_alone(two, monkeypatch):
    def work(submission, seed, path):
        if submission.student == "ada":
            os.kill(os.getpid(), signal.SIGKILL)
        grade_it(submission, seed, path)

    grade_it = grade.work
    monkeypatch.setattr(grade, "work", work)
    found = {}
    for result in grade.Run(Finder(HANDED_OUT).submissions(os.scandir(two / "in")), 0, two, 2).results():
        found[result["student"]] = grade.score(result, run.points())
    assert found["ada"]["points"] == 0
    assert "Grading this ended early" in grade.summary(found["ada"])
    assert found["grace"]["points"] == 2
