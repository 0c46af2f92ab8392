"""Entry point of `python -m okitoki_local`."""

import sys

from okitoki_local.cli import main

sys.exit(main())
