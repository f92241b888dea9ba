"""Which SAE a row is about: architectures, sites and layers in names; columns whose name means two things."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from frontier.metrics.cells import different_cells, is_text
from frontier.metrics.checks import TableError, add_text, rows_named
from frontier.metrics.names import spec_of
from frontier.wording import listed

ARCHITECTURES: tuple[tuple[str, str], ...] = (
    ("matryoshka_batch_topk", r"matryoshka(?:[-_ ]?batch[-_ ]?top[-_]?k)?"),
    ("jumprelu_skip_transcoder", r"jump[-_ ]?relu[-_ ]?skip[-_ ]?transcoder"),
    ("skip_transcoder", r"skip[-_ ]?transcoder"),
    ("hierarchical_topk", r"hierarchical[-_ ]?top[-_]?k"),
    ("abs_topk", r"abs[-_ ]?top[-_]?k"),
    ("matching_pursuit", r"matching[-_ ]?pursuit"),
    ("batch_topk", r"batch[-_ ]?top[-_]?k"),
    ("standard_april_update", r"(?:standard|vanilla)[-_ ]?(?:trainer)?[-_ ]?(?:april[-_ ]?update|new)"),
    ("p_anneal", r"p[-_ ]?anneal"),
    ("jumprelu", r"jump[-_ ]?(?:relu|sae)"),
    ("gated", r"gated"),
    ("topk", r"top[-_]?k"),
    ("standard", r"standard|vanilla"),
    ("relu", r"relu"),
)
"""Architectures and how they are written in names, the longer names first: each is cut out where found."""
_ARCHITECTURE = re.compile("|".join(pattern for _, pattern in ARCHITECTURES))

_LAYER = re.compile(
    r"(?i:blocks?|layers?|(?<![a-z])h(?=[._-]))[._\- =]?(\d+)|(?:^|[._/ -])[LR](\d{1,2})(?:[._/ -]|$)"
)
_SITES = (
    ("resid_pre", r"resid_pre"),
    ("resid_mid", r"resid_mid"),
    ("resid_post", r"resid_post|resid(?!ual_stream_)|(?:^|[-_/])res(?:[-_/]|$)"),
    ("mlp_out", r"mlp_out|mlp"),
    ("attn_z", r"hook_z|attn_z"),
    ("attn_out", r"attn_out|attn|attention|(?:^|[-_/])att(?:[-_/]|$)"),
)


@lru_cache(maxsize=4096)
def architecture_in(name: str) -> str:
    """The one architecture that a release or path names; empty where it names none or several.

    >>> architecture_in("sweep_batch_topk_ctx128"), architecture_in("standard_and_topk"), architecture_in("x")
    ('batch_topk', '', '')
    """
    rest, found = name.lower(), []
    for architecture, pattern in ARCHITECTURES:
        rest, count = re.subn(pattern, "|", rest)
        if count:
            found.append(architecture)
    return found[0] if len(found) == 1 else ""


def without_architecture(name: str) -> str:
    """A name without the architectures in it.

    >>> without_architecture("gpt2-batch_topk-0")
    'gpt2-|-0'
    """
    return _ARCHITECTURE.sub("|", name.lower())


@lru_cache(maxsize=4096)
def place_in(name: str) -> tuple[str | None, int | None]:
    """Site and layer in the name of a hook point or a path; of several joined by + neither.

    >>> place_in("blocks.8.hook_resid_post"), place_in("resid_post_layer_3"), place_in("layers.5.mlp")
    (('resid_post', 8), ('resid_post', 3), ('mlp_out', 5))
    """
    if "+" in name:
        return None, None
    site = next((s for s, pattern in _SITES if re.search(pattern, name)), None)
    layer = _LAYER.search(name)
    return site, int((layer[1] or layer[2])[:6]) if layer else None


def models_or_architectures(table: pd.DataFrame) -> Iterator[str]:
    """A column called model holds language models or kinds of SAE: its values tell, or the user is asked.

    Raises
    ------
    TableError
        Where some values name a kind of SAE and others do not.
    """
    if "model" not in table or {"architecture", "family"} & set(table.columns):
        return
    names = [str(v) for v in table["model"].dropna().unique()]
    kinds = [n for n in names if _names_a_kind(n)]
    if not kinds:
        return
    if len(kinds) < len(names):
        others = [n for n in names if n not in kinds]
        raise TableError(
            f"does the column 'model' hold kinds of SAE ({listed(kinds, 3)}) or language models "
            f"({listed(others, 3)})? Say columns={{'model': 'architecture'}} (--map model=architecture), or "
            "name the language model's column model_name"
        )
    table["architecture"] = table.pop("model")
    yield f"model: {listed(names, 4)} are kinds of SAE, so it is read as architecture"


def _names_a_kind(name: str) -> bool:
    return any(re.search(pattern, name.lower()) for _, pattern in ARCHITECTURES)


def seed_in(name: str) -> int | None:
    """The seed that a name tells.

    >>> seed_in("relu_seed3"), seed_in("eval_seed=4")
    (3, None)
    """
    found = _SEED_IN.search(name)
    return int(found[1]) if found else None


SECTION = "frontier_section"
"""The column in which a reader says in which section of a table each row stands."""

IN_NAMES: dict[str, Callable[[str], str | int | None]] = {
    "architecture": architecture_in,
    "site": lambda name: place_in(name)[0],
    "layer": lambda name: place_in(name)[1],
    "seed": seed_in,
}
"""What is read in names of SAEs, files and sections."""


def facts_in(names: Sequence[Sequence[str]], known: Container[str] = ()) -> dict[str, list[str | int]]:
    """What each of several things tells by one of its names, the first before the others.

    Places and seeds only where they differ.

    >>> facts_in([["a", "layer3"], ["b", "layer10"]]), facts_in([["layer3"], ["final"]])
    ({'layer': [3, 10]}, {})
    """
    found: dict[str, list[str | int]] = {}
    for column, read in IN_NAMES.items():
        if column in known or (column == "architecture" and "family" in known):
            continue
        cells = list[str | int]()
        for own in names:
            cell = next((told for name in own if (told := read(name[:LONGEST])) not in (None, "")), None)
            if cell is None:
                break
            cells.append(cell)
        if len(cells) == len(names) and (column == "architecture" or len(set(cells)) > 1):
            found[column] = cells
    return found


def told_by_names(table: pd.DataFrame) -> Iterator[str]:
    """Architectures, sites, layers and seeds in names of SAEs or heads of sections, where each tells one."""
    for name in [c for c in table.columns if c == "run_id" or spec_of(str(c)) is None]:
        cells = table[name].tolist() if is_text(table[name].dtype) else [None]
        if not cells or not all(isinstance(cell, str) for cell in cells):
            continue
        known = set(table.columns) | (set() if _names_saes(str(name)) else {"architecture", "seed"})
        for column, told in facts_in([[str(cell)] for cell in cells], known).items():
            table[column] = told
            what = "heads of sections" if name == SECTION else "names of the SAEs"
            yield f"{column}: read from the {what} ({listed(list(dict.fromkeys(told)), 5)})"


LONGEST = 200
"""Characters of a name that is looked into."""

_SEED = re.compile(r"(?P<family>.*[^\W_])[\s_\-]*[(\[]?seed[\s_=\-]*(?P<seed>\d{1,9})[)\]]?", re.IGNORECASE)
_SETTING = re.compile(
    r"(?P<family>.*?[^\W\d_])"
    r"(?:[\s_\-(\[]+(?:(?P<knob>(?:k|lambda|λ)[\s_=:]*|l[01][\s_=:]+))?|(?<=top[\s_\-]k)|(?<=topk))"
    r"(?P<number>\d[\d.]*(?:e-?\d+)?)[)\]]?",
    re.IGNORECASE,
)


def layers_in_families(table: pd.DataFrame) -> Iterator[str]:
    """Layers in the names of families of several SAEs, where every name has one, and each family several."""
    column = next((c for c in ("family", "architecture") if c in table), None)
    different = [] if column is None else different_cells(table[column])
    if column is None or "layer" in table or not all(isinstance(cell, str) for cell in different):
        return
    layers = {name: place_in(name[:LONGEST])[1] for name in different}
    bare = {name: re.sub(r"^[\W_]+|[\W_]+$", "", _LAYER.sub("_", name[:LONGEST])) for name in different}
    counts = [list(bare.values()).count(name) for name in bare.values()]
    few = table[column].value_counts().min() < 3  # no frontiers
    if None in layers.values() or min(counts, default=0) < 2 or "" in bare.values() or few:
        return
    first = different[0]
    table["layer"] = table[column].map(layers)
    table[column] = table[column].map(bare)
    yield f"{column}: {first!r} is {bare[first]!r} of layer {layers[first]}"


def settings_in_families(table: pd.DataFrame) -> Iterator[str]:
    """Families whose names end in a seed; and those that hold one SAE each, by the settings in their names.

    A number alone is a setting where it is near the L0, as k is.
    """
    column = next((c for c in ("family", "architecture") if c in table), None)
    different = [] if column is None else different_cells(table[column])
    if column is None or not all(isinstance(cell, str) for cell in different):
        return
    if max(map(len, different), default=LONGEST) >= LONGEST:
        return
    seeds = {name: found for name in different if (found := _SEED.fullmatch(name))}
    if len(seeds) < len(different) < len(table):
        return
    names = table[column].tolist()
    if len(seeds) == len(different) and "seed" not in table:
        table[column] = [seeds[name]["family"] for name in names]
        table["seed"] = [int(seeds[name]["seed"]) for name in names]
        yield f"{column}: {names[0]!r} is {table[column].iloc[0]!r} of seed {table['seed'].iloc[0]}"
        return
    if len(different) < len(names):
        return
    settings = [found for name in names if (found := _SETTING.fullmatch(name))]
    families = [found["family"] for found in settings]
    if len(families) < len(names) or min(map(families.count, set(families))) < 3:
        return
    l0 = table["l0"].to_numpy(dtype=float, na_value=np.nan) if "l0" in table else np.full(len(table), np.nan)
    numbers = pd.to_numeric(pd.Series([found["number"] for found in settings]), errors="coerce").to_numpy()
    if all(found["knob"] for found in settings) or (abs(numbers - l0) <= 0.2 * l0).all():
        table[column] = families
        if "run_id" not in table:
            table["run_id"] = names
        yield f"{column}: {names[0]!r} is {families[0]!r} at one setting; {listed(sorted(set(families)), 4)}"


_SEED_IN = re.compile(r"(?:^|[^a-z])(?<!eval.)(?<!data.)seed[\s_=\-]*(\d{1,9})(?!\d)", re.IGNORECASE)
_LAYER_CELL = re.compile(r"(?:layers?|blocks?|l|h)?[\s._\-]*(\d{1,4})(?:\.0)?", re.IGNORECASE)


def told_by_cells(table: pd.DataFrame) -> Iterator[str]:
    """Layers called 'layer 8' beside '8', as numbers."""
    if "layer" in table and not pd.api.types.is_numeric_dtype(table["layer"].dtype):
        cells = [str(cell).strip() for cell in table["layer"]]
        layers = {cell: found for cell in set(cells) if (found := _LAYER_CELL.fullmatch(cell))}
        words = {cell[0].lower() for cell in layers} - set("0123456789._- ")  # of what else, if two differ?
        if len(layers) == len(set(cells)) and not all(map(str.isdecimal, layers)) and len(words) < 2:
            table["layer"] = [int(layers[cell][1]) for cell in cells]
            yield f"layer: read {listed([repr(c) for c in dict.fromkeys(cells)], 3)} as numbers"


def _names_saes(column: str) -> bool:
    """Whether a column has the names of SAEs."""
    return column.lower() in (
        "run_id",
        "name",
        "sae",
        "run",
        "trainer",
        "experiment",
        "display_name",
        SECTION,
    )


def without_family(table: pd.DataFrame) -> Iterator[str]:
    """Rows without a family beside others that have one are of no family, and not of one together."""
    if "family" not in table or not table["family"].notna().any():
        return
    missing = (table["family"].isna() & table["excluded_because"].isna()).to_numpy(dtype=bool)
    if missing.any():
        add_text(table, "excluded_because", missing, "family is missing")
        yield f"family is missing in {rows_named(missing, table)}; set aside"


def places(table: pd.DataFrame) -> Iterator[str]:
    """Names of hook points in the column of sites: the site and, where the table has none, the layer."""
    if "site" not in table:
        return
    names = {v: place_in(v) for v in table["site"].dropna().unique() if isinstance(v, str)}
    hooks = {v: place for v, place in names.items() if place[1] is not None and place[0] is not None}
    if not hooks or len(hooks) < len(names) or len(names) < table["site"].dropna().nunique():
        return
    layers = table["site"].map({v: layer for v, (_, layer) in hooks.items()})
    if "layer" in table and table["layer"].notna().any():
        if not (layers == pd.to_numeric(table["layer"], errors="coerce"))[layers.notna()].all():
            return
    else:
        table["layer"] = layers.astype("Int64") if layers.isna().any() else layers.astype("int64")
    table["site"] = table["site"].map({v: site for v, (site, _) in hooks.items()})
    first = next(iter(hooks))
    yield f"site: {first!r} read as site {hooks[first][0]}, layer {hooks[first][1]}"
