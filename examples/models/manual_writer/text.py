"""The text that the generator learns from, and the tokenizer that is made for it.

Text: the topics of Python's own manual as the standard library carries them for `help()` (`pydoc_data.topics`),
under the PSF license. Whole sections are held out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pydoc_data.topics import topics

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BEGIN, END = "<|begin|>", "<|end|>"
TOKENS = 768
# Paragraphs of a section. One section in so many is held out; which ones follows from their names alone.
SECTION = 10
HELD_OUT_OF = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Texts to learn from, and texts that are never learned from."""

    train: list[str]
    held_out: list[str]


def load() -> Split:
    """Every topic in sections, without paragraphs that came before, because topics quote each other."""
    seen: set[str] = set()
    split = Split([], [])
    for name, topic in sorted(topics.items()):
        fresh = [part for part in dict.fromkeys(topic.split("\n\n")) if part not in seen]
        seen.update(fresh)
        for at in range(0, len(fresh), SECTION):
            drawn = hashlib.sha256(f"{name} {at}".encode()).digest()[0]
            section = "\n\n".join(fresh[at : at + SECTION])
            (split.held_out if drawn % HELD_OUT_OF == 0 else split.train).append(section)
    return split


def tokenizer(texts: list[str]) -> Tokenizer:
    """A byte-level tokenizer of these texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=TOKENS,
            special_tokens=[BEGIN, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


def number(made: Tokenizer, token: str) -> int:
    """The number of a token that must exist."""
    found: int | None = made.token_to_id(token)
    if found is None:
        raise ValueError(f"no token {token}")
    return found
