"""The frames of lesson 7 as one page for the browser that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from pathlib import Path


def write_page(data: bytes, path: str | os.PathLike) -> Path:
    """Write the page that shows ``data``, the JSON text of ``tutorials.shift.page_data``, and return its path.

    The data stand in the page, compressed; its content security policy lets no script run but the page's own.
    """
    path = Path(path)
    page = Path(__file__).with_name("shift_page.html").read_text(encoding="utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    parts = {
        "SCRIPT_HASH": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "DATA": base64.b64encode(zlib.compress(data, 9)).decode(),
    }
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text)
    path.write_text(page, encoding="utf-8")
    return path
