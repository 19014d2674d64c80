"""`pmw voices` as a program, against a Cartesia that serves the API on a real socket."""

import asyncio
import json
import wave

import pytest

from pipecat_workers_cli.services.voice_lists import KEY
from tests.fakes.cartesia import FakeCartesia, some_voice
from tests.fakes.provider import Behaviour
from tests.program import PMW, run_here

DEADLINE = 60


@pytest.fixture
async def fake():
    async with FakeCartesia() as fake:
        fake.voices = [
            some_voice(number, language="de" if number % 10 == 5 else "en", locales=[])
            for number in range(1, 131)
        ]
        yield fake


@pytest.fixture
def voices(fake, tmp_path, monkeypatch, capfd):
    """Runs the command here; gives its exit code, stdout and stderr, which never hold the key."""
    monkeypatch.chdir(tmp_path)
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)

    async def run(*words):
        capfd.readouterr()
        async with asyncio.timeout(DEADLINE):
            code = await asyncio.to_thread(run_here, "voices", *words)
        out, err = capfd.readouterr()
        assert fake.key not in out + err
        return code, out, err

    return run


@pytest.fixture
def voices_process(fake, tmp_path, monkeypatch):
    """Runs the command as a process of its own; gives the same."""
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)

    async def run(*words):
        process = await asyncio.create_subprocess_exec(
            *PMW,
            "voices",
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
        )
        async with asyncio.timeout(DEADLINE):
            out, err = (text.decode() for text in await process.communicate())
        assert fake.key not in out + err
        return process.returncode, out, err

    return run


def ids(out):
    return [line.split()[0].removeprefix("cartesia:") for line in out.splitlines()]


async def test_cartesias_voices_are_listed_a_page_at_a_time(fake, voices):
    wanted = [voice["id"] for voice in fake.voices]
    code, out, err = await voices("--provider", "cartesia", "--limit", "3")
    assert (code, ids(out)) == (0, wanted[:3])
    assert f"--after cartesia:{wanted[2]}" in err
    code, out, err = await voices("--after", f"cartesia:{wanted[2]}", "--limit", "127", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["tts"] for row in rows] == [f"cartesia:{one}" for one in wanted[3:]]
    assert (code, err) == (0, "")
    assert set(rows[0]) == {"tts", "name", "language", "gender", "about"}


async def test_they_are_chosen_by_language_gender_and_words(fake, voices):
    masculine = ("--provider", "cartesia", "--gender", "masculine", "--limit", "2")
    code, out, _ = await voices(*masculine)
    assert (code, ids(out)) == (0, [fake.voices[1]["id"], fake.voices[3]["id"]])
    _, out, err = await voices("--provider", "cartesia", "--language", "de")
    german = [voice["id"] for voice in fake.voices if voice["language"] == "de"]
    assert (ids(out), err) == (german, "")  # the last stands on the second of two pages
    _, out, _ = await voices("the 42.", "--provider", "cartesia")
    assert ids(out) == [fake.voices[41]["id"]]
    code, out, err = await voices("no such", "--provider", "cartesia")
    assert (code, out, err) == (0, "", "no such voice was found\n")


async def test_a_sample_is_spoken_into_a_file(fake, voices_process, tmp_path):
    one = fake.voices[6]["id"]
    code, out, err = await voices_process(
        f"cartesia:{one}", "--save", "seven.wav", "--text", "Good day."
    )
    assert (code, err) == (0, "")
    assert out == f"seven.wav: 0.5 s by cartesia:{one}\n"  # 9 characters of 0.05 s
    with wave.open(str(tmp_path / "seven.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
        assert file.getnframes() == 0.45 * 24_000
    asked = fake.requests[-1]
    assert asked.path == "/tts/bytes"
    assert asked.body["transcript"] == "Good day."


async def test_a_sample_of_several_voices_is_refused_by_name(fake, voices, tmp_path):
    code, out, err = await voices("Fake", "--provider", "cartesia", "--save", "x.wav")
    assert (code, out) == (2, "")
    assert fake.voices[0]["id"] in err
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Behaviour.WRONG_KEY, "error: Cartesia refuses the key in CARTESIA_API_KEY\n"),
        (Behaviour.LIMIT, "error: Cartesia's limit for this key is reached\n"),
    ],
)
async def test_what_cartesia_refuses_is_told_in_two_lines(fake, voices, behaviour, says):
    fake.behaviour = behaviour
    code, out, err = await voices("--provider", "cartesia")
    assert (code, out, len(err.splitlines())) == (1, "", 2)
    assert err.startswith(says)


async def test_without_a_key_pipers_are_listed_and_cartesias_asked_for_are_an_error(
    voices, monkeypatch
):
    monkeypatch.delenv(KEY)
    code, out, err = await voices("joe")
    assert (code, out.split()[0]) == (0, "piper:joe")
    assert KEY in err
    code, out, err = await voices("--provider", "cartesia")
    assert (code, out, len(err.splitlines())) == (1, "", 2)


async def test_a_cartesia_that_fails_does_not_hide_pipers(fake, voices):
    fake.behaviour = Behaviour.WRONG_KEY
    code, out, err = await voices()
    assert (code, "piper:joe" in out) == (0, True)
    assert "Cartesia refuses the key" in err


@pytest.mark.speech
async def test_piper_speaks_a_sample_without_a_network(voices_process, tmp_path):
    code, _, err = await voices_process("piper:joe-low", "--save", "low.wav", "--text", "Good day.")
    assert (code, err) == (0, "")
    with wave.open(str(tmp_path / "low.wav")) as file:
        assert 0.3 < file.getnframes() / file.getframerate() < 3
