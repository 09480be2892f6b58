"""Topics of one test: under a prefix of their own, deleted when it ends."""

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from licet_kit.testing.waiting import eventually

DEADLINE_S = 15.0


class Topics:
    """Creates topics under a prefix and deletes those that it made."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.prefix = prefix
        self._bootstrap = bootstrap
        self._made: list[str] = []

    async def create(self, *topics: str, partitions: int = 3, configs: dict[str, str] | None = None) -> None:
        """Create topics, named without the prefix, and wait until the brokers know them."""
        names = [f"{self.prefix}{topic}" for topic in topics]
        async with asyncio.timeout(DEADLINE_S):
            admin = await self._admin()
            try:
                new = [NewTopic(name, partitions, 1, topic_configs=configs or {}) for name in names]
                response = await admin.create_topics(new)
                self._made.extend(names)
                for _topic, code, *_ in response.topic_errors:
                    if code:
                        raise for_code(code)
                await eventually(lambda: _all_known(admin, names, partitions), DEADLINE_S)
            finally:
                await admin.close()

    async def delete_all(self) -> None:
        """Delete the topics made here."""
        if not self._made:
            return
        async with asyncio.timeout(DEADLINE_S):
            admin = await self._admin()
            try:
                await admin.delete_topics(self._made)
            finally:
                await admin.close()

    async def _admin(self) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        return admin


async def _all_known(admin: Any, names: list[str], partitions: int) -> bool:
    try:
        found = await admin.describe_topics(names)
    except KafkaError:
        return False
    return all(
        topic["error_code"] == 0
        and len(topic["partitions"]) == partitions
        and all(p["leader"] >= 0 for p in topic["partitions"])
        for topic in found
    )
