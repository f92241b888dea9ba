"""How long words are in inches, and labels and titles in as many lines as they need."""

from __future__ import annotations

import re
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from frontier.figures.style import figure_text

WORD = re.compile(r"(?:\\\$|\$[^$]*\$|\S)+")
"""What no line breaks: letters, and mathematics between dollar signs."""
BREAKS = [re.compile(place) for place in (r"(?<=,) ", r" (?=\()", r"(?<=:) ", r"(?<= /) ")]
"""Where a label is best broken, the best first."""
SMALLEST = 0.8
"""A title shrinks to this share of its size before it loses letters."""


def ems(length: float) -> float:
    """Inches of `length` times the current type size."""
    return length * float(mpl.rcParams["font.size"]) / 72


def inches(text: str, like: Text | None = None) -> float:
    """Length of the longest line of a text in the letters of another; default those of legends."""
    font = FontProperties(size=mpl.rcParams["legend.fontsize"]) if like is None else like.get_fontproperties()
    return max(_inches(line, font) for line in text.split("\n"))


def _inches(line: str, font: FontProperties) -> float:
    math = is_math_text(line)
    plain = line if math else line.replace(r"\$", "$")
    return float(text_to_path.get_text_width_height_descent(plain, font, math)[0]) / 72 if line else 0.0


def letters_across(ax: Axes) -> float:
    """How many letters, of 0.45 ems each, fill the width of a figure."""
    return float(ax.figure.bbox.width) / ax.figure.dpi / ems(0.45)


def in_lines(label: str, room: float, like: Text) -> str:
    """A label in as few lines of at most `room` inches as it needs, two broken at one of `BREAKS`."""
    if inches(label, like) <= room:
        return label
    for place in BREAKS:
        halves = place.sub("\n", label, count=1)
        if halves != label and inches(halves, like) <= room:
            return halves
    return _filled(WORD.findall(label), room, like)


def _filled(words: Sequence[str], room: float, like: Text) -> str:
    """Words in lines; one that is longer than a line has its own."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and inches(longer, like) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def fitted_title(title: str, room: float, like: Text) -> tuple[str, float]:
    """A title in lines, and its size: smaller where a word is too long, which then loses its middle."""
    size = float(like.get_fontsize())
    text = in_lines(title, room, like)
    share = max(SMALLEST, min(1.0, room / max(inches(text, like), 1e-9)))
    lines = in_lines(title, room / share, like).split("\n")
    return "\n".join(_cut(line, room / share, like) for line in lines), share * size


def _cut(line: str, room: float, like: Text) -> str:
    """A line without as much of its middle as does not fit."""
    plain = line.replace(r"\$", "$")
    for most in range(len(plain), 8, -1):
        if inches(line, like) <= room:
            break
        line = figure_text(plain, most)
    return line
