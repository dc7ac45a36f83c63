"""Stands in for the package when a lesson starts as a script.

``python tutorials/01_the_tape.py`` makes Python look into the lesson's own folder first, where ``import tutorials``
finds this file. It loads the package around it, or says in one line why it can't. And it sees to it that Ctrl-C prints
a line instead of a traceback. So no lesson needs to think of either.
"""

import importlib.util
import sys
import traceback
from pathlib import Path

FOLDER, LESSON = Path(__file__).resolve().parent, Path(sys.argv[0]).resolve()


def say_where(kind, error, trace) -> None:
    """In place of the traceback that Ctrl-C would print: the part of the lesson in which it was pressed."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    lines = [line for frame, line in traceback.walk_tb(trace) if frame.f_globals.get("__name__") == "__main__"]
    above = LESSON.read_text(encoding="utf-8").splitlines()[: lines[0] if lines else 0]
    part = next((text.lstrip("# ") for text in reversed(above) if text.startswith(("# # ", "# ## "))), "the start")
    print(f'\nStopped by Ctrl-C in "{part}". Figures that were saved before stay.', file=sys.stderr)
    sys.exit(130)  # by which shells know Ctrl-C


if LESSON.parent == FOLDER:  # not in a notebook or an editor, which have their own ways
    sys.excepthook = say_where
spec = importlib.util.spec_from_file_location(
    "tutorials", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
)
sys.modules["tutorials"] = package = importlib.util.module_from_spec(spec)
try:
    spec.loader.exec_module(package)
except ImportError as error:
    sys.exit(f"{LESSON.name}: {error}")
