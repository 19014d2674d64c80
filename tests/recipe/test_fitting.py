"""Who may be in a recipe together, who may have the call, and who may hand it over."""

import pytest

from pipecat_workers_cli.recipe.names import SERVING_KINDS
from tests.recipe.reading import faults_in

BRIDGING = """\
name = "shop"
[[workers]]
name = "greeter"
transfers = ["support", "own"]
[[workers]]
name = "support"
kind = "agent"
[[workers]]
name = "own"
kind = "acme:Porter"
transfers = ["greeter"]
[[workers]]
name = "sage"
kind = "specialist"
"""

TALKING = """\
name = "debate"
[main]
name = "moderator"
prompt = "You moderate."
[[workers]]
name = "advocate"
kind = "specialist"
[[workers]]
name = "own"
kind = "acme:Porter"
"""


@pytest.mark.parametrize("text", [BRIDGING, TALKING])
def test_what_fits_has_no_fault(text, tmp_path):
    assert faults_in(text, tmp_path) == []


# --- [main] without a prompt ---


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("script = [{ say = 'x' }]", "main.script"),
        ("jobs = [{ tool = 'ask', workers = ['sage'] }]", "main.jobs"),
        ("tools = ['acme:find']", "main.tools"),
    ],
)
def test_a_main_worker_without_a_prompt_has_no_llm_to_use_these(line, key, tmp_path):
    text = BRIDGING.replace("[[workers]]", f"[main]\n{line}\n[[workers]]", 1)
    assert faults_in(text, tmp_path) == [
        f"mine.toml:3: {key}: [main] has no prompt, so it has no LLM either "
        "(give [main] a prompt, or move this to a worker)"
    ]


@pytest.mark.parametrize("head", ["", "[main]\nvoice = 'joe'\n"])
def test_without_a_prompt_somebody_must_be_able_to_have_the_call(head, tmp_path):
    workers = "".join(
        f'[[workers]]\nname = "{kind}"\nkind = "{kind}"\n' for kind in sorted(SERVING_KINDS)
    )
    (fault,) = faults_in(f'name = "x"\n{head}{workers}', tmp_path)
    assert fault == (
        f"mine.toml:{2 if head else 1}: main.prompt: there is none, nor a worker that can have "
        "the call (add one, or a worker of the kind 'agent')"
    )


@pytest.mark.parametrize("kind", ["agent", "installed", "acme.workers:Porter"])
def test_an_agent_or_a_kind_of_the_users_own_can_have_the_call(kind, tmp_path):
    assert faults_in(f'name = "x"\n[[workers]]\nname = "a"\nkind = "{kind}"\n', tmp_path) == []


@pytest.mark.parametrize(
    ("opener", "what"),
    [
        ("main", "no worker that can take the call has that name (choose one of"),
        ("suport", "(did you mean 'support'? choose one of: greeter, own, support)"),
        ("sage", "a specialist answers jobs and can't take the call (name an agent"),
    ],
)
def test_the_opening_names_somebody_who_can_have_the_call(opener, what, tmp_path):
    main = f'[main]\nopening = {{ message = "hi", worker = "{opener}" }}\n[[workers]]'
    (fault,) = faults_in(BRIDGING.replace("[[workers]]", main, 1), tmp_path)
    assert fault.startswith(f"mine.toml:3: main.opening.worker = '{opener}': ")
    assert what in fault


# --- [main] with a prompt ---


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ('name = "late"\nkind = "agent"', "mine.toml:13: workers.late.kind = 'agent'"),
        ('name = "late"', "mine.toml:12: workers.late.name = 'late'"),
    ],
)
def test_beside_a_main_worker_with_a_prompt_there_are_no_agents(table, place, tmp_path):
    assert faults_in(f"{TALKING}[[workers]]\n{table}\n", tmp_path) == [
        f"{place}: [main] has a prompt and keeps the caller, so there can't be agents "
        "(write kind = 'specialist', or leave [main]'s prompt out)"
    ]


def test_an_agent_without_even_a_name_is_told_at_its_table(tmp_path):
    faults = faults_in(f"{TALKING}[[workers]]\nsummary = 'x'\n", tmp_path)
    assert any("workers[2]: [main] has a prompt" in fault for fault in faults), faults


@pytest.mark.parametrize(("opener", "right"), [("moderator", True), ("advocate", False)])
def test_a_main_worker_with_a_prompt_speaks_first(opener, right, tmp_path):
    text = TALKING.replace(
        "[[workers]]", f'opening = {{ message = "hi", worker = "{opener}" }}\n[[workers]]', 1
    )
    faults = faults_in(text, tmp_path)
    assert faults == (
        []
        if right
        else [
            "mine.toml:5: main.opening.worker = 'advocate': [main] has a prompt, so it speaks "
            "first (leave it out)"
        ]
    )


@pytest.mark.parametrize(("value", "right"), [("true", False), ("false", True)])
def test_a_main_worker_with_a_prompt_speaks_alone(value, right, tmp_path):
    text = TALKING.replace("[[workers]]", f"tts_per_worker = {value}\n[[workers]]", 1)
    faults = faults_in(text, tmp_path)
    assert [fault[:54] for fault in faults] == (
        [] if right else ["mine.toml:5: main.tts_per_worker = true: [main] has a p"[:54]]
    )


def test_a_main_worker_with_a_prompt_keeps_the_call(tmp_path):
    assert faults_in(f'{TALKING}transfers = ["advocate"]\n', tmp_path) == [
        "mine.toml:11: workers.own.transfers: [main] has a prompt and keeps the caller "
        "(leave it out, or leave [main]'s prompt out)"
    ]


# --- transfers ---


@pytest.mark.parametrize("kind", sorted(SERVING_KINDS))
def test_a_call_is_never_handed_to_who_answers_jobs(kind, tmp_path):
    text = BRIDGING.replace('"specialist"', f'"{kind}"').replace('["support"', '["sage"')
    assert faults_in(text, tmp_path) == [
        f"mine.toml:4: workers.greeter.transfers[0] = 'sage': a {kind} answers jobs and can't "
        "take the call (name an agent; whoever wants its answers asks it by 'jobs')"
    ]


@pytest.mark.parametrize("kind", sorted(SERVING_KINDS))
def test_who_answers_jobs_never_hands_a_call_over(kind, tmp_path):
    text = BRIDGING.replace('"specialist"', f'"{kind}"') + 'transfers = ["greeter"]\n'
    assert faults_in(text, tmp_path) == [
        f"mine.toml:15: workers.sage.transfers: a {kind} never has the call, so it can't hand it "
        "over (leave it out; only agents have 'transfers')"
    ]


def test_a_mistyped_transfer_gets_only_those_who_can_take_the_call(tmp_path):
    (fault,) = faults_in(BRIDGING.replace('["support"', '["suport"'), tmp_path)
    assert fault.endswith("(did you mean 'support'? choose one of: own, support)")


# --- keys that are of no use ---


@pytest.mark.parametrize(
    "line",
    [
        'prompt = "x"',
        'llm = "openai:gpt-4.1"',
        'tools = ["acme:find"]',
        "script = [{ say = 'x' }]",
        "jobs = [{ tool = 'ask', workers = ['nobody'] }]",
    ],
)
def test_a_coder_can_do_nothing_with_what_is_for_llms_of_ours(line, tmp_path):
    text = BRIDGING.replace('"specialist"', '"coder"') + line + "\n"
    key = line.partition(" ")[0]
    (fault,) = faults_in(text, tmp_path)
    assert fault.startswith(f"mine.toml:15: workers.sage.{key}")
    assert fault.endswith(": a coder can do nothing with it (leave it out)")


# --- all at once, and what may not be said ---


def test_all_that_does_not_fit_is_told_at_once_beside_what_is_wrong_by_itself(tmp_path):
    text = BRIDGING.replace('["greeter"]', '["sage"]').replace('name = "shop"', "name = 5")
    text = text.replace('["support", "own"]', '["suport"]') + 'transfers = ["x"]\nsumary = "x"\n'
    places = [fault.split(" ")[0] + fault.split(" ")[1] for fault in faults_in(text, tmp_path)]
    assert places == [
        "mine.toml:1:name",
        "mine.toml:4:workers.greeter.transfers[0]",
        "mine.toml:11:workers.own.transfers[0]",
        "mine.toml:15:workers.sage.transfers:",
        "mine.toml:16:workers.sage.sumary",
    ]


def test_a_name_that_a_variable_holds_is_in_no_message(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    text = BRIDGING.replace('name = "support"', 'name = "${SECRET}"')
    (fault,) = faults_in(text, tmp_path)
    assert fault == (
        "mine.toml:4: workers.greeter.transfers[0] = 'support': no worker that can take the call "
        "has that name (choose one of: own)"
    )


def test_a_prompt_that_cannot_be_read_still_makes_main_talk(tmp_path):
    text = TALKING.replace('prompt = "You moderate."', 'prompt_file = "nope.md"')
    (fault,) = faults_in(text, tmp_path)
    assert "main.prompt_file = 'nope.md'" in fault
