"""The course: lessons to run as scripts or to step through, and their data.

The lessons' matrices are small. A matrix product of that size is done before other threads have woken up, so NumPy is
asked to use one thread, unless you say otherwise; on a busy machine that is many times faster. NumPy reads these
variables when it is first imported, so a lesson imports from this package before it imports NumPy.
"""

import importlib.util
import os
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def _look_for_packages() -> None:
    """Raise an ImportError that says what to do if a package is missing, or another one stands in its place."""
    house = Path(__file__).resolve().parents[1]
    for name in ("minigrad", "layers", "numpy", "matplotlib"):
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(
                f"{name} isn't installed for this Python. In the project's folder: python3 -m venv .venv && "
                ".venv/bin/python -m pip install --quiet --editable . (and then .venv/bin/python for python)",
                name=name,
            )
        place = Path([*(spec.submodule_search_locations or []), spec.origin][0]).resolve()
        if name in ("minigrad", "layers") and place != house / name:
            raise ImportError(
                f"the course needs its own package {name}, but Python finds {place} first: rename that, or start "
                "from another folder",
                name=name,
            )


_look_for_packages()
