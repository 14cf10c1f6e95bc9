"""A first list of skew expectations for a comparison frame, with every argument written out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from skewguard.compare.frame import AS_OF, CAUSE, EVENT_TS_ONLINE, OFFLINE, ONLINE, STATE, FeatureInfo, frame_info
from skewguard.contract import FeatureContract
from skewguard.errors import BadInputError
from skewguard.expectations.skew.definitions import ExpectDefinitionsUnchanged
from skewguard.expectations.skew.drift import ExpectDriftNotToBeSignificant
from skewguard.expectations.skew.freshness import ExpectFreshnessToBeBelow
from skewguard.expectations.skew.matching import ExpectOnlineToMatchOffline


def expectations_for(
    table: pa.Table, contract: FeatureContract | None = None, *, max_lag_seconds: float | None = None
) -> list[Any]:
    """Expectations for a comparison frame: every feature's online values match offline under policy's tolerance.

    With ``contract``, no feature that it has a profile of drifted (together they share a budget of 1 %), and the
    definitions are its own; with ``max_lag_seconds``, what is online is no older. Raises BadInputError for a table
    that is no comparison frame, or of another service than the contract.
    """
    info = frame_info(table)
    keys = [name for name, _ in info.join_keys]
    if contract is not None and contract.service != info.service:
        raise BadInputError("contract", f"one of {contract.service!r}", f"one of {info.service!r}")
    found: list[Any] = [_match(feature, keys) for feature in info.features]
    if max_lag_seconds is not None:
        lag = {"max_lag_seconds": max_lag_seconds, "mostly": 1.0, "entity_columns": keys}
        found.append(ExpectFreshnessToBeBelow(column_A=EVENT_TS_ONLINE, column_B=AS_OF, **lag))
    if contract is not None:
        profiles = contract.view_profiles
        profiled = [feature.name for feature in info.features if feature.name in profiles]
        shared = {"as_of_column": AS_OF, "tests": len(profiled)}
        of_contract = ExpectDriftNotToBeSignificant.of_contract
        found += [of_contract(contract, name, name + ONLINE, **shared) for name in profiled]
        found.append(ExpectDefinitionsUnchanged.of_contract(contract))
    return found


def _match(feature: FeatureInfo, keys: list[str]) -> Any:
    return ExpectOnlineToMatchOffline(
        column_A=feature.name + OFFLINE,
        column_B=feature.name + ONLINE,
        dtype=feature.dtype,
        relative=feature.relative,
        absolute=feature.absolute,
        state_column=feature.name + STATE,
        cause_column=feature.name + CAUSE,
        entity_columns=keys,
        mostly=1.0,
    )
