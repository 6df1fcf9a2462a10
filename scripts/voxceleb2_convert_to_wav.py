#!/usr/bin/env python
"""Convert unpacked VoxCeleb2 archives to wav files; --help shows the arguments."""

import sys

from w2v2_mt.data.preparation.conversion import main

if __name__ == "__main__":  # the processes that it starts import this file
    sys.exit(main())
