"""Print docs/machines.md: ``python -m machines > docs/machines.md``."""

import sys

from machines.diagram import page

sys.stdout.write(page())
