"""Every lesson runs as a script, the way a student starts it, and leaves its figures behind."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from run_lesson import LESSONS, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_holds_its_claims_and_leaves_its_figures(lessons, lesson):
    process, folder = lessons[lesson]
    finished = process.result()
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count(" holds: ") >= 3
    asked = finished.stdout.count("Predict: ")
    assert (4 if lesson < "14" else 1) <= asked <= 8  # a lesson of your own may begin with one
    assert "DOES NOT HOLD" not in finished.stdout
    figures = sorted((folder / "figures").glob(f"{lesson}*.png"))
    assert f"{lesson}.png" in [figure.name for figure in figures]
    for figure in figures:
        assert figure.stat().st_size > 20_000
        assert str(figure.relative_to(folder)) in finished.stdout


def test_lesson_07_takes_its_options(tmp_path):
    options = "--steps 100 --batch-size 30 --lr 0.5 --init-std 0.3 --seed 3 --gif --out elsewhere".split()
    finished = run("07_internal_covariate_shift", *options, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "step 100 of 100" in finished.stdout
    for ending, largest in (("png", 1e6), ("html", 3e6), ("gif", 2e6)):
        assert 20_000 < (tmp_path / "elsewhere" / f"07_internal_covariate_shift.{ending}").stat().st_size < largest


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
    with ThreadPoolExecutor(2) as pool:
        options = {"folder": tmp_path}
        started = [pool.submit(run, "07_internal_covariate_shift", "--steps", "100", **options) for _ in range(2)]
    tables = [process.result().stdout for process in started]
    starts = ("everything", "below", "own", "shape", "with", "each", "the lesson's", "final")
    numbers = [[line for line in table.splitlines() if line.startswith(starts)] for table in tables]
    assert len(numbers[0]) >= 25
    assert numbers[0] == numbers[1]
