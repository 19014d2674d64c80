"""Two failures that no service reports: speech that makes no words, a voice that breaks off.

Each watch listens to events of Pipecat's and adds neither a task nor a timer.
"""

from collections.abc import Awaitable, Callable

from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.aggregators.llm_response_universal import (
    LLMUserAggregator,
    UserTurnStoppedMessage,
)
from pipecat.processors.frame_processor import FrameProcessor

Report = Callable[[str], Awaitable[None]]
"""Told what failed, a few words; must not block."""

WORDLESS_TURNS = 2  # in a row; a cough or a door makes one, and asking for it again costs little


def watch_hearing(turns: LLMUserAggregator, report: Report) -> None:
    """Report when somebody speaks turn after turn and no words come of it.

    A stream to an STT provider can stall with its keepalives still answered: nothing fails,
    and the caller talks to nobody.

    Args:
        turns: Tells the caller's turns apart by sound.
        report: Told at the second turn without words, and at each that follows it.
    """
    wordless = 0

    async def on_turn_stopped(
        _turns: LLMUserAggregator, _strategy: object, message: UserTurnStoppedMessage
    ) -> None:
        nonlocal wordless
        wordless = 0 if message.content else wordless + 1
        if wordless >= WORDLESS_TURNS:
            await report(f"no words were heard in {wordless} turns")

    turns.add_event_handler("on_user_turn_stopped", on_turn_stopped)


def watch_speaking(output: FrameProcessor, report: Report) -> None:
    """Report when an answer is over, but the voice that began to speak it never finished.

    That is what remains of a TTS connection that was cut or fell silent in mid-sentence. One
    that brings no sound at all is an error of Pipecat's own.

    Args:
        output: The transport's output: all that is spoken arrives there in order.
        report: Told at the end of the answer.
    """
    speaking: set[str | None] = set()

    async def on_frame(_output: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, TTSAudioRawFrame):
            speaking.add(frame.context_id)
        elif isinstance(frame, TTSStoppedFrame):
            speaking.discard(frame.context_id)
        elif isinstance(frame, InterruptionFrame | LLMFullResponseStartFrame):
            speaking.clear()
        elif isinstance(frame, LLMFullResponseEndFrame) and speaking:
            speaking.clear()
            await report("the voice broke off")

    output.add_event_handler("on_before_process_frame", on_frame)
