"""Ways to look at a tape: as text, as a figure, as a page for the browser.

Nothing here takes part in computing. Of all of it ``import minigrad`` imports only ``Tape``, which imports the rest
when it is asked to show itself.
"""

from .tape import Tape

__all__ = ["Tape"]
