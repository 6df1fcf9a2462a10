"""The command `w2v2-mt` as `python -m w2v2_mt`."""

import sys

from w2v2_mt.app.commands import main

if __name__ == "__main__":  # the worker processes import this file
    sys.exit(main())
