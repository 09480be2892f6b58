"""`python -m licet_licensing [run | migrate] [--check-config]`."""

import sys

from licet_kit.starting import collector_paused

with collector_paused():
    from licet_kit.cli import main

    from licet_licensing.main import MIGRATIONS, build
    from licet_licensing.settings import LicensingSettings

if __name__ == "__main__":
    sys.exit(main(LicensingSettings, build, migrations=MIGRATIONS))
