"""minigrad: a tape-based autograd engine small enough to read in an evening.

>>> import minigrad as mg
>>> x = mg.Tensor([1.0, 2.0], requires_grad=True, name="x")
>>> y = (x * x).sum()
>>> print(y.tape())
>>> y.backward()
>>> x.grad
array([2., 4.])
"""

from . import optim
from .autograd import Entry, no_grad
from .extend import array_of, record
from .gradcheck import GradcheckError, gradcheck, gradcheck_module
from .ops import *  # noqa: F403  the primitives, under NumPy's names
from .ops import __all__ as _primitives
from .tensor import Tensor  # isort: split  everything else builds on it
from .views import Tape

__version__ = "0.2.0"  # a plain literal: setup.cfg reads it without importing, so without NumPy

__all__ = [
    "Entry",
    "GradcheckError",
    "Tape",
    "Tensor",
    "array_of",
    "gradcheck",
    "gradcheck_module",
    "no_grad",
    "optim",
    "record",
    # As in NumPy, `from minigrad import *` leaves Python's own abs, max, min and sum alone.
    *(name for name in _primitives if name not in ("abs", "max", "min", "sum")),
]
