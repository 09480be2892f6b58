import hashlib
import io
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from licet_vault.store.envelope import (
    CHUNK_BYTES,
    HEADER_BYTES,
    TAG_BYTES,
    Corrupted,
    MasterKey,
    Sealer,
    WrongKey,
    open_stream,
)

MASTER = MasterKey(bytes(range(32)))
SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES


def seal(plaintext: bytes, master: MasterKey = MASTER) -> tuple[bytes, bytes]:
    """Digest and sealed form, cut into chunks as the store does."""
    digest = hashlib.sha256(plaintext).digest()
    sealer = Sealer(master, digest)
    chunks = [plaintext[i : i + CHUNK_BYTES] for i in range(0, len(plaintext), CHUNK_BYTES)] or [b""]
    body = b"".join(sealer.seal(c, last=i == len(chunks) - 1) for i, c in enumerate(chunks))
    return digest, sealer.header + body


def unseal(digest: bytes, sealed: bytes, master: MasterKey = MASTER) -> bytes:
    return b"".join(open_stream(master, digest, io.BytesIO(sealed)))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_every_size_comes_back_as_it_was(size: int) -> None:
    plaintext = os.urandom(size)
    digest, sealed = seal(plaintext)
    assert unseal(digest, sealed) == plaintext


def test_plaintext_is_not_in_the_sealed_bytes() -> None:
    plaintext = b"weights in the clear " * 5000
    assert b"weights in the clear" not in seal(plaintext)[1]


def test_two_seals_of_one_plaintext_share_nothing() -> None:
    plaintext = bytes(CHUNK_BYTES)
    one, other = seal(plaintext)[1], seal(plaintext)[1]
    assert one[HEADER_BYTES:] != other[HEADER_BYTES:]


def _chunks(sealed: bytes) -> list[bytes]:
    body = sealed[HEADER_BYTES:]
    return [body[i : i + SEALED_CHUNK] for i in range(0, len(body), SEALED_CHUNK)]


TAMPERINGS: dict[str, Callable[[bytes, list[bytes]], bytes]] = {
    "last chunk cut off": lambda head, c: head + b"".join(c[:-1]),
    "cut inside a chunk": lambda head, c: (head + b"".join(c))[:-7],
    "cut to the header": lambda head, c: head,
    "cut inside the header": lambda head, c: head[:-1],
    "chunks swapped": lambda head, c: head + c[1] + c[0] + c[2],
    "chunk repeated": lambda head, c: head + c[0] + c[0] + c[1] + c[2],
    "chunk left out": lambda head, c: head + c[0] + c[2],
    "bytes appended": lambda head, c: head + b"".join(c) + b"\0",
    "bit flipped in a chunk": lambda head, c: head + bytes([c[0][0] ^ 1]) + c[0][1:] + c[1] + c[2],
    "bit flipped in the wrapped key": lambda head, c: head[:-1] + bytes([head[-1] ^ 1]) + b"".join(c),
    "other format": lambda head, c: b"x" + head[1:] + b"".join(c),
    "empty": lambda head, c: b"",
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_tampering_is_detected(how: str) -> None:
    digest, sealed = seal(os.urandom(2 * CHUNK_BYTES + 100))
    tampered = TAMPERINGS[how](sealed[:HEADER_BYTES], _chunks(sealed))
    with pytest.raises(Corrupted):
        unseal(digest, tampered)


def test_an_artefact_moved_to_another_name_is_detected() -> None:
    _, sealed = seal(b"one")
    with pytest.raises(Corrupted):
        unseal(hashlib.sha256(b"other").digest(), sealed)


def test_a_chunk_of_another_artefact_is_detected() -> None:
    digest, sealed = seal(os.urandom(CHUNK_BYTES + 5))
    _, other = seal(os.urandom(CHUNK_BYTES + 5))
    with pytest.raises(Corrupted):
        unseal(digest, sealed[:HEADER_BYTES] + _chunks(sealed)[0] + _chunks(other)[1])


def test_equal_chunks_of_one_artefact_do_not_look_equal() -> None:
    """A nonce used twice under one key would show it, and would give the key stream away."""
    _, sealed = seal(bytes(3 * CHUNK_BYTES))
    assert len({chunk[:-TAG_BYTES] for chunk in _chunks(sealed)}) == 3


def test_a_moved_chunk_is_detected_even_if_two_artefacts_shared_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AESGCM, "generate_key", lambda bits: bytes(bits // 8))
    digest, sealed = seal(b"one")
    _, other = seal(b"two")
    with pytest.raises(Corrupted):
        unseal(digest, sealed[:HEADER_BYTES] + other[HEADER_BYTES:])


def test_another_master_key_is_named_not_blamed_on_the_bytes() -> None:
    digest, sealed = seal(b"secret")
    with pytest.raises(WrongKey):
        unseal(digest, sealed, MasterKey(bytes(32)))


def test_every_chunk_is_verified_before_it_is_given() -> None:
    digest, sealed = seal(os.urandom(3 * CHUNK_BYTES))
    chunks = _chunks(sealed)
    stream = open_stream(
        MASTER, digest, io.BytesIO(sealed[:HEADER_BYTES] + chunks[0] + chunks[2] + chunks[1])
    )
    assert len(next(stream)) == CHUNK_BYTES
    with pytest.raises(Corrupted):
        next(stream)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "0x" + "ab" * 31])
def test_a_malformed_master_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="master key") as refused:
        MasterKey.from_hex(text)
    assert not text or text not in str(refused.value)


def test_a_master_key_does_not_print_itself() -> None:
    key = MasterKey.from_hex("0x" + "ab" * 32 + "\n")
    assert "ab" * 8 not in repr(key)
    assert "abab" not in str(key)


@settings(max_examples=30)
@given(st.binary(max_size=200), st.data())
def test_no_single_changed_byte_survives(plaintext: bytes, data: st.DataObject) -> None:
    digest, sealed = seal(plaintext)
    at = data.draw(st.integers(0, len(sealed) - 1))
    flip = data.draw(st.integers(1, 255))
    tampered = sealed[:at] + bytes([sealed[at] ^ flip]) + sealed[at + 1 :]
    with pytest.raises((Corrupted, WrongKey)):
        unseal(digest, tampered)
