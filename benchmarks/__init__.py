"""Ours and Feast's, in turn, in one run."""
