"""One module a check; each takes its inputs and returns a CheckResult."""
