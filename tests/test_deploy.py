"""The files under deploy/: schedules that run what the command line has, rules and dashboard of metrics that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from skewguard import SkewGuard
from skewguard.cli import app
from skewguard.run_metrics import FAMILIES
from tests.drift.members import server
from tests.repos import AS_OF, write_repo

DEPLOY = Path(__file__).parents[1] / "deploy"
NAME = re.compile(r"skewguard_[a-z_]+")


def options_of(command: str) -> set[str]:
    (found,) = [c for c in app.registered_commands if c.callback and (c.name or c.callback.__name__) == command]
    assert found.callback is not None
    return {f"--{name.replace('_', '-')}" for name in found.callback.__annotations__}


def check_command(words: list[str]) -> None:
    assert words[0] == "nightly"
    assert {word for word in words if word.startswith("--")} <= options_of("nightly")


def test_the_cron_line() -> None:
    lines = [
        line for line in (DEPLOY / "cron" / "skewguard").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert lines[0] == "CRON_TZ=UTC"
    fields = lines[1].split()
    assert fields[:7] == ["10", "3", "*", "*", "*", "skewguard", "skewguard"]
    check_command(fields[7 : fields.index(">>")])


def test_the_systemd_units(tmp_path: Path) -> None:
    service = (DEPLOY / "systemd" / "skewguard-nightly.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
    check_command(command.split()[1:])
    assert re.search(r"^SuccessExitStatus=1 3$", service, re.MULTILINE)
    timer = (DEPLOY / "systemd" / "skewguard-nightly.timer").read_text()
    assert re.search(r"^OnCalendar=\*-\*-\* 03:10:00 UTC$", timer, re.MULTILINE)
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return  # what can be told without it was told above
    units = [tmp_path / f"skewguard-nightly.{kind}" for kind in ("service", "timer")]
    units[0].write_text(service.replace("/usr/local/bin/skewguard", "/bin/true"))
    units[1].write_text(timer)
    done = subprocess.run([analyze, "verify", *map(str, units)], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if "skewguard-nightly" in line], done.stderr


def test_the_kubernetes_cron_job() -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes" / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert (job["spec"]["concurrencyPolicy"], job["spec"]["timeZone"]) == ("Forbid", "Etc/UTC")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    check_command(container["args"])
    assert pod["restartPolicy"] == "Never"  # what a pod failure policy asks for
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def missing(wanted: Any, got: Any, path: str = "") -> list[str]:
    """Fields of a document that another one has not, or has otherwise."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        return [lack for key, value in wanted.items() for lack in missing(value, got.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        return [lack for one, two in zip(wanted, got, strict=True) for lack in missing(one, two, path)]
    return [] if wanted == got else [path]


def test_kubernetes_knows_every_field_of_the_cron_job(tmp_path: Path) -> None:
    """kubectl reads the file as its own CronJob, and drops what that has not; no cluster is needed."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH")

    def read(text: str) -> list[str]:
        path = tmp_path / "cronjob.yaml"
        path.write_text(text)
        wanted = yaml.safe_load(text)
        (container,) = wanted["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        image = f"{container['name']}={container['image']}:other"
        done = subprocess.run(
            [kubectl, "set", "image", "--local", "-f", str(path), image, "-o", "json"],
            capture_output=True, text=True, check=True, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        return missing(wanted, json.loads(done.stdout))

    image = ".spec.jobTemplate.spec.template.spec.containers.image"
    text = (DEPLOY / "kubernetes" / "cronjob.yaml").read_text()
    assert read(text) == [image]
    assert read(text.replace("concurrencyPolicy", "concurencyPolicy")) == [".spec.concurencyPolicy", image]


@pytest.mark.parametrize("command", [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"],
                                     ["check", "config", "--syntax-only", "prometheus.yml"]])  # fmt: skip
def test_promtool(command: list[str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH (Debian's package prometheus has it)")
    done = subprocess.run([promtool, *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*found, *(v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query")]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> str:
    """What a real server tells at /metrics after a real run that found something, and a look-up."""
    redis_server.client().flushall()
    repo = write_repo(tmp_path_factory.mktemp("deploy") / "repo", redis_server.connection_string)
    guard = SkewGuard(repo, clock=lambda: AS_OF)
    guard.feast.apply()
    guard.materialize(as_of=AS_OF)
    with redis_server.client() as client:
        client.delete(sorted(client.keys())[0])
    assert guard.check("till_v1", as_of=AS_OF).findings
    with server(repo, AS_OF) as http:
        asked = {"features": ["shop_stats:turnover"], "entities": {"shop_id": ["dd"]}}
        assert http.post("/get-online-features", json=asked).status_code in (200, 503)
        answer: httpx.Response = http.get("/metrics")
        assert answer.status_code == 200
        return answer.text


def test_rules_and_dashboard_name_metrics_that_exist(exposed: str) -> None:
    real = {sample.name for family in text_string_to_metric_families(exposed) for sample in family.samples}
    declared = {family.name for family in text_string_to_metric_families(exposed)}
    # counters of what has not happened yet have no samples: their families are there all the same
    known = real | declared | {f"{name}_total" for name in declared} | set(FAMILIES)
    named = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(named) > 15
    assert named - known == set()
    shown = {name for name in real if name in FAMILIES}
    assert {"skewguard_run_verdict", "skewguard_mismatch_ratio", "skewguard_watermark_lag_seconds",
            "skewguard_open_incidents", "skewguard_check_status"} <= shown  # fmt: skip


def test_the_figures_are_the_runs(exposed: str) -> None:
    samples = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(exposed)
        for s in family.samples
    }
    service = ("service", "till_v1")
    assert samples["skewguard_run_verdict", (service, ("verdict", "block"))] == 1
    assert samples["skewguard_run_verdict", (service, ("verdict", "pass"))] == 0
    assert samples["skewguard_run_timestamp_seconds", (service,)] == AS_OF.timestamp()
    assert samples["skewguard_open_incidents", (("action", "block"), service)] >= 1
    lags = {labels: value for (name, labels), value in samples.items() if name == "skewguard_watermark_lag_seconds"}
    assert set(lags.values()) == {0.0}


def test_every_metric_is_documented() -> None:
    text = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    documented = dict(re.findall(r"^\| `(skewguard_[a-z_]+)` \| ([^|]*) \|", text, re.MULTILINE))
    for name, (_, labels) in FAMILIES.items():
        assert documented[name].replace("`", "").split(", ") == ["service", *labels], name
