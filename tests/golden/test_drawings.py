"""Drawings of tapes are as they were when somebody looked at them."""

import json

import make_drawings
import pytest

APPROVED = json.loads(make_drawings.FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawings():
    return make_drawings.drawings()


@pytest.mark.parametrize("name", APPROVED)
def test_a_drawing_is_as_it_was_approved(drawings, name):
    assert approximately(drawings[name]) == APPROVED[name], "look at it; if it is right, run make_drawings.py"


def approximately(value):
    """Numbers to 0.002: they are rounded in the file."""
    if isinstance(value, dict):
        return {key: approximately(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [approximately(inside) for inside in value]
    return pytest.approx(value, abs=2e-3) if isinstance(value, (int, float)) else value


def test_no_drawing_is_missing(drawings):
    assert drawings.keys() == APPROVED.keys()
