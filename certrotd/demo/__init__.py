"""`certrotd demo`: a small control plane of real mTLS servers, and the story told with them."""

from __future__ import annotations

import sys

from certrotd.core.errors import CertrotdError


def show(*, keep: bool) -> None:
    """Rotate four servers on this machine, let one refuse, and check every word that is told.

    Args:
        keep: Leave the folder and the running servers, and say how to end them.

    Raises:
        CertrotdError: something was not as it should have been.
    """
    if sys.platform != "linux":
        raise CertrotdError("certrotd, and so its demo, needs Linux")
    # Imported here: the servers run from this package too, and need none of it.
    from certrotd.demo.story import tell  # noqa: PLC0415

    tell(keep=keep)
