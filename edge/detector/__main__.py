"""`python -m edge.detector`: what `cloudedge-detector run` does."""

import sys

from edge.detector.process import main

if __name__ == "__main__":
    sys.exit(main())
