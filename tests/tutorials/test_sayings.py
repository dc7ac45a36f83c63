"""The page of what is said about batch normalization: every piece of code on it prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

START, *SECTIONS = (Path(__file__).parents[2] / "tutorials" / "SAYINGS.md").read_text(encoding="utf-8").split("\n### ")
(COMMON,) = re.findall(r"```python\n(.*?)```", START, re.DOTALL)


@pytest.mark.parametrize("section", SECTIONS, ids=[section.splitlines()[0] for section in SECTIONS])
def test_the_code_below_a_saying_prints_what_the_page_says(section):
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", section, re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(COMMON + code, {})
    assert output.getvalue() == printed
