"""The course: lessons to run as scripts or to step through, and their data.

The lessons' matrices are small. A matrix product of that size is done before other threads have woken up, so NumPy is
asked to use one thread, unless you say otherwise; on a busy machine that is many times faster. NumPy reads these
variables when it is first imported, so a lesson imports from this package before it imports NumPy.
"""

import os

for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
