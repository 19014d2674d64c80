"""A far end in a process of its own: killed in mid-answer, under an eval, and refused."""

import signal
import subprocess

import pytest

from tests.e2e.fleet import Talk
from tests.fleet.proxies import SLOW, TOKEN
from tests.program import PMW

ANSWER = "At last, the slow answer."
OFFLINE = ("--services", "offline")


@pytest.fixture
def far_end(pmw, tmp_path, free_port):
    """Start a far end at one port, and wait until it serves."""
    (tmp_path / "slow.toml").write_text(SLOW)

    def start(*words: str, **options):
        process = pmw("proxy", "serve", "--port", str(free_port), *words, *OFFLINE, **options)
        process.wait_for_line("Ctrl-C", timeout=60)
        return process

    return start


def test_a_far_end_that_is_killed_in_mid_answer_and_started_again_answers_once(
    far_end, free_port, pmw_env, tmp_path
):
    killed = far_end("--recipe", "./slow.toml")
    url = f"ws://localhost:{free_port}/ws"
    words = ["proxy", "call", "--remote-url", url, *OFFLINE, "-t", "console", "-o", "json"]
    call = Talk(words, env=pmw_env, cwd=tmp_path)
    try:
        call.told("bot", text="Welcome!", within=60)
        call.say("A slow question")
        call.told("user")
        killed.popen.kill()
        call.told("bot", worker="acme", text="One moment, please.")
        back = far_end("--recipe", "./slow.toml")
        call.told("bot", text=ANSWER)
        call.say("bye")
        assert call.told("end")["reason"] == "the caller said goodbye"
        assert call.popen.wait(10) == 0
    finally:
        call.popen.kill()
    assert [one.get("text") for one in call.entries].count(ANSWER) == 1
    code, _ = back.stop(signal.SIGTERM)
    assert code == 0


def test_an_eval_goes_through_a_proxy_and_whoever_has_no_token_is_told_in_two_lines(
    far_end, free_port, pmw_env, tmp_path
):
    far_end(env={"PMW_PROXY_TOKEN": f"an-older-token-of-ours {TOKEN}"})
    url = f"ws://localhost:{free_port}/ws"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PMW, *words], env=pmw_env, cwd=tmp_path, capture_output=True, text=True, timeout=100
        )

    held = run(
        *("eval", "assistant", "--set", f'workers.assistant.at="{url}"'),
        *("--set", f'workers.assistant.token="{TOKEN}"'),
    )
    assert held.returncode == 0, held.stdout + held.stderr
    refused = run("proxy", "call", "--remote-url", url, *OFFLINE, "--say", "hello")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: {url} wants a token, and not this one\n"
        "  try: --token, or $PMW_PROXY_TOKEN: one of those that the other end was started with\n"
    )
    open_to_all = run("proxy", "serve", "--host", "0.0.0.0", *OFFLINE)
    assert open_to_all.returncode == 2
    assert "--host 0.0.0.0 lets other machines in without a token" in open_to_all.stderr
    assert "--token TOKEN" in open_to_all.stderr
