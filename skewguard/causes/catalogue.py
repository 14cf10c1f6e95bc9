"""What each cause means for action: can the online store be repaired from offline, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from skewguard.findings import Cause


@dataclass(frozen=True)
class CauseInfo:
    """``says`` completes "<n> rows of <view> ..."; ``advice`` is what to do; ``repairable`` from offline rows.

    ``comes_back``: whoever writes the online value makes it wrong, so that a repair lasts until the next write.
    """

    says: str
    advice: str
    repairable: bool = False
    comes_back: bool = False


_REPAIR = "Run `skewguard repair`: it shows its plan, then writes the expected values."
_PIPELINE = "Fix the pipeline that writes the online value"

CATALOGUE: dict[Cause, CauseInfo] = {
    Cause.NOT_MATERIALIZED: CauseInfo(
        "hold a value from before the last offline rows, which no materialization covered",
        "Run `skewguard materialize`, and more often if this returns.",
    ),
    Cause.LATE_ARRIVAL: CauseInfo(
        "miss a row that arrived offline after its window was materialized", _REPAIR, repairable=True
    ),
    Cause.BLOCKED_CORRECTION: CauseInfo(
        "hold a value that was corrected offline under the same event timestamp, which Feast's Redis writer refuses",
        _REPAIR,
        repairable=True,
    ),
    Cause.OUT_OF_ORDER_WRITE: CauseInfo(
        "hold an older row than the one that was due at the watermark",
        _REPAIR + " Then look for a writer with skip_dedup, or a restored backup.",
        repairable=True,
    ),
    Cause.AHEAD_OF_OFFLINE: CauseInfo(
        "hold a row newer than any offline row",
        "Backfill offline what was pushed online; training cannot see it until then.",
    ),
    Cause.EXPIRED_BUT_SERVED: CauseInfo(
        "are older than the TTL at the as-of time and still in the store",
        "Serve through skewguard, which enforces the TTL, or run `skewguard repair` to remove the rows.",
        repairable=True,
    ),
    Cause.MISSING_ONLINE: CauseInfo(
        "are absent online although they were due", _REPAIR + " Then check evictions and key TTLs.", repairable=True
    ),
    Cause.FIELD_NEVER_WRITTEN: CauseInfo(
        "hold the view's row, but this field was never written (a feature added later)", _REPAIR, repairable=True
    ),
    Cause.ORPHAN_ONLINE: CauseInfo(
        "exist online but not offline (never did, or deleted)",
        "If they were deleted on purpose, `skewguard repair --remove-orphans`; if they were pushed, backfill offline.",
        repairable=True,
    ),
    Cause.ENTITY_KEY_MISMATCH: CauseInfo(
        "are stored under another key that means the same entity, so no look-up finds them",
        "Make the writer's join key the dtype and the text that the entity has, then run `skewguard repair`; "
        "the rows under the other keys stay until you delete them.",
        repairable=True,
        comes_back=True,
    ),
    Cause.COLUMN_SWAP: CauseInfo(
        "hold another column's values",
        _PIPELINE + " (it mixed columns up), then run `skewguard repair`.",
        repairable=True,
        comes_back=True,
    ),
    Cause.CATEGORY_RECODE: CauseInfo(
        "are a one-to-one renaming of the offline categories",
        _PIPELINE + " (use the encoding that training uses), then run `skewguard repair`.",
        repairable=True,
        comes_back=True,
    ),
    Cause.STRING_NORMALIZATION: CauseInfo(
        "hold the same text in another form",
        _PIPELINE + " (normalize in one place, before both stores), then run `skewguard repair`.",
        repairable=True,
        comes_back=True,
    ),
    Cause.UNIT_SCALE: CauseInfo(
        "are a constant multiple of the offline value",
        _PIPELINE + " (its unit changed), then run `skewguard repair`.",
        repairable=True,
        comes_back=True,
    ),
    Cause.CONSTANT_OFFSET: CauseInfo(
        "are the offline value plus a constant",
        _PIPELINE + ", then run `skewguard repair`.",
        repairable=True,
        comes_back=True,
    ),
    Cause.TIMEZONE_SHIFT: CauseInfo(
        "are off by a fixed whole number of minutes",
        _PIPELINE + " (local time written as UTC), then run `skewguard repair`.",
        repairable=True,
        comes_back=True,
    ),
    Cause.NULL_DEFAULT: CauseInfo(
        "are null on one side and a constant fill on the other",
        _PIPELINE + " (it fills nulls), then run `skewguard repair`.",
        repairable=True,
        comes_back=True,
    ),
    Cause.TYPE_CAST: CauseInfo(
        "lost precision in a cast",
        "Declare the dtype that the source has, apply, and run `skewguard materialize` or `skewguard repair`: Feast's "
        "own run takes integers through float64 where one beside them is null.",
        repairable=True,
        comes_back=True,
    ),
    Cause.TRANSFORM_DIVERGENCE: CauseInfo(
        "were computed otherwise online than offline, from equal inputs",
        "Compare the on-demand view's code on both sides: its mode, and what it does with nulls and integers.",
    ),
    Cause.SERVED_BEFORE_KNOWN: CauseInfo(
        "hold a value that offline did not know at that moment: from the future, or created later",
        "Train with filter_by_created_timestamp, so that training too sees only what was known.",
    ),
    Cause.DEFINITION_CHANGED: CauseInfo(
        "changed its definition since the contract", "Train again under the new definition, or restore the old one."
    ),
    Cause.CORRUPT_VALUE: CauseInfo("hold bytes that do not decode", _REPAIR, repairable=True),
    Cause.UNEXPLAINED: CauseInfo(
        "differ without a known cause", "Look at the sample rows; `skewguard repair` writes the expected values.", True
    ),
    Cause.NEVER_MATERIALIZED: CauseInfo("was never materialized", "Run `skewguard materialize`."),
    Cause.STALE_WATERMARK: CauseInfo(
        "has a watermark older than policy allows", "Run `skewguard materialize`; see why the schedule stopped."
    ),
    Cause.STALE_SOURCE: CauseInfo("has no recent offline rows", "See why the job that writes the source stopped."),
    Cause.EXPECTATION_FAILED: CauseInfo(
        "fails an expectation", "Look at the unexpected values; change the data or the suite."
    ),
    Cause.EXPECTATION_BROKEN: CauseInfo(
        "has an expectation that could not run", "Mend the expectation in the suite's JSON file."
    ),
    Cause.CONTRACT_MISSING: CauseInfo(
        "has no contract to compare with", "Build a training set: `skewguard training-set` writes the contract."
    ),
    Cause.SOURCE_DEFECT: CauseInfo(
        "has a defect in its source", "Mend the job that writes the source, or its definition."
    ),
    Cause.DEFINITION_RISK: CauseInfo("has a definition that goes wrong", "Change the definition, and apply."),
    Cause.LEAKAGE: CauseInfo(
        "hold a value that was created after their as-of time, and had another one then",
        "Train with filter_by_created_timestamp, so that training sees only what was known.",
    ),
    Cause.DISTRIBUTION_DRIFT: CauseInfo(
        "come from another distribution than the reference",
        "See whether the world changed (train again on new data) or a pipeline did (mend it).",
    ),
    Cause.JOINT_DRIFT: CauseInfo(
        "are told from the reference's by a classifier",
        "Look at the features that give it away, together: their relation changed.",
    ),
}
