"""The faults of the drills, one a cause: each puts wrong rows, values or definitions in, past every protection.

The modules are by what they change: values, texts, keys, moments (online), offline (the source), states.
"""

from __future__ import annotations

from skewguard.faults import keys, moments, offline, states, texts, values
from skewguard.faults.ground import Fault, Fit, Ground, Injection, ViewGround, wrong
from skewguard.findings import Cause

__all__ = ["FAULTS", "NO_FAULT", "Fault", "Fit", "Ground", "Injection", "ViewGround", "wrong"]

_LIVE = "rows that are online and inside their TTL"
_CREATED = "a view with a created timestamp column"
_NUMBER = "a number feature with three different values or more"

_ALL = (
    Fault(
        Cause.NOT_MATERIALIZED, "a newer offline row, past the watermark",
        f"a view with a feature that can be changed, a timestamp column that holds more than days, and {_LIVE}",
        offline.not_materialized, "offline",
    ),
    Fault(
        Cause.LATE_ARRIVAL, "an offline row before the watermark that was created after it",
        f"{_CREATED} that is never after the watermark for rows that are rightly online, and {_LIVE}",
        offline.late_arrival, "offline",
    ),
    Fault(
        Cause.BLOCKED_CORRECTION, "a corrected offline row, under an unchanged event timestamp",
        f"{_CREATED} and a feature that can be changed, and {_LIVE}", offline.blocked_correction, "offline",
    ),
    Fault(
        Cause.OUT_OF_ORDER_WRITE, "the row before the one that is due, written online",
        f"entities with an older row of other values, and {_LIVE}", moments.out_of_order_write,
    ),
    Fault(
        Cause.AHEAD_OF_OFFLINE, "other values online as of now, of which offline has no row",
        f"a feature that can be changed, and {_LIVE}", moments.ahead_of_offline,
    ),
    Fault(
        Cause.EXPIRED_BUT_SERVED, "rows past their TTL, left or written online",
        "a view with a TTL, and entities whose latest row is past it", moments.expired_but_served,
    ),
    Fault(Cause.MISSING_ONLINE, "keys gone from the online store", _LIVE, keys.missing_online),
    Fault(
        Cause.FIELD_NEVER_WRITTEN, "one field gone from rows that are there",
        f"a feature that is not null, and {_LIVE}", keys.field_never_written,
    ),
    Fault(
        Cause.ORPHAN_ONLINE, "entities deleted offline, still online", f"a view with join keys, and {_LIVE}",
        offline.orphan_online, "offline", brings=(Cause.STALE_SOURCE,),
    ),
    Fault(
        Cause.ENTITY_KEY_MISMATCH, "rows stored under a key of another dtype",
        f"a join key of dtype Int64, Int32 or String, and {_LIVE}", keys.entity_key_mismatch,
    ),
    Fault(
        Cause.TYPE_CAST, "numbers that went through float32, or lost their fraction",
        "a float with fractions, or whole numbers beyond what a float holds", values.type_cast,
    ),
    Fault(
        Cause.NULL_DEFAULT, "a constant where offline has nulls (or nulls for its most frequent value)",
        "a number or text feature with nulls, or with a value that three rows have and most have not",
        values.null_default,
    ),
    Fault(
        Cause.TIMEZONE_SHIFT, "moments nine hours later", "a UnixTimestamp feature", moments.timezone_shift,
    ),
    Fault(Cause.UNIT_SCALE, "a hundredfold: cents for euros", _NUMBER, values.unit_scale),
    Fault(Cause.CONSTANT_OFFSET, "a thousand more", _NUMBER, values.constant_offset),
    Fault(
        Cause.COLUMN_SWAP, "another column's values of the same rows",
        "a view with two text or two number features of one dtype", values.column_swap,
    ),
    Fault(
        Cause.CATEGORY_RECODE, "codes for the names of categories", "a text feature with 2 to 50 different values",
        texts.category_recode,
    ),
    Fault(
        Cause.STRING_NORMALIZATION, "the same texts in another case, or with a blank behind", "a text feature",
        texts.string_normalization,
    ),
    Fault(Cause.CORRUPT_VALUE, "bytes that do not decode", _LIVE, values.corrupt_value),
    Fault(
        Cause.NEVER_MATERIALIZED, "no watermark, and none of the view's rows online", _LIVE,
        states.never_materialized, "definitions", "freshness",
    ),
    Fault(
        Cause.STALE_WATERMARK, "a watermark an hour older than policy allows",
        f"freshness.max_watermark_lag in the policy, and {_LIVE}", states.stale_watermark, "definitions", "freshness",
    ),
    Fault(
        Cause.DEFINITION_CHANGED, "a TTL a second longer than the contract says", _LIVE, states.definition_changed,
        "definitions", "definition",
    ),
    Fault(
        Cause.SOURCE_DEFECT, "source rows without an event timestamp", _LIVE, offline.source_defect, "offline",
        "preflight",
    ),
    Fault(
        Cause.LEAKAGE, "offline values corrected after the moment that a training row is for",
        f"{_CREATED} that is never after the watermark for rows that are rightly online, and {_LIVE}",
        offline.leakage, "offline", "leakage",
    ),
)  # fmt: skip
FAULTS: dict[str, Fault] = {fault.cause.value: fault for fault in _ALL}
"""By the name of the cause."""
NO_FAULT: dict[str, str] = {
    Cause.TRANSFORM_DIVERGENCE.value: "an on-demand view's code would have to differ between the two sides",
    Cause.SERVED_BEFORE_KNOWN.value: "seen by replay alone, in what a server logged",
    Cause.DISTRIBUTION_DRIFT.value: "no value of it is wrong, and it is seen in days of what a server logged",
    Cause.JOINT_DRIFT.value: "as distribution_drift",
    Cause.STALE_SOURCE.value: "the source stops, and nothing in it is wrong",
    Cause.UNEXPLAINED.value: "what is left when no cause fits",
}
"""Causes that no drill makes, and why."""
