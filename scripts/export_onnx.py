#!/usr/bin/env python
"""Write the network of a checkpoint as an ONNX graph: `w2v2-mt export onnx`."""

import sys

from w2v2_mt.app.commands import main

sys.exit(main(["export", "onnx", *sys.argv[1:]]))
