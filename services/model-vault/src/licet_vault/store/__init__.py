"""Encrypted, content-addressed storage of artefacts."""

from licet_vault.store.envelope import Corrupted, MasterKey, WrongKey
from licet_vault.store.objects import ObjectMissing, ObjectStore, SizeExceeded, Upload

__all__ = ["Corrupted", "MasterKey", "ObjectMissing", "ObjectStore", "SizeExceeded", "Upload", "WrongKey"]
