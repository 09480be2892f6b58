"""The chains an installation knows: where their nodes are, what is deployed on them, when a block is final.

Read from the JSON file that CHAINS_FILE names, so that a chain is added by configuration alone.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from licet_kit.errors import PermanentError


class ChainsInvalid(PermanentError):
    """The chains file is missing or says something that cannot be."""

    code = "chains_invalid"


def _lower_address(value: str) -> str:
    text = value.lower()
    if len(text) != 42 or not text.startswith("0x") or not set(text[2:]) <= set("0123456789abcdef"):
        raise ValueError(f"not an address: {value!r}")
    return text


Address = Annotated[str, AfterValidator(_lower_address)]


class Finality(BaseModel):
    """When a block is final: the node's own `finalized` tag, or a number of blocks below the head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["tag", "depth"]
    depth: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _depth_belongs_to_depth(self) -> "Finality":
        if (self.source == "depth") != (self.depth > 0):
            raise ValueError('"depth" must be given, above 0, exactly when the source is "depth"')
        return self


class Chain(BaseModel):
    """One chain. `contracts` maps a contract's name to its lowercase address, that of its newest generation.

    `former` has the earlier generations of a name, oldest first, for as long as something of theirs is followed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    chain_id: int = Field(gt=0)
    name: str = Field(min_length=1)
    rpc_url: str = Field(pattern=r"^https?://")
    finality: Finality
    start_block: int = Field(default=0, ge=0)
    poll_interval_ms: int = Field(default=1000, gt=0)
    # Whom the deployment was made for; tools read it, services are told theirs by setting.
    operator: Address | None = None
    contracts: dict[str, Address]
    former: dict[str, tuple[Address, ...]] = Field(default_factory=dict)

    def contract(self, name: str) -> str:
        """Return the address of a deployed contract; raises ChainsInvalid when the file does not name it."""
        try:
            return self.contracts[name]
        except KeyError:
            raise ChainsInvalid(f"chain {self.chain_id} has no contract {name}") from None

    def generations(self, name: str) -> tuple[str, ...]:
        """Return the addresses of every generation of a contract, oldest first."""
        return (*self.former.get(name, ()), self.contract(name))


class _ChainsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    chains: tuple[Chain, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "_ChainsFile":
        ids = [chain.chain_id for chain in self.chains]
        if len(set(ids)) != len(ids):
            raise ValueError(f"a chain_id occurs twice: {ids}")
        return self


def load_chains(path: Path) -> tuple[Chain, ...]:
    """Read a chains file; raises ChainsInvalid, which names the file and what is wrong in it."""
    try:
        return _ChainsFile.model_validate_json(path.read_bytes()).chains
    except OSError as error:
        raise ChainsInvalid(f"cannot read the chains file {path}: {error.strerror}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ChainsInvalid(f"chains file {path}: {faults}") from error
