"""Texts that are equal but for their form: case, white space, Unicode form, length; or for a number in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.causes.relation import MIN_CELLS, SHARE, DifferingCells, Explained, Mask, fit_evidence, holds, spread
from skewguard.findings import Cause

_TEXTS = frozenset({"STRING", "UUID", "TIME_UUID", "DECIMAL"})
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$"
_Form = Callable[[pa.Array], pa.Array]
_Relation = Callable[[pa.Array, pa.Array], Mask]


def _single_spaced(texts: pa.Array) -> pa.Array:
    """Unicode white space of any length as one blank, none at the ends."""
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"[\s\p{Z}]+", " "))


def _unicode(form: str) -> _Form:
    return lambda texts: pc.utf8_normalize(texts, form)


_FORMS: dict[str, _Form] = {
    "lower case": pc.utf8_lower,
    "upper case": pc.utf8_upper,
    "capitalized": pc.utf8_capitalize,
    "title case": pc.utf8_title,
    "white space trimmed": pc.utf8_trim_whitespace,
    "white space collapsed": _single_spaced,
    "Unicode form NFC": _unicode("NFC"),
    "Unicode form NFD": _unicode("NFD"),
    "Unicode form NFKC": _unicode("NFKC"),
    "Unicode form NFKD": _unicode("NFKD"),
}
"""What one side is where it is the form of the other."""


def _case_folded(texts: pa.Array) -> pa.Array:
    return pc.replace_substring(pc.utf8_lower(texts), "ß", "ss")  # its upper case is SS


_FOLDS: dict[str, _Form] = {"case": _case_folded, "white space": _single_spaced, "Unicode form": _unicode("NFKC")}
"""Applied to both sides: what they may differ in."""


def string_normalization(cells: DifferingCells, left: Mask) -> Explained | None:
    """One side is the other in another form, or both are equal once case, white space or Unicode form are folded.

    The form is found over a sample of the cells: the first that explains nearly all, else the one that explains most.
    """
    candidates, offline, online = _texts(cells, left)
    if offline is None or online is None:
        return None
    some = pa.array(spread(np.arange(len(offline))))
    seen: tuple[int, str, _Relation | None] = (0, "", None)
    for name, relation in _relations(offline.take(some), online.take(some)):
        hits = int(relation(offline.take(some), online.take(some)).sum())
        if hits > seen[0]:
            seen = (hits, name, relation)
        if hits >= SHARE * len(some):
            break
    if seen[2] is None:
        return None
    evidence = {"form": seen[1]}
    return _explained(cells, candidates, seen[2](offline, online), Cause.STRING_NORMALIZATION, evidence)


def number_text(cells: DifferingCells, left: Mask) -> Explained | None:
    """Texts of numbers that went through a number: "007" and "7", "5" and "5.0"."""
    candidates, offline, online = _texts(cells, left)
    if offline is None or online is None:
        return None
    some = pa.array(spread(np.arange(len(offline))))
    if not _same_number(offline.take(some), online.take(some)).any():
        return None
    return _explained(cells, candidates, _same_number(offline, online), Cause.TYPE_CAST, {"cast": "a number"})


def _same_number(offline: pa.Array, online: pa.Array) -> Mask:
    numbers = np.ones(len(offline), dtype=bool)
    values = []
    for side in (offline, online):
        is_number = pc.match_substring_regex(side, _NUMBER)
        numbers &= is_number.to_numpy(zero_copy_only=False)
        values.append(pc.if_else(is_number, side, "nan").cast(pa.float64()).to_numpy(zero_copy_only=False))
    return np.asarray(numbers & (values[0] == values[1]))


def _texts(cells: DifferingCells, left: Mask) -> tuple[Mask, pa.Array | None, pa.Array | None]:
    candidates = left & cells.valid() if cells.dtype in _TEXTS else np.zeros(len(left), dtype=bool)
    if candidates.sum() < MIN_CELLS:
        return candidates, None, None
    return candidates, *(side.filter(pa.array(candidates)) for side in (cells.offline, cells.online))


def _relations(offline: pa.Array, online: pa.Array) -> Iterator[tuple[str, _Relation]]:
    """Each form, and which cells (offline, online) it explains; from the plainest to the one that folds most."""
    for name, form in _FORMS.items():
        yield f"online is {name}", lambda a, b, form=form: _equal(form(a), b)  # type: ignore[misc]
        yield f"offline is {name}", lambda a, b, form=form: _equal(a, form(b))  # type: ignore[misc]
    length = _cut_length(offline, online)
    if length:
        yield f"online is cut to {length} characters", lambda a, b: _is_cut(a, b, length)
    other = _cut_length(online, offline)
    if other:
        yield f"offline is cut to {other} characters", lambda a, b: _is_cut(b, a, other)
    for size in range(1, len(_FOLDS) + 1):
        for names in combinations(_FOLDS, size):
            yield " and ".join(names), lambda a, b, names=names: _equal(_folded(a, names), _folded(b, names))  # type: ignore[misc]


def _folded(texts: pa.Array, names: Sequence[str]) -> pa.Array:
    for name in (*reversed(names), *reversed(names)):  # lower case of a Unicode form may have another form
        texts = _FOLDS[name](texts)
    return texts


def _cut_length(whole: pa.Array, part: pa.Array) -> int:
    """The length that most of the texts have that are shorter than the whole; 0 where none is."""
    kept = pc.utf8_length(part).to_numpy(zero_copy_only=False)
    shorter = (kept < pc.utf8_length(whole).to_numpy(zero_copy_only=False)) & (kept > 0)
    if not shorter.any():
        return 0
    lengths, counts = np.unique(kept[shorter], return_counts=True)
    return int(lengths[counts.argmax()])


def _is_cut(whole: pa.Array, part: pa.Array, length: int) -> Mask:
    """One value everywhere is a constant, not what is left of many: then nothing is cut."""
    equal = _equal(pc.utf8_slice_codeunits(whole, 0, length), part)
    different = int(pc.count_distinct(part.filter(pa.array(equal))).as_py())
    return equal if different >= 2 else np.zeros(len(equal), dtype=bool)


def _equal(left: pa.Array, right: pa.Array) -> Mask:
    return np.asarray(pc.equal(left, right).to_numpy(zero_copy_only=False), dtype=bool)


def _explained(
    cells: DifferingCells, candidates: Mask, equal: Mask, cause: Cause, evidence: dict[str, str]
) -> Explained | None:
    if not equal.any():
        return None
    fits = np.zeros(len(candidates), dtype=bool)
    fits[candidates] = equal
    if not holds(cells, fits, candidates, fitted=0):
        return None
    return Explained(cause, fits, {**evidence, **fit_evidence(fits, candidates)})
