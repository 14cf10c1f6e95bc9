"""Which features of a service a finding is about: what the gates act on, feature by feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from skewguard.definitions import OnDemandDef, Projection, ServiceDef


@dataclass(frozen=True)
class Place:
    """A feature of a service: the name that its view goes by there (alias, else name), the view's own, its own."""

    prefix: str
    view: str
    feature: str

    @property
    def reference(self) -> str:
        """As policy names it: ``view:feature``, whatever the alias."""
        return f"{self.view}:{self.feature}"

    @property
    def column(self) -> str:
        """Its full feature name."""
        return f"{self.prefix}__{self.feature}"


@dataclass(frozen=True)
class Blocked:
    """What a blocking finding names: a feature of a view, a whole view (``feature`` None), or nothing: everything.

    ``feature`` without ``view`` is the name of a column, or several with ", " between them, as expectations have it.
    """

    view: str | None
    feature: str | None


def places(service: ServiceDef) -> tuple[Place, ...]:
    """The features of a service, in the order of its outputs."""
    stored = [Place(p.name, p.view.name, f.name) for p in service.projections for f in p.features]
    return (*stored, *(Place(od.output_prefix, od.name, f.name) for od in service.on_demand for f in od.features))


def named(found: Blocked, service: ServiceDef) -> tuple[Place, ...] | None:
    """The features of the service that are named one by one; None where they are not, or not all are known."""
    if found.feature is None:
        return None
    if found.view is not None:
        some = tuple(p for p in places(service) if found.feature == p.feature and found.view in (p.prefix, p.view))
        return some or None
    by_column: dict[str, list[Place]] = {}
    for place in places(service):
        for name in (place.feature, place.column):
            by_column.setdefault(name, []).append(place)
    columns = [found.feature] if found.feature in by_column else found.feature.split(", ")
    if not all(column in by_column for column in columns):
        return None
    return tuple(dict.fromkeys(place for column in columns for place in by_column[column]))


def blocked_places(findings: Iterable[Blocked], service: ServiceDef) -> frozenset[Place]:
    """Every feature of the service that findings are about.

    A view stands for all its features. Outputs of an on-demand view are about what they are computed from. What names
    neither a view nor a feature that the service reads is about the whole service.
    """
    found: set[Place] = set()
    for item in findings:
        found.update(_of(item, service))
    return frozenset(found)


def _of(item: Blocked, service: ServiceDef) -> Iterator[Place]:
    direct = named(item, service) or ()
    computed = [od for od in service.on_demand if any(_reads(p, item, direct) for p in od.inputs)]
    whole = [p for p in places(service) if item.feature is None and item.view in (p.prefix, p.view)]
    if not direct and not whole and not computed:
        yield from places(service)
        return
    yield from direct
    yield from whole
    for definition in computed:
        yield from _outputs(definition)


def _reads(projection: Projection, item: Blocked, direct: tuple[Place, ...]) -> bool:
    """Is an input of an on-demand view among what the finding names?"""
    features = {f.name for f in projection.features}
    if item.view in (projection.name, projection.view.name):
        return item.feature is None or item.feature in features
    return any(place.view == projection.view.name and place.feature in features for place in direct)


def _outputs(definition: OnDemandDef) -> Iterator[Place]:
    for feature in definition.features:
        yield Place(definition.output_prefix, definition.name, feature.name)
