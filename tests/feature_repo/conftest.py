"""The example's feature job, loaded from its file, and one build of the real data."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

REPO = Path(__file__).parents[2] / "feature_repo"
SOURCE = "cdnow_purchases.parquet"


@pytest.fixture(scope="session")
def build() -> Callable[[Path], dict[str, int]]:
    spec = importlib.util.spec_from_file_location("example_build_features", REPO / "build_features.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[Path], dict[str, int]] = module.build
    return function


@pytest.fixture(scope="session")
def purchases() -> pd.DataFrame:
    return pd.read_parquet(REPO / "data" / SOURCE)


@pytest.fixture(scope="session")
def build_from(build: Callable[[Path], dict[str, int]]) -> Callable[[pd.DataFrame, Path], Path]:
    """Builds from other purchases into a folder of its own."""

    def run(frame: pd.DataFrame, folder: Path) -> Path:
        folder.mkdir(parents=True)
        frame.to_parquet(folder / SOURCE, index=False)
        build(folder)
        return folder

    return run


@pytest.fixture(scope="session")
def built(
    build_from: Callable[[pd.DataFrame, Path], Path],
    purchases: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of one build of the real purchases."""
    return build_from(purchases, tmp_path_factory.mktemp("example") / "data")
