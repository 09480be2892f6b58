"""What an issuer says about a holder is checked before it is signed."""

import pytest
from licet_sdk.errors import ConfigError
from licet_sdk.gate import HolderTerms


def test_the_bounds_are_the_contracts() -> None:
    assert HolderTerms(1, 1, 1).holder_class == 1
    assert HolderTerms(255, 999, 2**64 - 1).jurisdiction == 999


@pytest.mark.parametrize(
    "terms", [(0, 276, 1), (256, 276, 1), (2, 0, 1), (2, 1000, 1), (2, 276, 0), (2, 276, 2**64)]
)
def test_what_the_contract_would_refuse_is_refused_here(terms: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError) as refused:
        HolderTerms(*terms)
    assert refused.value.code == "invalid_value"
