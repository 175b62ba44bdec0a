"""`python -m edge.runner`."""

import sys

from edge.runner.runner import main

if __name__ == "__main__":
    sys.exit(main())
