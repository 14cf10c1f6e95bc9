"""Answers against Feast's own: its reader on the same Redis, and its ``remote`` client against our server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from feast import FeatureStore, RepoConfig
from feast.feature_server_utils import convert_response_to_dict

from skewguard.feast_repo import FeastRepo, quiet_feast
from skewguard.plan import ServingPlan
from tests.online_api.conftest import AS_OF, SEEN, Ask, columns

AT = AS_OF.timestamp()
EPOCH = "1970-01-01T00:00:00Z"

# Everything here is inside its TTL, so that Feast (which has no TTL online) and we say the same.
CASES: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "one entity": ({"feature_service": "typed"}, {"driver_id": [1]}),
    "stored nulls and absent": ({"feature_service": "typed"}, {"driver_id": [2, 1, 99]}),
    "duplicates": ({"features": ["stats:trips", "stats:rating"]}, {"driver_id": [1, 2, 1, 1, 4]}),
    "infinities": ({"features": ["stats:score", "stats:rating"]}, {"driver_id": [5, 6]}),
    "composite": ({"feature_service": "drivers"}, {"driver_id": [1, 2, 1], "shop_code": ["x", "", "nowhere"]}),
    "string key": ({"features": ["facts:city", "facts:open"]}, {"shop_code": ["x", "1", "é\u0000"]}),
    "int32 key": ({"feature_service": "numbered"}, {"slot_no": [5, 6]}),
    "keys coerced": ({"features": ["stats:trips"]}, {"driver_id": [1]}),
    "without entities": ({"feature_service": "shops"}, {"shop_code": ["x", "1"]}),
    "aliases": ({"feature_service": "pairs", "full_feature_names": True}, {"origin_id": [1, 2], "target_id": [2, 9]}),
    "view order": ({"features": ["facts:city", "stats:trips"]}, {"driver_id": [1], "shop_code": ["x"]}),
    "full names": ({"feature_service": "drivers", "full_feature_names": True}, {"driver_id": [1], "shop_code": ["x"]}),
    "same short name": (
        {"features": ["stats:score", "facts:score"], "full_feature_names": True},
        {"driver_id": [1], "shop_code": ["x"]},
    ),
    "on demand, pandas": (
        {"features": ["ratios:per_trip", "ratios:rounded"]},
        {"driver_id": [1, 2], "distance": [5.0, 8.0], "at": [AT, AT]},
    ),
    "on demand, python": (
        {"features": ["moments:days", "moments:place"]},
        {"driver_id": [1, 4, 99], "shop_code": ["x", "1", "x"], "distance": [1.0] * 3, "at": [AT] * 3},
    ),
    "on demand, mixed": (
        {"feature_service": "live"},
        {"driver_id": [1, 2], "shop_code": ["x", "x"], "distance": [1.0, 2.0], "at": [AT, AT]},
    ),
    "on demand, one row": ({"feature_service": "singles"}, {"driver_id": [1]}),
    "a key that is not needed": ({"features": ["stats:trips"]}, {"driver_id": [1], "shop_code": ["x"]}),
}


def feast_answer(store: FeatureStore, request: Mapping[str, Any], entities: Mapping[str, list[Any]]) -> dict[str, Any]:
    """What Feast's reader says, as its server would put it into JSON."""
    service = request.get("feature_service")
    rows = {name: list(values) for name, values in entities.items()}
    if "at" in rows:
        rows["at"] = [datetime.fromtimestamp(v, tz=UTC) for v in rows["at"]]
    with quiet_feast():
        response = store.get_online_features(
            features=store.get_feature_service(service) if service else list(request["features"]),
            entity_rows=rows,
            full_feature_names=bool(request.get("full_feature_names", False)),
        )
    body: dict[str, Any] = convert_response_to_dict(response.proto)
    return body


@pytest.mark.parametrize("case", CASES)
def test_values_and_event_timestamps_are_those_of_feast(case: str, repo: FeastRepo, ask: Ask) -> None:
    request, entities = CASES[case]

    ours = ask(**request, entities=entities)
    theirs = feast_answer(repo.store, request, entities)

    assert columns(ours) == columns(theirs)
    on_demand = any(name in case for name in ("on demand",))
    for name, expected in columns(theirs, "event_timestamps").items():
        got = columns(ours, "event_timestamps")[name]
        if not on_demand:
            assert got == expected, name


@pytest.mark.parametrize("case", CASES)
def test_feature_order_is_keys_then_definition_order_every_time(case: str, plan: ServingPlan, ask: Ask) -> None:
    request, entities = CASES[case]
    service = request.get("feature_service")
    definition = plan.service(service) if service else plan.feature_list(request["features"])
    expected = [f.name for f in definition.outputs(bool(request.get("full_feature_names")))]

    names = ask(**request, entities=entities)["metadata"]["feature_names"]

    assert names[-len(expected) :] == expected
    assert set(names[: -len(expected)]) <= set(entities)
    assert [name for name in names if name in {k.name for k in definition.join_keys}] == [
        key.name for key in definition.join_keys
    ]


def remote_store(server_url: str, repo: FeastRepo, headers: Path) -> FeatureStore:
    """Feast's own client: the same registry, ``online_store: {type: remote}``."""
    config = RepoConfig(
        project=repo.project,
        provider="local",
        registry=str(repo.path / "data" / "registry.db"),
        online_store={"type": "remote", "path": server_url},
        offline_store={"type": "dask"},
        entity_key_serialization_version=3,
        repo_path=headers,
    )
    return FeatureStore(config=config)


@pytest.mark.parametrize("case", [name for name in CASES if name != "one entity"])
def test_feasts_remote_client_reads_what_feast_reads(
    case: str, repo: FeastRepo, server_url: str, tmp_path: Path
) -> None:
    request, entities = CASES[case]
    service = request.get("feature_service")
    store = remote_store(server_url, repo, tmp_path)
    features = store.get_feature_service(service) if service else list(request["features"])
    if case == "stored nulls and absent":  # the client cannot rebuild every dtype from JSON; these it can
        features = ["kinds:k_int64", "kinds:k_string", "kinds:k_float64", "kinds:k_bool"]
        request = {"features": features}

    with quiet_feast():
        remote = store.get_online_features(
            features=features, entity_rows=entities, full_feature_names=bool(request.get("full_feature_names"))
        ).to_dict()

    theirs = columns(feast_answer(repo.store, request, entities))
    assert remote == theirs


def test_statuses_tell_what_feast_hides(ask: Ask, repo: FeastRepo) -> None:
    body = ask(features=["stats:trips"], entities={"driver_id": [1, 2, 3, 4, 99]})

    assert columns(body, "statuses")["trips"] == ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NULL_VALUE", "NOT_FOUND"]
    assert columns(body)["trips"] == [10, 20, None, None, None]
    assert columns(body, "event_timestamps")["trips"] == [
        "2026-09-01T11:00:00Z",
        "2026-08-31T12:00:00Z",
        "2026-08-31T11:59:59.999999Z",
        "2026-09-01T10:00:00Z",
        EPOCH,
    ]
    theirs = columns(feast_answer(repo.store, {"features": ["stats:trips"]}, {"driver_id": [3, 99]}), "statuses")
    assert theirs["trips"] == ["PRESENT", "PRESENT"], "Feast still says PRESENT to everything"


def test_decimals_of_timestamps_are_as_many_as_needed(ask: Ask) -> None:
    body = ask(features=["stats:trips"], entities={"driver_id": [5, 6]})

    assert columns(body, "event_timestamps")["trips"] == ["2026-09-01T11:59:59.999Z", "2026-09-01T11:59:59.999993Z"]


def test_infinities_are_texts_as_feasts_server_writes_them(ask: Ask) -> None:
    body = ask(features=["stats:rating", "stats:score"], entities={"driver_id": [5]})

    assert columns(body) == {"driver_id": [5], "rating": ["Infinity"], "score": ["-Infinity"]}


def test_a_row_newer_than_the_as_of_time_is_served(ask: Ask) -> None:
    body = ask(features=["stats:trips"], entities={"driver_id": [7]})

    assert columns(body)["trips"] == [70]


def test_on_demand_timestamp_is_the_oldest_of_its_inputs(ask: Ask) -> None:
    rows = {"driver_id": [1, 4], "shop_code": ["x", "nowhere"], "distance": [1.0, 1.0], "at": [AT, AT]}
    body = ask(features=["moments:place"], entities=rows)

    assert columns(body, "event_timestamps")["place"] == ["2026-09-01T11:00:00Z", "2026-09-01T10:00:00Z"]
    assert columns(body, "statuses")["place"] == ["PRESENT", "NULL_VALUE"]


def test_on_demand_inputs_past_their_ttl_are_null(ask: Ask) -> None:
    rows = {"driver_id": [1, 3], "shop_code": ["late", "x"], "distance": [1.0, 1.0], "at": [AT, AT]}
    body = ask(feature_service="live", entities=rows)

    assert columns(body)["place"] == [None, "ZÜRICH"]
    assert columns(body)["days"] == [pytest.approx((AS_OF - SEEN).total_seconds() / 86400), None]
    assert columns(body)["per_trip"][0] == pytest.approx(0.1)
    assert columns(body)["per_trip"][1] is None


def test_python_views_answer_under_full_names(ask: Ask) -> None:
    """Feast 0.67 leaves out the outputs of python views when full_feature_names is set."""
    rows = {"driver_id": [1], "shop_code": ["x"], "distance": [1.0], "at": [AT]}
    body = ask(features=["moments:place"], entities=rows, full_feature_names=True)

    assert columns(body)["moments__place"] == ["ZÜRICH"]


def test_inputs_with_the_same_short_name_are_kept_apart(ask: Ask) -> None:
    """Feast 0.67 gives the view facts' score under both names."""
    body = ask(features=["sums:sum"], entities={"driver_id": [1, 3], "shop_code": ["x", "x"]})

    assert columns(body)["sum"] == [2.0, None]


def test_singleton_views_answer_every_row(ask: Ask) -> None:
    """Feast 0.67 computes the first row only and answers a column of length one."""
    body = ask(feature_service="singles", entities={"driver_id": [1, 2, 4]})

    assert columns(body)["doubled"] == [20, 40, None]


@pytest.mark.parametrize("sent", ["1", 1.0, True, "+1"])
def test_keys_that_feast_coerces_are_coerced(sent: Any, ask: Ask) -> None:
    body = ask(features=["stats:trips"], entities={"driver_id": [sent]})

    assert columns(body) == {"driver_id": [1], "trips": [10]}
    assert type(columns(body)["driver_id"][0]) is int


def test_a_number_for_a_text_key_is_its_text(ask: Ask) -> None:
    body = ask(features=["facts:city"], entities={"shop_code": [1]})

    assert columns(body) == {"shop_code": ["1"], "city": ["one"]}


def test_entityless_service_alone_needs_no_columns(ask: Ask) -> None:
    body = ask(features=["world:rate", "world:label"], entities={})

    assert columns(body) == {"rate": [1.25], "label": ["all"]}


def test_the_service_wins_over_the_list(ask: Ask) -> None:
    body = ask(feature_service="numbered", features=["stats:trips"], entities={"slot_no": [5]})

    assert columns(body) == {"slot_no": [5], "capacity": [9]}


def test_version_metadata_names_each_view(ask: Ask, repo: FeastRepo) -> None:
    request = {"feature_service": "drivers", "include_feature_view_version_metadata": True}
    entities = {"driver_id": [1], "shop_code": ["x"]}
    with quiet_feast():
        theirs = convert_response_to_dict(
            repo.store.get_online_features(
                features=repo.store.get_feature_service("drivers"),
                entity_rows=entities,
                include_feature_view_version_metadata=True,
            ).proto
        )

    ours = ask(**request, entities=entities)["metadata"]["feature_view_metadata"]

    assert sorted(ours, key=lambda m: m["name"]) == sorted(
        theirs["metadata"]["feature_view_metadata"], key=lambda m: m["name"]
    )


def test_a_large_request_is_answered_in_order(client: httpx.Client) -> None:
    ids = [1 + index % 7 for index in range(5000)]
    response = client.post(
        "/get-online-features", json={"features": ["stats:trips", "stats:score"], "entities": {"driver_id": ids}}
    )

    trips = {1: 10, 2: 20, 3: None, 4: None, 5: 50, 6: 60, 7: 70}
    assert columns(response.json())["trips"] == [trips[i] for i in ids]
    assert not any(isinstance(v, float) and math.isnan(v) for v in columns(response.json())["score"])
