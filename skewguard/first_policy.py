"""The first skewguard.yaml of a repository: every default as a comment, ready to be changed."""

FIRST_POLICY = """\
# What the guard does with what it finds. Every key is optional: the values in the comments are the defaults.
# Unknown keys are refused with the nearest name; docs/policy.md has every key.
version: 1

# What a closed gate does to training_set(): block, warn, off.
# training: block

# What a blocked verdict, or an answer that fails a critical expectation, does to look-ups over HTTP:
# reject, fallback (another value is sent, and told), annotate (the answer tells), off.
# serving: reject

# Which other value: last_known_good, contract_default (median or mode), null; the ones behind it come next.
# fallback: last_known_good

# Does a verdict that could not be reached close the training gate? block, warn, ignore. It never counts as passed.
# inconclusive: block

# An older verdict counts as inconclusive at training.
# verdict_max_age: 2d

# What a failed expectation of each severity does: block, warn, ignore.
# severities: {critical: block, warning: warn, info: ignore}

# Below this share of compared rows, a check is inconclusive.
# min_coverage: 0.95

# How old the online store may be, and the newest row of a source (not checked unless said).
# freshness:
#   max_watermark_lag: 2d
#   max_source_lag: 3d

# What a finding of one cause does, whatever its default (docs/causes.md).
# causes:
#   late_arrival: warn

# Other keys for one feature service.
# services:
#   my_service:
#     serving: annotate
"""
