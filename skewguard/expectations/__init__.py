"""Great Expectations suites: loading, authoring, running."""
