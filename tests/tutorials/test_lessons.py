"""Every lesson runs as a script, the way a student starts it, and leaves its figures behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[2] / "tutorials"


def run(lesson, *options, folder):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    return subprocess.run(
        [sys.executable, "-W", "error", TUTORIALS / f"{lesson}.py", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_lesson_07_holds_its_claims_with_its_own_settings(tmp_path):
    finished = run("07_internal_covariate_shift", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("  holds: ") == 4
    figure = tmp_path / "figures" / "07_internal_covariate_shift.png"
    assert figure.stat().st_size > 50_000
    assert str(figure.relative_to(tmp_path)) in finished.stdout


def test_lesson_07_takes_its_options(tmp_path):
    options = "--steps 200 --batch-size 30 --lr 0.5 --init-std 0.3 --seed 3 --out elsewhere".split()
    finished = run("07_internal_covariate_shift", *options, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "step 200 of 200" in finished.stdout
    assert (tmp_path / "elsewhere" / "07_internal_covariate_shift.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "10"], "at least 100 steps"),
        (["--batch-size", "1"], "2 images a batch"),
        (["--data", "mnist", "--data-dir", "nowhere"], "train-images-idx3-ubyte"),
        (["--data", "cifar"], "invalid choice"),
    ],
)
def test_lesson_07_refuses_what_it_cannot_do(tmp_path, options, message):
    finished = run("07_internal_covariate_shift", *options, folder=tmp_path)
    assert finished.returncode != 0
    assert message in finished.stderr


def test_lesson_07_gives_the_same_numbers_for_the_same_seed(tmp_path):
    tables = [run("07_internal_covariate_shift", "--steps", "300", folder=tmp_path).stdout for _ in range(2)]
    shifts = [[line for line in table.splitlines() if line.startswith(("shift", "final"))] for table in tables]
    assert len(shifts[0]) == 4
    assert shifts[0] == shifts[1]
