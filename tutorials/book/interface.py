"""The lists of names of the chapter on the interface: what the packages export, so that none is forgotten."""

from __future__ import annotations

import inspect

import layers
import minigrad

APART = {"Module", "Parameter", "relu", "sigmoid", "tanh"}  # of layers: described elsewhere in the chapter
NO_OPERATIONS = {"array_of", "gradcheck", "gradcheck_module", "record"}  # of minigrad's functions, likewise


def directives() -> dict[str, str]:
    """Sphinx's directives for all operations and all layers."""
    names = {name for name, value in vars(minigrad).items() if inspect.isfunction(value)} - NO_OPERATIONS
    operations = [f".. autofunction:: minigrad.{name}" for name in sorted(names)]
    kinds = {name: getattr(layers, name) for name in sorted(layers.__all__) if name not in APART}
    classes = [f".. autoclass:: layers.{name}" for name, kind in kinds.items() if inspect.isclass(kind)]
    functions = [f".. autofunction:: layers.{name}" for name, kind in kinds.items() if not inspect.isclass(kind)]
    return {"OPERATIONS": "\n".join(operations), "LAYERS": "\n".join(classes + functions)}
