"""Entry point of ``python -m masktools``: the command line, where the installed command is not on the path."""

import sys

from masktools.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
