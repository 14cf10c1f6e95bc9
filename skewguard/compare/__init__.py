"""The value-by-value comparison of a view, chunk by chunk; checks turn it into findings."""
