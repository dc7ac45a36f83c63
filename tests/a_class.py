"""A class of students for tests of grading: right, wrong, empty and broken submissions, the same each time."""

import random
from pathlib import Path

from tutorials.exercises.checks.run import FOLDER, exercises

SOLUTIONS = Path(__file__).parent / "tutorials" / "solutions"
FILES = {exercise.number: exercise.file for exercise in exercises()}
WRONG = (  # (exercise, a part of the solution, what stands there instead)
    (1, "(2 * eps)", "eps"),
    (1, "nudged[index] = x[index]\n        d_x", "d_x"),
    (3, "g * (1 - y**2)", "1 - y**2"),
    (3, "g / x", "g * x"),
    (5, "g.T @ x", "x.T @ g"),
    (5, "g.sum(axis=0)", "g.mean(axis=0)"),
    (6, "g * (x > 0)", "g * (x >= 0)"),
    (7, "d_logits / len(logits)", "d_logits"),
    (7, ".mean()", ".sum()"),
    (8, " * m / (m - 1)", ""),
    (8, "(1 - momentum) * running_mean + momentum * mean", "momentum * running_mean + (1 - momentum) * mean"),
    (8, "np.sqrt(var + eps)", "np.sqrt(var) + eps"),
    (9, "np.sqrt(running_var + eps)", "np.sqrt(x.var(axis=0) + eps)"),
    (10, "d_var * 2 * (x - mean) / m + d_mean / m", "d_mean / m"),
    (10, " + d_mean / m", ""),
    (10, "-1 / 2 * ", "-1 * "),
    (10, "np.sum(d_y, axis=0)", "np.sum(d_y)"),
    (11, " - x_hat * (d_y * x_hat).mean(axis=0)", ""),
    (11, "gamma / std * ", "1 / std * "),
    (12, "axes = (0, 2, 3)", "axes = (0,)"),
    (13, "d_y * gamma / std", "d_y / std"),
)
BROKEN = {
    "isn't Python": "def (:\n",
    "raises an error": "raise ValueError('<b>\\ud800</b> =1+1')\n",
    "ends itself": "import os\nos._exit(0)\n",
    "has another name": "",
}


def write_class(folder, students):
    """Write their files into folders with the names that ``names`` gives."""
    chance = random.Random(0)
    for place, name in enumerate(names(students)):
        (folder / name).mkdir(parents=True)
        if place % 15 == 14:
            continue  # an empty folder
        done = chance.choice((5, 8, 11, 15, 15))
        wrong = chance.sample(WRONG, chance.choice((0, 1, 2, 4, 6)))
        for number, file in FILES.items():
            text = (SOLUTIONS / file).read_text("utf-8") if number <= done else (FOLDER / file).read_text("utf-8")
            for exercise, part, instead in wrong:
                if exercise == number <= done:
                    text = text.replace(part, instead)
            (folder / name / file).write_text(text, encoding="utf-8")
        if place % 10 == 9:
            kind = list(BROKEN)[place // 10 % len(BROKEN)]
            path = folder / name / FILES[6]
            path.rename(path.with_name("06_relu (1).py")) if not BROKEN[kind] else path.write_text(BROKEN[kind])


def names(students):
    """Names as Canvas gives them to downloads: ``student0_1000``, and so on."""
    return [f"student{chr(97 + n % 26)}{chr(97 + n // 26)}_{1000 + 7 * n}" for n in range(students)]
