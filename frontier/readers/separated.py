"""Text with separators, and Markdown tables, as a grid of cells; what lay around the grid is told."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass

import pandas as pd

from frontier.metrics.checks import TableError
from frontier.metrics.dressing import unemphasised
from frontier.readers.divided import COMMENT
from frontier.wording import plural

SEPARATORS = ",;\t|"
MOST_COLUMNS = 50_000
SAMPLE = 50
"""Lines that the separator is judged by."""

_DECLARED = re.compile(r'"?sep=(.|\\t)"?,*;*', re.IGNORECASE)
_PRINTED = re.compile(r"\[?\d+ rows x \d+ columns\]?")
"""What pandas prints below a long table."""
_DASHES = r"\s*(?::?-{2,}:?|:-:?|-:)\s*"
_RULE = re.compile(rf"\|?{_DASHES}(?:\|{_DASHES})*\|?")
_BOX = re.compile(r"[│┃┆┊║]")
_BOX_RULE = re.compile(r"[\s+|=\-─━═╌╍┄┅│┃┆┊║┌┍┎┏┐┑┒┓└┕┖┗┘┙┚┛├-╋╒-╬╭-╰╴-╿]*")
_POLARS = re.compile(r"\|(?:\s*(?:str|bool|cat|enum|null|[fiu]\d+|date\S*|time|list\S*|struct\S*)\s*\|)+")
"""The kinds of the columns, as polars prints them below their names."""


@dataclass(frozen=True)
class Grid:
    """Cells of text under column numbers, nothing taken for a header yet, and what there is to say.

    Attributes
    ----------
    cells : DataFrame
        Text, or missing where a cell is empty.
    names : tuple of str or None
        The header, where the layout itself tells it (Markdown).
    """

    cells: pd.DataFrame
    remarks: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None


def read_grid(text: str, tabs: bool = False) -> Grid:
    r"""The cells of a text.

    Parameters
    ----------
    tabs : bool
        The file's ending says that tabs separate.

    Raises
    ------
    TableError
        When rows have more cells than the header, or there are too many columns.

    >>> read_grid("# of today\nsep=;\nl0;mse\n8,5;0,25\n").cells.to_numpy().tolist()
    [['l0', 'mse'], ['8,5', '0,25']]
    """
    if "\0" in text:
        raise TableError("it is no text: it holds zero bytes")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [
        line.replace("||", "|") if line.startswith("||") else line for line in lines
    ]  # as Jira has headers
    lines = _unboxed([line for line in lines if not line.startswith("```")])
    if any("|" in line and _RULE.fullmatch(line.strip()) for line in lines[:1000]):
        return _markdown(lines)
    if sum("&" in line and line.rstrip().endswith("\\\\") for line in lines) > 1:
        raise TableError(r"it is a LaTeX table: put commas in the place of & and take out \\ and the rules")
    lines, declared, remarks = _without_comments(lines)
    bare = [line for line in lines if not line.startswith(COMMENT)]
    separator = declared or _separator(bare, tabs)
    if not separator:
        lines, separator = _aligned(bare), "\t"
    return Grid(_cells(lines, separator), remarks)


def _unboxed(lines: list[str]) -> list[str]:
    """A table in a box, as terminals print it (polars, rich, psql), as Markdown; other lines as they are.

    >>> _unboxed(["┌────┬─────┐", "│ l0 ┆ mse │", "╞════╪═════╡", "│ 8  ┆ 0.5 │", "└────┴─────┘"])
    ['| l0 | mse |', '|---|', '| 8  | 0.5 |']
    """
    rules = [line for line in lines if line.strip() and _BOX_RULE.fullmatch(line)]
    if not any(re.search(r"[─━═]|^\s*(?:\+[-=]|\|-+\+)", line) for line in rules):
        return lines
    rows = [_BOX.sub("|", line).strip() for line in lines if line not in rules]
    rows = [row for row in rows if row.startswith("|")]
    if len(rows) < 2:
        return lines
    return [rows[0], "|---|", *rows[2 if _POLARS.fullmatch(rows[1]) else 1 :]]


def _without_comments(lines: list[str]) -> tuple[list[str], str, tuple[str, ...]]:
    """The lines without comments and `sep=`, the declared separator, and a remark.

    A comment right above rows of as many cells holds their names, as `numpy.savetxt` writes them.
    """
    declared, comments, start = "", [], len(lines)
    for i, line in enumerate(lines):
        told = _DECLARED.fullmatch(line.strip("\ufeff "))
        if told:
            declared = "\t" if told[1] == "\\t" else told[1]
        elif line.lstrip().startswith(("#", "//")):
            comments.append(line)
        elif line.strip():
            start = i
            break
    rest = lines[start:]
    if comments and rest and _as_wide(comments[-1], rest[0]):
        header = comments.pop().lstrip()
        rest = [re.sub(r"^#+\s*(?=\w)", "", header), *rest]
    above, together = list(comments), "\n".join(rest)
    if "\n#" in together and '"' not in together:  # a quoted cell may hold such a line
        inside = [line.startswith("#") and not _as_wide(line, rest[0]) for line in rest]
        comments += [line for line, is_one in zip(rest, inside, strict=True) if is_one]
        rest = [_as_cell(line) if is_one else line for line, is_one in zip(rest, inside, strict=True)]
        rest = [*map(_as_cell, above[-1:]), *rest]
    said = f"{plural(len(comments), 'comment line')} left out" if comments else ""
    return rest, declared, (said,) if said else ()


def _as_cell(comment: str) -> str:
    """A comment as a row of one cell, which says of the rows below what they are."""
    return COMMENT + re.sub(r"[\s,;|\"']+", " ", comment).strip("#/ ")


def _as_wide(comment: str, row: str) -> bool:
    return any(comment.count(mark) == row.count(mark) > 0 for mark in SEPARATORS)


def _separator(lines: list[str], tabs: bool) -> str:
    """The separator by which most lines have as many cells as one another, and several; or none."""
    sample = [_bare(line) for line in lines[: 4 * SAMPLE] if line.strip()][:SAMPLE]
    if tabs and sample and "\t" in sample[0]:
        return "\t"
    best, most = "", (0.0, 0)
    for separator in SEPARATORS:
        widths = [line.count(separator) for line in sample]
        width = max(sorted(set(widths)), key=widths.count, default=0)
        if width and (score := (widths.count(width) / len(widths), width)) > most:
            best, most = separator, score
    return best


def _aligned(lines: list[str]) -> list[str]:
    """Columns set apart by spaces, as printed frames have them, with tabs; a header may lack a row's name.

    Raises
    ------
    TableError
        When rows are left out of what was printed.
    """
    filled = [line.strip() for line in lines if line.strip() and not _PRINTED.fullmatch(line.strip())]
    for space in (r"\s+", r"\s{2,}"):
        rows = [re.split(space, line) for line in filled]
        if len(rows) > 2 and len(rows[1]) == 1:  # the name of the index, below those of the columns
            del rows[1]
        widths = {len(row) for row in rows[1:]}
        if len(widths) != 1 or widths == {1} or len(rows[0]) not in (w := widths.pop(), w - 1):
            continue
        if any(set("".join(row)) <= {".", "…"} for row in rows):
            raise TableError("rows are left out of this printed table ('...'): save the whole table as CSV")
        return ["\t".join([""] * (w - len(row)) + row) for row in rows]
    return lines


def _bare(line: str) -> str:
    """A line without its quoted cells, which may hold separators."""
    return re.sub(r'"[^"]*"', "", line)


def _cells(lines: list[str], separator: str) -> pd.DataFrame:
    """The cells as text; as many columns as the widest of the first rows has."""
    width = 1 + max((_bare(line).count(separator) for line in lines[:SAMPLE]), default=0)
    if width > MOST_COLUMNS:
        raise TableError(
            f"it has {width} columns, more than the {MOST_COLUMNS} that are read: one row per SAE is wanted, "
            "one column per metric"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.StringIO("\n".join(line if line.strip(" ") else "" for line in lines)), sep=separator,
                header=None, names=list(range(width)), skip_blank_lines=False, dtype=object,
                skipinitialspace=True, index_col=False, low_memory=False,
                quotechar="'" if _in_single_quotes(lines, separator) else '"',
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise _too_wide(str(error), separator) from error


def _in_single_quotes(lines: list[str], separator: str) -> bool:
    """Whether every cell of the first line that holds any stands between apostrophes."""
    first = next((line for line in lines if line.strip()), "")
    return all(re.fullmatch(r"\s*'[^']*'\s*", cell) for cell in first.split(separator))


def _too_wide(said: str, separator: str) -> TableError:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said)
    if found:
        hint = " (commas as decimal marks need quotes, or ; between cells)" if separator == "," else ""
        return TableError(
            f"row {found[2]} has {found[3]} cells where the rows above have {found[1]} or fewer{hint}"
        )
    if "EOF inside string" in said:
        return TableError('a cell that begins with " never ends; the file seems cut off')
    return TableError(f"its rows are no table ({said[:100]})")


def _markdown(lines: list[str]) -> Grid:
    """The one table of a Markdown text; the prose around it is left out.

    Raises
    ------
    TableError
        When there are several.
    """
    rules = [i for i, line in enumerate(lines) if i and "|" in line and _RULE.fullmatch(line.strip())]
    rules = [i for i in rules if "|" in lines[i - 1]]
    if len(rules) > 1:
        raise TableError(
            f"it holds {len(rules)} Markdown tables, with the headers "
            f"{'; '.join(lines[i - 1].strip()[:60] for i in rules[:3])}: save the one that is meant alone"
        )
    (rule,) = rules
    names, rows = _markdown_row(lines[rule - 1]), []
    for line in lines[rule + 1 :]:
        if "|" not in line:
            break
        rows.append(_markdown_row(line))
    wide = next((row for row in rows if len(row) > len(names)), None)
    if wide is not None:
        raise TableError(f"a row of the Markdown table has {len(wide)} cells, its header {len(names)}")
    cells = pd.DataFrame([row + [""] * (len(names) - len(row)) for row in rows], columns=range(len(names)))
    return Grid(cells.replace("", None), names=tuple(names))


def _markdown_row(line: str) -> list[str]:
    inner = re.sub(r"^\||(?<!\\)\|$", "", line.strip())
    return [unemphasised(cell) for cell in re.split(r"(?<!\\)\|", inner)]
