"""Ways to look at a tape: as text, as a figure, as a page for the browser.

Nothing here takes part in computing, and ``import minigrad`` doesn't import it: ``Tape`` does, when it is asked
to show itself.
"""
