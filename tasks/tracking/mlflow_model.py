"""The files that make a round's artefact folder an MLflow model from code, without pickle."""

from __future__ import annotations

import io
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.recommenders.items.features import ItemFeatures

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

# The families whose scoring the code repeats. It cannot know those of other packages.
FAMILIES = frozenset({"bayesian_mf", "blend", "dp_items", "ease", "ials", "lightfm", "next_item"})
_CODE = "mlflow_scorer.py"
_PACKAGES = ("mlflow", "numpy", "pandas", "pyarrow", "safetensors", "scipy")


def model_files(items: pd.DataFrame) -> dict[str, bytes]:
    """Return name -> content of the files beside a round's `model.safetensors` and `round.json`.

    They are `MLmodel`, the code, its requirements and the items. They are the same for all rounds of a job,
    so call this once.

    Args:
        items: the catalogue in row order, with `item_id` and, if known, `title`.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import add_to_model

    model = Model(signature=_signature())
    add_to_model(
        model,
        loader_module="mlflow.pyfunc.model",
        model_code_path=_CODE,
        python_env="python_env.yaml",
        artifacts={
            name: {"path": path, "uri": path}
            for name, path in (
                ("model", "model.safetensors"),
                ("manifest", "round.json"),
                ("items", "items.parquet"),
            )
        },
    )
    requirements = "".join(f"{name}=={version(name)}\n" for name in _PACKAGES)
    python_env = (
        f"python: '{platform.python_version()}'\n"
        "build_dependencies:\n- pip\n"
        "dependencies:\n- -r requirements.txt\n"
    )
    return {
        "MLmodel": model.to_yaml().encode(),
        _CODE: Path(__file__).with_name(_CODE).read_bytes(),
        "items.parquet": _items(items),
        "requirements.txt": requirements.encode(),
        "python_env.yaml": python_env.encode(),
    }


def _signature() -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    words, numbers = Array(DataType.string), Array(DataType.double)
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(words, "history"),
                ColSpec(numbers, "weights", required=False),
                ColSpec(words, "exclude", required=False),
            ]
        ),
        outputs=Schema([ColSpec(words, "item_ids"), ColSpec(words, "titles"), ColSpec(numbers, "scores")]),
        params=ParamSchema([ParamSpec("k", DataType.long, 10)]),
    )


def _items(items: pd.DataFrame) -> bytes:
    ids = items["item_id"].astype(str)
    titles = items.get("title", ids)
    named = titles.where(titles.map(lambda title: isinstance(title, str) and title != ""), ids)
    features = ItemFeatures.of(items).matrix()
    features.sort_indices()
    numbers = pa.ListArray.from_arrays(features.indptr, features.indices)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"item_id": ids, "title": named, "features": numbers}), buffer)
    return buffer.getvalue()
