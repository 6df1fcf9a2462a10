#!/usr/bin/env python
"""Write the network of a checkpoint as a model of transformers: `w2v2-mt export huggingface`."""

import sys

from w2v2_mt.app.commands import main

sys.exit(main(["export", "huggingface", *sys.argv[1:]]))
