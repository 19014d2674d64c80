"""Runs the command line: `pmw`, or `python -m pipecat_workers_cli`."""

from pipecat_workers_cli.cli.app import main

if __name__ == "__main__":
    main()
