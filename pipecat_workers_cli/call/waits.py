"""Whether a turn has been answered to the end, read from the main worker's frames."""

import asyncio

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    InterruptionFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame

from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.workers.owed import GOES_ON


class Waits:
    """What a turn still waits for: an answer, a response, tools, a handover, speech.

    Attributes:
        quiet: Set while nothing is waited for.
        arrived: Set while no turn that was sent is on its way.
    """

    def __init__(self) -> None:
        self.quiet = asyncio.Event()
        self.arrived = asyncio.Event()
        self._answered = False
        self._underway = 0
        self._responses = 0
        self._tools: dict[str, str] = {}
        self._run_owed = False
        self._ending = False
        self._speaking = False

    def send_turn(self) -> None:
        """A turn is about to be sent; it counts until its frame is seen."""
        self._underway += 1
        self.arrived.clear()
        self.begin_turn()

    def begin_turn(self) -> None:
        """Somebody is expected to speak."""
        self._answered = False
        self.quiet.clear()

    def answered(self) -> None:
        """An answer is complete, or an error came in its place."""
        self._answered = True
        self._settle()

    def failed(self) -> None:
        """An error came: whoever was to speak may never do so."""
        self._run_owed = False
        self.answered()

    def handed_over(self) -> None:
        """Another agent has the call, and is going to speak."""
        self._answered = False
        self._run_owed = True
        self._settle()

    def ended(self) -> None:
        """The call ends: there is nothing to wait for."""
        self.quiet.set()

    def note(self, frame: Frame) -> None:
        """Take note of a frame that the main worker's pipeline pushed."""
        match frame:
            case RTVISendTextFrame() | LLMContextUserTurnFrame():
                self._arrive()
            case InterruptionFrame():
                self._responses = 0
                self._run_owed, self._ending = bool(frame.metadata.get(GOES_ON)), False
            case LLMFullResponseStartFrame():
                self._responses += 1
                self._run_owed = False
            case LLMFullResponseEndFrame():
                self._responses = max(0, self._responses - 1)
            case FunctionCallInProgressFrame():
                self._tools[frame.tool_call_id] = frame.function_name
            case FunctionCallResultFrame():
                self._finish_tool(frame)
            case FunctionCallCancelFrame():
                self._tools.pop(frame.tool_call_id, None)
            case BotStartedSpeakingFrame():
                self._speaking = True
            case BotStoppedSpeakingFrame():
                self._speaking = False
            case _:
                return
        self._settle()

    def _arrive(self) -> None:
        self._underway = max(0, self._underway - 1)
        if not self._underway:
            self.arrived.set()
        self.begin_turn()

    def _finish_tool(self, frame: FunctionCallResultFrame) -> None:
        name = self._tools.pop(frame.tool_call_id, None)
        runs = frame.properties is None or frame.properties.run_llm is not False
        # After a transfer another agent speaks; after a goodbye the call ends.
        self._run_owed = self._run_owed or name == TRANSFER or (name is not None and runs)
        self._ending = self._ending or name == END

    def _settle(self) -> None:
        waiting = (
            self._underway,
            self._responses,
            self._tools,
            self._run_owed,
            self._ending,
            self._speaking,
        )
        if self._answered and not any(waiting):
            self.quiet.set()
        else:
            self.quiet.clear()
