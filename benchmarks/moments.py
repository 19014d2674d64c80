"""Run inside a session by Pipecat's `PIPECAT_SETUP_FILES`: notes when each turn got how far.

Lines of JSON go to the file that `PMW_MOMENTS` names. Each worker has a clock of its own, so
only spans within one worker are written; what lies between two workers is their difference.
"""

import asyncio
import functools
import gc
import inspect
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    Frame,
    LLMContextFrame,
    LLMTextFrame,
    MetricsFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import TurnMetricsData
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.worker import PipelineWorker

from pipecat_workers_cli.call.log import CallLog
from pipecat_workers_cli.workers.agent import Agent
from pipecat_workers_cli.workers.main import MainWorker

OUT = Path(os.environ["PMW_MOMENTS"])
MAIN: dict[type[Frame], str] = {
    TranscriptionFrame: "transcript",
    LLMContextFrame: "context",
    LLMTextFrame: "text",
    TTSAudioRawFrame: "audio",
    BotStartedSpeakingFrame: "speaking",
}
"""What the main worker's pipeline shows of a turn, in this order, by the frame's first push."""


def write(**fields: object) -> None:
    """Append a line."""
    with OUT.open("a", encoding="utf-8") as file:
        file.write(json.dumps(fields) + "\n")


class LogTime:
    """How long the call's log, and all who are told its entries, have taken, in seconds."""

    spent = 0.0


def timed(method: Callable[..., object]) -> Callable[..., object]:
    """Count what a method of the log takes; none of them waits for anything."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(*given: object) -> object:
            began = time.perf_counter()
            try:
                return await method(*given)
            finally:
                LogTime.spent += time.perf_counter() - began

        return awaited

    @functools.wraps(method)
    def counted(*given: object) -> object:
        began = time.perf_counter()
        try:
            return method(*given)
        finally:
            LogTime.spent += time.perf_counter() - began

    return counted


class MainMoments(BaseObserver):
    """Writes a turn's spans from the end of speech, as the VAD finds it, to the first sound."""

    def __init__(self) -> None:
        super().__init__()
        self._turn: dict[str, float] | None = None
        self._began = 0
        self._log = 0.0

    async def on_push_frame(self, data: FramePushed) -> None:
        """Take note of a frame's first push."""
        frame = data.frame
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            if self._turn is None:
                self._turn = {"vad": frame.stop_secs}
            elif "transcript" in self._turn:
                return
            self._began, self._log = data.timestamp, LogTime.spent
        if self._turn is None:
            return
        after = (data.timestamp - self._began) / 1e9
        if isinstance(frame, MetricsFrame):
            self._note_smart_turn(frame)
        kind = next((name for known, name in MAIN.items() if isinstance(frame, known)), None)
        if kind is None or (kind in ("text", "audio", "speaking") and "context" not in self._turn):
            return
        self._turn.setdefault(kind, after)
        if kind == "speaking":
            write(what="turn", **self._turn, log=LogTime.spent - self._log)
            self._turn = None

    def _note_smart_turn(self, frame: MetricsFrame) -> None:
        for metrics in frame.data:
            if isinstance(metrics, TurnMetricsData) and self._turn is not None:
                self._turn["smart_turn"] = metrics.e2e_processing_time_ms / 1000
                self._turn["complete"] = metrics.is_complete


class AgentMoments(BaseObserver):
    """Writes how long an agent takes from a context to its first text."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._asked: int | None = None

    async def on_push_frame(self, data: FramePushed) -> None:
        """Take note of contexts and of the first text after each."""
        if isinstance(data.frame, LLMContextFrame) and self._asked is None:
            self._asked = data.timestamp
        elif isinstance(data.frame, LLMTextFrame) and self._asked is not None:
            took = (data.timestamp - self._asked) / 1e9
            self._asked = None
            write(what="llm", worker=self._name, took=took)


async def setup_pipeline_worker(worker: PipelineWorker) -> None:
    """Watch a worker; called by Pipecat for each."""
    if isinstance(worker, MainWorker):
        worker.add_observer(MainMoments())
        write(
            what="call",
            tasks=len(asyncio.all_tasks()),
            threads=threading.active_count(),
            objects=len(gc.get_objects()),
        )
    elif isinstance(worker, Agent):
        worker.add_observer(AgentMoments(worker.name))


async def setup_worker_runner(_runner: object) -> None:
    """Count the log's time, once in a process."""
    if not hasattr(CallLog.on_push_frame, "__wrapped__"):
        for name in ("on_push_frame", "on_bus"):
            setattr(CallLog, name, timed(getattr(CallLog, name)))
