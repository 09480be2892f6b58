"""Checks a text model's tokenizer against its manifest, and says what its graph must look like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from licet_schemas.manifest import TOKENIZER_ARTIFACT, Manifest
from licet_schemas.text import Generation

from licet_vault.domain import ManifestInvalid

# Vocabularies of 250,000 tokens with their merges are about this large.
MAX_TOKENIZER_BYTES = 32 << 20
MAX_DEPTH = 32
BYTES = 256


@dataclass(frozen=True, slots=True)
class Side:
    """One input or output of a graph; -1 stands for a dimension that a call chooses."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def text_graph(manifest: Manifest, vocabulary: int) -> tuple[list[Side], list[Side]]:
    """Inputs and outputs of the graph of a text model whose tokenizer knows so many tokens."""
    if manifest.generation is not None:
        state = manifest.generation.state
        return (
            [Side("TOKEN", "INT64", (-1,)), Side("STATE", "FP32", (-1, state))],
            [Side("LOGITS", "FP32", (-1, vocabulary)), Side("NEXT_STATE", "FP32", (-1, state))],
        )
    assert manifest.embedding is not None  # noqa: S101  the manifest's own rule, for the type checker
    return (
        [Side("TOKENS", "INT64", (-1, -1)), Side("MASK", "INT64", (-1, -1))],
        [Side("EMBEDDING", "FP32", (-1, manifest.embedding.dimensions))],
    )


def inspect_tokenizer(body: bytes, manifest: Manifest) -> int:
    """How many tokens `tokenizer.json` knows; raises ManifestInvalid for what the runner cannot or must not take.

    A regular expression of a publisher's could keep a core busy for ever with one text, so there may be none.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid("no JSON") from error
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        raise _invalid("no tokenizer")
    around = {key: value for key, value in found.items() if key not in ("model", "added_tokens")}
    if any(key in ("Regex", "precompiled_charsmap") for key in _keys(around, MAX_DEPTH)):
        raise _invalid("a pattern other than plain text is not served")
    numbers = _numbers(found)
    if manifest.generation is not None:
        _check_generation(found, numbers, manifest.generation)
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise _invalid("its tokens are not numbered 0, 1, 2 …, each once")
    return len(numbers)


def _numbers(found: dict[str, Any]) -> dict[str, int]:
    """Tokens of the vocabulary and added ones, with their numbers."""
    vocabulary, added = found["model"].get("vocab"), found.get("added_tokens") or []
    try:
        numbers = {**vocabulary, **{token["content"]: token["id"] for token in added}}
    except (TypeError, KeyError) as error:
        raise _invalid("its vocabulary is no table of tokens") from error
    if not all(isinstance(number, int) for number in numbers.values()):
        raise _invalid("its vocabulary is no table of tokens")
    return numbers


def _check_generation(found: dict[str, Any], numbers: dict[str, int], rules: Generation) -> None:
    """Byte-level pieces alone: then every text can be written, and a token never stands for less than a byte."""
    before = found.get("pre_tokenizer")
    if (
        found["model"].get("type") != "BPE"
        or not isinstance(before, dict)
        or before.get("type") != "ByteLevel"
        or found.get("normalizer") is not None
    ):
        raise _invalid("runner text-generation takes a byte-level BPE without a normalizer")
    vocabulary = found["model"]["vocab"]
    if sum(len(token) == 1 for token in vocabulary) < BYTES:
        raise _invalid("its vocabulary has no token for each of the 256 bytes")
    special = {token["content"] for token in found.get("added_tokens") or [] if token.get("special")}
    for name in (*([rules.begin] if rules.begin is not None else []), *rules.end):
        if name not in special:
            raise _invalid(f"{name!r} is no special token of it")


def _keys(value: object, depth: int) -> Iterator[str]:
    if depth == 0:
        raise _invalid("nested too deep")
    match value:
        case dict():
            for key, item in value.items():
                yield key
                yield from _keys(item, depth - 1)
                # A type is named by its value.
                if key == "type" and isinstance(item, str):
                    yield item
        case list():
            for item in value:
                yield from _keys(item, depth - 1)
        case _:
            return


def _invalid(what: str) -> ManifestInvalid:
    return ManifestInvalid(f"{TOKENIZER_ARTIFACT}: {what}")
