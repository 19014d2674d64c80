"""Puts a tap on any Pipecat program, its code untouched.

Named in `PIPECAT_SETUP_FILES`, this file is loaded by Pipecat into a process whose environment
has no `pmw`: it imports the standard library and Pipecat alone. What crosses the bus, and what
is said in the pipelines, goes as JSON lines to the Unix socket that `PMW_TAP` names; whoever
listens there may leave, and the program goes on.
"""

import atexit
import contextlib
import dataclasses
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any

from pipecat.bus import BusFrameMessage, BusMessage
from pipecat.bus.subscriber import BusSubscriber
from pipecat.frames.frames import (
    AudioRawFrame,
    ErrorFrame,
    Frame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    LLMContextAssistantTurnFrame,
    LLMContextFrame,
    LLMContextUserTurnFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.runner import WorkerRunner

LONGEST = 2_000  # characters of one text; what a caller says in a turn has some two hundred
MOST = 50  # entries of one list or table
DEEPEST = 5  # tables and lists in each other
WAITING = 10_000  # lines; a listener that takes none for so long misses some, and is told
SEND_EVERY = 0.1  # seconds; audio is summed up for as long
GIVE_UP = 5.0  # seconds for which a listener may take nothing

NOT_TOLD = frozenset({"id", "name", "source", "target", "frame", "broadcast_sibling_id"})
"""Fields that say nothing of a message's content, or are told elsewhere."""

OF_FRAMES = frozenset(
    {
        "append_to_context",
        "event",
        "includes_inter_frame_spaces",
        "interruptible",
        "metadata",
        "pts",
        "skip_tts",
        "transport_destination",
        "transport_source",
    }
)


def plain(value: object, depth: int = 0) -> Any:
    """Return a value as JSON has it, shortened; what JSON has no form for goes by its type."""
    match value:
        case None | bool():
            return value
        case Enum():
            return value.name.lower()
        case int():
            return int(value)
        case float():  # numpy's is one, too
            return float(value) if isfinite(value) else str(value)
        case str():
            return sayable(value if len(value) <= LONGEST else f"{value[:LONGEST]}…")
        case bytes() | bytearray():
            return f"({len(value)} bytes)"
        case _ if depth >= DEEPEST:
            return "…"
        case Mapping():
            pairs = list(value.items())[:MOST]
            return {sayable(str(key)[:LONGEST]): plain(inner, depth + 1) for key, inner in pairs}
        case list() | tuple() | set() | frozenset():
            return [plain(inner, depth + 1) for inner in list(value)[:MOST]]
        case _ if dataclasses.is_dataclass(value):
            return {name: plain(inner, depth + 1) for name, inner in _told(value)}
        case _:
            return f"({type(value).__name__})"


def sayable(text: str) -> str:
    """Return a text as UTF-8 has it: without halves of surrogate pairs, which a model may send."""
    if type(text) is str and text.isascii():
        return text
    return text.encode(errors="replace").decode()


def payload_of(carried: BusMessage | Frame) -> dict[str, Any]:
    """Return what a message or a frame carries, as JSON has it."""
    if isinstance(carried, LLMContextFrame):  # its messages are told once, by the call
        return {"messages": len(carried.context.get_messages())}
    return {name: plain(value) for name, value in _told(carried)}


def _told(carried: object) -> Iterator[tuple[str, object]]:
    """Give the fields that say something: not those that are as they always are."""
    for name, default in _fields(type(carried)):
        value = getattr(carried, name, None)
        if value is not None and value is not default:
            yield name, value


@cache
def _fields(kind: type) -> tuple[tuple[str, object], ...]:
    left_out: frozenset[str] = frozenset()
    if issubclass(kind, Frame):
        left_out = NOT_TOLD | OF_FRAMES
    elif issubclass(kind, BusMessage):
        left_out = NOT_TOLD
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(kind)
    return tuple((field.name, field.default) for field in fields if field.name not in left_out)


async def setup_worker_runner(runner: WorkerRunner) -> None:
    """Listen to a runner's bus; Pipecat calls it for each runner."""
    if (listener := _listener()) is not None:
        await runner.bus.subscribe(_BusTap(listener, _call_of(runner)))
        listener.tell({"event": "call", "call": _call_of(runner), "name": runner.name})


async def setup_pipeline_worker(worker: PipelineWorker) -> None:
    """Look on at a pipeline; Pipecat calls it for each worker that has one."""
    if (listener := _listener()) is not None:
        worker.add_observer(_PipelineTap(listener, _call_of(worker.worker_runner), worker.name))


class _Listener:
    """Whoever listens: lines for it wait in a queue and are sent by a thread."""

    def __init__(self, path: str) -> None:
        self._began = time.monotonic()
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(WAITING)
        self._missed = 0
        self._audio: dict[tuple[str, ...], list[float]] = {}
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(GIVE_UP)
        self._socket.connect(path)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pmw tap", daemon=True)
        self._thread.start()
        atexit.register(self._finish)

    def tell(self, entry: dict[str, Any]) -> None:
        """Have a line sent; never waits."""
        entry["at_ms"] = round((time.monotonic() - self._began) * 1000)
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._missed += 1

    def count_audio(self, key: tuple[str, ...], frame: AudioRawFrame) -> None:
        """Add a frame to the sum of its kind."""
        seconds = frame.num_frames / frame.sample_rate if frame.sample_rate else 0.0
        with self._lock:
            sums = self._audio.setdefault(key, [0, 0, 0.0])
            sums[0] += 1
            sums[1] += len(frame.audio)
            sums[2] += seconds

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            over = False
            while not over:
                over = self._over.wait(SEND_EVERY)
                lines = [*self._lines()]
                if lines:
                    self._socket.sendall("".join(lines).encode())
        self._socket.close()

    def _finish(self) -> None:
        """Send what waits still, as far as there is time."""
        self._over.set()
        self._thread.join(1.0)

    def _lines(self) -> Iterator[str]:
        for _ in range(self._waiting.qsize()):
            yield f"{json.dumps(self._waiting.get_nowait(), default=str)}\n"
        with self._lock:
            audio, self._audio = self._audio, {}
        at_ms = round((time.monotonic() - self._began) * 1000)
        for (call, worker, target, direction, *types), (count, size, seconds) in audio.items():
            told = {"event": "message", "call": call, "at_ms": at_ms, "worker": worker}
            sums = {"count": count, "size": size, "seconds": round(seconds, 3)}
            whom = {"target": target} if target else {}
            carried = {"types": types, "payload": {"direction": direction}}
            yield f"{json.dumps({**told, **whom, **sums, **carried})}\n"
        if missed := self._missed:
            self._missed -= missed
            note = {"event": "left_out", "call": "", "at_ms": at_ms, "count": missed}
            yield f"{json.dumps(note)}\n"


class _BusTap(BusSubscriber):
    """Sees every message of one bus."""

    def __init__(self, listener: _Listener, call: str) -> None:
        self._listener = listener
        self._call = call

    @property
    def name(self) -> str:
        return "pmw tap"

    async def on_bus_message(self, message: BusMessage) -> None:
        carried = message.frame if isinstance(message, BusFrameMessage) else message
        types = [kind.__name__ for kind in type(carried).__mro__]
        payload: dict[str, Any] = {}
        if isinstance(message, BusFrameMessage):
            payload["direction"] = message.direction.name.lower()
        if isinstance(carried, AudioRawFrame):
            whom = (self._call, message.source, message.target or "", payload["direction"])
            self._listener.count_audio((*whom, *types), carried)
            return
        entry: dict[str, Any] = {"event": "message", "call": self._call, "types": types}
        entry["worker"] = message.source
        if message.target:
            entry["target"] = message.target
        entry["payload"] = payload_of(carried) | payload
        self._listener.tell(entry)


class _PipelineTap(BaseObserver):
    """Sees what is said and called in one pipeline."""

    def __init__(self, listener: _Listener, call: str, worker: str) -> None:
        super().__init__(observe_every_push=False)
        self._listener = listener
        self._call = call
        self._worker = worker

    async def on_push_frame(self, data: FramePushed) -> None:
        told = self._told(data)
        if told is not None:
            self._listener.tell({**told, "call": self._call, "worker": self._worker})

    def _told(self, data: FramePushed) -> dict[str, Any] | None:
        frame = data.frame
        if isinstance(frame, ErrorFrame):
            return {"event": "error", "text": plain(str(frame.error))}
        if data.direction is not FrameDirection.DOWNSTREAM:  # the other half of a broadcast
            return None
        match frame:
            case LLMContextUserTurnFrame():
                return {"event": "user", "text": plain(frame.text)}
            case LLMContextAssistantTurnFrame():
                return {"event": "bot", "text": plain(frame.text.strip())}
            case FunctionCallInProgressFrame():
                return {"event": "tool", **_call(frame), "args": plain(frame.arguments)}
            case FunctionCallResultFrame():
                ended = {"state": "completed", "result": plain(frame.result)}
                return {"event": "tool", **_call(frame), **ended}
            case _:
                return None


def _call(frame: FunctionCallInProgressFrame | FunctionCallResultFrame) -> dict[str, str]:
    return {"name": plain(frame.function_name), "id": plain(frame.tool_call_id)}


def _call_of(runner: WorkerRunner) -> str:
    """Return a runner's id: what follows the dash of its name, `runner-1a2b3c4d`."""
    return runner.name.rpartition("-")[2]


@cache
def _listener() -> _Listener | None:
    """Connect, once a process; None if nobody listens."""
    path = os.environ.get("PMW_TAP")
    try:
        return _Listener(path) if path else None
    except OSError:
        return None
