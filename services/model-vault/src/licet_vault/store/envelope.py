"""Authenticated encryption of one artefact as a stream of chunks, under a key of its own.

Layout: header, then chunks of `CHUNK_BYTES` plaintext and a 16-byte tag each; the last chunk may be shorter or empty.
The header holds the data key, wrapped by the master key. Chunks follow the STREAM construction (Hoang, Reyhanitabar,
Rogaway, Vizar 2015): the nonce is the chunk's index and a flag that is set on the last one alone, so that chunks
cannot be cut off, reordered, repeated or moved to another artefact without the tag failing. The artefact's own digest
is associated data of the wrapped key and of every chunk. A data key encrypts one artefact once, so its counted nonces
never repeat.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from licet_kit.errors import PermanentError

MAGIC = b"licet-vault-1\n"
CHUNK_BYTES = 1 << 20  # large enough that tags and calls do not count, small enough to hold a few in memory
TAG_BYTES = 16
KEY_BYTES = 32
NONCE_BYTES = 12
KEY_ID_BYTES = 8
HEADER_BYTES = len(MAGIC) + KEY_ID_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES
DIGEST_BYTES = 32


class Corrupted(PermanentError):
    """A stored artefact is not what was written: changed, cut, or moved from another place."""

    code = "artifact_corrupted"

    def __init__(self, what: str) -> None:
        super().__init__(f"stored artefact is damaged: {what}")


class WrongKey(PermanentError):
    """A stored artefact was encrypted under another master key."""

    code = "master_key_wrong"

    def __init__(self, found: str, have: str) -> None:
        super().__init__(f"artefact is encrypted under master key {found}, this vault holds {have}")


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """The key that wraps data keys; 32 bytes. Its `key_id` tells keys apart and says nothing of the key."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != KEY_BYTES:
            raise ValueError(f"the master key has {len(self.value)} bytes, {KEY_BYTES} are needed")

    @classmethod
    def from_hex(cls, text: str) -> MasterKey:
        """From 64 hex digits, with or without `0x`; raises ValueError without repeating the text."""
        try:
            value = bytes.fromhex(text.strip().removeprefix("0x"))
        except ValueError:
            raise ValueError("the master key is not hexadecimal") from None
        return cls(value)

    @property
    def key_id(self) -> bytes:
        """First bytes of a hash of the key."""
        return hashlib.sha256(b"licet master key id" + self.value).digest()[:KEY_ID_BYTES]

    def wrap(self, data_key: bytes, digest: bytes) -> bytes:
        """Header of an artefact whose plaintext hashes to `digest`."""
        nonce = os.urandom(NONCE_BYTES)
        return MAGIC + self.key_id + nonce + AESGCM(self.value).encrypt(nonce, data_key, MAGIC + digest)

    def unwrap(self, header: bytes, digest: bytes) -> bytes:
        """The data key of a header; raises WrongKey or Corrupted."""
        if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
            raise Corrupted("no header")
        rest = header[len(MAGIC) :]
        key_id, nonce, wrapped = (
            rest[:KEY_ID_BYTES],
            rest[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES],
            rest[KEY_ID_BYTES + NONCE_BYTES :],
        )
        if key_id != self.key_id:
            raise WrongKey(key_id.hex(), self.key_id.hex())
        try:
            return AESGCM(self.value).decrypt(nonce, wrapped, MAGIC + digest)
        except InvalidTag:
            raise Corrupted("wrapped key") from None


class Sealer:
    """Encrypts one artefact chunk by chunk. Not for two threads at once."""

    def __init__(self, master: MasterKey, digest: bytes) -> None:
        data_key = AESGCM.generate_key(KEY_BYTES * 8)
        self.header = master.wrap(data_key, digest)
        self._cipher = AESGCM(data_key)
        self._digest = digest
        self._index = 0

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        """Ciphertext of the next chunk; all but the last hold exactly CHUNK_BYTES."""
        if len(chunk) > CHUNK_BYTES or (not last and len(chunk) != CHUNK_BYTES):
            raise ValueError(f"a chunk of {len(chunk)} bytes, last={last}")
        sealed = self._cipher.encrypt(
            _nonce(self._index, last=last), chunk, _associated(self._digest, self._index)
        )
        self._index += 1
        return sealed


def open_stream(master: MasterKey, digest: bytes, source: BinaryIO) -> Iterator[bytes]:
    """Plaintext chunks of a sealed stream, each verified before it is given.

    Raises Corrupted or WrongKey. A reader must reach the end before it trusts that nothing was cut off.
    """
    cipher = AESGCM(master.unwrap(source.read(HEADER_BYTES), digest))
    sealed = source.read(CHUNK_BYTES + TAG_BYTES)
    index = 0
    while True:
        # One chunk ahead: what has nothing after it must carry the flag of the last.
        ahead = source.read(CHUNK_BYTES + TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(index, last=not ahead), sealed, _associated(digest, index))
        except InvalidTag:
            raise Corrupted(f"chunk {index}") from None
        if not ahead:
            return
        sealed, index = ahead, index + 1


def _nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(NONCE_BYTES - 1, "big") + (b"\x01" if last else b"\x00")


def _associated(digest: bytes, index: int) -> bytes:
    return digest + index.to_bytes(8, "big")
