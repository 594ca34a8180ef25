"""`python -m certrotd` and the `certrotd` command."""

from __future__ import annotations

from certrotd.cli import main

if __name__ == "__main__":
    main()
