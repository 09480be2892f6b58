import pytest
from licet_vault.domain import Truth, Version, pinned_name

DIGEST = "0x" + "0123456789abcdef" * 4
OTHER = "0x" + "f" * 64


def version(uri: str) -> Version:
    return Version(asset_id="0x1", slug="acme/tumour-risk", digest=DIGEST, uri=uri, publisher="0x2")


def test_a_version_is_pinned_under_owner_model_and_sixteen_digits() -> None:
    assert (
        version("").triton_model
        == "acme.tumour-risk-0123456789abcdef"
        == pinned_name("acme/tumour-risk", DIGEST)
    )


@pytest.mark.parametrize(
    ("uri", "manifest"),
    [
        (f"https://vault.example/v1/manifests/{OTHER}", OTHER),
        (f"https://vault.example/v1/manifests/{DIGEST}", DIGEST),
        ("ipfs://bafy", DIGEST),
        ("", DIGEST),
        (f"https://vault.example/v1/manifests/{OTHER}?x", DIGEST),
    ],
)
def test_the_manifest_is_the_one_that_the_uri_names(uri: str, manifest: str) -> None:
    assert version(uri).manifest_digest == manifest


def test_truths_about_a_log_are_ordered() -> None:
    truths = [
        Truth(1, retracted=False),
        Truth(1, retracted=True),
        Truth(2, retracted=False),
        Truth(2, retracted=True),
    ]
    assert [t.rank for t in truths] == sorted({t.rank for t in truths})
