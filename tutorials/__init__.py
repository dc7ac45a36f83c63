"""The course: lessons to run as scripts or to step through, and their data.

The lessons' matrices are small. A matrix product of that size is done before other threads have woken up, so NumPy is
asked to use one thread, unless you say otherwise; on a busy machine that is many times faster. NumPy reads these
variables when it is first imported, so a lesson imports from this package before it imports NumPy. Where NumPy was
first, as in Colab, threadpoolctl can still set it, if it is installed (scikit-learn brings it).
"""

import importlib.util
import os
import sys
from pathlib import Path

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def _use_one_thread() -> bool:
    """Ask NumPy's linear algebra for one thread, if you have set nothing else; False where that is too late."""
    chosen = any(os.environ.get(variable) for variable in THREADS)
    for variable in THREADS:
        os.environ.setdefault(variable, "1")
    if "numpy" in sys.modules and not chosen:
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            return False
        threadpool_limits(1, "blas")
    return True


ONE_THREAD = _use_one_thread()


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
