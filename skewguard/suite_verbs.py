"""What SkewGuard does about suites of expectations: propose one, take one over from elsewhere."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.errors import BadInputError
from skewguard.workspace import Workspace, utc

if TYPE_CHECKING:
    from skewguard.collect import Progress
    from skewguard.initialising import Proposal


class SuiteVerbs(Workspace):
    """The part of SkewGuard that is about suites."""

    def propose_suite(
        self,
        service: str,
        *,
        entity_df: Any = None,
        training_set: Any = None,
        rows: int = 5000,
        as_of: datetime | str | None = None,
        progress: Progress | None = None,
    ) -> Proposal:
        """A suite for a feature service from a profile of its training rows, beside the suite that is there.

        Profiled is ``training_set``, or the features of ``entity_df`` (both as in ``training_set``), or else about
        ``rows`` vectors made from the sources as known at ``as_of``. Nothing is written until ``Proposal.save``.
        Raises BadInputError, UnknownNameError, ConfigurationError, StoreUnavailableError.
        """
        from skewguard import profiled_rows
        from skewguard.initialising import propose

        definition = self.feast.service(service)
        if training_set is not None and entity_df is not None:
            raise BadInputError("entity_df", "a training set beside it", "one of the two")
        if rows < 1:
            raise BadInputError("rows", str(rows), "at least 1")
        if training_set is not None:
            found = profiled_rows.from_training_set(definition, training_set)
        elif entity_df is not None:
            found = profiled_rows.from_entity_rows(self, definition, entity_df, progress)
        else:
            found = profiled_rows.from_sources(self, definition, utc(as_of, self.clock), rows, progress)
        return propose(self, service, found)

    def take_over_suite(self, service: str, path: str | os.PathLike[str], suite: str | None = None) -> Proposal:
        """A suite of a GX 1.x file context (or a suite's file) as a feature service's, beside the one that is there.

        Nothing is written until ``Proposal.save``. Raises UnknownNameError, SuiteError with every problem.
        """
        from skewguard.initialising import take_over

        self.feast.service(service)
        return take_over(self, service, Path(path), suite)
