"""Who asks whom, which tools an LLM has, and whether its script calls those."""

import time

import pytest

from pipecat_workers_cli.recipe.names import END, KIND_TOOLS, SERVING_KINDS, TRANSFER
from tests.recipe.reading import faults_in

ASKING = """\
name = "help"
[[workers]]
name = "desk"
tools = ["acme_tools:find_order"]
jobs = [{ tool = "ask", workers = ["sage"] }]
script = []
[[workers]]
name = "sage"
kind = "specialist"
[[workers]]
name = "own"
kind = "acme:Porter"
[[workers]]
name = "other"
"""


def with_jobs(jobs: str) -> str:
    return ASKING.replace('{ tool = "ask", workers = ["sage"] }', jobs)


def with_rule(rule: str, *, base: str = ASKING) -> str:
    return base.replace("script = []", f"script = [{rule}]", 1)


def test_what_fits_has_no_fault(tmp_path):
    assert faults_in(ASKING, tmp_path) == []


# --- whom ---


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("desk", "a worker can't ask itself (name another worker)"),
        ("main", "[main] has the caller and answers no jobs (name another worker)"),
        (
            "other",
            "agents talk to callers and answer no jobs (ask another, or give it kind = "
            "'specialist', which answers jobs)",
        ),
        (
            "sagge",
            "no worker that answers jobs has that name (did you mean 'sage'? choose one of: own, "
            "sage)",
        ),
        ("own", "stands in this list twice (leave one of the two out)"),
    ],
)
def test_a_job_asks_others_that_answer_and_each_once(name, what, tmp_path):
    text = with_jobs(f'{{ tool = "ask", workers = ["own", "{name}"] }}')
    assert faults_in(text, tmp_path) == [
        f"mine.toml:5: workers.desk.jobs.ask.workers[1] = '{name}': {what}"
    ]


def test_the_main_worker_asks_too(tmp_path):
    main = '[main]\nprompt = "x"\njobs = [{ tool = "ask", workers = ["nobody"] }]\n[[workers]]'
    text = f'name = "x"\n{main}\nname = "sage"\nkind = "specialist"\n'
    (fault,) = faults_in(text, tmp_path)
    assert fault.startswith("mine.toml:4: main.jobs.ask.workers[0] = 'nobody': no worker that")


def test_a_job_by_the_number_of_its_table_if_its_tool_is_no_name(tmp_path):
    faults = faults_in(with_jobs('{ tool = "a b", workers = ["x"] }'), tmp_path)
    assert faults[0].startswith("mine.toml:5: workers.desk.jobs[0].tool = 'a b': is no plain name")
    assert faults[1].startswith("mine.toml:5: workers.desk.jobs[0].workers[0] = 'x': no worker")


# --- rings ---


def ring_of(*names: str) -> str:
    tables = ['name = "ring"', "[[workers]]", 'name = "desk"']
    for name, asked in zip(names, (*names[1:], names[0]), strict=True):
        tables += ["[[workers]]", f'name = "{name}"', 'kind = "specialist"']
        tables += [f'jobs = [{{ tool = "ask_{asked}", workers = ["{asked}"] }}]']
    return "\n".join(tables)


@pytest.mark.parametrize("count", [2, 3, 49])
def test_a_ring_of_jobs_is_told_at_the_job_that_closes_it(count, tmp_path):
    names = [f"w{i}" for i in range(count)]
    asks = " asks ".join([*names, "w0"])
    assert faults_in(ring_of(*names), tmp_path) == [
        f"mine.toml:{3 + 4 * count}: workers.w{count - 1}.jobs.ask_w0.workers[0] = 'w0': closes a "
        f"ring of jobs (let one of them answer by itself: {asks})"
    ]


def test_two_rings_are_two_faults_and_a_way_that_meets_again_is_none(tmp_path):
    text = 'name = "x"\n[[workers]]\nname = "desk"\n'
    asks = {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": [], "e": ["f"], "f": ["e", "g"]}
    for name, asked in {**asks, "g": ["f"]}.items():
        jobs = f"[{{ tool = 'ask', workers = {asked} }}]" if asked else "[]"
        text += f'[[workers]]\nname = "{name}"\nkind = "specialist"\njobs = {jobs}\n'
    faults = faults_in(text, tmp_path)
    assert [fault.split(": ")[1] for fault in faults] == [
        "workers.f.jobs.ask.workers[0] = 'e'",
        "workers.g.jobs.ask.workers[0] = 'f'",
    ]


def test_fifty_workers_that_all_ask_all_are_told_of_within_five_seconds(tmp_path):
    names = [f"w{i}" for i in range(50)]
    text = 'name = "x"\n'
    for name in names:
        asked = [other for other in names if other != name]
        jobs = ",\n".join(f"{{ tool = 't{i}', workers = {asked} }}" for i in range(40))
        text += f"[[workers]]\nname = '{name}'\nkind = 'specialist'\njobs = [\n{jobs}\n]\n"
    started = time.process_time()
    faults = faults_in(text, tmp_path)
    assert time.process_time() - started < 5
    assert len(faults) == 101


# --- handlers and fillers ---


@pytest.mark.parametrize("kind", sorted(SERVING_KINDS))
def test_kinds_of_ours_have_no_handlers_to_choose_from(kind, tmp_path):
    text = with_jobs('{ tool = "ask", workers = ["sage"], job = "read" }')
    assert faults_in(text.replace('"specialist"', f'"{kind}"'), tmp_path) == [
        f"mine.toml:5: workers.desk.jobs.ask.job = 'read': a {kind} has no handlers to choose "
        "from: it answers every job (leave 'job' out)"
    ]


@pytest.mark.parametrize("asked", ['["own"]', '["own", "sage"]'])
def test_a_class_of_the_users_own_may_have_the_handler(asked, tmp_path):
    text = with_jobs(f'{{ tool = "ask", workers = {asked}, job = "read" }}')
    assert faults_in(text, tmp_path) == []


def test_only_who_talks_to_the_caller_can_fill_a_wait(tmp_path):
    job = '{ tool = "ask", workers = ["own"], filler = { say = "One moment." } }'
    assert faults_in(with_jobs(job), tmp_path) == []
    text = ASKING.replace('"specialist"', f'"specialist"\njobs = [{job}]')
    (fault,) = faults_in(text, tmp_path)
    assert fault.startswith("mine.toml:10: workers.sage.jobs.ask.filler: a specialist has no call")


# --- tools ---


@pytest.mark.parametrize(
    ("tools", "jobs", "key"),
    [
        ("['a:ask']", "{ tool = 'ask', workers = ['sage'] }", "jobs.ask.tool = 'ask'"),
        ("['a:find', 'b.c:find']", "", "tools[1] = 'b.c:find'"),
        (
            "[]",
            "{ tool = 'ask', workers = ['sage'] }, { tool = 'ask', workers = ['own'] }",
            "jobs[1].tool = 'ask'",
        ),
    ],
)
def test_a_worker_has_each_tool_once(tools, jobs, key, tmp_path):
    text = with_jobs(jobs).replace('["acme_tools:find_order"]', tools)
    (fault,) = faults_in(text, tmp_path)
    assert f": workers.desk.{key}: this worker has another tool of that name (give one" in fault


@pytest.mark.parametrize("tool", [END, TRANSFER])
def test_nobody_else_has_the_names_of_the_agents_two_tools(tool, tmp_path):
    job = f"{{ tool = '{tool}', workers = ['sage'] }}"
    (fault,) = faults_in(with_jobs(job), tmp_path)
    assert f": workers.desk.jobs.{tool}.tool = '{tool}': calls are ended and handed over" in fault
    (fault,) = faults_in(ASKING.replace("find_order", tool), tmp_path)
    assert f": workers.desk.tools[0] = 'acme_tools:{tool}': calls are ended and" in fault


@pytest.mark.parametrize("tool", KIND_TOOLS["controller"])
def test_a_controllers_own_tools_are_taken(tool, tmp_path):
    text = ASKING.replace('"specialist"', f'"controller"\ntools = ["a:{tool}"]')
    (fault,) = faults_in(text, tmp_path)
    assert f": workers.sage.tools[0] = 'a:{tool}': this worker has another tool" in fault


# --- scripts ---


@pytest.mark.parametrize(
    "rule",
    [
        "{ call = 'ask', args = { question = '{text}' } }",
        "{ call = 'find_order' }, { call = 'find_order', args = { anything = 1 } }",
        "{ call = 'end_conversation', args = { reason = 'bye' } }",
        "{ on = 'tool:ask', say = 'x' }, { on = 'tool:find_order', say = 'x' }",
        "{ on = 'tool:end_conversation', say = 'x' }",
    ],
)
def test_a_script_calls_what_there_is(rule, tmp_path):
    assert faults_in(with_rule(rule), tmp_path) == []


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (
            "{ call = 'aks' }",
            "call = 'aks': this worker has no such tool (did you mean 'ask'? choose one of: ask, "
            "end_conversation, find_order)",
        ),
        (
            "{ on = 'tool:aks', say = 'x' }",
            "on = 'tool:aks': this worker has no such tool (did you mean 'tool:ask'? choose "
            "one of: tool:ask, tool:end_conversation, tool:find_order)",
        ),
        (
            "{ call = 'transfer_to_agent' }",
            "call = 'transfer_to_agent': this worker has no 'transfers' (write transfers = "
            "['AGENT'] above, or call another tool)",
        ),
        (
            "{ call = 'ask', args = { question = 'x', quesion = 'x' } }",
            "args.quesion = 'x': this tool takes no such argument (did you mean 'question'? choose "
            "one of: question)",
        ),
        (
            "{ call = 'ask' }",
            'args.question: is missing: the tool needs it (add it, such as NAME = "{text}")',
        ),
        (
            "{ call = 'end_conversation', args = { why = 'x' } }",
            "args.why = 'x': this tool takes no such argument (choose one of: reason)",
        ),
    ],
)
def test_a_script_that_calls_what_is_not_there_is_told_at_its_rule(rule, fault, tmp_path):
    assert faults_in(with_rule(rule), tmp_path) == [f"mine.toml:6: workers.desk.script[0].{fault}"]


def test_the_arguments_of_a_jobs_tool_are_those_of_its_table(tmp_path):
    job = "{ tool = 'ask', workers = ['sage'], takes = { topic = 'a question', side = 'whose' } }"
    rule = "{ call = 'ask', args = { topic = '{text}', question = 'x' } }"
    faults = faults_in(with_rule(rule, base=with_jobs(job)), tmp_path)
    assert [fault.split(" (")[0] for fault in faults] == [
        "mine.toml:6: workers.desk.script[0].args.question = 'x': this tool takes no such argument",
        "mine.toml:6: workers.desk.script[0].args.side: is missing: the tool needs it",
    ]


@pytest.mark.parametrize("tool", [END, TRANSFER])
@pytest.mark.parametrize("kind", ["specialist", "controller"])
def test_who_never_has_the_call_neither_ends_nor_hands_it_over(kind, tool, tmp_path):
    rule = f"script = [{{ call = '{tool}' }}, {{ on = 'tool:{tool}', say = 'x' }}]"
    faults = faults_in(ASKING.replace('"specialist"', f'"{kind}"\n{rule}'), tmp_path)
    assert faults == [
        f"mine.toml:10: workers.sage.script[{i}].{key}: a {kind} never has the call "
        "(let who talks to the caller call it)"
        for i, key in enumerate((f"call = '{tool}'", f"on = 'tool:{tool}'"))
    ]


def test_a_controllers_script_calls_its_own_tools(tmp_path):
    rules = ", ".join(f"{{ call = '{tool}' }}" for tool in KIND_TOOLS["controller"])
    rules += ", { on = 'tool:set_target', say = 'x' }, { call = 'set_target', args = { c = 1 } }"
    text = ASKING.replace('"specialist"', f'"controller"\nscript = [{rules}]')
    assert faults_in(text, tmp_path) == []
    (fault,) = faults_in(text.replace("'set_target' }", "'set_taret' }"), tmp_path)
    assert "did you mean 'set_target'?" in fault


def test_a_class_of_the_users_own_may_bring_any_tool(tmp_path):
    rules = "script = [{ call = 'fly' }, { on = 'tool:fly', say = 'x' }]"
    assert faults_in(ASKING.replace('"acme:Porter"', f'"acme:Porter"\n{rules}'), tmp_path) == []


def test_a_main_worker_with_a_prompt_ends_the_call_but_hands_it_to_nobody(tmp_path):
    text = 'name = "x"\n[main]\nprompt = "x"\nscript = [RULE]\n[[workers]]\nname = "sage"\n'
    text += 'kind = "specialist"\n'
    ending = "{ call = 'end_conversation', args = { reason = 'bye' } }"
    assert faults_in(text.replace("RULE", ending), tmp_path) == []
    assert faults_in(text.replace("RULE", "{ call = 'transfer_to_agent' }"), tmp_path) == [
        "mine.toml:4: main.script[0].call = 'transfer_to_agent': [main] has a prompt and keeps "
        "the caller (leave it out, or leave [main]'s prompt out)"
    ]


# --- values of a wrong type don't hide the rest, and are told once ---


@pytest.mark.parametrize(
    "job",
    [
        "5",
        "{ tool = 5, workers = 5 }",
        "{ tool = 'ask', workers = [5, []], takes = [], job = 5, filler = 5, timeout = '1' }",
        "{ tool = 'ask', workers = ['sage'], takes = { question = 5 }, timeout = 0 }",
        "{ tool = 'ask', workers = ['sage'], takes = { 'a b' = 'x' }, filler = { after = 99 } }",
        "{ tool = 'ask', workers = [], tol = 'x' }",
    ],
)
def test_what_is_of_a_wrong_type_has_a_mend_of_its_own(job, tmp_path):
    faults = faults_in(with_jobs(job), tmp_path)
    assert faults
    for fault in faults:
        assert fault.startswith("mine.toml:5: workers.desk.jobs")
        assert "pmw recipe show" not in fault
    assert len({fault.split(":")[2] for fault in faults}) == len(faults)


def test_a_name_that_transfers_and_script_have_wrong_alike_is_one_fault(tmp_path):
    rule = '{ match = "x", call = "transfer_to_agent", args = { agent = "othr", reason = "x" } }'
    wrong = with_rule(rule).replace('name = "desk"', 'name = "desk"\ntransfers = ["othr"]')
    (fault,) = faults_in(wrong, tmp_path)
    assert "transfers[0] = 'othr'" in fault
    (fault,) = faults_in(wrong.replace('transfers = ["othr"]', 'transfers = ["other"]'), tmp_path)
    assert "args.agent = 'othr'" in fault
