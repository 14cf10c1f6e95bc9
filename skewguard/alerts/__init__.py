"""Alerts: incidents that open, worsen or close, told once to each target; docs/nightly.md."""
