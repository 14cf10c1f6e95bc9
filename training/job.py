"""The training job: training set from the guard, split by time, fit, evaluate, save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from skewguard.errors import BadInputError
from training.dataset import Dataset, SplitRule, make_dataset, split_by_time
from training.evaluate import evaluate
from training.output import check_target, save
from training.train import MODEL_KINDS, fit

if TYPE_CHECKING:
    from skewguard import TrainingSet

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What to train: see ``python -m training --help``. ``as_of`` counts as now for the gate, None: the wall clock.

    ``threads``: one by default, because sums in another order have other last bits, and scikit-learn keeps the number
    in the model: with one, the model file is the same whatever the machine's number of cores.
    """

    repo: Path
    service: str
    entity_rows: Path
    label: str
    out: Path
    model: str = "boosting"
    seed: int = 0
    threads: int = 1
    split: SplitRule = field(default_factory=SplitRule)
    timestamp: str | None = None
    as_of: datetime | None = None
    allow: str | None = None


def run(job: Job, say: Say = lambda _: None) -> dict[str, Any]:
    """Run a job; returns what metrics.json holds. Nothing is written unless all of it worked.

    Raises GateBlocked where the training gate is closed, BadInputError, UnknownNameError, ConfigurationError,
    StoreUnavailableError.
    """
    if job.model not in MODEL_KINDS:
        raise BadInputError("model", repr(job.model), f"one of {', '.join(MODEL_KINDS)}")
    if job.threads < 1:
        raise BadInputError("threads", str(job.threads), "one or more")
    check_target(job.out)
    training_set = build_training_set(job)
    dataset = make_dataset(training_set.to_arrow(), training_set.feature_names, job.label, job.timestamp)
    contract = training_set.contract
    say(f"{dataset.table.num_rows:,} rows, {len(dataset.features)} features, contract {contract.digest[:12]}")
    facts = {"contract_digest": contract.digest, "service": job.service}
    return train_and_save(job, dataset, contract.to_json(), facts, say)


def build_training_set(job: Job) -> TrainingSet:
    """The one place that needs the guard: a training set, validated, gated and under contract."""
    from skewguard import SkewGuard

    guard = SkewGuard(job.repo)
    seeds = {"model": job.seed}
    return guard.training_set(job.entity_rows, job.service, seeds=seeds, allow=job.allow, as_of=job.as_of)


def train_and_save(
    job: Job, dataset: Dataset, contract_json: str, facts: Mapping[str, Any], say: Say = lambda _: None
) -> dict[str, Any]:
    """Split, fit, evaluate and save; the part that needs nothing but a table. Returns what metrics.json holds."""
    dataset.labels()  # a label that cannot be used is refused before any work
    split = split_by_time(dataset, job.split)
    train, test = dataset.rows(split.train), dataset.rows(split.test)
    test_from = datetime.fromtimestamp(split.test_from / 1e6, UTC).isoformat().replace("+00:00", "Z")
    say(f"fit on {train.table.num_rows:,} rows before {test_from}, test on {test.table.num_rows:,} from then on")
    with threadpool_limits(limits=job.threads):
        pipeline = fit(train, job.model, job.seed)
        measured = {"train": asdict(evaluate(pipeline, train)), "test": asdict(evaluate(pipeline, test))}
    metrics = {
        **facts,
        "model": job.model,
        "seed": job.seed,
        "label": job.label,
        "features": list(dataset.features),
        "test_from": test_from,
        "gap_days": job.split.gap.total_seconds() / 86_400,
        "rows_dropped_for_gap": int((~(split.train | split.test)).sum()),
        **measured,
    }
    return save(job.out, pipeline, contract_json, metrics)
