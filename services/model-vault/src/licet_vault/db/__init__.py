"""Tables of the vault's database and every query on them."""

from licet_vault.db.assets import active_versions, record_fact
from licet_vault.db.publications import (
    add_manifest,
    add_publisher,
    add_upload,
    is_publisher,
    manifest_body,
    upload_sizes,
)
from licet_vault.db.states import (
    StateKey,
    list_states,
    now,
    save_state,
    states_elsewhere,
    states_of,
    stored_state,
)
from licet_vault.db.tables import MIGRATIONS, OUTBOX, TABLES, metadata

__all__ = [
    "MIGRATIONS",
    "OUTBOX",
    "TABLES",
    "StateKey",
    "active_versions",
    "add_manifest",
    "add_publisher",
    "add_upload",
    "is_publisher",
    "list_states",
    "manifest_body",
    "metadata",
    "now",
    "record_fact",
    "save_state",
    "states_elsewhere",
    "states_of",
    "stored_state",
    "upload_sizes",
]
