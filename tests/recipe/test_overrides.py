"""`--set` and the keys of faults: workers go by their names, jobs by their tools'."""

import pytest

from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.recipe.model import Recipe
from tests.recipe.reading import faults_in

ASKING = """\
name = "debate"
[main]
prompt = "You moderate."
[[main.jobs]]
tool = "debate"
workers = ["advocate"]
[[workers]]
name = "advocate"
kind = "specialist"
jobs = [{ tool = "first", workers = ["desk"] }, { tool = "ask", workers = ["desk"] }]
[[workers]]
name = "desk"
kind = "controller"
"""


def loaded_with(tmp_path, *sets: str) -> Recipe:
    path = tmp_path / "mine.toml"
    path.write_text(ASKING)
    return load_recipe(str(path), sets=sets).recipe


def test_a_job_goes_by_its_tools_name(tmp_path):
    recipe = loaded_with(
        tmp_path,
        "main.jobs.debate.timeout=10",
        "main.jobs.debate.filler.say=One moment.",
        'main.jobs.debate.takes={ topic = "in full" }',
        "workers.advocate.jobs.ask.timeout=5",
        "workers.advocate.jobs.ask.workers[0]=desk",
    )
    (debate,) = recipe.main.jobs
    assert debate.timeout == 10
    assert debate.filler is not None
    assert (debate.filler.say, debate.filler.after) == ("One moment.", 2.0)
    assert debate.takes == {"topic": "in full"}
    assert [job.timeout for job in recipe.worker("advocate").jobs] == [30, 5]


def test_a_table_that_is_not_there_yet_is_made(tmp_path):
    sets = ("workers.desk.options.start_temp=30", "workers.desk.options.path=/srv")
    assert loaded_with(tmp_path, *sets).worker("desk").options == {
        "start_temp": 30,
        "path": "/srv",
    }


def test_a_whole_list_of_jobs_can_be_set(tmp_path):
    jobs = '[{ tool = "weigh", workers = ["advocate"] }]'
    assert loaded_with(tmp_path, f"main.jobs={jobs}").main.jobs[0].tool == "weigh"


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        (
            "main.jobs.debat.timeout=10",
            "main.jobs.debat.timeout: no job has such a tool (did you mean 'debate'? choose "
            "one of: debate)",
        ),
        (
            "main.jobs[0].timeout=10",
            "main.jobs.debate.timeout: a job goes by its tool's name here (choose one of: debate)",
        ),
        (
            "workers.advocate.jobs.1.timeout=10",
            "workers.advocate.jobs.1.timeout: a job goes by its tool's name here (choose "
            "one of: ask, first)",
        ),
        (
            "workers.desk.jobs.ask.timeout=10",
            "workers.desk.jobs.ask.timeout: no job has such a tool (there is none)",
        ),
        ("main.jobs.debate.timeout=0", "main.jobs.debate.timeout = 0: is not above 0 (give more"),
        (
            "main.jobs.debate.timeot=9",
            "main.jobs.debate.timeot = 9: unknown key (did you mean 'timeout'? choose one of: "
            "description, filler, job, takes, timeout, tool, workers)",
        ),
        (
            "workers.advocate.jobs.ask.workers=['dsk']",
            "workers.advocate.jobs.ask.workers[0] = 'dsk': no worker that answers jobs has that",
        ),
    ],
)
def test_a_set_that_fits_nothing_is_told_by_the_same_names(typed, fault, tmp_path):
    (found,) = faults_in(ASKING, tmp_path, sets=(typed,))
    assert found.startswith(f"--set: {fault}")


def test_jobs_that_share_a_tool_are_told_apart_by_number(tmp_path):
    text = ASKING.replace('"first"', '"ask"').replace('["desk"] }]', '["dsk"] }]')
    keys = sorted(fault.split(": ")[1] for fault in faults_in(text, tmp_path))
    assert keys == [
        "workers.advocate.jobs[1].tool = 'ask'",
        "workers.advocate.jobs[1].workers[0] = 'dsk'",
    ]
