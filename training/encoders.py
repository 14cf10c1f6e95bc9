"""Transformers that scikit-learn has none for: timestamps and lists as numbers, and columns that are always missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

if TYPE_CHECKING:
    import pandas as pd

Matrix = npt.NDArray[np.float64]
SECONDS_PER_DAY = 86_400.0


class AgeInDays(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Timestamps as days before the as-of time, which is the last column given; null stays NaN.

    The age is what a model can use at any moment: a date itself only grows.
    """

    def fit(self, x: pd.DataFrame, y: Any = None) -> AgeInDays:  # noqa: ARG002
        """Nothing to learn."""
        self.n_features_in_ = x.shape[1]
        self.feature_names_in_ = np.asarray(x.columns, dtype=object)
        return self

    def transform(self, x: pd.DataFrame) -> Matrix:
        """One column for each timestamp, in days."""
        seconds = np.asarray(x, dtype=np.float64)
        ages: Matrix = (seconds[:, -1:] - seconds[:, :-1]) / SECONDS_PER_DAY
        return ages

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:  # noqa: ARG002
        """``<column>__age_days`` for each timestamp."""
        return np.array([f"{name}__age_days" for name in self.feature_names_in_[:-1]], dtype=object)


class ListSummary(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Lists as numbers: length and, with ``numeric``, first, mean, smallest and largest element.

    A null list has NaN everywhere; an empty one has length 0 and NaN for the rest; null elements do not count.
    """

    def __init__(self, numeric: bool = True) -> None:
        self.numeric = numeric

    def fit(self, x: pd.DataFrame, y: Any = None) -> ListSummary:  # noqa: ARG002
        """Nothing to learn."""
        self.n_features_in_ = x.shape[1]
        self.feature_names_in_ = np.asarray(x.columns, dtype=object)
        return self

    def transform(self, x: pd.DataFrame) -> Matrix:
        """Five columns (one without ``numeric``) for each list column."""
        parts = [self._one(x.iloc[:, index]) for index in range(x.shape[1])]
        return np.hstack(parts) if parts else np.empty((len(x), 0))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:  # noqa: ARG002
        """``<column>__length`` and so on."""
        return np.array([f"{name}__{part}" for name in self.feature_names_in_ for part in self._parts()], dtype=object)

    def _parts(self) -> tuple[str, ...]:
        return ("length", "first", "mean", "min", "max") if self.numeric else ("length",)

    def _one(self, column: pd.Series[Any]) -> Matrix:
        out = np.full((len(column), len(self._parts())), np.nan)
        for row, value in enumerate(column):
            if value is None:
                continue
            out[row, 0] = len(value)
            kept = [float(element) for element in value if element is not None] if self.numeric else []
            if kept:
                out[row, 1:] = kept[0], sum(kept) / len(kept), min(kept), max(kept)
        return out


class FillEmpty(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Zeros in every column that had no value at all in training, so that no model splits on it.

    scikit-learn 1.9's gradient boosting takes NaN beside values, but fails to bin a column of nothing but NaN. Such a
    column is what a view looks like whose rows are all past their TTL.
    """

    def fit(self, x: Matrix, y: Any = None) -> FillEmpty:  # noqa: ARG002
        """Learn which columns are empty."""
        self.n_features_in_ = x.shape[1]
        self.empty_ = np.isnan(x).all(axis=0)
        return self

    def transform(self, x: Matrix) -> Matrix:
        """The same columns, the empty ones as zeros."""
        return np.where(self.empty_, 0.0, x)
