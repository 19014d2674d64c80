"""What an agent owes the caller, whatever comes from where it runs."""

import pytest
from pipecat.frames.frames import FunctionCallInProgressFrame

from pipecat_workers_cli.wire.limits import FUNCTION_CALLS, Refused
from pipecat_workers_cli.workers.owed import Owed


def test_more_tools_than_an_llm_calls_at_once_are_not_kept():
    owed = Owed()
    for number in range(FUNCTION_CALLS):
        owed.begun(f"tool_{number}", "pay")
    with pytest.raises(Refused, match="too many tools"):
        owed.begun("one_more", "pay")
    owed.said(FunctionCallInProgressFrame("pay", "one_more", {}))
    assert len(owed.tools) == FUNCTION_CALLS
