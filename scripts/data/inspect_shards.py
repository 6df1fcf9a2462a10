#!/usr/bin/env python
"""Print what a folder of shards holds: `w2v2-mt prepare inspect`."""

import sys

from w2v2_mt.app.commands import main

sys.exit(main(["prepare", "inspect", *sys.argv[1:]]))
