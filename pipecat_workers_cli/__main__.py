"""Runs the command line: `pmw`, or `python -m pipecat_workers_cli`."""

import sys


def main() -> None:
    """Run `pmw`; Ctrl-C counts from the first import on."""
    try:
        from pipecat_workers_cli.cli.app import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
