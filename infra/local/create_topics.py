"""Create the Kafka topics that `topics.py` lists. `python -m infra.local.create_topics BOOTSTRAP [PREFIX]`."""

from __future__ import annotations

import asyncio
import sys

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from infra.local.topics import PARTITIONS_LOCAL, every_topic

DEADLINE_S = 30
RETRY_S = 0.2  # the broker accepts connections a moment before it answers


async def create(bootstrap: str, prefix: str) -> None:
    """Create every missing topic; waits until the broker is ready to do so."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await _connected(admin)
            present = set(await admin.list_topics())
            missing = [topic for topic in every_topic(prefix) if topic.name not in present]
            answer = await admin.create_topics(
                [NewTopic(t.name, PARTITIONS_LOCAL, 1, topic_configs=dict(t.settings)) for t in missing]
            )
            _raise_refused(answer.topic_errors)
    finally:
        await admin.close()


async def _connected(admin: AIOKafkaAdminClient) -> None:
    while True:
        try:
            await admin.start()
        except KafkaError:
            await asyncio.sleep(RETRY_S)
        else:
            return


def _raise_refused(errors: list[tuple[str, int, str | None]]) -> None:
    for name, code, text in errors:
        # Another stack start may have been quicker.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"{name}: {text}")


if __name__ == "__main__":
    asyncio.run(create(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
