#!/usr/bin/env python
"""Convert unpacked VoxCeleb2 archives to wav files; --help shows the arguments."""

import sys

from w2v2_mt.data.preparation.conversion import main

sys.exit(main())
