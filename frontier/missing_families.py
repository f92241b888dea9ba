"""What is said of cells in which the reference, or a family that is compared elsewhere, is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from frontier.wording import listed

FEW = 3
"""More remarks than so many become one of counts, as those on families that most cells lack are."""
NAMED = 6
"""Places or families that a remark names."""

Place = str
Families = Collection[str]


def missing(
    cells: Mapping[Place, Families],
    reference: str,
    what: str = "usable",
    told: Mapping[Place, Families] | None = None,
) -> list[str]:
    """Remarks on cells without the reference, with it alone, or without a family that others hold.

    Parameters
    ----------
    cells : the families that can be compared, by the name of their cell
    what : str
        What each family has or lacks there.
    told : families whose absence has a remark already, by the same names

    Examples
    --------
    >>> both = ["relu", "topk"]
    >>> missing({"layer 1": both, "layer 2": ["relu", "gated"], "layer 3": both, "layer 4": ["topk"]}, "relu")
    ['layer 4: no usable relu, not compared', 'layer 2: no usable topk, not compared', \
'not every family is compared in all 3 cells: gated in 1']
    """
    without = [place for place, own in cells.items() if own and reference not in own]
    alone = [place for place, own in cells.items() if set(own) == {reference}]
    remarks = [f"{listed(without, NAMED, '; ')}: no {what} {reference}, not compared"] if without else []
    compared = {p: own for p, own in cells.items() if reference in own and p not in alone}
    remarks += _lacking(compared, reference, what, told or {})
    said = f"no family beside {reference} has points that can be used: nothing is compared"
    return [*remarks, f"{listed(alone, NAMED, '; ')}: {said}"] if alone else remarks


def _lacking(
    compared: Mapping[Place, Families], reference: str, what: str, told: Mapping[Place, Families]
) -> list[str]:
    """Remarks on families that are compared in some cells and not in others."""
    families = dict.fromkeys(f for own in compared.values() for f in own if f != reference)
    lacks = {
        f: tuple(p for p, own in compared.items() if f not in {*own, *told.get(p, ())}) for f in families
    }
    by_places: dict[tuple[Place, ...], list[str]] = {}
    for family, places in lacks.items():
        if places and 2 * len(places) <= len(compared):
            by_places.setdefault(places, []).append(family)
    if len(by_places) > FEW:
        by_places = {}
    remarks = [
        f"{listed(places, NAMED, '; ')}: no {what} {listed(own, NAMED)}, not compared"
        for places, own in by_places.items()
    ]
    counts = [
        f"{f} in {sum(f in own for own in compared.values())}"
        for f, places in lacks.items()
        if places and places not in by_places
    ]
    every = f"not every family is compared in all {len(compared)} cells"
    return [*remarks, f"{every}: {listed(counts, NAMED)}"] if counts else remarks
