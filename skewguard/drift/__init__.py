"""Drift: how far two profiles of a column lie apart, how surely, and which of a night's differences are alarms."""
