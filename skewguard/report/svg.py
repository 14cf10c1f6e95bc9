"""The charts, as inline SVG written by hand: small, deterministic, styled by the page's CSS, told in words as well.

Every function returns ``Markup`` with ``role="img"``, an ``aria-label`` and a ``<title>``; whatever came from outside
is escaped. Colour never carries the meaning alone: offline is filled and online an outline, verdicts have signs.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from skewguard.findings import Verdict
from skewguard.report.figures import clean, count, percent

SPLIT_COLOURS = 8
"""Classes c0 to c7 of the split bar, in the order of the segments; later ones share the last."""

_SIGNS = {Verdict.PASS: "✓", Verdict.WARN: "!", Verdict.BLOCK: "✕", Verdict.INCONCLUSIVE: "?"}
_MOST_NAMED_BINS = 8


def _svg(css: str, width: int, height: int, label: str, body: str, title: str = "") -> Markup:
    """An image told by ``label``; ``title``, which a pointer shows, may be shorter."""
    text = escape(label)
    return Markup(  # noqa: S704  (the only markup is ours; label and texts inside body are escaped)
        f'<svg class="{css}" viewBox="0 0 {width} {height}" role="img" aria-label="{text}">'
        f"<title>{escape(title or label)}</title>{body}</svg>"
    )


def _n(value: float) -> str:
    """A coordinate with at most one decimal, the shortest way."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def histogram(
    name: str,
    labels: Sequence[str],
    offline: Sequence[int],
    online: Sequence[int],
    *,
    small: bool = False,
    sides: tuple[str, str] = ("offline", "online"),
) -> Markup:
    """Offline (filled) under online (stepped line), as shares of each side's own values over the same bins.

    ``sides`` are what the two are called, where they are others.

    ``small`` leaves out axis, labels and the name, for a table cell that stands beside the name. An empty text when
    there are no bins.
    """
    bins = min(len(labels), len(offline), len(online))
    if bins == 0:
        return Markup("")
    left, right = sum(offline[:bins]), sum(online[:bins])
    shares = [value / left if left else 0.0 for value in offline[:bins]]
    others = [value / right if right else 0.0 for value in online[:bins]]
    top = max(*shares, *others) or 1.0
    width, height = (120, 28) if small else (480, 150)
    base, ceiling = (height - 1, 2) if small else (height - 22, 14)
    step = width / bins

    def steps(values: Sequence[float]) -> str:
        return _steps([round(base - (base - ceiling) * value / top) for value in values], base, step)

    told = f"{sides[0]} {count(left)}, {sides[1]} {count(right)} values in {bins} bins"
    if small:
        if shares == others:
            return _svg("spark", width, height, told, f'<path class="off on" d="{steps(shares)}"/>')
        body = f'<path class="off" d="{steps(shares)}"/><path class="on" d="{steps(others)}"/>'
        return _svg("spark", width, height, told, body)
    body = f'<path class="off" d="{_bars(shares, top, base, ceiling, step)}"/>' if left else ""
    body += f'<path class="on" d="{steps(others)}"/>' if right else ""
    body += f'<path class="axis" d="M0 {base}H{width}"/><text x="{width}" y="10" class="end">{percent(top)}</text>'
    return _svg("hist", width, height, f"{name}: {told}", body + _bin_labels(labels[:bins], step, width, height))


def _bars(shares: Sequence[float], top: float, base: int, ceiling: int, step: float) -> str:
    """One path of bars with a gap of 1 between them; a share that is not zero is at least 1 high."""
    wide = _n(step - 1 if step >= 4 else step)
    return "".join(
        f"M{_n(index * step)} {base}V{min(round(base - (base - ceiling) * share / top), base - 1)}h{wide}V{base}z"
        for index, share in enumerate(shares)
        if share > 0
    )


def _steps(heights: Sequence[int], base: int, step: float) -> str:
    """A stepped line over the bins, from the base and back to it; equal neighbours are one step."""
    line, at = "M0 " + str(base), base
    for index, height in enumerate(heights):
        if height != at:
            line += (f"H{_n(index * step)}" if index else "") + f"V{height}"
            at = height
    return f"{line}H{_n(len(heights) * step)}V{base}"


def _bin_labels(labels: Sequence[str], step: float, width: int, height: int) -> str:
    """Every bin's label where there is room, else the first and the last."""
    y = height - 7
    room = int(step / 6.5)
    if len(labels) <= _MOST_NAMED_BINS and (room >= 5 or all(len(text) <= room for text in labels)):
        return "".join(
            f'<text x="{_n((index + 0.5) * step)}" y="{y}" class="mid">{escape(clean(text, max(room, 2)))}</text>'
            for index, text in enumerate(labels)
        )
    first, last = (escape(clean(text, 30)) for text in (labels[0], labels[-1]))
    return f'<text x="0" y="{y}">{first}</text><text x="{width}" y="{y}" class="end">{last}</text>'


def cause_split(name: str, parts: Sequence[tuple[str, int]], compared: int) -> Markup:
    """A horizontal bar: compared rows split into those that agree and one segment a cause, in the order given.

    ``parts`` are (cause, rows). Segments of less than 0.6% are drawn at that width, so that none is invisible.
    """
    width, height = 480, 14
    known = [(cause, rows) for cause, rows in parts if rows > 0]
    total = max(compared, sum(rows for _, rows in known))
    if total == 0:
        return Markup("")
    widths = [max(rows / total * width, 3.0) for _, rows in known]
    squeeze = min(1.0, width / sum(widths)) if widths else 1.0
    x, body = 0.0, f'<rect width="{width}" height="{height}" class="agree"/>'
    for index, (wide, (cause, rows)) in enumerate(zip(widths, known, strict=True)):
        tip = escape(f"{cause}: {count(rows)} of {count(total)} rows")
        colour = min(index, SPLIT_COLOURS - 1)
        body += (
            f'<rect x="{_n(x)}" width="{_n(wide * squeeze)}" height="{height}" class="c{colour}">'
            f"<title>{tip}</title></rect>"
        )
        x += wide * squeeze
    told = ", ".join(f"{cause} {percent(rows / total)}" for cause, rows in known) or "all rows agree"
    return _svg("split", width, height, f"{name}: {told}", body)


def verdict_strip(nights: Sequence[tuple[str, Verdict]], slots: int = 14) -> Markup:
    """One cell a run, oldest at the left, the latest at the right and outlined; empty cells where there is no run.

    ``nights`` are (date, verdict), oldest first; the last ``slots`` are drawn.
    """
    shown = list(nights)[-slots:]
    cell, pitch = 26, 30
    body = ""
    for index in range(slots - len(shown)):
        body += f'<rect x="{index * pitch + 2}" y="2" width="{cell}" height="{cell}" rx="5" class="none"/>'
    for index, (date, verdict) in enumerate(shown, start=slots - len(shown)):
        x = index * pitch + 2
        now = " now" if index == slots - 1 else ""
        body += (
            f"<g><title>{escape(date)}: {verdict.value}</title>"
            f'<rect x="{x}" y="2" width="{cell}" height="{cell}" rx="5" class="v-{verdict.value}{now}"/>'
            f'<text x="{x + cell // 2}" y="20" class="sign">{_SIGNS[verdict]}</text></g>'
        )
    told = ", ".join(f"{date} {verdict.value}" for date, verdict in shown) or "none"
    return _svg(
        "strip", slots * pitch, cell + 4, f"The last {len(shown)} runs, oldest first: {told}", body, "the last runs"
    )


def rate_strip(name: str, rates: Sequence[float | None], slots: int = 14, what: str = "mismatch rate") -> Markup:
    """Rates of the last runs as bars, oldest first; a dot where a run had none, nothing where unknown."""
    shown = list(rates)[-slots:]
    top = max((rate for rate in shown if rate), default=0.0)
    width, height, pitch = slots * 12, 28, 12
    bars, dots = "", ""
    for index, rate in enumerate(shown, start=slots - len(shown)):
        x = index * pitch + 1
        if rate:
            tall = max(rate / top * (height - 4), 2)
            bars += f"M{x} {height - 1}V{_n(height - 1 - tall)}h9V{height - 1}z"
        elif rate is not None:
            dots += f"M{x + 3} {height - 2}h3"
    told = ", ".join("unknown" if rate is None else percent(rate) for rate in shown) or "none"
    body = f'<path class="zero" d="{dots}"/><path class="rate" d="{bars}"/>'
    label = f"{name}: {what} of the last runs, oldest first: {told}"
    return _svg("rates", width, height, label, body, f"{what} of the last runs, oldest first")


def rate_dot(rate: float, low: float, high: float) -> Markup:
    """A rate as a dot on a line from 0 to 100%, with its 95% interval as a thicker line."""
    width, height, pad = 104, 14, 5
    scale = width - 2 * pad

    def x(share: float) -> str:
        return _n(pad + scale * min(max(share, 0.0), 1.0))

    body = f'<path class="track" d="M{pad} 7H{width - pad}"/>'
    if low == low and high == high:  # not NaN
        body += f'<path class="range" d="M{x(low)} 7H{x(high)}"/>'
    body += f'<circle cx="{x(rate)}" cy="7" r="4"/>'
    label = f"{percent(rate)}, 95% interval {percent(low)} to {percent(high)}"
    return _svg("dot", width, height, label, body, "rate and 95% interval")


def verdict_icon(verdict: Verdict) -> Markup:
    """The verdict's sign: a tick in a circle, an exclamation mark in a triangle, a cross in an octagon, a question."""
    shapes = {
        Verdict.PASS: '<circle cx="24" cy="24" r="21"/><path d="M14.5 24.5l7 7 12.5-14"/>',
        Verdict.WARN: '<path class="fill" d="M24 4.5L45 42H3z"/><path d="M24 18v11M24 34.5v.6"/>',
        Verdict.BLOCK: (
            '<path class="fill" d="M15.3 3h17.4L45 15.3v17.4L32.7 45H15.3L3 32.7V15.3z"/>'
            '<path d="M16.5 16.5l15 15M31.5 16.5l-15 15"/>'
        ),
        Verdict.INCONCLUSIVE: (
            '<circle cx="24" cy="24" r="21"/><path d="M18 19a6 6 0 1 1 8.6 5.4c-1.7.9-2.6 2-2.6 4.1M24 34.4v.6"/>'
        ),
    }
    return _svg(f"icon v-{verdict.value}", 48, 48, f"Verdict: {verdict.value}", shapes[verdict])
