"""Measures a model on rows that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, roc_auc_score

from training.dataset import Dataset

THRESHOLD = 0.5


@dataclass(frozen=True)
class Evaluation:
    """Measures of predicted probabilities against labels.

    ``auc`` (area under the ROC curve) and ``average_precision`` (of label 1) are None where all labels are alike: they
    are not defined then. ``brier`` is the mean squared error of the probability, ``brier_baseline`` that of always
    saying the share of ones. The confusion counts are at 0.5, a probability of exactly 0.5 counting as 1.
    Source: scikit-learn's metrics of the same names.
    """

    rows: int
    positives: int
    auc: float | None
    average_precision: float | None
    brier: float
    brier_baseline: float
    true_negatives: int
    false_positives: int
    false_negatives: int
    true_positives: int


def evaluate(pipeline: Any, dataset: Dataset) -> Evaluation:
    """Measure a fitted pipeline on a dataset."""
    probabilities = pipeline.predict_proba(dataset.frame())[:, 1]
    return measure(dataset.labels(), probabilities)


def measure(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> Evaluation:
    """The measures of probabilities of label 1; both arrays of one length, at least one row."""
    positives = int(labels.sum())
    both = 0 < positives < len(labels)
    counts = confusion_matrix(labels, (probabilities >= THRESHOLD).astype(np.int64), labels=[0, 1]).ravel().tolist()
    share = positives / len(labels)
    return Evaluation(
        rows=len(labels),
        positives=positives,
        auc=float(roc_auc_score(labels, probabilities)) if both else None,
        average_precision=float(average_precision_score(labels, probabilities)) if both else None,
        brier=float(brier_score_loss(labels, probabilities, pos_label=1)),
        brier_baseline=share * (1 - share),
        true_negatives=counts[0],
        false_positives=counts[1],
        false_negatives=counts[2],
        true_positives=counts[3],
    )
