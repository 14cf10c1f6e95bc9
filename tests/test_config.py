from datetime import timedelta
from pathlib import Path

import pytest

from skewguard.config import DEFAULT_ACTIONS, Policy, ServicePolicy, load_policy, parse_duration
from skewguard.errors import PolicyError, UnknownNameError
from skewguard.findings import Cause


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("36h", timedelta(hours=36)),
        ("7d", timedelta(days=7)),
        ("1.5 h", timedelta(minutes=90)),
        (5, timedelta(seconds=5)),
        (None, None),
    ],
)
def test_durations(text: object, expected: timedelta | None) -> None:
    assert parse_duration(text) == expected


def test_every_cause_has_a_default_action() -> None:
    assert set(DEFAULT_ACTIONS) == {cause.value for cause in Cause}
    assert ServicePolicy().action(Cause.UNEXPLAINED) == "block"
    assert ServicePolicy().action(Cause.BLOCKED_CORRECTION) == "warn"


def test_a_service_overrides_single_keys_and_keeps_the_rest() -> None:
    policy = Policy(
        {
            "causes": {"late_arrival": "ignore"},
            "min_rows": 7,
            "services": {"s": {"causes": {"orphan_online": "warn"}, "training": "warn"}},
        }
    )
    service = policy.for_service("s")
    assert service.action(Cause.LATE_ARRIVAL) == "ignore"
    assert service.action(Cause.ORPHAN_ONLINE) == "warn"
    assert (service.training, service.min_rows) == ("warn", 7)
    assert policy.for_service("other").training == "block"
    assert policy.for_service("other").action(Cause.ORPHAN_ONLINE) == "block"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"trainning": "block"}, "trainning: unknown key. Did you mean 'training'?"),
        ({"training": "maybe"}, "training: got 'maybe'"),
        ({"causes": {"late_arival": "warn"}}, "causes.late_arival: no such cause. Did you mean 'late_arrival'?"),
        ({"causes": {"late_arrival": "shout"}}, "causes.late_arrival: got 'shout'"),
        ({"freshness": {"max_lag": "1d"}}, "freshness.max_lag: unknown key"),
        ({"freshness": {"max_watermark_lag": "soon"}}, "freshness.max_watermark_lag: got 'soon'"),
        ({"sample": 0}, "sample: got 0"),
        ({"services": ["a"]}, "services: got list; expected a mapping"),
        ({"services": {"s": {"serving": "yes"}}}, "services.s.serving: got 'yes'"),
        ({"tolerance": {"absolute": float("inf")}}, "tolerance.absolute: got inf"),
        ({"max_rate": {"missing_online": float("nan")}}, "max_rate.missing_online: got nan"),
        ({"serving": "fall back"}, "serving: got 'fall back'"),
        ({"fallback": "median"}, "fallback: got 'median'"),
        ({"fallback_max_age": None}, "fallback_max_age: got None"),
        ({"row_policy": "loose"}, "row_policy: got 'loose'"),
        ({"row_window": 0}, "row_window: got 0; expected a duration of more than zero"),
        ({"row_min_rows": 0}, "row_min_rows: got 0"),
        ({"features": {"v:f": {"servng": "off"}}}, "features.v:f.servng: unknown key. Did you mean 'serving'?"),
        ({"features": {"v:f": {"training": "reject"}}}, "features.v:f.training: got 'reject'"),
        ({"features": {"v:f": None}}, "features.v:f: got None"),
        ({"version": 2}, "version: got 2; expected 1"),
    ],
)
def test_wrong_policies_are_refused_by_name(document: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy(document, "policy")
    assert message in str(caught.value)


def test_names_that_do_not_exist_are_refused() -> None:
    services = {"churn": {"view": ["spend"]}}
    with pytest.raises(UnknownNameError, match="Did you mean 'churn'"):
        Policy({"services": {"chrun": {}}}).check_names(services)
    with pytest.raises(UnknownNameError, match="view:spend"):
        Policy({"tolerances": {"view:spent": {"absolute": 1}}}).check_names(services)
    with pytest.raises(UnknownNameError, match="'view'"):
        Policy({"freshness_views": {"veiw": {}}}).check_names(services)
    with pytest.raises(UnknownNameError, match="STRING"):
        Policy({"tolerances": {"STRING": {"absolute": 1}}}).check_names(services)
    with pytest.raises(UnknownNameError, match="Did you mean 'view:spend'"):
        Policy({"services": {"churn": {"features": {"view:spent": {}}}}}).check_names(services)
    with pytest.raises(UnknownNameError, match="od:sum"):
        Policy({"features": {"od:sums": {}}}).check_names(services, {"churn": {"od": ["sum"]}})
    Policy({"features": {"od:sum": {}, "view:spend": {}}}).check_names(services, {"churn": {"od": ["sum"]}})
    with pytest.raises(UnknownNameError, match="od:sum"):  # outputs of functions have no tolerance
        Policy({"tolerances": {"od:sum": {"absolute": 1}}}).check_names(services, {"churn": {"od": ["sum"]}})
    Policy({"tolerances": {"view:spend": {"absolute": 1}, "DOUBLE": {"relative": 0.1}}}).check_names(services)
    Policy({"tolerances": {"view:spend": {"absolute": 1}}, "services": {"churn": {}}}).check_names(services)


def test_a_feature_has_its_own_gates() -> None:
    policy = Policy(
        {
            "fallback": None,  # as YAML reads a bare null
            "features": {"v:f": {"serving": "fallback", "fallback": None}, "v:g": {"training": False}},
            "services": {"s": {"features": {"v:f": {"training": "warn"}}}},
        }
    )
    general, service = policy.for_service("other"), policy.for_service("s")
    assert (general.fallback, general.features["v:f"].fallback) == ("null", "null")
    assert (general.training_of("v:f"), general.training_of("v:g"), general.training_of("v:h")) == (None, "off", None)
    assert (service.training_of("v:f"), service.training_of("v:g")) == ("warn", "off")
    assert service.features["v:f"].serving is None  # a feature's section counts as a whole
    assert ServicePolicy().fallback == "last_known_good"


def test_files(tmp_path: Path) -> None:
    assert load_policy(tmp_path).origin == "built-in defaults"
    file = tmp_path / "skewguard.yaml"
    file.write_text("training: warn\n")
    assert load_policy(tmp_path).for_service("any").training == "warn"
    for wrong in ("- a\n", "a: [", "\x00"):
        file.write_text(wrong)
        with pytest.raises(PolicyError, match=r"skewguard\.yaml"):
            load_policy(tmp_path)
    file.write_text("training: off\nserving: off\n")
    assert (load_policy(tmp_path).for_service("any").training, load_policy(tmp_path).for_service("any").serving) == (
        "off",
        "off",
    )
    file.write_text("")
    assert load_policy(tmp_path).for_service("any") == ServicePolicy()
