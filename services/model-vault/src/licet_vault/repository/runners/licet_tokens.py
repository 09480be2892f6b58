"""Text to tokens and back, with a publisher's `tokenizer.json`; runs inside Triton's Python back end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer


class Refused(Exception):
    """The request cannot be answered; the text is for the caller, after a code that says what is wrong."""

    def __init__(self, text: str, code: str = "invalid_value") -> None:
        super().__init__(f"{code}: {text}")


TOO_LONG = "context_length_exceeded"


class Tokens:
    """A tokenizer, and the limits that make a number of tokens predictable from a number of bytes."""

    def __init__(self, folder: Path, *, max_tokens: int, beyond_bytes: int) -> None:
        # Triton's stub runs in the C locale, where a file is ASCII unless it is said otherwise.
        source = (folder / "tokenizer.json").read_text(encoding="utf-8")
        self.ours, self.theirs = Tokenizer.from_str(source), Tokenizer.from_str(source)
        # In a caller's text the text of a special token is only text: nobody may end another's turn.
        self.theirs.encode_special_tokens = True
        for tokenizer in (self.ours, self.theirs):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self.max_tokens = max_tokens
        self.beyond_bytes = beyond_bytes
        self.longest = max(len(token.encode()) for token in self.ours.get_vocab())

    def ids(self, text: str, *, trusted: bool = False, around: bool = False) -> list[int]:
        """The tokens of a text; `trusted` is the platform's or publisher's, in which special tokens are meant.

        `around` adds what the tokenizer puts around a text. Raises Refused before it looks at a hopelessly long one.
        """
        # No token stands for more bytes than the longest is long, so this many bytes cannot fit.
        size = len(text.encode())
        if size > self.max_tokens * self.longest:
            raise Refused(
                f"the input has {size} bytes, which are more than {self.max_tokens} tokens", TOO_LONG
            )
        tokenizer = self.ours if trusted else self.theirs
        found: list[int] = tokenizer.encode(text, add_special_tokens=around).ids
        return found

    def check(self, count: int, size_bytes: int) -> None:
        """Raises Refused for more tokens than are taken, or than whoever counts bytes would expect."""
        if count > self.max_tokens:
            raise Refused(f"the input has {count} tokens, at most {self.max_tokens} are taken", TOO_LONG)
        if count > size_bytes + self.beyond_bytes:
            raise Refused(
                f"the input of {size_bytes} bytes has {count} tokens, which is more than is allowed"
            )

    def id_of(self, token: str) -> int:
        """The number of a token that must exist."""
        found: int | None = self.ours.token_to_id(token)
        if found is None:
            raise ValueError(f"tokenizer.json has no token {token!r}")
        return found

    def texts(self) -> list[bytes]:
        """The bytes that each token of a byte-level vocabulary stands for; none for special tokens."""
        added = self.ours.get_added_tokens_decoder()
        vocabulary: dict[str, int] = self.ours.get_vocab()
        found = [b""] * (max(vocabulary.values()) + 1)
        for token, number in vocabulary.items():
            if number not in added:
                found[number] = bytes(BYTE_OF[character] for character in token)
            elif not added[number].special:
                found[number] = token.encode()
        return found


def text_of(raw: Any, name: str) -> str:
    """A caller's BYTES value as text; raises Refused for what is no UTF-8."""
    try:
        return raw.decode() if isinstance(raw, bytes) else str(raw)
    except UnicodeDecodeError as error:
        raise Refused(f"{name} is not UTF-8") from error


def load(folder: Path, name: str) -> dict[str, Any]:
    """A configuration that the platform wrote beside the model."""
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def _byte_characters() -> dict[str, int]:
    """The printable characters that stand for bytes in a byte-level vocabulary.

    A byte that is printable in Latin-1 stands for itself; the others follow from U+0100 on, in their order.
    """
    printable = [b for b in range(256) if 0x21 <= b <= 0x7E or (b >= 0xA1 and b != 0xAD)]
    rest = [b for b in range(256) if b not in printable]
    return {**{chr(b): b for b in printable}, **{chr(256 + i): b for i, b in enumerate(rest)}}


BYTE_OF = _byte_characters()
