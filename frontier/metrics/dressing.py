"""Cells as papers print them: without the TeX, HTML and Markdown around a number or a name."""

from __future__ import annotations

import re

LONGEST = 1000
"""Characters of a cell that a paper prints."""

_WRAPPED = re.compile(
    r"\\(?:textbf|textit|texttt|textrm|textsc|textsf|text|emph|underline|uline|mathbf|mathit|mathrm|mathcal"
    r"|boldsymbol|bm|num|mbox|ensuremath)\s*\{([^{}]*)\}"
)
_CELLS = re.compile(r"\\multi(?:row|column)(?:\[[^\]]*\])?\{[^{}]*\}\s*(?:\{[^{}]*\}|\*)\s*\{([^{}]*)\}")
_SYMBOLS = {
    "pm": "±", "times": "×", "cdot": "·", "sim": "~", "approx": "≈", "dagger": "†", "ddagger": "‡",
    "ast": "*", "star": "*", "lambda": "λ", "Delta": "Δ", "uparrow": "↑", "downarrow": "↓", "quad": " ",
    "bf": "", "bfseries": "", "it": "", "itshape": "", "small": "", "footnotesize": "", "left": "",
    "right": "",
}  # fmt: skip
_SYMBOL = re.compile(rf"\\({'|'.join(sorted(_SYMBOLS, key=len, reverse=True))})(?![A-Za-z])\s*")
_NOTES = re.compile(
    r"\\(?:textsuperscript|footnotemark|footnote|cite[pt]?|tablefootnote|tnote|hspace|phantom|label)\*?"
    r"(?:\[[^\]]*\])?(?:\{[^{}]*\})?|<sup>.*?</sup>|\[\^\w+\]"
)
_TAGS = re.compile(r"</?(?:b|strong|i|em|u|s|code|mark|small|span)(?:\s[^<>]*)?>|<br\s*/?>", re.IGNORECASE)
_LEFT = re.compile(r"\\[A-Za-z]|</?[A-Za-z!]")
_EMPHASIS = re.compile(r"([*_])(?=\S)(.*?\S)\1(?=[\s±]|$)")


def undressed(text: str) -> str:
    r"""A cell's text as it would be typed.

    >>> [undressed(t) for t in (r"$\mathbf{0.94}_{\pm 0.01}$", r"\textbf{TopK}\cite{gao}", r"97.5\,\%")]
    ['0.94 ± 0.01', 'TopK', '97.5 %']
    >>> undressed(r"$\alpha$-SAE"), undressed("<a href=x>SAE</a> <b>1")  # not understood: as it stands
    ('$\\alpha$-SAE', '<a href=x>SAE</a> <b>1')
    >>> undressed("top_k {x} $y$"), undressed("0.91$_{1}$ <b>TopK</b>")
    ('top_k {x} $y$', '0.91_1 TopK')
    >>> undressed("5 $\\times 10^{-4}$"), undressed("0.91$^{1}$"), undressed("relu_$HOME")
    ('5 ×10^-4', '0.91', 'relu_$HOME')
    """
    bold = re.fullmatch(r"\*\*([^*]+)\*\*(.*)", text)
    if bold:
        text = bold[1] + bold[2]
    if len(text) > LONGEST or text[:1] in ("{", "[") or not re.search(r"[\\$<]|\[\^", text):
        return text  # a dict or a list is no cell of a paper
    if "\\" not in text and re.search(r"[{}]", re.sub(r"\$[^$]*\$", "", text)):
        return text  # braces that are no TeX
    plain = re.sub(r"(?<!\\)\$([^$]*)(?<!\\)\$", r"\1", _NOTES.sub("", text))
    if plain == text and "\\" not in text:
        return _if_plain(_TAGS.sub("", text).strip(), text) if "<" in text else text
    while (inner := _CELLS.sub(r"\1", _WRAPPED.sub(r"\1", plain))) != plain:
        plain = inner
    plain = re.sub(r"\{\s*,\s*\}", ",", plain)
    plain = re.sub(r"\\[,;:! ]|(?<=[\w}])~", " ", plain)
    plain = _SYMBOL.sub(lambda m: _SYMBOLS[m[1]], plain)
    plain = re.sub(r"\^(?:\{[^{}\d]*\}|[a-z*†‡])|(?<!10)\^(?:\{[^{}]*\}|\d)", "", plain)
    plain = re.sub(r"_\{\s*±\s*([^{}]*)\}", r" ± \1", plain)
    plain = re.sub(r"\\([%_&#$])", r"\1", plain)
    return _if_plain(_TAGS.sub("", re.sub(r"[{}]", "", plain)).strip(), text)


def _if_plain(plain: str, text: str) -> str:
    """What was undressed, or the text as it stands where something in it was not understood."""
    return text if _LEFT.search(plain) or "{{" in text else plain


def unemphasised(text: str) -> str:
    """A Markdown cell without the stars, lines and ticks around all of it, or around a part.

    >>> [unemphasised(t) for t in ("**0.94** ± 0.01", "_0.9_", "*TopK*", "`top_k`", "a_b_c", "relu*")]
    ['0.94 ± 0.01', '0.9', 'TopK', 'top_k', 'a_b_c', 'relu*']
    """
    plain = re.sub(r"\*\*|__|`|~~", "", text).strip()
    first = _EMPHASIS.match(plain)
    plain = first[2] + plain[first.end() :] if first else plain
    return re.sub(r"\\([*_|`~])", r"\1", plain).strip()
