"""`python -m licet_vault [run | migrate | --check-config]`."""

import sys

from licet_kit.starting import collector_paused

with collector_paused():
    from licet_kit.cli import main

    from licet_vault.db import MIGRATIONS
    from licet_vault.main import build
    from licet_vault.settings import VaultSettings

sys.exit(main(VaultSettings, build, migrations=MIGRATIONS))
