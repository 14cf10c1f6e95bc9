"""HTML and JSON reports of a run."""
