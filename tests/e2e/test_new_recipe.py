"""A first recipe of the user's own, run as it is."""

import json
import subprocess

from tests.program import PMW


def test_it_holds_a_call_offline_with_a_transfer_a_job_and_a_filler(tmp_path, pmw_env):
    subprocess.run(
        [*PMW, "recipe", "new", "shop"], cwd=tmp_path, env=pmw_env, check=True, timeout=30
    )
    said = ["When is the bread ready?", "When do you open?", "goodbye"]
    turns = [word for text in said for word in ("--say", text)]
    command = [*PMW, "run", "./shop.toml", "--services", "offline", "-o", "json", *turns]
    done = subprocess.run(
        command, cwd=tmp_path, env=pmw_env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    spoken = [(e["worker"], e["text"]) for e in entries if e["event"] == "bot"]
    assert ("desk", "One moment, I'll ask the baker.") in spoken
    assert ("desk", "The baker says: The bread comes out of the oven at ten.") in spoken
    assert ("host", "We are open from seven to six, every day but Monday.") in spoken
    assert [e["target"] for e in entries if e["event"] == "transfer"] == ["desk", "host"]
    assert entries[-1]["event"] == "end"
