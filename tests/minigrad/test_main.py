"""python -m minigrad: whether the installation works, and what to send along with a question."""

import re
import subprocess
import sys

import numpy as np
import pytest

import minigrad
from minigrad import __main__ as command


@pytest.mark.slow
def test_the_command_names_versions_and_says_that_it_works(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "minigrad"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    for fact in (minigrad.__version__, sys.executable, np.__version__, "It works"):
        assert fact in finished.stdout
    assert finished.stderr == ""


def test_the_facts_name_the_linear_algebra_library_and_its_threads(monkeypatch):
    for name in command.THREADS:
        monkeypatch.delenv(name, raising=False)
    assert "no limit set" in command.facts()["threads"]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert command.facts()["threads"].endswith("; OPENBLAS_NUM_THREADS=3")
    assert re.search("[a-z]", command.facts()["BLAS"])


def test_the_facts_stand_in_a_column(capsys):
    assert command.main() == 0
    *lines, _, verdict = capsys.readouterr().out.splitlines()
    assert [line[12:] for line in lines] == list(command.facts().values())
    assert all(line[:12].rstrip() in command.facts() for line in lines)
    assert verdict.startswith("It works")


def test_what_stands_beside_it_is_named(monkeypatch):
    assert command.facts()["beside it"] == "layers, tutorials"
    monkeypatch.setattr(command.util, "find_spec", lambda name: None)
    assert command.facts()["beside it"] == "nothing"


def test_an_unknown_linear_algebra_library_is_called_so(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": {}})
    assert command.facts()["BLAS"] == "unknown"


def test_a_missing_package_is_said_to_be_missing():
    assert command.version_of("no-such-package-anywhere") == "not installed"


@pytest.mark.parametrize(
    "breakage",
    [
        lambda patch: patch.setattr(minigrad.optim.SGD, "step", lambda self: None),
        lambda patch: patch.setattr(minigrad.optim.SGD, "zero_grad", lambda self: self.params[0].data.__imul__(-2)),
        lambda patch: patch.setattr(command.minigrad, "gradcheck", lambda *args, **named: False),
    ],
    ids=["no step", "a rising loss", "wrong gradients"],
)
def test_an_installation_that_does_not_work_is_found_out(monkeypatch, capsys, breakage):
    breakage(monkeypatch)
    assert command.main() == 1
    assert "IT DOES NOT WORK" in capsys.readouterr().out
