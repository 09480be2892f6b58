"""Answers that are not 2xx become errors with a code, whatever shape they have."""

import json

import pytest
from licet_sdk.errors import LicetError, Unreachable
from licet_sdk.http import Service, refusal


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (
            b'{"code": "license_missing", "detail": "no license", "remedy": "buy one"}',
            "license_missing",
            "no license",
        ),
        (b'{"error": "no license", "code": "license_missing"}', "license_missing", "no license"),
        (b'{"error": "unexpected shape"}', "http_403", "unexpected shape"),
        (b"<html>bad gateway</html>", "http_403", "gateway answered 403"),
        (b"[1, 2]", "http_403", "gateway answered 403"),
        (b"\xff\xfe", "http_403", "gateway answered 403"),
        (b"", "http_403", "gateway answered 403"),
    ],
)
def test_a_refusal_keeps_its_code_and_message(content: bytes, code: str, message: str) -> None:
    error = refusal(403, content, "gateway")
    assert isinstance(error, LicetError)
    assert (error.code, error.message) == (code, message)


def test_a_service_that_is_not_there_is_unreachable_and_says_which() -> None:
    service = Service("billing", "http://127.0.0.1:9")
    with pytest.raises(Unreachable) as caught:
        service.post("/v1/settlements")
    assert "billing at http://127.0.0.1:9" in caught.value.message
    json.dumps(caught.value.remedy)
    service.close()
