"""The course asks for one thread, whoever imports NumPy first."""

import os
import subprocess
import sys

import pytest
from run_lesson import TIMEOUT, TUTORIALS

pytestmark = pytest.mark.slow
VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def run(code, folder, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"PYTHONPATH": os.pathsep.join([str(folder), str(TUTORIALS.parent)]), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )


def fake_threadpoolctl(folder, content):
    (folder / "threadpoolctl.py").write_text(content)


MISSING = "raise ImportError('as if it were not installed')"
LIMITS = "def threadpool_limits(limits, user_api): print('limited to', limits, user_api)"


def test_before_numpy_the_variables_do_it(tmp_path):
    fake_threadpoolctl(tmp_path, LIMITS)
    done = run("import tutorials, os; print(os.environ['OPENBLAS_NUM_THREADS'])", tmp_path)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_after_numpy_threadpoolctl_does_it(tmp_path):
    fake_threadpoolctl(tmp_path, LIMITS)
    done = run("import numpy, tutorials", tmp_path)
    assert (done.stdout, done.stderr) == ("limited to 1 blas\n", "")


def test_after_numpy_without_threadpoolctl_it_is_said(tmp_path):
    fake_threadpoolctl(tmp_path, MISSING)
    done = run("import numpy, tutorials.lesson", tmp_path)
    assert "NumPy was imported before the course" in done.stderr
    assert "threadpoolctl" in done.stderr


def test_who_takes_only_the_data_is_told_nothing(tmp_path):
    fake_threadpoolctl(tmp_path, MISSING)
    assert run("import numpy, tutorials.data", tmp_path).stderr == ""


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("order", ["numpy, tutorials", "tutorials, numpy"])
def test_a_number_of_threads_that_was_chosen_stays(tmp_path, variable, order):
    fake_threadpoolctl(tmp_path, LIMITS)
    done = run(f"import {order}, os; print(os.environ['{variable}'])", tmp_path, **{variable: "2"})
    assert (done.stdout, done.stderr) == ("2\n", "")
