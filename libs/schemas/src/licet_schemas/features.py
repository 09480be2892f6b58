"""The two artefacts of a tabular pipeline: the typed feature schema and the parameters of the scaler."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_FEATURES = 1024
MAX_BYTES = 1 << 20

Name = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Feature(_Strict):
    """One column. `minimum` and `maximum` bound what is accepted; NaN in a feature that is not required is filled."""

    name: Name
    dtype: Literal["float32"]
    unit: Name
    minimum: Finite
    maximum: Finite
    required: bool

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError("minimum is not below maximum")
        return self


class FeatureSchema(_Strict):
    """The columns of the model's input, in their order."""

    format: Literal["licet.features/1"]
    features: list[Feature] = Field(min_length=1, max_length=MAX_FEATURES)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        if len({f.name for f in self.features}) != len(self.features):
            raise ValueError("feature names repeat")
        return self


class Scaler(_Strict):
    """`(x - mean) / scale` for each column; `mean` also stands in for a missing value."""

    format: Literal["licet.scaler/1"]
    kind: Literal["standard"]
    mean: list[Finite] = Field(min_length=1, max_length=MAX_FEATURES)
    scale: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        min_length=1, max_length=MAX_FEATURES
    )

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        if len(self.mean) != len(self.scale):
            raise ValueError("mean and scale differ in length")
        return self
