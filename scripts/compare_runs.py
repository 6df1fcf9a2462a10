#!/usr/bin/env python
"""Compare the error rates of two runs: `w2v2-mt compare`."""

import sys

from w2v2_mt.app.commands import main

sys.exit(main(["compare", *sys.argv[1:]]))
