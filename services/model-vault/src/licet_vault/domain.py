"""What the vault knows: facts of the chain about assets, the version each asset asks for, and what became of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from licet_kit.errors import PermanentError

PINNED_DIGEST_CHARS = 16
_MANIFEST_URI = re.compile(r"/v1/manifests/(0x[0-9a-f]{64})$")


class FactKind(StrEnum):
    """Chain events that say which version of an asset is to be served, and who may say so."""

    REGISTERED = "registered"
    TRANSFERRED = "transferred"
    PUBLISHED = "published"
    ACTIVATED = "activated"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a log is: its block, on whatever branch, and its place in it."""

    chain_id: int
    block_number: int
    block_hash: str
    log_index: int


@dataclass(frozen=True, slots=True)
class Truth:
    """Whether a log is in the canonical chain, and how often its block has become so.

    Later truths about one log replace earlier ones: observed 1 < retracted 1 < observed 2 < …
    """

    incarnation: int
    retracted: bool

    @property
    def rank(self) -> int:
        """Order of the truths about one log."""
        return 2 * self.incarnation + self.retracted


@dataclass(frozen=True, slots=True)
class AssetFact:
    """One log about an asset. `owner` is set by registrations and transfers, `slug` by registrations,
    `digest` by publications and activations, `uri` by publications; the rest is empty."""

    asset_id: str
    kind: FactKind
    position: Position
    truth: Truth
    owner: str = ""
    slug: str = ""
    digest: str = ""
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """The version of an asset that the chain holds active, and who owned the asset when it was published."""

    asset_id: str
    slug: str
    digest: str
    uri: str
    publisher: str

    @property
    def triton_model(self) -> str:
        """The name under which Triton serves this version, and never another."""
        return pinned_name(self.slug, self.digest)

    @property
    def manifest_digest(self) -> str:
        """Digest of the manifest that the publication points at: the one in its URI, else the digest itself.

        When the two differ, the bytes behind the URI are not what the chain promises.
        """
        named = _MANIFEST_URI.search(self.uri)
        return named.group(1) if named else self.digest


class State(StrEnum):
    """What became of a version on one Triton."""

    READY = "ready"
    UNLOADED = "unloaded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class VersionState:
    """The vault's view of one version on one Triton; `number` rises with every change of it."""

    asset_id: str
    slug: str
    digest: str
    triton_model: str
    triton_url: str
    state: State
    reason: str = ""
    metering_rule: str = ""
    schema_json: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Publisher:
    """An account, and the wallets that are known to be its own."""

    account_id: str
    wallets: frozenset[str]


class Refusal(PermanentError):
    """A version must not be served; `code` is the reason that is announced."""


class DigestMismatch(Refusal):
    """The bytes are not those that the chain's digest promises."""

    code = "digest_mismatch"


class ManifestInvalid(Refusal):
    """The manifest or an artefact breaks a rule."""

    code = "manifest_invalid"


class ArtifactMissing(Refusal):
    """The manifest or an artefact has not been uploaded, or not by this account."""

    code = "artifact_missing"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is missing")
        self.what = what


class PublisherMismatch(Refusal):
    """Nobody who uploaded this manifest owned the asset when the version was published.

    Manifests are public. Without this check anyone could publish another's manifest digest under an asset of their
    own and sell calls to another's weights.
    """

    code = "publisher_mismatch"

    def __init__(self, owner: str) -> None:
        super().__init__(f"the asset's owner {owner} has not uploaded this manifest")
        self.owner = owner


class LoadFailed(Refusal):
    """Triton does not serve the version as its manifest says."""

    code = "load_failed"


class ModelSilent(LoadFailed):
    """Triton answers, but not for this version. Each try may last as long as loading may."""


def pinned_name(slug: str, digest: str) -> str:
    """Triton's name for one version: `owner.model-<16 hex of the manifest digest>`."""
    return f"{slug.replace('/', '.')}-{digest.removeprefix('0x')[:PINNED_DIGEST_CHARS]}"
