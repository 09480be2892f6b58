"""What a publisher writes about lineage is read exactly, or refused with an example."""

import pytest
from licet_sdk.errors import ConfigError
from licet_sdk.lineage import Contributor, Parent

ADDRESS = "0x" + "Ab" * 20


def test_a_parent_and_a_contributor_are_read() -> None:
    assert Parent.parse("owner/model:2000") == Parent("owner/model", 2000)
    assert Contributor.parse(f"{ADDRESS}:3") == Contributor(ADDRESS, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "owner/model",
        "owner/model:",
        ":20",
        "owner/model:-1",
        "owner/model:0",
        "owner/model:2.5",
        "owner/model:10001",
        "a:٣",
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Parent.parse(text)
    assert caught.value.code == "invalid_value"
    assert "owner/model:2000" in caught.value.remedy


@pytest.mark.parametrize("text", ["0x12:1", "owner:1", f"{ADDRESS}:0", f"{ADDRESS}:4294967296"])
def test_a_contributor_is_an_address_with_a_weight(text: str) -> None:
    with pytest.raises(ConfigError):
        Contributor.parse(text)
