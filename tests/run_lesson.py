"""Run a lesson as a script, the way a student starts it."""

import os
import subprocess
import sys
from pathlib import Path

TUTORIALS = Path(__file__).parents[1] / "tutorials"
LESSONS = sorted(path.stem for path in TUTORIALS.glob("[0-9]*.py"))
TIMEOUT = 1800  # seconds, of whatever the tests start: to notice what hangs, however busy the machine is


def run(lesson, *options, folder):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    return subprocess.run(
        [sys.executable, "-W", "error", TUTORIALS / f"{lesson}.py", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
