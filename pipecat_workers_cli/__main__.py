"""Runs the command line: `pmw`, or `python -m pipecat_workers_cli`."""

import os
import sys


def main() -> None:
    """Run `pmw`; Ctrl-C counts from the first import on. A shell's Tab is answered at once."""
    shell = os.environ.get("_PMW_COMPLETE")
    if shell is not None:
        from pipecat_workers_cli.cli.tab import answer  # noqa: PLC0415

        sys.exit(answer(shell, sys.argv[1:]))
    try:
        from pipecat_workers_cli.cli.app import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
