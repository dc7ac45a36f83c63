"""Markdown and formulas as text that a terminal shows and a screen reader reads: in one order, without colours."""

from __future__ import annotations

import re
import textwrap

WIDTH = 79
SIGNS = {
    "cdot": "*", "approx": "~", "pm": "+/-", "leftarrow": "<-", "rightarrow": "->", "to": "->", "le": "<=", "ge": ">=",
    "ne": "!=", "dots": "...", "ldots": "...", "cdots": "...", "partial": "d", "nabla": "grad", "ell": "l",
    "varepsilon": "epsilon", "infty": "infinity", "times": "x", "top": "T", "mid": "|", "ll": "<<", "gg": ">>",
    "sim": "~", "in": "in", "propto": "proportional to", "odot": "*", "circ": "o", "bigl": "", "bigr": "", "Bigl": "",
    "Bigr": "", "big": "", "Big": "", "left": "", "right": "", "quad": "  ", "qquad": "\n", ",": " ", ";": " ", "!": "",
    " ": " ", ":": " ", "{": "{", "}": "}", "|": "||", "%": "%", "#": "#", "_": "_", "&": "&", "$": "$", "\\": "\n",
    "displaystyle": "", "lVert": "||", "rVert": "||", "lvert": "|", "rvert": "|", "langle": "<", "rangle": ">",
}  # fmt: skip
WORDS = {"text", "mathrm", "mathbf", "mathcal", "operatorname", "mathbb", "textbf", "boldsymbol", "mathit"}
ACCENTS = {"hat": "_hat", "tilde": "_tilde", "bar": "_bar", "widehat": "_hat", "vec": "", "overline": "_bar"}
TOKEN = re.compile(r"\\([A-Za-z]+|.)|([{}^_&])|(\s+)|(.)", re.S)
SPACED = {"=", "+", "<", ">", "*", "~", "<-", "->", "<=", ">=", "!=", "+/-", "<<", ">>"}


def formula(latex: str) -> str:
    r"""A LaTeX formula as plain text, with the names that code uses: ``\hat x_i`` is ``x_hat_i``.

    ``\frac{a + b}{c}`` is ``(a + b) / c``, and a line break stands for ``\\`` and for wide spaces.
    """
    matrix = r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}"
    latex = re.sub(matrix, lambda m: "[" + m[1].replace(r"\\", ";").replace("&", ",") + "]", latex, flags=re.S)
    latex = re.sub(r"\\(begin|end)\{[a-z*]+\}", "", latex)
    tokens = [" " if match[3] else match.group() for match in TOKEN.finditer(latex)]
    text = _sequence(tokens)
    lines = (re.sub(r" +", " ", line).strip() for line in text.split("\n"))
    return "\n".join(re.sub(r"(?<=[(\[]) | (?=[,.;)\]])", "", line) for line in lines if line)


def _sequence(tokens: list[str], closing: str | None = None) -> str:
    """What the tokens up to ``closing`` say; takes them off the list."""
    parts: list[str] = []
    while tokens and tokens[0] != closing:
        parts.append(_one(tokens, "".join(parts).rstrip()))
    if tokens:
        tokens.pop(0)
    return "".join(parts)


def _one(tokens: list[str], before: str = "") -> str:
    """What the next token says, with its arguments."""
    token = tokens.pop(0)
    if token == "{":
        return _sequence(tokens, "}")
    if token in ("^", "_"):
        index = _argument(tokens)
        return token + (index if re.fullmatch(r"[A-Za-z0-9.'-]+|\*", index) else f"({index})")
    if token == "&":
        return " "
    if not token.startswith("\\"):
        return f" {token} " if token in SPACED or (token == "-" and _ends_an_operand(before)) else token
    text = _command(token[1:], tokens)
    return f" {text}" if text[:1].isalnum() and _ends_an_operand(before) else text


def _argument(tokens: list[str]) -> str:
    """The next token that isn't a space, with its own arguments: what a command or an index applies to."""
    while tokens and tokens[0] == " ":
        tokens.pop(0)
    return _one(tokens).strip() if tokens else ""


def _ends_an_operand(text: str) -> bool:
    """Whether a minus after this text subtracts; otherwise it is a sign."""
    return bool(text) and (text[-1].isalnum() or text[-1] in ")]}'|!") and not re.search(r"sum_\w+$", text)


def _command(name: str, tokens: list[str]) -> str:
    if name in ("frac", "tfrac", "dfrac"):
        above, below = (_differential(_argument(tokens)) for _ in range(2))
        tight = "/" if _is_simple(above) and _is_simple(below) else " / "
        return f"{_in_brackets(above, product=True)}{tight}{_in_brackets(below)}"
    if name == "sqrt":
        root = f"root_{_sequence(tokens, ']').lstrip('[')}" if tokens and tokens[0] == "[" else "sqrt"
        return f"{root}({_argument(tokens)})"
    if name in ACCENTS:
        inside = _argument(tokens)
        return (inside if _is_simple(inside) else f"({inside})") + ACCENTS[name]
    if name in WORDS:
        return _argument(tokens)
    sign = SIGNS.get(name, name)
    return f" {sign} " if sign in SPACED else sign


def _differential(text: str) -> str:
    """dL for "d L", and d(x^2) for "d x^2"."""
    simple = re.sub(r"^d (?=[\w(]+$)", "d", text)
    return re.sub(r"^d (\w+\^\w+)$", r"d(\1)", simple)


def _is_simple(text: str) -> bool:
    return re.fullmatch(r"[\w.']+", text) is not None


def _in_brackets(text: str, product: bool = False) -> str:
    """The text, in brackets if it is more than one thing; a product above a fraction's line needs none."""
    text = text.strip()
    simple = _is_simple(text) or (text.startswith("-") and _is_simple(text[1:]))
    whole = re.fullmatch(r"\w*\([^()]*\)", text) is not None
    free = product and not re.search(r" [+-] ", text)
    return text if simple or whole or free else f"({text})"


def markdown(source: str, width: int = WIDTH) -> str:
    """A text cell as lines of ``width`` signs at most: headings underlined, formulas set apart, links spelled out."""
    source = re.sub(r"\$\$(.+?)\$\$", lambda m: f"\n\n{_display(m[1], width)}\n\n", source, flags=re.S)
    source = re.sub(r"(?<![\\$`])\$([^$`]+?)\$", lambda m: formula(m[1]).replace("\n", " "), source)
    blocks = re.split(r"\n\s*\n", source)
    return "\n\n".join(filter(None, (_block(block, width) for block in blocks)))


def _display(latex: str, width: int) -> str:
    lines = formula(latex).split("\n")
    return "\n".join(textwrap.fill(line, width, initial_indent=" " * 8, subsequent_indent=" " * 12) for line in lines)


def _block(block: str, width: int) -> str:
    lines = block.strip("\n").split("\n")
    if all(line.startswith((" " * 4, "|")) or not line.strip() for line in lines):
        return "\n".join(lines)  # a formula, a table, or code
    if lines[0].startswith("#"):
        heading = _inline(lines[0].lstrip("# "))
        rule = ("=" if lines[0].startswith("# ") else "-") * min(len(heading), width)
        rest = _block("\n".join(lines[1:]), width) if lines[1:] else ""
        return f"{heading}\n{rule}" + (f"\n{rest}" if rest else "")
    items: list[list[str]] = [[]]
    for line in lines:
        if re.match(r"\s*([-*]|\d+\.) ", line):
            items.append([])
        items[-1].append(line.strip())
    paragraphs = [_inline(" ".join(item)) for item in items if item]
    return "\n".join(_wrap(text, width) for text in paragraphs)


def _inline(text: str) -> str:
    """Without the signs of emphasis; a link as its text with the address behind it."""
    text = re.sub(r"!?\[([^\]]+)\]\(([^)]+)\)", lambda m: m[1] if m[1] == m[2] else f"{m[1]} ({m[2]})", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"\1", text)
    return re.sub(r"(?<![\w*])\*(?![\s*])(.+?)(?<![\s*])\*(?![\w*])", r"\1", text)


def _wrap(text: str, width: int) -> str:
    indent = re.match(r"([-*]|\d+\.) ", text)
    inside = " " * len(indent[0]) if indent else ""
    return textwrap.fill(text, width, subsequent_indent=inside, break_long_words=False, break_on_hyphens=False)
