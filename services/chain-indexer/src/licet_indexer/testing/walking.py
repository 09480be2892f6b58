"""The path through the deployed contracts: its accounts, and their transactions."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path as Folder
from typing import Any

from licet_kit.testing.deployment import DeployedChain
from licet_kit.testing.generations import succeed_licenses
from licet_schemas import settlement
from licet_schemas.abi import load_abi
from licet_schemas.mandates import Mandate, mandate_digest, mandate_domain
from web3 import AsyncHTTPProvider, AsyncWeb3, Web3

from licet_indexer.domain.catalogue import WATCHED
from licet_indexer.domain.chain import asset_id

checksum = Web3.to_checksum_address
DAY_S = 86_400
PUBLISHER, BUYER, SECOND = 2, 3, 4
PRICE, UNIT_PRICE = 5_000_000, 100
ROOT = Folder(__file__).resolve().parents[5]


class Path:
    """The accounts and contracts of the path, and their transactions."""

    def __init__(self, deployed: DeployedChain) -> None:
        self._provider = AsyncHTTPProvider(deployed.anvil.rpc_url)
        self.w3 = AsyncWeb3(self._provider)
        self.deployed = deployed
        self.contracts: dict[str, Any] = {
            name: self.w3.eth.contract(checksum(deployed.contracts[name]), abi=load_abi(name))
            for name in (*WATCHED, "BreachBook", "TestUSD")
        }
        self.token = deployed.contracts["TestUSD"]
        self.operator = deployed.operator.address
        self.asset = ""
        self.deposit = b""
        self.lines: dict[int, list[settlement.Line]] = {}

    async def close(self) -> None:
        """Closes the connection."""
        await self._provider.disconnect()

    def of(self, index: int) -> str:
        """Address of a development account."""
        return self.deployed.account(index).address

    async def send(self, sender: str, contract: str, function: str, *args: Any) -> None:
        """Sends a transaction of a development account and waits for it."""
        call = self.contracts[contract].functions[function](*args)
        tx = await call.transact({"from": checksum(sender)})
        receipt = await self.w3.eth.wait_for_transaction_receipt(tx, poll_latency=0.01)
        assert receipt["status"] == 1, f"{contract}.{function} failed"

    async def view(self, contract: str, function: str, *args: Any) -> Any:
        """A view of a contract now."""
        return await self.contracts[contract].functions[function](*args).call()

    async def publish(self) -> None:
        """Registers the asset, publishes two versions and activates one."""
        publisher = self.of(PUBLISHER)
        slug = "acme/tumour-risk"
        await self.send(publisher, "AssetRegistry", "register", slug, 1, checksum(publisher))
        token = int.from_bytes(Web3.keccak(text=slug))
        self.asset = asset_id(31337, self.deployed.contracts["AssetRegistry"], token)
        for digest in (b"\x01" * 32, b"\x02" * 32):
            await self.send(
                publisher, "AssetRegistry", "publishVersion", self.asset, digest, "ipfs://manifest"
            )
        await self.send(publisher, "AssetRegistry", "activateVersion", self.asset, b"\x02" * 32)

    async def offer(self) -> None:
        """Creates two plans and closes one."""
        terms = (
            self.asset,
            checksum(self.token),
            9,
            0,
            PRICE,
            30 * DAY_S,
            100,
            UNIT_PRICE,
            DAY_S,
            10,
            "rows:FEATURES",
            10,
            True,
            False,
            5,
            1000,
            checksum(self.operator),
            7 * DAY_S,
            4,
            b"\x03" * 32,
            b"\x04" * 32,
        )
        for _ in range(2):
            await self.send(self.of(PUBLISHER), "PlanBook", "createPlan", terms)
        await self.send(self.of(PUBLISHER), "PlanBook", "closePlan", 2)

    async def buy(self) -> None:
        """Buys, renews, lends, locks, burns and gives licenses away."""
        buyer = self.of(BUYER)
        await self.send(buyer, "TestUSD", "mint", checksum(buyer), 10**12)
        for spender in ("LicenseSale", "UsageEscrow"):
            address = checksum(self.deployed.contracts[spender])
            await self.send(buyer, "TestUSD", "approve", address, 10**12)
        for _ in range(4):
            await self.send(buyer, "LicenseSale", "purchase", 1, checksum(buyer), PRICE)
        await self.send(buyer, "LicenseSale", "renew", 1, PRICE)
        role, token = await self.view("License", "USER_ROLE"), checksum(self.deployed.contracts["License"])
        lent_until = await self.view("License", "endTime", 2)
        user = checksum(self.of(9))
        await self.send(buyer, "License", "grantRole", (role, token, 2, user, lent_until, True, b""))
        await self.send(buyer, "License", "lock", 2)
        await self.send(buyer, "License", "unlockToken", token, 2)
        await self.send(buyer, "License", "burn", 3)
        await self.send(buyer, "License", "transferFrom", checksum(buyer), checksum(self.of(SECOND)), 2)

    async def breach(self) -> None:
        """Revokes a license for a breach, after its notice."""
        publisher = self.of(PUBLISHER)
        await self.send(publisher, "TestUSD", "mint", checksum(publisher), PRICE)
        book = checksum(self.deployed.contracts["BreachBook"])
        await self.send(publisher, "TestUSD", "approve", book, PRICE)
        await self.send(publisher, "BreachBook", "announce", 4, b"\x05" * 32)
        await self.deployed.anvil.advance(7 * DAY_S + 1)
        await self.send(publisher, "BreachBook", "revoke", 4, PRICE)
        rest = await self.view("TestUSD", "balanceOf", checksum(publisher))
        await self.send(publisher, "TestUSD", "transfer", checksum(self.of(BUYER)), rest)

    async def use(self) -> None:
        """Deposits, asks for two exits, and is settled so that both exits are drawn on."""
        now = (await self.w3.eth.get_block("latest"))["timestamp"]
        key, buyer, token = checksum(self.of(9)), self.of(BUYER), checksum(self.token)
        if not await self.view("UsageEscrow", "isOperator", checksum(self.operator)):
            await self.send(self.operator, "UsageEscrow", "registerOperator", key, now, now + DAY_S)
        await self.send(self.operator, "UsageEscrow", "setReceiptKey", key, now, 2**64 - 1)
        await self.send(self.operator, "UsageEscrow", "setSettlerCap", token, 10**12)
        await self.send(buyer, "UsageEscrow", "deposit", checksum(self.operator), token, 10_000)
        escrow = checksum(self.operator)
        self.deposit = await self.view("UsageEscrow", "depositIdOf", checksum(buyer), escrow, token)
        for amount in (3_000, 2_000):
            await self.send(buyer, "UsageEscrow", "requestExit", self.deposit, amount)
        await self.settle(1, 1_000, 500)
        await self.settle(2, 6_000)
        await self.release(2)

    async def derive(self, slug: str, royalty_bp: int) -> str:
        """Registers an asset of SECOND that was derived from the path's asset."""
        owner = checksum(self.of(SECOND))
        parents = [(self.asset, royalty_bp)]
        await self.send(owner, "AssetRegistry", "registerDerived", slug, 1, owner, parents)
        return asset_id(
            31337, self.deployed.contracts["AssetRegistry"], int.from_bytes(Web3.keccak(text=slug))
        )

    async def mandate(self) -> None:
        """Opens a mandate over a new deposit, settles through it, and revokes it."""
        buyer, token, escrow = self.of(BUYER), checksum(self.token), self.deployed.contracts["UsageEscrow"]
        await self.send(buyer, "UsageEscrow", "deposit", checksum(self.operator), token, 1_000)
        now = (await self.w3.eth.get_block("latest"))["timestamp"]
        terms = Mandate(
            payer=checksum(buyer),
            operator=checksum(self.operator),
            token=token,
            window_amount=700,
            total_amount=900,
            in_flight_cap=50,
            window_length=DAY_S,
            window_records=10,
            grace=3_600,
            valid_from=now,
            valid_until=now + 30 * DAY_S,
            assets=(bytes.fromhex(self.asset[2:]),),
            nonce=7,
        )
        await self.send(buyer, "UsageEscrow", "openMandate", astuple(terms), b"")
        mandate_id = mandate_digest(mandate_domain(31337, escrow), terms)
        await self.settle(3, 600, authority=mandate_id)
        await self.dispute(3)
        await self.send(buyer, "UsageEscrow", "revokeMandate", mandate_id)
        operator = checksum(self.operator)
        await self.send(buyer, "UsageEscrow", "setDirectDraws", operator, checksum(token), False)

    async def credits(self, batch: int) -> str:
        """Sells ten units, has four of six deposited ones settled, and lets the others end; returns their token."""
        buyer, operator = checksum(self.of(BUYER)), checksum(self.operator)
        end = (await self.w3.eth.get_block("latest"))["timestamp"] + 30 * DAY_S
        await self.send(self.of(SECOND), "Credits", "openSeries", 1, 7, 100, end, False)
        logs = await self.contracts["Credits"].events.SeriesOpened().get_logs(from_block=0)
        token = str(logs[-1]["args"]["token"])
        self.contracts["CreditToken"] = self.w3.eth.contract(checksum(token), abi=load_abi("CreditToken"))
        spender = self.contracts["Credits"].address
        await self.send(buyer, "TestUSD", "approve", spender, 70)
        await self.send(buyer, "Credits", "issue", checksum(token), buyer, 10, 70)
        await self.send(buyer, "CreditToken", "approve", self.contracts["UsageEscrow"].address, 6)
        await self.send(buyer, "UsageEscrow", "deposit", operator, checksum(token), 6)
        await self.send(operator, "UsageEscrow", "setSettlerCap", checksum(token), 100)
        await self.settle(batch, 4, token=token)
        await self.release(batch, token=token)
        await self.deployed.anvil.advance(30 * DAY_S)
        await self.send(self.of(SECOND), "Credits", "expire", checksum(token), [buyer])
        return token.lower()

    async def settle(
        self,
        batch: int,
        *amounts: int,
        asset_id: str = "",
        authority: bytes = settlement.DIRECT,
        token: str = "",
    ) -> None:
        """Settles one group of lines of the buyer."""
        buyer = checksum(self.of(BUYER))
        items = tuple(settlement.Item(buyer, authority, 0, amount, b"\x04" * 32, 3) for amount in amounts)
        group = settlement.Group(
            bytes.fromhex((asset_id or self.asset)[2:]), checksum(token or self.token), items
        )
        self.lines[batch] = settlement.lines_of([group])
        tree = settlement.batch_tree(self.lines[batch])
        call = [astuple(group)]
        await self.send(self.operator, "UsageEscrow", "settle", batch, tree.root, "file://leaves", call)

    async def release(self, batch: int, asset_id: str = "", token: str = "") -> None:
        """Waits for the dispute time of a batch, and brings what it paid to the router."""
        await self.deployed.anvil.advance(await self.view("UsageEscrow", "disputeTime") + 1)
        await self.send(self.of(SECOND), "UsageEscrow", "release", self.hold(batch, asset_id, token))

    def hold(self, batch: int, asset_id: str = "", token: str = "") -> tuple[str, int, str, str]:
        """What names a hold of the operator."""
        return checksum(self.operator), batch, asset_id or self.asset, checksum(token or self.token)

    async def dispute(self, batch: int) -> None:
        """Challenges the first line of a batch, and has its draw refunded because nobody answers."""
        line = self.lines[batch][0]
        proof = settlement.batch_tree(self.lines[batch]).proof(0)
        item = (line.index, line.asset_id, line.token, *astuple(line.item))
        settled = (checksum(self.operator), batch, item, proof)
        await self.send(self.of(BUYER), "UsageEscrow", "challenge", settled, 1)
        await self.deployed.anvil.advance(await self.view("UsageEscrow", "disputeTime") + 1)
        await self.send(self.of(SECOND), "UsageEscrow", "refund", settled)

    async def migrate(self) -> str:
        """Takes license 2 into the next generation and buys one there; returns the former contract."""
        former = await succeed_licenses(self.deployed, ROOT)
        await self.send(self.of(SECOND), "License", "migrate", 2)
        for name in former:
            address = checksum(self.deployed.contracts[name])
            self.contracts[name] = self.w3.eth.contract(address, abi=load_abi(name))
        buyer = checksum(self.of(BUYER))
        await self.send(buyer, "TestUSD", "approve", self.contracts["LicenseSale"].address, 10**12)
        await self.send(buyer, "LicenseSale", "purchase", 1, buyer, PRICE)
        return former["License"]

    async def collect(self) -> None:
        """Withdraws exits, distributes and claims, and sells the asset."""
        delay = await self.view("UsageEscrow", "exitDelay")
        await self.deployed.anvil.advance(delay + 1)
        for exit_id in await self.view("UsageEscrow", "openExitsOf", self.deposit):
            await self.send(self.of(BUYER), "UsageEscrow", "withdraw", exit_id)
        token = checksum(self.token)
        await self.send(self.of(PUBLISHER), "RevenueRouter", "distribute", self.asset, token)
        await self.send(self.of(PUBLISHER), "RevenueRouter", "claim", token)
        owner, heir = checksum(self.of(PUBLISHER)), checksum(self.of(SECOND))
        number = await self.view("AssetRegistry", "tokenIdOf", self.asset)
        await self.send(self.of(PUBLISHER), "AssetRegistry", "transferFrom", owner, heir, number)
