"""Training jobs on the SDK."""
