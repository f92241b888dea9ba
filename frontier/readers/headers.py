"""A grid of cells as a table: which row holds the names, what lies around the table, which way up it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from frontier.metrics.checks import TableError
from frontier.metrics.dressing import undressed
from frontier.metrics.names import canonical_name, slug, spec_of
from frontier.metrics.number_format import written
from frontier.readers.divided import divided, starts, title
from frontier.readers.layouts import by_seed, refuse_families_as_columns, sections
from frontier.wording import listed, plural

LOOKED_AT = 12
"""Rows among which the header is looked for."""

UNITS = re.compile(
    r"[(\[].*[)\]]|%|-|nats?(?:\s*(?:/|per)\s*tok(?:en)?)?|latents?|tokens?|fraction|percent|count|float|int"
)
_RAISED = re.compile(r"\^\{?\d+|<sup>\d+")
STATISTICS = frozenset("mean avg average median std sd sem se min max var count".split())
MERGED = ("architecture", "family", "model", "site", "layer", "dictionary_size")
"""Columns whose cells people merge."""

_FORMULA = re.compile(r'="(.*)"', re.DOTALL)


def named(cells: pd.DataFrame, names: tuple[str, ...] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The table in a grid, under its own names, and what was left out around it.

    Raises
    ------
    TableError
        When a row has cells beyond the header, or a known name stands in it twice.

    >>> grid = pd.DataFrame([["Sweep 3", None], ["l0", "loss recovered"], [None, "%"], ["8", "91"]])
    >>> named(grid)[0].to_dict("records")
    [{'l0': '8', 'loss recovered %': '91'}]
    """
    said: list[str] = []
    cells, above = starts(_undressed(cells, said))
    if names is None:
        first, last = _header(cells)
        names = tuple(map(_of_levels, _joined(cells.iloc[first : last + 1])))
        if first < last and (indexed := _with_index(names, cells.iloc[last + 1 : last + 2])):
            names, last = indexed, last + 1
        names = _names_of_rows(names, cells.iloc[last + 1 :])
        if first:
            said.append(f"{plural(first, 'line')} above the header left out")
        over = title(cells.iloc[: last + 1], above[: last + 1])
        cells, above = cells.iloc[last + 1 :].reset_index(drop=True), above[last + 1 :]
        above[:1] = [above[0] or over] if above else []
    cells = _within_header(cells, names)
    table = cells.set_axis(_told_apart(list(names)), axis=1)
    repeated = (table.astype(object) == pd.Series(names, table.columns)).all(axis=1)
    if repeated.any():
        said.append(f"{plural(int(repeated.sum()), 'row')} equal to the header left out")
        table, above = table[~repeated].reset_index(drop=True), _carried(above, repeated.tolist())
    _refuse_second_table(table)
    plain = _row_names(table)
    headed = sections(_upright(plain, names, said), said)
    table = by_seed(divided(plain, above) if headed is plain else headed, said)
    refuse_families_as_columns(table)
    return _below_merged(_wide(table, said), said), said


def _carried(above: list[str | None], gone: list[bool]) -> list[str | None]:
    """What stands above the rows that stay; what stood above one that is gone, above the next."""
    kept, last = list[str | None](), None
    for text, goes in zip(above, gone, strict=True):
        last = text or last if text is not None else last
        if not goes:
            kept.append(last)
            last = None
    return kept


def _header(cells: pd.DataFrame) -> tuple[int, int]:
    """The first and the last row that names the columns."""
    rows = [_texts(cells, i) for i in range(min(LOOKED_AT, len(cells)))]
    if not rows:
        return 0, 0
    wordy = [i for i, row in enumerate(rows) if row and not any(written(text) for text in row)]
    several = [i for i in wordy if len(rows[i]) > 1] or wordy or [0]
    first = max(several, key=lambda i: (_recognised(rows[i]), -i))
    if _recognised(rows[first]) == 1 and _lies_on_its_side(rows):
        first = several[0]
    if not _recognised(rows[first]):
        first = next((i for i, row in enumerate(rows) if len(row) > 1), 0)
    last = first
    while last + 1 in wordy and last < first + 2 and _continues(rows[last + 1]):
        last += 1
    return first, last


def _lies_on_its_side(rows: list[list[str]]) -> bool:
    """Whether the first cells of the rows are names of metrics, an L0 among them."""
    known = [canonical_name(row[0]) for row in rows if row]
    return "l0" in known and len([name for name in known if name]) > 1


def _continues(row: list[str]) -> bool:
    """Whether a row below the names is one of units or statistics, or names further."""
    if all(UNITS.fullmatch(text.lower()) for text in row) or _recognised(row) > len(row) / 2:
        return True
    return {text.lower() for text in row} <= STATISTICS


def _joined(rows: pd.DataFrame) -> tuple[str, ...]:
    """The names over the columns; those of statistics below a metric say which one it is."""
    names, below = list(_names(rows)), rows.iloc[1:].astype(object).to_numpy()
    for i, name in enumerate(_names(rows)):
        words = [str(cell).strip().lower() for cell in below[:, i]]
        statistic = next((word for word in words if word in STATISTICS), "")
        plain = statistic in ("mean", "avg", "average", "count")
        if statistic and slug(name) not in STATISTICS and (not plain or [*_names(rows)].count(name) > 1):
            names[i] = f"{name}_{statistic}"
    return tuple(names)


def _with_index(names: tuple[str, ...], row: pd.DataFrame) -> tuple[str, ...]:
    """The header with the names of pandas' index columns, if a row below it holds these and nothing else.

    >>> _with_index(("", "", "l0_mean"), pd.DataFrame([["architecture", "i", None]]))
    ('architecture', 'i', 'l0_mean')
    """
    index = (
        {i: str(cell).strip() for i, cell in enumerate(row.iloc[0]) if not pd.isna(cell)} if len(row) else {}
    )
    known = len(index) > 1 or any(map(canonical_name, index.values()))
    if not known or any(names[i] or written(name) for i, name in index.items()):
        return ()
    return tuple(index.get(i, name) for i, name in enumerate(names))


def _of_levels(name: str) -> str:
    """A name that pandas wrote as a tuple, with dots.

    >>> _of_levels("('l0', 'mean')"), _of_levels("('arch', '')"), _of_levels("l0 (mean)")
    ('l0.mean', 'arch', 'l0 (mean)')
    """
    if not re.fullmatch(r"\('[^']*'(?:, '[^']*')+\)", name):
        return name
    return ".".join(part for part in re.findall(r"'([^']*)'", name) if part)


def _names_of_rows(names: tuple[str, ...], cells: pd.DataFrame) -> tuple[str, ...]:
    """The header with a nameless first column, where it lacks one for the names of rows (R's write.table)."""
    width = len([name for name in names if name])
    if any(names[width:]) or len(cells.columns) <= width or not len(cells):
        return names
    if cells.iloc[:, width + 1 :].notna().any(axis=None) or cells.iloc[:, : width + 1].isna().any(axis=None):
        return names
    first, second = (list(map(str, cells.iloc[:, i])) for i in (0, 1))
    text = "\n".join(map(str, cells.to_numpy().ravel()))
    counted = first == [str(i + 1) for i in range(len(first))] and not any(map(written, second))
    named = len(set(first)) == len(first) and not any(map(written, first)) and all(map(written, second))
    spec = spec_of(canonical_name(names[0]) or "")
    number_first = spec is not None and spec.kind != "identity"
    if re.search(r"\d\.\d", text) and (counted or (named and number_first)):
        return ("", *names[:width])
    return names


def _names(rows: pd.DataFrame) -> Iterator[str]:
    """One name per column: the part that is known, with a per-cent sign from any row."""
    for column in rows.columns:
        parts = ["" if pd.isna(cell) else str(cell).strip() for cell in rows[column]]
        words = [part for part in parts if part and not (part != parts[0] and UNITS.fullmatch(part.lower()))]
        known = next((word for word in reversed(words) if canonical_name(word)), " ".join(words))
        percent = " %" if "%" not in known and any(part.strip("()[] ") == "%" for part in parts[1:]) else ""
        yield known + percent


def _within_header(cells: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """The cells under a name; a nameless column at the right end has to be empty."""
    width = len(names)
    while width and not names[width - 1]:
        width -= 1
    beyond = cells.iloc[:, width:].notna().any(axis=1)
    if width and beyond.any():
        row = cells.iloc[int(beyond.to_numpy().argmax())]
        raise TableError(
            f"a row has {int(row.notna().to_numpy().nonzero()[0].max()) + 1} cells where the header names "
            f"{width} columns: {listed([str(c) for c in row.dropna()], 6)} "
            "(commas as decimal marks need quotes, or ; between the cells)"
        )
    return cells.iloc[:, : len(names)]


def _told_apart(names: list[str]) -> list[str]:
    """Names that are all different; nobody would know which of two known ones is meant.

    Raises
    ------
    TableError
        When a known name stands there twice.
    """
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        count = seen.get(name, 0)
        seen[name] = count + 1
        if not name:
            names[i] = f"Unnamed: {i}"
        elif count and canonical_name(name):
            raise TableError(
                f"column {name!r} stands in the header twice (columns {names.index(name) + 1} and {i + 1}): "
                "rename or delete the one that is not meant; one row per SAE is wanted"
            )
        elif count:
            names[i] = f"{name}.{count}"
    return names


def _row_names(table: pd.DataFrame) -> pd.DataFrame:
    """Nameless columns: row numbers and empty ones go, a first one of text names the runs."""
    nameless = [c for c in table.columns if re.fullmatch(r"Unnamed: \d+", str(c))]
    table = table.drop(columns=[c for c in nameless if table[c].isna().all()])
    first = "Unnamed: 0"
    if first not in table:
        return table
    if all(re.fullmatch(r"\d+(?:\.0)?", str(cell)) for cell in table[first].dropna()):
        return table.drop(columns=first)
    named = any(canonical_name(str(c)) == "run_id" for c in table.columns)
    return table if named else table.rename(columns={first: "run_id"})


def _upright(table: pd.DataFrame, names: tuple[str, ...], said: list[str]) -> pd.DataFrame:
    """A table whose first column holds the names of the metrics, turned so that each SAE is a row."""
    if not len(table.columns) or "l0" in {canonical_name(str(c)) for c in table.columns}:
        return table
    labels = [str(cell) for cell in table.iloc[:, 0]]
    if "l0" not in {canonical_name(label) for label in labels} or len(set(labels)) < len(labels):
        return table
    said.append("the table lies on its side (metrics as rows): turned")
    turned = table.set_axis(labels, axis=0).iloc[:, 1:].T.reset_index(drop=True)
    top = names[0] if names and canonical_name(names[0]) else "run_id"
    if len(names) == len(turned) + 1 and "run_id" not in labels:
        turned.insert(0, top, list(names[1:]))
    return turned


def _refuse_second_table(table: pd.DataFrame) -> None:
    """A row of names inside the table is the header of another one."""
    for column in [c for c in table.columns if canonical_name(str(c)) == "l0"]:
        for row, cell in enumerate(table[column].tolist()):
            if isinstance(cell, str) and cell[:1].isalpha() and canonical_name(cell):
                raise TableError(f"row {row} is another header ({cell!r} under {column!r}): one table a file")


def _wide(table: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """A table with one metric a row, in columns of names and values, with one SAE a row.

    Raises
    ------
    TableError
        When nothing tells the SAEs apart.
    """
    slugs = {slug(str(c)): c for c in table.columns}
    name = next((slugs[s] for s in ("metric", "metric_name", "measure", "variable") if s in slugs), None)
    value = next((slugs[s] for s in ("value", "score") if s in slugs), None)
    if name is None or value is None or "l0" not in {canonical_name(str(c)) for c in table[name].dropna()}:
        return table
    rest = [c for c in table.columns if c not in (name, value)]
    if not rest or table.duplicated([*rest, name]).any():
        raise TableError(f"one metric a row, under {name!r}, and no column tells which rows are of one SAE")
    said.append(f"one metric a row, under {name!r}: one SAE a row")
    wide = table.set_index([*rest, name])[value].unstack()  # noqa: PD010 - nothing to aggregate
    wide.columns.name = None
    return wide.reset_index()


def _below_merged(table: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """Names that stand once above the rows that they are of, as merged cells leave them, in every row."""
    for column in table.columns:
        spec = spec_of(canonical_name(str(column)) or "")
        cells = table[column]
        if spec is None or spec.name not in MERGED or pd.isna(cells.iloc[:1]).any() or not len(cells):
            continue
        if cells.notna().sum() * 2 <= len(cells):
            table = table.assign(**{str(column): cells.ffill()})
            said.append(f"{column}: empty cells take the name above them, as merged cells do")
    return table


def _texts(cells: pd.DataFrame, row: int) -> list[str]:
    return [str(cell).strip() for cell in cells.iloc[row] if not pd.isna(cell) and str(cell).strip()]


def _recognised(texts: list[str]) -> int:
    return sum(canonical_name(text) is not None for text in texts)


def _undressed(cells: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """The text inside Excel's way to keep text text, `="relu"`, and inside TeX, which is said of names."""
    names: dict[str, str] = {}
    for column in cells.columns:
        text = "\n".join(cell for cell in cells[column] if isinstance(cell, str))
        if '="' in text:
            formulas = [isinstance(cell, str) and _FORMULA.fullmatch(cell) for cell in cells[column]]
            cells[column] = [
                found[1] if found else cell for found, cell in zip(formulas, cells[column], strict=True)
            ]
        if re.search(r"[\\$<]|\[\^|\*\*", text):
            meant = _raised_apart({cell: undressed(cell) for cell in cells[column] if isinstance(cell, str)})
            cells[column] = [meant[cell] if isinstance(cell, str) else cell for cell in cells[column]]
            names |= {t: plain for t, plain in meant.items() if t != plain and _is_name(plain)}
    if names:
        said.append("read " + listed([f"{text!r} as {plain!r}" for text, plain in names.items()], 3))
    return cells


def _is_name(text: str) -> bool:
    """Whether a cell is a name of the table's own, and no number nor one of ours."""
    return text[:1].isalpha() and written(text) is None and canonical_name(text) is None


def _raised_apart(meant: dict[str, str]) -> dict[str, str]:
    """What cells mean; names that differ by what is raised behind them, powers maybe, stay as they stand.

    >>> _raised_apart({"TopK$^2$": "TopK", "TopK$^3$": "TopK", "0.9$^1$": "0.9", "0.9$^2$": "0.9"})
    {'TopK$^2$': 'TopK$^2$', 'TopK$^3$': 'TopK$^3$', '0.9$^1$': '0.9', '0.9$^2$': '0.9'}
    """
    raised: dict[str, set[str]] = {}
    for text, plain in meant.items():
        if (found := _RAISED.search(text)) and written(plain) is None:
            raised.setdefault(plain, set()).add(found[0])
    return {
        text: text if len(raised.get(plain, ())) > 1 and _RAISED.search(text) else plain
        for text, plain in meant.items()
    }
