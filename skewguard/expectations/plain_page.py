"""GX's Data Docs pages as pages that load nothing and run nothing.

GX 1.24's pages take styles, scripts and fonts from seven hosts, and a logo from one that is told the context's id; and
they put values of the data into the page as they are, so that a value may be a script. Here everything that loads or
runs is taken out, a policy in the page forbids the rest, and a few lines of style stand in for Bootstrap.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem; }
p.from { border-left: 4px solid #8884; padding-left: .75rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { border: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.alert { border-top: 2px solid #8888; margin-top: 1.5rem; }
.badge { border: 1px solid #8886; border-radius: 4px; padding: 0 .3em; }
.badge-danger, .text-danger { color: #c5221f; }
.text-success { color: #188038; }
.fa-check-circle::before { content: "holds"; }
.fa-times::before { content: "does not hold"; }
.fa-exclamation-triangle::before { content: "broke"; }
code { overflow-wrap: anywhere; white-space: pre-wrap; }
"""
_GONE = frozenset({"script", "style", "title", "nav", "footer", "button", "noscript", "template", "svg", "math",
                   "iframe", "object", "select", "textarea", "form", "video", "audio"})  # fmt: skip
_KEPT = frozenset({"div", "span", "p", "br", "hr", "table", "thead", "tbody", "tr", "td", "th", "ul", "ol", "li", "h1",
                   "h2", "h3", "h4", "h5", "h6", "strong", "b", "em", "i", "code", "pre", "small", "a", "details",
                   "summary"})  # fmt: skip
_VOID = frozenset({"br", "hr"})
_ATTRIBUTES = frozenset({"id", "class", "colspan", "rowspan", "scope", "title"})
_FURNITURE = re.compile(r"(^|\s)(modal|card|ge-walkthrough\S*)(\s|$)")


def plain_page(page: str, title: str, note: str, back: str) -> str:
    """A page of GX's as one of its own: ``title`` and ``note`` are texts, ``back`` the link to where it is from.

    Kept are headings, tables, lists and texts; links only within the page.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return page_of(title, f'<p class="from"><a href="{html.escape(back)}">Back</a>. {html.escape(note)}</p>'
                          f"{''.join(reader.parts)}")  # fmt: skip


def page_of(title: str, body: str) -> str:
    """A page around a body that is HTML already; nothing in it may load or run."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{html.escape(title)}</h1>{body}</main></body></html>\n"
    )


class _Reader(HTMLParser):
    """Writes down what is kept of a page's body; ``parts`` are HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._inside = False
        self._gone: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._inside = True
            return
        if not self._inside:
            return
        given = dict(attrs)
        if self._gone:
            self._gone += [tag] if tag == self._gone[0] else []
        elif tag in _GONE or (tag in _KEPT - _VOID and _FURNITURE.search(given.get("class") or "")):
            self._gone.append(tag)
        elif tag in _KEPT:
            self.parts.append(f"<{tag}{_attributes(tag, given)}>")
            self._open += [] if tag in _VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        if self._gone:
            if tag == self._gone[0]:
                self._gone.pop()
        elif tag == "body":
            self._inside = False
        elif tag in self._open:
            # what a value left open inside ends here, so that it swallows nothing of the page
            while self._open:
                last = self._open.pop()
                self.parts.append(f"</{last}>")
                if last == tag:
                    break

    def handle_data(self, data: str) -> None:
        if self._inside and not self._gone:
            self.parts.append(html.escape(data, quote=False))


def _attributes(tag: str, given: dict[str, str | None]) -> str:
    kept = {name: value for name, value in given.items() if name in _ATTRIBUTES and value is not None}
    href = given.get("href") or ""
    if tag == "a" and href.startswith("#"):
        kept["href"] = href
    return "".join(f' {name}="{html.escape(value or "")}"' for name, value in kept.items())
