"""`python -m cuelight.exporters`: the same as `cuelight export`."""

import sys

from cuelight.exporters.cli import main

sys.exit(main())
