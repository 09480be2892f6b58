"""What all tables of the service stand on."""

from __future__ import annotations

from licet_kit.db import make_metadata
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

metadata = make_metadata()


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Root of this service's tables."""
