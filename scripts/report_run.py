#!/usr/bin/env python
"""Write the report of a run: `w2v2-mt report run`."""

import sys

from w2v2_mt.app.commands import main

sys.exit(main(["report", "run", *sys.argv[1:]]))
