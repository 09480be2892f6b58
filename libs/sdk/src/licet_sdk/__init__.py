"""Python SDK of Licet: publish, license, call, meter and claim AI models.

`Client` speaks to one installation; its parts are named after the services: `client.chain`, `client.licensing`,
`client.vault`, `client.usage`, and `client.infer`.
"""

from licet_sdk.client import Client
from licet_sdk.config import Config
from licet_sdk.errors import LicetError, Refused, Unreachable

__all__ = ["Client", "Config", "LicetError", "Refused", "Unreachable"]
