"""`pmw eval` over a shared bus: the recipe's main worker in its own process, the rest in hosts."""

import pytest

from tests.e2e.fleet import Fleet

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize(
    "engine", ["redis", pytest.param("pgmq", marks=pytest.mark.long)], indirect=True
)
def test_a_handoff_whose_parts_are_three_processes_holds_what_its_scenario_asks(fleet: Fleet):
    hosts = fleet.hosting("greeter", "support")
    evaluation = fleet.run("eval", "handoff")
    assert evaluation.popen.wait(60) == 0, [*evaluation.out, *evaluation.err]
    evaluation.wait_for_line("1 of 1 scenario passed")
    assert evaluation.err == [
        f"handoff: 1 scenario · bus: {fleet.bus.told}",
        "1 of 1 scenario passed",
    ]
    assert [host.popen.poll() for host in hosts] == [None, None]
