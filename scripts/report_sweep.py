#!/usr/bin/env python
"""Write the report of a sweep: `w2v2-mt report sweep`."""

import sys

from w2v2_mt.app.commands import main

sys.exit(main(["report", "sweep", *sys.argv[1:]]))
