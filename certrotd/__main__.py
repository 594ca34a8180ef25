"""`python -m certrotd` and the `certrotd` command."""

from __future__ import annotations

import gc

# Loading modules makes many objects and no garbage; looking for some every 700 costs a command that
# looks 10 ms and one that rotates 40 ms. What references do not free by themselves is little.
gc.set_threshold(100_000)

from certrotd.cli import main  # noqa: E402  # after the line above

if __name__ == "__main__":
    main()
