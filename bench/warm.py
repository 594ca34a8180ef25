"""Forced runs in one process: `python -m bench.warm CONFIG TIMES` prints a JSON object."""

from __future__ import annotations

import json
import resource
import statistics
import sys
from pathlib import Path

from bench.measures import milliseconds
from certrotd.app import assemble
from certrotd.config import load
from certrotd.core.model import Result
from certrotd.core.planning import Wish
from certrotd.logs import silent


def main() -> None:
    """Rotate once to warm up if more than one run is asked for, then measure."""
    config, times = Path(sys.argv[1]), int(sys.argv[2])
    app = assemble(load(config), silent)

    def run() -> None:
        report = app.rotator.run(Wish(force=True))
        if report.result is not Result.DONE:
            raise RuntimeError(report.steps[0].error)

    if times > 1:
        run()
    taken = [milliseconds(run) for _ in range(times)]
    app.close()
    print(
        json.dumps(
            {
                "median": statistics.median(taken),
                "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
