"""`python -m cuelight.server` is `cuelight`."""

import sys

from cuelight.server.cli import main

sys.exit(main())
