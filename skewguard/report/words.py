"""Verdicts, statuses and causes in plain words: what each means, why it happens, what to do. Texts only, no layout.

Commands are templates: ``{repo}``, ``{service}`` and ``{feature}`` are filled in, quoted for a POSIX shell, and
``{as_of}``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from skewguard.findings import Finding, Run, Verdict
from skewguard.run_json import timestamp

REPAIR = "skewguard repair --service {service} --repo {repo}{as_of}"
MATERIALIZE = "skewguard materialize --repo {repo}{as_of}"
CHECK = "skewguard check --service {service} --repo {repo}{as_of}"
TREND = "skewguard history --service {service} --repo {repo} --feature {feature}"
"""Shown last: after the other steps, the way to see that they helped."""

NOW = timedelta(hours=1)
"""A run whose as-of time is within this of its start was about the present: its commands need no ``--as-of``."""


@dataclass(frozen=True)
class CauseWords:
    """A cause in plain words. ``short`` fits a table cell; ``command`` is the template of what to paste, or empty."""

    short: str
    meaning: str
    why: str
    todo: str
    command: str = ""


@dataclass(frozen=True)
class VerdictWords:
    """A verdict in plain words: one word, the headline (``{service}`` is filled in), and what follows from it."""

    word: str
    headline: str
    consequence: str


VERDICTS: Mapping[Verdict, VerdictWords] = {
    Verdict.PASS: VerdictWords(
        "Pass",
        "{service}: online agrees with offline",
        "Nothing was found that policy acts on. Training and serving may go on.",
    ),
    Verdict.WARN: VerdictWords(
        "Warning",
        "{service}: online differs from offline",
        "Policy warns about what was found and lets training and serving go on.",
    ),
    Verdict.BLOCK: VerdictWords(
        "Blocked",
        "{service}: do not train or serve",
        "Policy closes the gates of this service until the findings that block are gone.",
    ),
    Verdict.INCONCLUSIVE: VerdictWords(
        "Inconclusive",
        "{service}: could not be decided",
        "The guard saw too little to say. This is not a pass.",
    ),
}

DRIFTED = "{service}: what is served has drifted"
"""The headline of a warning where nothing but drift was found."""
UNSURE = "{service}: nothing wrong was seen, by too little data"
"""The headline of a warning without a finding."""

STATUSES: Mapping[str, str] = {"ok": "ran", "inconclusive": "inconclusive", "crashed": "crashed"}
"""A check's status in words. "ok" means that it ran to the end, not that it found nothing."""

ACTIONS: Mapping[str, str] = {"block": "blocks", "warn": "warns", "ignore": "ignored", "": "no policy"}

WORDS: Mapping[str, CauseWords] = {
    "not_materialized": CauseWords(
        "newer rows not materialized",
        "Newer rows exist offline that no materialization covered: it ended before them, or began after them.",
        "The materialization job has not run since these rows arrived, or it stopped early.",
        "Materialize up to now, and look at why the scheduled job did not.",
        MATERIALIZE,
    ),
    "late_arrival": CauseWords(
        "row arrived late",
        "The row belongs to a time that was already materialized, but it was written after that run.",
        "Upstream delivered late; what was already materialized is not looked at again until someone asks for it.",
        "Repair writes the late rows; if it happens often, let materialization overlap its last run.",
    ),
    "blocked_correction": CauseWords(
        "correction not written",
        "A corrected row has the same event timestamp as the wrong one, and a newer created timestamp.",
        "Feast's own writer skips a row whose event timestamp is not newer than the stored one; skewguard's does not.",
        "Repair writes the correction over the stale value.",
    ),
    "out_of_order_write": CauseWords(
        "older row written last",
        "An older row sits online where a newer one was due.",
        "Two writers ran at once, or a backfill of old data overwrote newer rows.",
        "Repair writes the newer row; make sure that one job at a time materializes a view.",
    ),
    "ahead_of_offline": CauseWords(
        "online is ahead of offline",
        "The online value is newer than every offline row of its entity.",
        "It was pushed or streamed into the online store and never written to the offline source.",
        "Backfill the pushed rows into the offline source, else training never sees them.",
    ),
    "expired_but_served": CauseWords(
        "expired, still served",
        "The online value is older than the view's TTL, and is answered all the same.",
        "Feast applies the TTL when it reads history and not when it reads Redis.",
        "Serve through skewguard, which applies the TTL; and find out why the entity gets no newer rows.",
    ),
    "missing_online": CauseWords(
        "missing online",
        "A value is due online and nothing is stored for the entity.",
        "The key was evicted, deleted or expired in Redis, or was never written.",
        "Repair writes the missing rows; look at Redis's memory policy and key TTL.",
    ),
    "field_never_written": CauseWords(
        "field never written",
        "The view's row is stored, but this feature is not in it.",
        "The feature was added to the view after the row was written.",
        "Repair, or materialize the view's whole range once, so that the new feature is filled in.",
    ),
    "orphan_online": CauseWords(
        "no offline row",
        "The online store answers for an entity that has no offline row.",
        "The entity was deleted or never existed offline; the online store keeps what it has.",
        "Find out whether the entity was deleted on purpose, then delete it online as well.",
    ),
    "entity_key_mismatch": CauseWords(
        "stored under another key",
        "The row is stored under a key of another type or with padding, so look-ups miss it.",
        "The writer's join key has another dtype than the entity declares.",
        "Give the writer the entity's dtype and text of the join key; repair writes the rows under their own keys.",
    ),
    "unit_scale": CauseWords(
        "unit or scale changed",
        "The online value is the offline value times a constant.",
        "One side changed its unit (cents for euros, seconds for milliseconds).",
        "Decide which unit is right and mend the side that changed; repair writes the offline values online.",
    ),
    "constant_offset": CauseWords(
        "shifted by a constant",
        "The online value is the offline value plus a constant.",
        "One side changed its zero: an offset, an epoch, or an off-by-one in a count.",
        "Find the side that changed and mend it; repair writes the offline values online.",
    ),
    "null_default": CauseWords(
        "null filled on one side",
        "One side is null where the other holds one constant value.",
        "A fillna or a default runs on one path and not on the other.",
        "Use the same fill on both paths, best inside the feature view.",
    ),
    "type_cast": CauseWords(
        "changed by a cast",
        "The values are equal once both are cast to the narrower type.",
        "A float64 was stored as float32, an integer as float, a number as text, or a timestamp was cut.",
        "Declare the feature with the type that the source has, then materialize again, with skewguard: Feast's own "
        "run takes integers through float64 where one beside them is null.",
        MATERIALIZE,
    ),
    "served_before_known": CauseWords(
        "served before offline knew it",
        "The served value comes from after its moment, or from an offline row that was created later.",
        "Values are pushed online first and loaded offline afterwards, or event timestamps lie in the future.",
        "Train with filter_by_created_timestamp, so that training too sees only what was known.",
    ),
    "timezone_shift": CauseWords(
        "time zone shift",
        "Timestamps differ by a fixed whole number of minutes.",
        "One path reads naive timestamps as UTC, the other as local time.",
        "Store timestamps with their zone on both paths.",
    ),
    "column_swap": CauseWords(
        "columns swapped",
        "The online column holds another column's offline values.",
        "Columns were matched by position and not by name.",
        "Mend the mapping in the job that writes, then repair.",
    ),
    "category_recode": CauseWords(
        "categories renamed",
        "Online categories are a one-to-one renaming of the offline ones.",
        "An encoder or a look-up table was refitted on one path only.",
        "Ship the same encoding to both paths.",
    ),
    "string_normalization": CauseWords(
        "text normalized differently",
        "The texts are equal but for case, white space, Unicode form or length.",
        "One path trims, folds or cuts text and the other does not.",
        "Normalize in one place, before both paths.",
    ),
    "transform_divergence": CauseWords(
        "transform answers differently",
        "An on-demand transform gives different outputs for equal inputs.",
        "The served code or its libraries are not the ones that made the training set.",
        "Deploy the transform that the contract names.",
    ),
    "definition_changed": CauseWords(
        "definition changed",
        "The feature definitions are not the ones that the model was trained with.",
        "Somebody applied a change to the Feast repository after the contract was written.",
        "Train again under the new definitions, or apply the old ones again.",
    ),
    "corrupt_value": CauseWords(
        "does not decode",
        "The stored bytes are not a Feast value.",
        "Something other than Feast wrote to this key, or a write broke off.",
        "Repair overwrites the bytes; find the other writer.",
    ),
    "unexplained": CauseWords(
        "unexplained",
        "The values differ, and no rule explains why.",
        "None of the known causes fits the evidence.",
        "Compare the worst rows below with the source, entity by entity.",
    ),
    "never_materialized": CauseWords(
        "never materialized",
        "This view was never materialized: nothing can be online.",
        "It is new, or its materialization was never scheduled.",
        "Materialize it once, then put it on the schedule.",
        MATERIALIZE,
    ),
    "stale_watermark": CauseWords(
        "materialization is behind",
        "The last materialization ended longer ago than policy allows.",
        "The scheduled job stopped, fails, or runs too seldom.",
        "Materialize now, and look at the job's log.",
        MATERIALIZE,
    ),
    "stale_source": CauseWords(
        "source has no new rows",
        "The newest row of the offline source is older than policy allows.",
        "The upstream pipeline stopped delivering.",
        "Ask the owner of the source; materializing again does not help.",
    ),
    "expectation_failed": CauseWords(
        "expectation failed",
        "The data break a rule of the service's expectation suite.",
        "The data changed, or the rule no longer says what is meant.",
        "Look at the values that break the rule; mend the data, or the suite on purpose.",
    ),
    "expectation_broken": CauseWords(
        "expectation cannot run",
        "A rule of the expectation suite raised an error, so nobody knows whether it holds.",
        "It names a column that is gone, or its arguments do not fit the column's type.",
        "Mend the rule in the suite.",
    ),
    "contract_missing": CauseWords(
        "no contract",
        "There is no contract to check the service against.",
        "No training set has been built for this service in this repository.",
        "Build a training set; its contract is written beside it.",
    ),
    "source_defect": CauseWords(
        "defect in the source",
        "The Parquet source has columns or rows that cannot be read as declared, or that decide nothing.",
        "The job that writes it changed, or was never held against the definitions.",
        "Mend the job, or the definition; the message names the column and the rows.",
    ),
    "definition_risk": CauseWords(
        "definition goes wrong",
        "A name, a type, a TTL or an unapplied change that makes a store fail or answer otherwise than another.",
        "Feast takes the definition without a word, and it goes wrong where it is used.",
        "Change the definition as the message says, and apply.",
        "skewguard preflight --service {service} --repo {repo}",
    ),
    "leakage": CauseWords(
        "created after the as-of time",
        "Training rows hold a value that did not exist yet at their as-of time, and had another one then.",
        "A row was corrected or loaded late; the point-in-time join goes by event timestamps alone.",
        "Train with filter_by_created_timestamp, or write rows under the time at which they are known.",
    ),
    "distribution_drift": CauseWords(
        "another distribution",
        "The values come from another distribution than the reference, by more than chance and than policy allows.",
        "The world changed, another population is served, or a job upstream writes other values.",
        "Where the world changed, train again on new data; where a job did, mend it.",
        TREND,
    ),
    "joint_drift": CauseWords(
        "another joint distribution",
        "A classifier tells served rows from the reference, though each feature alone may look the same.",
        "The relation between features changed: one was computed anew, or rows are joined otherwise.",
        "Look at the features that give it away, together.",
    ),
}

_OTHER = CauseWords("{cause}", "", "", "Read the message and the evidence.")


def words_for(cause: str) -> CauseWords:
    """The words of a cause; one that has none yet is shown by its own name."""
    known = WORDS.get(cause)
    return known or CauseWords(cause.replace("_", " "), _OTHER.meaning, _OTHER.why, _OTHER.todo)


def fill(template: str, run: Run, feature: str = "") -> str:
    """A command template with the run's service and repository and a feature, quoted for the shell, and its as-of time.

    The as-of time is left out of runs about the present, so that the pasted command is about its own present.
    """
    repo = run.provenance.get("repository", ".")
    past = abs(run.started_at - run.as_of) > NOW
    values = {
        "repo": quoted(repo if isinstance(repo, str) else "."),
        "service": quoted(run.service),
        "feature": quoted(feature),
        "as_of": f" --as-of {timestamp(run.as_of)}" if past else "",
    }
    return template.format(**values)


def command_for(finding: Finding, run: Run) -> str:
    """The command that mends a finding (repair where the check says that it can) or looks into it, or an empty text."""
    template = REPAIR if finding.repairable else words_for(finding.cause.value).command
    alike = finding.evidence.get("features")  # of a view whose rows lack all their values
    feature = finding.feature or (alike[0] if isinstance(alike, list | tuple) and alike else None)
    if template == TREND and feature is None:
        return ""
    return fill(template, run, f"{finding.view}:{feature}") if template else ""


def quoted(value: str) -> str:
    """POSIX shell quoting; control characters, which could end a pasted line early, become their escapes."""
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in value)
    return shlex.quote(text)
