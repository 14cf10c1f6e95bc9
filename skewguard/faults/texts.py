"""Faults of texts: other names of the categories, another form of the same text."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.faults.ground import Fit, Ground, ViewGround
from skewguard.faults.writing import changed, distinct

_CATEGORIES, _EACH = 50, 8
"""A feature is one of categories up to so many; a renaming takes so many rows of each to be told from accident."""


def category_recode(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """Texts become the codes c0, c1, ... that an encoder would give them."""
    for feature in side.features:
        if feature.dtype != "STRING" or not 2 <= distinct(side.column(feature)) <= _CATEGORIES:
            continue
        column = side.column(feature)
        if len(column) - column.null_count < _EACH * distinct(column):
            continue
        known = sorted(pc.unique(column.drop_null()).to_pylist())
        prefixes = ("c" * n for n in range(1, 100))
        prefix = next(p for p in prefixes if not any(f"{p}{i}" in known for i in range(len(known))))
        codes = pa.array([f"{prefix}{i}" for i in range(len(known))]).take(pc.index_in(column, pa.array(known)))
        yield from changed(
            side, ground, feature, codes, where=column.is_valid(), score=(-len(known),), evenly=True,
            minimum=_EACH * len(known),
        )  # fmt: skip


def string_normalization(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """Upper case, lower case or a blank behind: whichever changes most texts into ones that the feature has not."""
    for feature in side.features:
        if feature.dtype != "STRING":
            continue
        column = side.column(feature)
        best: tuple[int, pa.Array, pa.Array] | None = None
        for other in (pc.utf8_upper(column), pc.utf8_lower(column), pc.binary_join_element_wise(column, " ", "")):
            new = pc.and_(pc.invert(pc.is_in(other, column)), pc.is_valid(column)).fill_null(False)
            count = pc.sum(new).as_py() or 0
            if count > (best[0] if best else 0):
                best = (count, other, new)
        if best is not None:
            yield from changed(side, ground, feature, best[1], where=best[2])
