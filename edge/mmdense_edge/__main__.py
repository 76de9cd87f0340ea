"""`python -m mmdense_edge` is `mmdense`."""

import sys

from mmdense_edge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
