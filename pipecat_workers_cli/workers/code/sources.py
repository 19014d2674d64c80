"""The files of a folder that hold its code: listed, bounded, and read through the fence.

In a git work tree git says what belongs to it, else a walk that passes over what tools put
there. Neither runs anything that the folder's own git configuration names.
"""

import os
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from pipecat_workers_cli.workers.code.fence import Fence, Refused, is_private

MOST_FILES = 20_000
MOST_BYTES = 400_000_000  # of all files of one question; read in under a second when cached
MOST_OF_A_FILE = 600_000  # bytes; what is larger was made by a program, or is data
MOST_LISTED = 8_000_000  # bytes of names from git, some 100,000 files
LIST_WITHIN = 5.0  # seconds for git
LONGEST_LINE = 1_000  # characters that an expression sees of a line; longer ones were minified

PASSED_OVER = frozenset(
    (
        *("node_modules", "bower_components", "__pycache__", "site-packages", "dist", "build"),
        *("target", "vendor", "coverage", "htmlcov", ".tox", ".nox", ".cache", ".mypy_cache"),
        *(".ruff_cache", ".pytest_cache", ".next", ".nuxt", ".svelte-kit", ".gradle", ".idea"),
        *(".eggs", ".venv", ".ipynb_checkpoints", ".claude"),
    )
)
"""Folders that tools fill; a folder with a `pyvenv.cfg` in it is one too, whatever its name."""

NOT_CODE = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".svg", ".pdf", ".zip", ".gz", ".xz"),
        *(".tar", ".whl", ".jar", ".so", ".dylib", ".dll", ".exe", ".a", ".o", ".pyc", ".pyd"),
        *(".woff", ".woff2", ".ttf", ".otf", ".mp3", ".wav", ".mp4", ".onnx", ".bin", ".npy"),
        *(".parquet", ".sqlite", ".db", ".lock", ".map", ".csv", ".tsv", ".jsonl", ".snap"),
    )
)
GENERATED = ("package-lock.json", "pnpm-lock.yaml", "go.sum")

GIT = (
    *("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
    *("-c", "protocol.allow=never"),
)
"""A repository's own configuration may name programs to run when its files are listed."""


class Sources:
    """A folder's files as they are now, for one question.

    Attributes:
        paths: Relative to the root, sorted; plain files only, nothing private.
        cut: There was more than the bounds let through, so an answer may not be the whole.
    """

    def __init__(self, fence: Fence, *, within: float) -> None:
        """List the files.

        Args:
            fence: The folder.
            within: Seconds, from now, in which anything is read; later files count as empty.
        """
        self._fence = fence
        self._until = time.monotonic() + within
        self._left = MOST_BYTES
        self.cut = False
        self.paths = sorted(self._plain(_list_by_git(fence.root) or _walk(fence.root)))
        self._names = Counter(PurePosixPath(path).name for path in self.paths)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._fence.root

    def read(self, path: str) -> str:
        """Return a file's text, its lines cut to a bound; empty if it holds none."""
        return _as_text(self._bytes(path))

    def read_whole(self, path: str) -> str:
        """Return a file's text with its lines as they are, for parsers; empty if it holds none."""
        return self._bytes(path).decode("utf-8", errors="replace")

    def containing(
        self, words: Iterable[str], paths: Iterable[str] | None = None
    ) -> Iterator[tuple[str, str]]:
        """Give path and text of the files in which one of `words` stands, in that very case."""
        wanted = [word.encode() for word in words if word]
        for path in self.paths if paths is None else paths:
            data = self._bytes(path)
            if any(word in data for word in wanted):
                yield path, _as_text(data)

    def texts(self, paths: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
        """Give path and text of every file that holds text."""
        for path in self.paths if paths is None else paths:
            if text := self.read(path):
                yield path, text

    def spoken(self, path: str) -> str:
        """Return the shortest ending of a path that no other file here has."""
        parts = PurePosixPath(path).parts
        if self._names[parts[-1]] <= 1:
            return parts[-1]
        alike = [other for other in self.paths if other.endswith(f"/{parts[-1]}")]
        for start in range(len(parts) - 2, -1, -1):
            ending = "/".join(parts[start:])
            if sum(f"/{other}".endswith(f"/{ending}") for other in alike) <= 1:
                return ending
        return path

    def _bytes(self, path: str) -> bytes:
        if PurePosixPath(path).suffix.lower() in NOT_CODE or path.endswith(GENERATED):
            return b""
        if self._left <= 0 or time.monotonic() > self._until:
            self.cut = True
            return b""
        try:
            data = self._fence.read(path, most=MOST_OF_A_FILE)
        except Refused:
            return b""
        self._left -= len(data)
        return b"" if b"\0" in data[:8_192] else data

    def _plain(self, paths: Iterable[str]) -> Iterator[str]:
        for number, path in enumerate(paths):
            if number >= MOST_FILES:
                self.cut = True
                return
            try:
                mode = (self._fence.root / path).lstat().st_mode
            except (OSError, ValueError):
                continue  # git still lists what was deleted since
            if stat.S_ISREG(mode) and path.isprintable() and not is_private(path):
                yield path


def _as_text(data: bytes) -> str:
    text = data.decode("utf-8", errors="replace")
    if not any(len(line) > LONGEST_LINE for line in text.split("\n")):
        return text
    return "\n".join(line[:LONGEST_LINE] for line in text.split("\n"))


def _list_by_git(root: Path) -> list[str]:
    """Ask git what belongs to the folder; empty if it is none of git's, or git isn't there."""
    command = [*GIT, "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    try:
        with subprocess.Popen(  # noqa: S603 - every word is ours but the folder's name
            [*command, "--exclude-standard", "--deduplicate"],
            env=_git_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as git:
            try:
                listed, _ = git.communicate(timeout=LIST_WITHIN)
            except subprocess.TimeoutExpired:
                git.kill()
                return []
    except OSError:
        return []
    if git.returncode != 0:
        return []
    names = listed[:MOST_LISTED].split(b"\0")[:-1]
    return [name.decode("utf-8", errors="replace") for name in names]


def _git_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    kept = {name: inherited[name] for name in ("PATH", "HOME") if name in inherited}
    # No lock taken, no question asked, nothing fetched.
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    return {**kept, **quiet}


def _walk(root: Path) -> Iterator[str]:
    """Give the files below a folder, nearest first, following no link."""
    waiting = [""]
    while waiting:
        folder = waiting.pop(0)
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError:
            continue
        if folder and any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink():
                continue
            if not entry.is_dir(follow_symlinks=False):
                yield path
            elif entry.name not in PASSED_OVER and not is_private(path):
                waiting.append(path)
