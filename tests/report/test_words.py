"""Every verdict and cause is told in plain words, and commands can be pasted whatever the names hold."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from skewguard.cli import app
from skewguard.findings import Cause, Verdict
from skewguard.report import words
from tests.report import samples


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_its_words(cause: Cause) -> None:
    told = words.WORDS[cause.value]
    assert len(told.short) <= 30
    for sentence in (told.meaning, told.why, told.todo):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert 20 < len(sentence) < 200


def test_every_verdict_has_its_words() -> None:
    assert set(words.VERDICTS) == set(Verdict)
    assert "not a pass" in words.VERDICTS[Verdict.INCONCLUSIVE].consequence


def test_a_cause_without_words_is_shown_by_its_name() -> None:
    assert words.words_for("phase_of_the_moon").short == "phase of the moon"


def test_commands() -> None:
    run = samples.blocking()
    past = "--repo feature_repo --as-of 1998-03-01T00:00:00Z"
    assert words.command_for(run.findings[0], run) == f"skewguard repair --service churn_v1 {past}"
    assert words.command_for(run.findings[2], run) == f"skewguard materialize {past}"
    assert words.command_for(run.findings[4], run) == ""
    drifted = samples.drifting()
    trend = "skewguard history --service churn_v1 --repo feature_repo --feature customer_spend:spend_30d"
    assert words.command_for(drifted.findings[0], drifted) == trend
    whole = replace(drifted.findings[0], feature=None, evidence={"features": ["a b", "c"]})
    assert words.command_for(whole, drifted).endswith("--feature 'customer_spend:a b'")
    assert words.command_for(replace(whole, evidence={}), drifted) == ""
    present = replace(run, as_of=run.started_at, provenance={})
    assert words.fill(words.CHECK, present) == "skewguard check --service churn_v1 --repo ."


@pytest.mark.parametrize("template", [words.REPAIR, words.MATERIALIZE, words.CHECK])
def test_the_command_line_has_these_commands(template: str) -> None:
    command, *arguments = shlex.split(words.fill(template, samples.blocking()))[1:]
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    parsed = group.commands[command].make_context(command, arguments)
    assert str(parsed.params["repo"]) == "feature_repo"
    assert parsed.params["as_of"] == "1998-03-01T00:00:00Z"


def test_the_command_line_tells_the_trend_of_a_feature() -> None:
    command, *arguments = shlex.split(words.fill(words.TREND, samples.drifting(), "v:a b"))[1:]
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    parsed = group.commands[command].make_context(command, arguments)
    assert (parsed.params["service"], parsed.params["feature"]) == ("churn_v1", "v:a b")


@pytest.mark.parametrize("name", samples.HOSTILE)
def test_commands_are_quoted_for_the_shell(name: str) -> None:
    run = replace(samples.passing(), service=name, run_id=name, provenance={"repository": name})
    for template in (words.REPAIR, words.CHECK, words.MATERIALIZE, words.TREND):
        parts = shlex.split(words.fill(template, run, name))
        assert len(parts) == 2 + 2 * template.count("{")
        assert all(part.isprintable() for part in parts)
