"""`python -m licet_gateway`."""

import sys

from licet_gateway.main import main

sys.exit(main())
