"""`python -m callcentre`: serve one tenant's API. Settings come from the environment (docs/interfaces.md)."""

from __future__ import annotations

import os
import sys

import uvloop

from callcentre import logs
from callcentre.main import create_app
from callcentre.server import serve
from callcentre.settings import SettingsError, load_settings


def main() -> int:
    logs.configure()
    try:
        settings = load_settings(os.environ)
    except SettingsError as error:
        print(f"callcentre: {error}", file=sys.stderr)
        return 2
    uvloop.run(serve(create_app(settings), settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
