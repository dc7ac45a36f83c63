"""``python -m minigrad``: does the installation work? What to send along with a question about it."""

from __future__ import annotations

import itertools
import os
import platform
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

import minigrad

THREADS = "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"  # the variables that NumPy's BLAS reads


def facts() -> dict[str, str]:
    """What a helper would ask first, as lines of a table."""
    build: Any = np.show_config(mode="dicts")  # type: ignore[call-arg, func-returns-value, unused-ignore]
    blas = build.get("Build Dependencies", {}).get("blas", {})
    return {
        "minigrad": f"{minigrad.__version__}, in {Path(minigrad.__file__).parent}",
        "Python": f"{platform.python_version()}, {sys.executable}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "NumPy": np.__version__,
        "BLAS": " ".join(str(blas[key]) for key in ("name", "version") if key in blas) or "unknown",
        "threads": threads(),
        "matplotlib": version_of("matplotlib"),
        "beside it": ", ".join(name for name in ("layers", "tutorials") if util.find_spec(name)) or "nothing",
    }


def threads() -> str:
    """How many threads a matrix product may use."""
    set_to = [f"{name}={os.environ[name]}" for name in THREADS if os.environ.get(name)]
    return f"{os.cpu_count()} processors; " + (", ".join(set_to) or f"no limit set ({THREADS[0]}=1 sets one)")


def version_of(package: str) -> str:
    """The installed version of a package, or that there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def works() -> bool:
    """Train one weight for some steps, and hold gradients to finite differences."""
    x, w = minigrad.Tensor([[1.0, 2.0], [3.0, 4.0]]), minigrad.Tensor([[1.0], [-1.0]], requires_grad=True)
    optimizer = minigrad.optim.SGD([w], lr=0.02)
    losses = []
    for _ in range(5):
        loss = ((x @ w) ** 2).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = minigrad.gradcheck(lambda w: (x @ w).sigmoid().sum(), [w], raise_exception=False)
    return right and all(after < before for before, after in itertools.pairwise(losses))


def main() -> int:
    for name, fact in facts().items():
        print(f"{name:12}{fact}")
    ok = works()
    print("\nIt works: gradients agree with finite differences, and a loss falls." if ok else "\nIT DOES NOT WORK.")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
