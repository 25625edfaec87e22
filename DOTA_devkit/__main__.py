"""`python -m DOTA_devkit COMMAND`: split, score and look after DOTA-style data."""

import sys

from DOTA_devkit.commands import main

if __name__ == "__main__":
    sys.exit(main())
