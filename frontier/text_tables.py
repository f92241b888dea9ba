"""Tables and paragraphs for a terminal: they fit its width, and no word is split."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile, zip_longest

from frontier.wording import one_line

UNKNOWN_WIDTH = 100
"""Columns where the output goes to no terminal and COLUMNS says nothing."""
GAP = 2
"""Blanks between two columns."""
NAME_LENGTHS = (99, 24, 16, 12, 8, 6)
"""Names longer than this are abbreviated where a table is too wide; tried in turn."""
Columns = list[list[str]]
"""Each column's cells, the header first."""


def terminal_width() -> int:
    """Columns of the terminal, or what the variable COLUMNS says."""
    return shutil.get_terminal_size((UNKNOWN_WIDTH, 24)).columns


def paragraph(text: object, width: int, start: str = "") -> str:
    """Text in lines of at most `width` columns, words whole, the first one after `start`.

    >>> print(paragraph("k is extrapolated in 7 cells", 16, "* "))
    * k is
      extrapolated
      in 7 cells
    """
    return textwrap.fill(
        one_line(text), max(width, 20 if not start else 1), initial_indent=start,
        subsequent_indent=" " * len(start), break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def text_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], width: int, align: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """A table of at most `width` columns, and the key of names that were abbreviated for it.

    Headers are wrapped first, then long names abbreviated, then cells wrapped; a table that is still too
    wide is cut into blocks of columns, each with the columns that name its rows.

    >>> table, key = text_table(["site", "potency at equal hit"], [["blocks.1.mlp", "2.4 [2.1, 2.8]"]], 28)
    >>> print(table)
    site          potency at
                  equal hit
    ------------  --------------
    blocks.1.mlp  2.4 [2.1, 2.8]
    """
    columns = [[one_line(c) for c in column] for column in zip(headers, *rows, strict=True)]
    if not columns:
        return "", []
    sides = dict(enumerate(align))
    columns, key = _fitted(columns, width)
    parts = []
    for block in _blocks(columns, width):
        part = _cells_wrapped([columns[i] for i in block], width)
        parts.append(_drawn(part, [sides.get(i, "left") for i in block]))
    return "\n\n".join(parts), key


def page_blocks(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[dict[int, int]]:
    """The parts of a table of at most `width` letters across: numbers of columns, with their widths.

    No name is abbreviated: cells are wrapped, then the table is cut into blocks.

    >>> page_blocks(["family", "layer 3", "layer 12"], [["relu", "1.53", "1.55"]], 17)
    [{0: 6, 1: 5}, {0: 6, 2: 5}]
    """
    columns = [[one_line(c) for c in column] for column in zip(headers, *rows, strict=True)]
    if not columns:
        return [{}]
    found = _headers_wrapped(columns, width)
    wrapped = _cells_wrapped(found, width)
    if _total(wrapped) <= width:
        return [dict(enumerate(map(_width, wrapped)))]
    parts = [(block, _cells_wrapped([found[i] for i in block], width)) for block in _blocks(found, width)]
    return [dict(zip(block, map(_width, part), strict=True)) for block, part in parts]


def _fitted(columns: Columns, width: int) -> tuple[Columns, list[str]]:
    """The first form that fits: long names cut as little as needed, and rather so than cells wrapped."""
    for wrap, lengths in ((False, NAME_LENGTHS[:4]), (True, NAME_LENGTHS)):
        for length in lengths:
            shorter, key = _abbreviated(columns, length)
            found = _headers_wrapped(shorter, width)
            found = _cells_wrapped(found, width) if wrap else found
            if _total(found) <= width:
                return found, key
    shorter, key = _abbreviated(columns, NAME_LENGTHS[2])
    return _headers_wrapped(shorter, width), key


def _drawn(columns: Columns, sides: Sequence[str]) -> str:
    """The cells in lines, a rule under the headers."""
    widths = [_width(c) for c in columns]
    head, *rows = ([cell.split("\n") for cell in row] for row in zip(*columns, strict=True))
    rule = [["-" * w] for w in widths]
    lines = []
    for row in (head, rule, *rows):
        for cells in zip_longest(*row, fillvalue=""):
            placed = (_padded(c, w, side) for c, w, side in zip(cells, widths, sides, strict=True))
            lines.append((" " * GAP).join(placed).rstrip())
    return "\n".join(lines)


def _width(cells: Sequence[str]) -> int:
    return max(_length(line) for cell in cells for line in cell.split("\n"))


def _length(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _padded(text: str, width: int, side: str) -> str:
    blank = " " * (width - _length(text))
    return blank + text if side == "right" else text + blank


def _total(columns: Columns) -> int:
    return sum(map(_width, columns)) + GAP * (len(columns) - 1)


@lru_cache(maxsize=10_000)
def _wrap(cell: str, width: int) -> str:
    """A cell in lines; an interval in brackets stays whole."""
    whole = re.sub(r"\[[^\]]*\]", lambda m: m.group().replace(" ", "\0"), cell)
    lines = textwrap.wrap(whole, max(width, 1), break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _headers_wrapped(columns: Columns, width: int) -> Columns:
    """The header that reaches farthest beyond its cells one step narrower, again and again, as needed."""
    columns, least = [list(c) for c in columns], [_width(c[1:] or c) for c in columns]
    while _total(columns) > width:
        beyond = [_width(c) - w for c, w in zip(columns, least, strict=True)]
        i = beyond.index(max(beyond))
        if beyond[i] <= 0:
            break
        head, now = columns[i][0], _width(columns[i])
        columns[i][0] = _wrap(head.replace("\n", " "), now - 1)
        if _width(columns[i]) == now:  # its longest word
            least[i] = now
    return columns


def _cells_wrapped(columns: Columns, width: int) -> Columns:
    """The widest column one step narrower, again and again, until the table fits or nothing gives way."""
    columns, stiff = [list(c) for c in columns], set[int]()
    while _total(columns) > width and len(stiff) < len(columns):
        widths = [0 if i in stiff else _width(c) for i, c in enumerate(columns)]
        i = widths.index(max(widths))
        flat = [cell.replace("\n", " ") for cell in columns[i]]
        narrower = [_wrap(cell, widths[i] - 1) for cell in flat]
        if _width(narrower) < widths[i]:
            columns[i] = narrower
        else:
            stiff.add(i)
    return columns


def _blocks(columns: Columns, width: int) -> list[list[int]]:
    """Column numbers of each part of a table; the leading columns that tell rows apart stand in all."""
    everyone = list(range(len(columns)))
    if _total(columns) <= width:
        return [everyone]
    names = next((n for n in everyone[1:] if _distinct(columns[:n])), 1)
    if any(_total([*columns[:names], other]) > width for other in columns[names:]):
        names = 1
    parts: list[list[int]] = []
    for i in everyone[names:]:
        if parts and _total([columns[j] for j in (*parts[-1], i)]) <= width:
            parts[-1].append(i)
        else:
            parts.append([*range(names), i])
    return parts


def _distinct(columns: Columns) -> bool:
    rows = list(zip(*(c[1:] for c in columns), strict=True))
    return len(set(rows)) == len(rows)


def _abbreviated(columns: Columns, length: int) -> tuple[Columns, list[str]]:
    """Columns in which no name is longer than `length`, and what each short name stands for."""
    out, key = [], []
    short_heads, said = abbreviations([c[0] for c in columns if c[0] and " " not in c[0]], length)
    key += said
    for head, *cells in columns:
        short, said = abbreviations([c for c in cells if c and " " not in c], length)
        key += [f"{head}: {s}" for s in said]
        out.append([short_heads.get(head, head), *(short.get(c, c) for c in cells)])
    return out, key


def abbreviations(names: Sequence[str], length: int) -> tuple[dict[str, str], list[str]]:
    """A short form for every name that is too long, all different, and the lines that explain them.

    >>> abbreviations(["blocks.1.hook_resid_post", "blocks.12.hook_resid_post"], 12)[1]
    ['1, 12 = blocks.….hook_resid_post']
    >>> abbreviations(["gemma-scope-2b-pt-res", "relu"], 12)
    ({'gemma-scope-2b-pt-res': 'gemma-…t-res'}, ['gemma-…t-res = gemma-scope-2b-pt-res'])
    """
    known = list(dict.fromkeys(names))
    if all(len(n) <= length for n in known):
        return {}, []
    before, after = _shared(known)
    if before or after:
        rest = {n: n[len(before) : len(n) - len(after)] for n in known}
        if all(0 < len(r) <= length for r in rest.values()) and len(known) > 1:
            shown = list(rest.values())
            some = ", ".join(shown[:2]) + (", …" if len(shown) > 2 else "")
            return rest, [f"{some} = {before}…{after}"]
    short: dict[str, str] = {}
    for name in (n for n in known if len(n) > length):
        head = length // 2
        form, count = f"{name[:head]}…{name[-(length - head - 1) :]}", 1
        while form in short.values() or form in known:
            count += 1
            form = f"{name[: length - len(str(count)) - 1]}…{count}"
        short[name] = form
    return short, [f"{s} = {n}" for n, s in short.items()]


def _shared(names: Sequence[str]) -> tuple[str, str]:
    """What all names begin and end with, up to a separator."""
    before = _beginning(names)
    return before, _beginning([n[len(before) :][::-1] for n in names])[::-1]


def _beginning(names: Sequence[str]) -> str:
    same = "".join(c[0] for c in takewhile(lambda c: len(set(c)) == 1, zip(*names, strict=False)))
    return same[: max((m.end() for m in re.finditer(r"[\W_]", same)), default=0)]
