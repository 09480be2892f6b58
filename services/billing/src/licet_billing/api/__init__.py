"""REST: what accounts, the operator and the public may ask."""

from __future__ import annotations

from licet_billing.api.app import Edge, make_app

__all__ = ["Edge", "make_app"]
