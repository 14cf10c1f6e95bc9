"""The HTTP side: look-ups, the serving gate, metrics and report pages."""
