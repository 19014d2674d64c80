"""How tests start `pmw`: by the Python that they run in."""

import sys

PMW = [sys.executable, "-m", "pipecat_workers_cli"]
