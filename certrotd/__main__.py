"""`python -m certrotd` and the `certrotd` command."""

from __future__ import annotations

import gc

# Loading modules makes many objects and no garbage; looking for some every 700 costs 10 ms.
gc.set_threshold(20_000)

from certrotd.cli import main  # noqa: E402  # after the line above

if __name__ == "__main__":
    main()
