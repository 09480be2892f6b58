"""`python -m licet_indexer [migrate | --check-config]`."""

from __future__ import annotations

import sys

from licet_kit.starting import collector_paused

with collector_paused():
    from licet_kit.cli import main

    from licet_indexer.main import MIGRATIONS, build
    from licet_indexer.settings import IndexerSettings

if __name__ == "__main__":
    sys.exit(main(IndexerSettings, build, migrations=MIGRATIONS))
