"""The output folder of a training run: model.joblib, contract.json, metrics.json; all of them or none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skewguard.errors import BadInputError

MODEL, CONTRACT, METRICS = "model.joblib", "contract.json", "metrics.json"


def check_target(out: Path) -> None:
    """Refuse a target that is not ours to replace: a file, or a folder with anything but a former run's output.

    Raises BadInputError.
    """
    if out.exists() and not out.is_dir():
        raise BadInputError("out", f"{out}, which is a file", "a folder, new or of a former run")
    foreign = sorted({p.name for p in out.iterdir()} - {MODEL, CONTRACT, METRICS}) if out.is_dir() else []
    if foreign:
        raise BadInputError("out", f"{out}, which holds {foreign[0]!r}", "a folder that is new, or of a former run")


def save(out: Path, pipeline: Any, contract_json: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Write the three files into a new folder beside ``out``, then put it in its place. Returns the metrics written.

    ``metrics`` gets ``model_sha256``, the digest of the model file. A reader sees the former run whole or this one
    whole, but for the moment between two renames, in which it sees no folder. Raises BadInputError as ``check_target``.
    """
    import joblib

    check_target(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        scratch.chmod(0o755)
        joblib.dump(pipeline, scratch / MODEL, protocol=5)
        (scratch / CONTRACT).write_text(contract_json, encoding="utf-8")
        written = {**metrics, "model_sha256": hashlib.sha256((scratch / MODEL).read_bytes()).hexdigest()}
        text = json.dumps(written, indent=2, sort_keys=True, allow_nan=False) + "\n"
        (scratch / METRICS).write_text(text, encoding="utf-8")
        _replace(out, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return written


def _replace(out: Path, scratch: Path) -> None:
    if not out.exists():
        scratch.rename(out)
        return
    former = out.with_name(f".{out.name}.{os.getpid()}.former")
    out.rename(former)
    try:
        scratch.rename(out)
    except OSError:
        former.rename(out)
        raise
    shutil.rmtree(former)
