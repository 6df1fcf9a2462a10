#!/usr/bin/env python
"""Transcribe audio files and compare their voices: `w2v2-mt predict`."""

import sys

from w2v2_mt.app.commands import main

sys.exit(main(["predict", *sys.argv[1:]]))
