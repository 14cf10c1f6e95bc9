"""Fits a model: one scikit-learn Pipeline from raw feature columns to a probability, so that serving needs no more."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skewguard.errors import BadInputError
from training.dataset import Dataset, FeatureKinds
from training.encoders import AgeInDays, FillEmpty, ListSummary

ModelKind = Literal["boosting", "logistic"]
MODEL_KINDS: tuple[str, ...] = get_args(ModelKind)
MAX_CATEGORIES = 32


def make_pipeline(kinds: FeatureKinds, timestamp: str, model: str = "boosting", seed: int = 0) -> Pipeline:
    """An unfitted Pipeline: a ColumnTransformer by kind of column, then the classifier.

    ``boosting`` is histogram gradient boosting, which takes NaN as it is; ``logistic`` fills with the median, marks
    what was filled, and scales. Categories beyond 32, and new ones, share a column. Raises BadInputError for another
    model.
    """
    if model not in MODEL_KINDS:
        raise BadInputError("model", repr(model), f"one of {', '.join(MODEL_KINDS)}")
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False, dtype=np.float64
    )
    parts = [
        ("numbers", "passthrough", list(kinds.numbers)),
        ("categories", encoder, list(kinds.categories)),
        ("timestamps", AgeInDays(), [*kinds.timestamps, timestamp] if kinds.timestamps else []),
        ("number_lists", ListSummary(), list(kinds.number_lists)),
        ("other_lists", ListSummary(numeric=False), list(kinds.other_lists)),
    ]
    columns = ColumnTransformer([part for part in parts if part[2]], remainder="drop")
    if model == "boosting":
        classifier = HistGradientBoostingClassifier(
            random_state=seed, early_stopping=False, max_iter=100, learning_rate=0.08
        )
        return Pipeline([("columns", columns), ("empty", FillEmpty()), ("model", classifier)])
    return Pipeline(
        [
            ("columns", columns),
            ("fill", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
            ("scale", StandardScaler()),
            ("model", LogisticRegression(max_iter=2000, random_state=seed)),
        ]
    )


def fit(dataset: Dataset, model: str = "boosting", seed: int = 0) -> Pipeline:
    """A fitted Pipeline on all rows of ``dataset``; the same rows and seed give the same model.

    Raises BadInputError where there is no feature, or the label has only one value.
    """
    if not dataset.features:
        raise BadInputError("features", "none", "a feature service with at least one feature")
    labels = dataset.labels()
    if len(np.unique(labels)) == 1:
        raise BadInputError(f"label {dataset.label!r}", f"only {labels[0]} in the training rows", "both 0 and 1")
    pipeline = make_pipeline(dataset.kinds, dataset.timestamp, model, seed)
    return pipeline.fit(dataset.frame(), labels)
