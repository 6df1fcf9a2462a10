#!/usr/bin/env python
"""Say how far two runs are apart and whether by chance; --help shows the arguments."""

import sys

from w2v2_mt.app.comparison import main

sys.exit(main())
