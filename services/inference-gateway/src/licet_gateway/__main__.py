"""`python -m licet_gateway`."""

import sys

from licet_kit.starting import collector_paused

with collector_paused():
    from licet_gateway.main import main

sys.exit(main())
