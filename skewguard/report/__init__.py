"""Reports of a run: one self-contained HTML file, an index of nights, and the short table of the command line."""

from skewguard.report.html import render_html, render_index, write_index, write_report
from skewguard.report.text import render_table

__all__ = ["render_html", "render_index", "render_table", "write_index", "write_report"]
