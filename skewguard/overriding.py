"""Sets and ends overrides: recorded in the history first, then published to the gates."""

from __future__ import annotations

import getpass
from datetime import timedelta
from typing import TYPE_CHECKING

from skewguard.config import parse_duration
from skewguard.errors import BadInputError
from skewguard.history import History
from skewguard.override import Override
from skewguard.state import GATES

if TYPE_CHECKING:
    from skewguard.workspace import Workspace

LONGEST = timedelta(days=30)
"""What is to hold for longer is policy, not an override."""


def set_override(
    workspace: Workspace, service: str, how_long: timedelta | str, reason: str, gate: str, by: str | None
) -> Override:
    """See SkewGuard.override."""
    span = _span(how_long)
    if gate not in ("both", *GATES):
        raise BadInputError("gate", repr(gate), f"one of {', '.join(('both', *GATES))}")
    now = workspace.clock()
    override = Override(service, reason.strip(), now + span, getpass.getuser() if by is None else by, now, gate)
    # an override that nobody could find again is worse than one that failed
    History(workspace.state.history).add_override(override)
    workspace.state.write_override(override)
    return override


def end_override(workspace: Workspace, service: str, by: str | None) -> list[Override]:
    """See SkewGuard.end_override."""
    workspace.state.end_overrides(service)
    who = getpass.getuser() if by is None else by
    return History(workspace.state.history).end_overrides(service, workspace.clock(), who)


def _span(value: timedelta | str) -> timedelta:
    try:
        span = parse_duration(value)
    except ValueError as error:
        raise BadInputError("how_long", repr(value), "a duration such as 4h or 2d") from error
    if span is None or not timedelta(0) < span <= LONGEST:
        raise BadInputError("how_long", repr(value), f"a duration above zero and of at most {LONGEST.days} days")
    return span
