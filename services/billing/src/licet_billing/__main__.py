"""`python -m licet_billing [migrate | --check-config]`."""

from __future__ import annotations

import sys

from licet_kit.starting import collector_paused

with collector_paused():
    from licet_kit.cli import main

    from licet_billing.main import MIGRATIONS, build
    from licet_billing.settings import BillingSettings

if __name__ == "__main__":
    sys.exit(main(BillingSettings, build, migrations=MIGRATIONS))
