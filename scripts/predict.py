#!/usr/bin/env python
"""Transcribe audio files and compare their voices; --help shows the arguments."""

import sys

from w2v2_mt.app.prediction_command import main

sys.exit(main())
