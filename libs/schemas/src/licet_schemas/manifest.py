"""The manifest of a model version: what it consists of, how it is called, and by which rule its calls are counted.

The sha256 of a manifest's canonical bytes is the version digest that stands on chain, so publisher, vault and buyer
must all compute the same bytes. The canonical form is RFC 8785's for the values that a manifest may hold: objects
with sorted ASCII keys, arrays, strings, booleans, null and integers. Fractions are refused, because their shortest
form differs between languages; a figure with a fraction is written as a decimal string.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from licet_schemas.text import EMBEDDING, GENERATION, TOKEN_OUTPUTS, Embedding, Generation

MAX_BYTES = 64 * 1024  # a manifest is read whole, hashed and kept in one row
MAX_ARTIFACT_BYTES = 1 << 40
MAX_INTEGER = (1 << 53) - 1  # RFC 8785 numbers are IEEE doubles
MAX_BATCH = 4096
# Whoever serves or calls a model holds a row in memory as a whole, in more copies than one.
MAX_ROW_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 16

ITEM_BYTES = {"FP32": 4, "INT64": 8}

ONNX_ARTIFACT, TOKENIZER_ARTIFACT = "model.onnx", "tokenizer.json"
TEXT_ARTIFACTS = (ONNX_ARTIFACT, TOKENIZER_ARTIFACT)
TEXT_RUNNERS = (GENERATION, EMBEDDING)
# Fields that a manifest has only if its runner is the one that reads them.
TASK_FIELDS = {"generation": GENERATION, "embedding": EMBEDDING}
METERING_RULE = r"^(request|input_tokens|output_tokens|bytes|seconds|rows:[A-Za-z][A-Za-z0-9_]{0,63})$"

Digest = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}(\.[a-z0-9]{1,15})?$")]
TensorName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,39}$")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Decimal = Annotated[str, StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class ManifestError(ValueError):
    """The manifest cannot be canonical or breaks a rule; the text says which field and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Artifact(_Strict):
    """One file of the version, named by the sha256 of its plaintext."""

    name: FileName
    sha256: Digest
    size_bytes: int = Field(ge=0, le=MAX_ARTIFACT_BYTES)


class Tensor(_Strict):
    """An input or output as KServe v2 states it; -1 stands for a dimension that the caller chooses."""

    name: TensorName
    datatype: Literal["FP32", "INT64"]
    shape: list[Annotated[int, Field(ge=-1, le=1 << 31)]] = Field(min_length=1, max_length=4)

    @model_validator(mode="after")
    def _shape_is_usable(self) -> Self:
        if 0 in self.shape or -1 in self.shape[1:]:
            raise ValueError("only the first dimension may be -1, and none may be 0")
        row_bytes = math.prod(d for d in self.shape if d != -1) * ITEM_BYTES[self.datatype]
        if row_bytes > MAX_ROW_BYTES:
            raise ValueError(
                f"a row of {self.name} has {row_bytes} bytes, at most {MAX_ROW_BYTES} are allowed"
            )
        return self


class Pipeline(_Strict):
    """What runs in front of the model: the artefacts that hold the feature schema and the scaler."""

    features: FileName
    scaler: FileName


class Limits(_Strict):
    """`max_batch` rows in one call; 0: the first dimension is no batch and has no bound.

    Of a text-embedding model: texts in one call. Of a text-generation model: streams that advance together.
    """

    max_batch: int = Field(ge=0, le=MAX_BATCH)


class License(_Strict):
    """Under which licence one part may be used, and where it comes from."""

    part: Literal["weights", "data", "code"]
    spdx: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.+-]{1,64}$")]
    source: Text


class Manifest(_Strict):
    """A model version. Lists keep their order, and the order counts for the digest."""

    format: Literal["licet.manifest/1"]
    name: ModelName
    kind: Literal["model"]
    summary: Text
    runner: Literal["onnx", "identity", "text-generation", "text-embedding"]
    artifacts: list[Artifact] = Field(max_length=16)
    pipeline: Pipeline | None
    inputs: list[Tensor] = Field(max_length=1)
    outputs: list[Tensor] = Field(max_length=8)
    metering_rule: Annotated[str, StringConstraints(pattern=METERING_RULE)]
    limits: Limits
    licenses: list[License] = Field(min_length=1, max_length=16)
    metrics: dict[MetricName, Decimal] = Field(max_length=32)
    generation: Generation | None = None
    embedding: Embedding | None = None

    @property
    def task(self) -> str:
        """What callers are told that the model does."""
        return self.runner if self.runner in TEXT_RUNNERS else "tabular"

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A manifest that was written before a task existed keeps its bytes, and so its digest."""
        found: dict[str, Any] = serialize(self)
        return {key: value for key, value in found.items() if key not in TASK_FIELDS or value is not None}

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        for names in ([a.name for a in self.artifacts], [t.name for t in (*self.inputs, *self.outputs)]):
            if len(set(names)) != len(names):
                raise ValueError(f"names repeat: {sorted(names)}")
        for field, runner in TASK_FIELDS.items():
            if (getattr(self, field) is not None) != (self.runner == runner):
                raise ValueError(f"{field} is what runner {runner} needs, and no other takes")
        self._check_rule()
        if self.runner in TEXT_RUNNERS:
            self._check_text()
        else:
            self._check_tensors()
        return self

    def _check_rule(self) -> None:
        rule, _, metered = self.metering_rule.partition(":")
        free = [t.name for t in self.inputs if t.shape[0] == -1]
        if self.embedding is not None:
            free = ["text"]
        if rule == "rows" and metered not in free:
            raise ValueError(
                f"metering_rule names {metered!r}, which is no input with a free first dimension"
            )
        if rule == "input_tokens" and self.runner not in TEXT_RUNNERS:
            raise ValueError("metering_rule counts tokens, which only a text model has")
        if rule == "output_tokens" and self.generation is None:
            raise ValueError("metering_rule counts output tokens, which only runner text-generation has")

    def _check_text(self) -> None:
        named = sorted(a.name for a in self.artifacts)
        if named != sorted(TEXT_ARTIFACTS):
            raise ValueError(f"artifacts are {named}, runner {self.runner} needs {sorted(TEXT_ARTIFACTS)}")
        if self.pipeline is not None or self.inputs or self.outputs:
            raise ValueError(f"runner {self.runner} has inputs and outputs of its own, and no pipeline")
        if self.limits.max_batch < 1:
            raise ValueError(f"runner {self.runner} needs limits.max_batch of at least 1")

    def _check_tensors(self) -> None:
        if len(self.inputs) != 1 or not self.outputs:
            raise ValueError("inputs: the model takes one input and gives at least one output")
        if reserved := sorted(TOKEN_OUTPUTS & {t.name for t in self.outputs}):
            raise ValueError(
                f"outputs: {reserved[0]} is what text models count by, and no other output's name"
            )
        if self.runner == "onnx":
            self._check_onnx()
        else:
            self._check_identity()

    def _check_onnx(self) -> None:
        named = {a.name for a in self.artifacts}
        if self.pipeline is None:
            raise ValueError("runner onnx needs a pipeline")
        wanted = {ONNX_ARTIFACT, self.pipeline.features, self.pipeline.scaler}
        if len(wanted) != 3 or named != wanted:
            raise ValueError(
                f"artifacts are {sorted(named)}, the runner and its pipeline need {sorted(wanted)}"
            )
        if self.limits.max_batch < 1:
            raise ValueError("runner onnx needs limits.max_batch of at least 1")
        if self.inputs[0].datatype != "FP32" or len(self.inputs[0].shape) != 2:
            raise ValueError("the pipeline takes one FP32 input of shape [-1, features]")
        if any(len(t.shape) < 2 or t.shape[0] != -1 for t in (*self.inputs, *self.outputs)):
            raise ValueError("every tensor of a batched model has shape [-1, …] of two dimensions or more")

    def _check_identity(self) -> None:
        if self.artifacts or self.pipeline is not None:
            raise ValueError("runner identity takes neither artifacts nor a pipeline")
        given, back = self.inputs[0], self.outputs[0]
        if len(self.outputs) != 1 or (given.datatype, given.shape) != (back.datatype, back.shape):
            raise ValueError("runner identity gives back one output like its input")
        if self.limits.max_batch != 0:
            raise ValueError("runner identity does not batch: limits.max_batch is 0")


def parse(document: bytes | str | Mapping[str, Any]) -> Manifest:
    """A valid manifest, from JSON text or its parsed form; raises ManifestError.

    JSON whose objects repeat a key is refused: readers disagree on which value holds.
    """
    try:
        value = document if isinstance(document, Mapping) else _load(document)
        canonical_json(value)
        return Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ManifestError(f"{where}: {first['msg']}") from error


def canonical(manifest: Manifest | Mapping[str, Any]) -> bytes:
    """The bytes whose sha256 is the version digest. Raises ManifestError unless the manifest is valid."""
    valid = manifest if isinstance(manifest, Manifest) else parse(manifest)
    return canonical_json(valid.model_dump(mode="json"))


def digest(manifest: Manifest | Mapping[str, Any]) -> str:
    """The version digest, `0x` and 64 hex digits. Raises ManifestError unless the manifest is valid."""
    return digest_bytes(canonical(manifest))


def digest_bytes(body: bytes) -> str:
    """`0x` and the sha256 of `body` in hex."""
    return "0x" + hashlib.sha256(body).hexdigest()


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """RFC 8785 bytes of an object without fractions; raises ManifestError for what it may not hold."""
    _check_plain(value, "manifest", MAX_DEPTH)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    try:
        body = text.encode()
    except UnicodeEncodeError as error:
        raise ManifestError("manifest: a string holds half of a surrogate pair") from error
    if len(body) > MAX_BYTES:
        raise ManifestError(f"manifest: {len(body)} bytes, at most {MAX_BYTES} are allowed")
    return body


def _check_plain(value: object, where: str, depth: int) -> None:
    """Refuses what has no single canonical form, before pydantic could turn it into something that has."""
    if depth == 0:
        raise ManifestError(f"{where}: nested deeper than {MAX_DEPTH} levels")
    for key, item in _children(value, where):
        _check_plain(item, f"{where}.{key}", depth - 1)


def _children(value: object, where: str) -> list[tuple[str, object]]:
    match value:
        case Mapping():
            if odd := [key for key in value if not isinstance(key, str) or not key.isascii()]:
                raise ManifestError(f"{where}: key {odd[0]!r} is not ASCII text")
            return list(value.items())
        case list() | tuple():
            return [(str(index), item) for index, item in enumerate(value)]
        case None | bool() | str():
            return []
        case int() if abs(value) <= MAX_INTEGER:
            return []
    raise ManifestError(f"{where}: {_described(value)} is not allowed; write fractions as decimal strings")


def _described(value: object) -> str:
    return f"{value} (beyond 2^53)" if isinstance(value, int) else type(value).__name__


def _load(text: bytes | str) -> Mapping[str, Any]:
    if len(text) > 2 * MAX_BYTES:
        raise ManifestError(f"manifest: more than {2 * MAX_BYTES} bytes of JSON")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"manifest: no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ManifestError("manifest: not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ManifestError(f"manifest: a key is given twice among {sorted(k for k, _ in pairs)}")
    return found


def _no_constant(name: str) -> None:
    raise ManifestError(f"manifest: {name} is not allowed")
