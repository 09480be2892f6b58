import json
from typing import Any

import pytest
from licet_schemas.features import FeatureSchema, Scaler
from pydantic import ValidationError

RADIUS = {
    "name": "radius",
    "dtype": "float32",
    "unit": "mm",
    "minimum": 0.0,
    "maximum": 9.0,
    "required": True,
}


def schema(*features: dict[str, Any]) -> str:
    return json.dumps({"format": "licet.features/1", "features": list(features)})


def test_a_schema_reads_back() -> None:
    read = FeatureSchema.model_validate_json(schema(RADIUS))
    assert read.features[0].maximum == 9.0
    assert FeatureSchema.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize(
    "feature",
    [
        {**RADIUS, "minimum": 9.0},
        {**RADIUS, "maximum": float("inf")},
        {**RADIUS, "dtype": "string"},
        {**RADIUS, "required": "yes"},
        {**RADIUS, "note": ""},
        {**RADIUS, "name": ""},
        {**RADIUS, "name": "a\nb"},
    ],
    ids=["empty range", "infinite", "dtype", "not boolean", "extra", "no name", "control character"],
)
def test_a_broken_feature_is_refused(feature: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FeatureSchema.model_validate_json(schema(feature))


def test_repeated_names_are_refused() -> None:
    with pytest.raises(ValidationError, match="repeat"):
        FeatureSchema.model_validate_json(schema(RADIUS, RADIUS))


@pytest.mark.parametrize("scale", [[0.0], [-1.0], [1.0, 1.0], [float("nan")]])
def test_a_broken_scaler_is_refused(scale: list[float]) -> None:
    with pytest.raises(ValidationError):
        Scaler(format="licet.scaler/1", kind="standard", mean=[0.0], scale=scale)
