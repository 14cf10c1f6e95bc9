"""A feature store with a training-serving skew guard."""
