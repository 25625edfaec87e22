"""Entry point of `python -m DOTA_devkit COMMAND`, see `DOTA_devkit.commands`."""

import sys

from DOTA_devkit.commands import main

if __name__ == "__main__":
    sys.exit(main())
