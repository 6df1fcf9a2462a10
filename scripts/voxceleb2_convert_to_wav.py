#!/usr/bin/env python
"""Convert unpacked VoxCeleb2 archives to wav files: `w2v2-mt prepare convert-voxceleb2`."""

import sys

from w2v2_mt.app.commands import main

if __name__ == "__main__":  # the worker processes import this file
    sys.exit(main(["prepare", "convert-voxceleb2", *sys.argv[1:]]))
