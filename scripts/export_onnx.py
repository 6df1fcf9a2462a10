#!/usr/bin/env python
"""Write the network of a checkpoint for other tools; --help shows the arguments."""

import sys

from w2v2_mt.app.onnx_export import main

sys.exit(main())
