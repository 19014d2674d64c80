"""What keeps a session's memory level, as seen from outside."""

import subprocess
import sys

PROGRAM = """
import sys
started = []
sys.addaudithook(lambda event, args: started.append(event) if event == "subprocess.Popen" else None)
from pipecat_workers_cli.session.memory import give_back, limit_arenas
limit_arenas()
give_back()
print(started)
"""


def test_no_program_is_run_to_give_memory_back():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
