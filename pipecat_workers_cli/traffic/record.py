"""Recordings: a session's entries as JSON lines in a file, written as they come, read in any state.

The first line says what it is, `{"pmw_recording":1,…}`; each other is an `Entry`. A file that
ends in `.gz` or `.zst` is compressed; whatever was written before a crash can be read.
"""

import contextlib
import os
import queue
import stat
import sys
import threading
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar

import msgspec
import zstandard

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.traffic.entry import Entry

VERSION = 1  # of the format; keys are only ever added, so readers of it read later files of it
WRITE_EVERY = 0.1  # seconds; a thread that wakes more often gets in the event loop's way
WAITING = 1_000  # batches, one every 0.02 s; a disk that takes none for 20 s costs entries
LEAVE_WITHIN = 2.0  # seconds for what still waits to be written when a session ends
CHUNK = 1 << 20  # bytes read at once
LONGEST_LINE = 4 << 20  # bytes; an entry that pmw wrote has a few hundred thousand at most
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""How compressed files begin."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a recording.

    Attributes:
        pmw_recording: The format's version.
        pmw: Which pmw wrote it.
        began: When, wall clock, ISO 8601.
    """

    pmw_recording: int
    pmw: str = ""
    began: str = ""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self, mode: int = ..., /) -> bytes: ...


class _Plain:
    """Compresses nothing."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self, mode: int = 0, /) -> bytes:
        return b""


def _compressor(path: Path) -> tuple[_Compressor, int]:
    """Return what compresses a file, and how it lets out all it has."""
    match path.suffix:
        case ".gz":
            return zlib.compressobj(wbits=31), zlib.Z_SYNC_FLUSH
        case ".zst":
            return zstandard.ZstdCompressor().compressobj(), zstandard.COMPRESSOBJ_FLUSH_BLOCK
        case _:
            return _Plain(), 0


class Recorder:
    """Writes entries to a file in a thread of its own, so that no disk holds up a call.

    Attributes:
        failure: Why nothing is written any more; None while all is well.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """Begin a recording; `open_recording` does it, and ends it.

        Args:
            path: Its name, whose suffix chooses the compression.
            file: Open for writing; the recorder closes it.
        """
        self.failure: str | None = None
        self._file = file
        self._compressor, self._let_out = _compressor(path)
        self._waiting: queue.Queue[Sequence[Entry]] = queue.Queue(WAITING)
        self._closing = threading.Event()
        self._left_out = 0
        self._encoder = msgspec.json.Encoder()
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def add(self, entries: Sequence[Entry]) -> None:
        """Have entries written soon; beyond what can wait they are counted, and that is written."""
        if self.failure is not None or not entries:
            return
        note = Entry(event="left_out", call="", at_ms=0, count=self._left_out)
        try:
            self._waiting.put_nowait([note, *entries] if self._left_out else entries)
            self._left_out = 0
        except queue.Full:
            self._left_out += len(entries)

    def close(self) -> None:
        """Write what waits and close the file, as far as there is time."""
        self._closing.set()
        self._thread.join(LEAVE_WITHIN)
        if self._thread.is_alive():  # the file is in use: whoever closed it would wait, too
            self.failure = "the last entries were not written in time"
            return
        with contextlib.suppress(OSError):  # the disk is full, and it has been told
            self._file.close()

    def _run(self) -> None:
        began = datetime.now(UTC).isoformat(timespec="milliseconds")
        header = Header(pmw_recording=VERSION, pmw=version("pipecat-workers-cli"), began=began)
        try:
            self._write(self._encoder.encode(header) + b"\n")
            over = False
            while not over:
                over = self._closing.wait(WRITE_EVERY)
                batches = (self._waiting.get_nowait() for _ in range(self._waiting.qsize()))
                if entries := [*chain.from_iterable(batches)]:
                    self._write(self._encoder.encode_lines(entries))
            self._file.write(self._compressor.flush())
            self._file.flush()
        except Exception as error:  # whatever it is, nothing more is written, and it is told
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            self.failure = self.failure or f"recording stopped: {reason}"

    def _write(self, lines: bytes) -> None:
        # Let out at once: what is in the file can be read, whatever happens next.
        written = self._compressor.compress(lines) + self._compressor.flush(self._let_out)
        self._file.write(written)
        self._file.flush()


@contextmanager
def open_recording(path: Path) -> Generator[Recorder]:
    """Open a file for a recording, readable by its owner alone; leaving completes it.

    Args:
        path: The file; one that is there is written anew.

    Raises:
        ConfigurationError: It can't be opened.
    """
    recorder = Recorder(path, _create(path))
    try:
        yield recorder
    finally:
        recorder.close()


def _create(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.fchmod(fd, 0o600)
        return os.fdopen(fd, "wb")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the recording {path}: {error.strerror}", mend="name another file"
        ) from None


Told = TypeVar("Told")


@dataclass(slots=True)
class Recording(Generic[Told]):
    """A recording being read.

    Attributes:
        path: The file; `-` is stdin.
        type: What each line is read as: `Entry`, or a struct with some of its fields.
        broken: The lines that could not be read, by number, from 1; they are passed over.
        cut: Whether the file ends in the middle of a line, or its compression does.
        read: Bytes of the file that have been read, packed as they may be.
    """

    path: Path
    type: type[Told]
    broken: list[int] = field(default_factory=list[int])
    cut: bool = False
    read: int = 0

    def __iter__(self) -> Iterator[Told]:
        """Read it from the start, an entry at a time.

        Raises:
            ConfigurationError: It can't be read, is no recording or of a later version.
        """
        self.broken, self.cut, self.read = [], False, 0
        decoder = msgspec.json.Decoder(self.type)
        number = 0
        for block in self._blocks():
            lines = block
            if not number:
                header, _, lines = block.partition(b"\n")
                self._check_header(header)
                number = 1
            try:
                yield from decoder.decode_lines(lines)
            except msgspec.DecodeError:  # of which a wrong type is one
                yield from self._decode_each(lines, decoder, number)
            number += lines.count(b"\n")
        if not number:
            self._check_header(b"")

    def _decode_each(
        self, block: bytes, decoder: msgspec.json.Decoder[Told], before: int
    ) -> Iterator[Told]:
        *lines, rest = block.split(b"\n")
        for number, line in enumerate(lines, start=before + 1):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError:
                self.broken.append(number)
        if rest:
            try:
                yield decoder.decode(rest)
            except msgspec.DecodeError:
                self.cut = True

    def _check_header(self, line: bytes) -> None:
        mend = "name a file that --record or pmw bus record wrote"
        try:
            header = msgspec.json.decode(line, type=Header)
        except msgspec.DecodeError:
            raise ConfigurationError(f"{self.path} is no recording", mend=mend) from None
        if header.pmw_recording > VERSION:
            what = f"{self.path} is of format {header.pmw_recording}, made by pmw {header.pmw}"
            raise ConfigurationError(what, mend=f"this pmw reads up to {VERSION}: update it")

    def _blocks(self) -> Iterator[bytes]:
        """Give whole lines, many at once; a line that is too long, as one that can't be read."""
        rest = b""
        for chunk in self._chunks():
            whole, newline, new = chunk.rpartition(b"\n")
            if newline:
                yield rest + whole + newline
                rest = new
            else:
                rest += new
            if len(rest) > LONGEST_LINE:
                rest = b"!"
        if rest:
            yield rest

    def _chunks(self) -> Iterator[bytes]:
        try:
            file = sys.stdin.buffer if str(self.path) == "-" else self.path.open("rb")
            with file:
                first = file.read(CHUNK)
                decompress = _decompressor(first)
                while first:
                    self.read += len(first)
                    yield decompress(first)
                    first = file.read(CHUNK)
        except OSError as error:
            what = f"cannot read {self.path}: {(error.strerror or 'no file').lower()}"
            raise ConfigurationError(what, mend="name a recording") from None
        except (zlib.error, zstandard.ZstdError):
            self.cut = True  # what came before it has been read


def _decompressor(beginning: bytes) -> Callable[[bytes], bytes]:
    """Choose by how a file begins; either kind gives what there is of one that was cut off."""
    if beginning.startswith(GZIP):
        return zlib.decompressobj(wbits=31).decompress
    if beginning.startswith(ZSTD):
        return zstandard.ZstdDecompressor().decompressobj().decompress
    return lambda chunk: chunk
