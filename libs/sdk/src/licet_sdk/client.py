"""One installation as seen by one caller.

Each part's module is loaded when it is first used: web3 and tritonclient cost a second, and few callers need both.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from licet_sdk.config import Config

if TYPE_CHECKING:
    from licet_sdk.chain import Chain
    from licet_sdk.credits import Credits
    from licet_sdk.disputes import Disputes
    from licet_sdk.exits import Exits
    from licet_sdk.gate import Gate
    from licet_sdk.holds import Holds
    from licet_sdk.inference import Answer, Inference, Tensors
    from licet_sdk.licensing import Licensing
    from licet_sdk.lineage import Lineage
    from licet_sdk.mandates import Mandates
    from licet_sdk.market import Market
    from licet_sdk.mirrors import Mirrors
    from licet_sdk.shares import Shares
    from licet_sdk.usage import Usage
    from licet_sdk.vault import Vault
    from licet_sdk.vouchers import Vouchers


class Client:
    """The parts of an installation, each connected when first used.

    >>> client = Client()                                        # doctest: +SKIP
    >>> client.infer("acme/tumour-risk", {"FEATURES": rows})     # doctest: +SKIP
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config.load()
        self._replicas: dict[int, Inference] = {}
        self._others: dict[int, Chain] = {}

    @cached_property
    def chain(self) -> Chain:
        """The caller's wallet on the installation's first chain."""
        from licet_sdk.chain import Chain

        return Chain(self.config)

    def chain_of(self, chain_id: int) -> Chain:
        """The caller's wallet on this chain of the installation."""
        from licet_sdk.chain import Chain

        if chain_id not in self._others:
            self._others[chain_id] = Chain(self.config, chain_id)
        return self._others[chain_id]

    def mirrors(self, chain_id: int) -> Mirrors:
        """Assets of the installation's first chain, on another of its chains."""
        from licet_sdk.mirrors import Mirrors, require_other

        require_other(self.chain, chain_id)
        return Mirrors(self.chain, self.chain_of(chain_id))

    @cached_property
    def market(self) -> Market:
        """Orders that the caller's wallet signs and fills."""
        from licet_sdk.market import Market

        return Market(self.chain)

    @cached_property
    def lineage(self) -> Lineage:
        """What assets were derived from, and who shares what they earn."""
        from licet_sdk.lineage import Lineage

        return Lineage(self.chain)

    @cached_property
    def mandates(self) -> Mandates:
        """What operators may draw from the caller's deposits."""
        from licet_sdk.mandates import Mandates

        return Mandates(self.chain)

    @cached_property
    def credits(self) -> Credits:
        """Prepaid units of plans."""
        from licet_sdk.credits import Credits

        return Credits(self.chain)

    @cached_property
    def exits(self) -> Exits:
        """Taking money or units out of the caller's deposits."""
        from licet_sdk.exits import Exits

        return Exits(self.chain)

    @cached_property
    def vouchers(self) -> Vouchers:
        """What the caller has signed that operators may have drawn."""
        from licet_sdk.vouchers import Vouchers

        return Vouchers(self.chain)

    @cached_property
    def holds(self) -> Holds:
        """What settlements hold for assets until it may be released."""
        from licet_sdk.holds import Holds

        return Holds(self.config, self.chain)

    @cached_property
    def disputes(self) -> Disputes:
        """Disputes about what was drawn from the caller's deposits."""
        from licet_sdk.disputes import Disputes

        return Disputes(self.chain, self.usage)

    def shares(self, asset_id: str) -> Shares:
        """The shares of an asset, and the caller's wallet among their holders."""
        from licet_sdk.shares import Shares

        return Shares(self.chain, asset_id)

    def gate(self, asset_id: str) -> Gate:
        """The rules about who may hold the shares of an asset."""
        from licet_sdk.gate import Gate

        return Gate(self.chain, asset_id)

    @cached_property
    def licensing(self) -> Licensing:
        """Login, keys and rights."""
        from licet_sdk.licensing import Licensing

        return Licensing(self.config)

    @cached_property
    def vault(self) -> Vault:
        """Uploads, as the signed-in publisher."""
        from licet_sdk.vault import Vault

        return Vault(self.config, self._session())

    @cached_property
    def usage(self) -> Usage:
        """Charges, receipts and, with the operator's token, the books."""
        from licet_sdk.usage import Usage

        return Usage(self.config, "" if self.config.api_key else self._session())

    def infer(self, slug: str, inputs: Tensors, *, replica: int = 0, binary: bool = True) -> Answer:
        """Calls `owner/model` through one gateway replica."""
        from licet_sdk.inference import Inference

        if replica not in self._replicas:
            self._replicas[replica] = Inference(self.config, replica)
        return self._replicas[replica](slug, inputs, binary=binary)

    def close(self) -> None:
        """Closes every connection that was opened."""
        for name in ("chain", "holds", "licensing", "vault", "usage"):
            if part := self.__dict__.pop(name, None):
                part.close()
        while self._others:
            self._others.popitem()[1].close()
        while self._replicas:
            self._replicas.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _session(self) -> str:
        if not self.config.session and self.config.private_key:
            return str(self.licensing.login(self.chain.chain_id)["session"])
        return self.config.session
