"""`pmw bus bench` as its user meets it."""

import json
import signal
import subprocess
import time

import pytest

from tests.program import PMW, run_here

BENCH = [*PMW, "bus", "bench"]

pytestmark = pytest.mark.timeout(60)


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*BENCH, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def bench(*words: str) -> int:
    """Run a bench in this process, whose start it needn't wait for; return its exit code."""
    return run_here("bus", "bench", *words)


def test_a_person_reads_a_table_and_a_program_an_object(valkey, capsys):
    assert bench("--bus", valkey.url, "--count", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["1", "round"]
    assert [line[:8] for line in lines[1:4]] == ["the engi", "pmw over", "ratio   "]
    assert lines[4].startswith("an offer is claimed within ")
    assert bench("--bus", valkey.url, "--for", "100ms", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bus"] == valkey.url
    assert set(found["ratio"]) == {"p50_ms", "p99_ms", "frames_per_s"}


@pytest.mark.parametrize(
    ("number", "code", "mend"),
    [
        pytest.param(signal.SIGINT, 130, "", marks=pytest.mark.long),
        (signal.SIGTERM, 1, "  try: run it again"),
    ],
)
def test_a_signal_ends_it_and_takes_along_what_it_put_there(valkey, number, code, mend):
    bench = start("--bus", valkey.url, "--for", "60s")
    with valkey.client() as client, bench:
        while len(client.keys("*-bench-*")) < 6:
            assert bench.poll() is None
            time.sleep(0.02)  # whoever asks on and on keeps it from starting
        bench.send_signal(number)
        _, err = bench.communicate(timeout=10)
        assert bench.returncode == code
        assert err.splitlines()[-1:] == ([mend] if mend else err.splitlines()[-1:])
        assert "Traceback" not in err
        assert client.keys("*-bench-*") == []


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("--bus", "local"), 2, "a local bus is inside a session"),
        (("--bus", "redis+pubsub://localhost"), 2, "stock Pipecat's processes answer no bench"),
        (("--for", "5s", "--count", "2"), 2, "--for and --count both say"),
        (("--bus", "redis://:s3cret@127.0.0.1:1"), 1, "nothing listens at 127.0.0.1:1"),
    ],
)
def test_what_can_not_be_measured_is_said_in_two_lines(words, code, what, capsys):
    assert bench("-q", *words) == code
    said = capsys.readouterr()
    assert said.out == ""
    first, second = said.err.splitlines()
    assert first.startswith(f"error: {what}")
    assert second.startswith("  try: ")
    assert "s3cret" not in said.err
