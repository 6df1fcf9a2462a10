#!/usr/bin/env python
"""Print what a folder of shards holds, and export some of it; --help shows the arguments."""

import sys

from w2v2_mt.data.preparation.inspection import main

sys.exit(main())
