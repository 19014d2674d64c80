"""Where sessions are found: a folder of this user's alone, a socket and a lock for each name.

The lock is held for as long as the process lives, frozen or not, and the kernel lets go of it
however the process ends. So a name whose lock can be had is dead, and is cleaned up by whoever
meets it; one whose lock is held is never touched.
"""

import fcntl
import hashlib
import os
import socket
import stat
import struct
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_runtime_path

from pipecat_workers_cli.errors import PmwError

SOCKET, LOCK = ".sock", ".lock"
LONGEST_PATH = 103  # bytes; macOS has room for 104 with the final zero, Linux for 108
LONGEST_FILE = len("/") + 40 + len("-99") + len(SOCKET)  # a recipe's name has 40 characters
SAME_NAME = 99  # living sessions of one recipe
CONNECT_WITHIN = 1.0  # seconds; a socket of this machine answers at once or not at all
CLEANED_WITHIN = 0.2  # seconds for which somebody who cleans up may hold a dead one's lock
LOOK_AGAIN = 0.01  # seconds between attempts to get it
WAITING = 64  # connections that the kernel keeps until they are taken


def sessions_folder() -> Path:
    """Return where this user's sessions are; it need not exist.

    It is the user's runtime folder, or one in the temporary folder where that one's path
    would leave no room for a socket's name.

    Raises:
        PmwError: There is a folder in its place that somebody else may have made.
    """
    try:
        with warnings.catch_warnings():  # it warns when XDG_RUNTIME_DIR isn't set
            warnings.simplefilter("ignore")
            folder = user_runtime_path("pmw", appauthor=False)
    except PermissionError as error:
        raise PmwError(str(error), mend="set XDG_RUNTIME_DIR to a folder of yours") from None
    if len(os.fsencode(folder)) + LONGEST_FILE <= LONGEST_PATH:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"pmw-{os.geteuid()}-{digest}"


def _require_ours(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PmwError(
            f"{folder}, where sessions are found, is not a folder of yours",
            mend="remove it, or set XDG_RUNTIME_DIR to a folder of yours",
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


@dataclass(frozen=True, slots=True)
class Address:
    """A session's name and the two files that make it known."""

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """Where it listens."""
        return self.folder / f"{self.name}{SOCKET}"

    @property
    def lock(self) -> Path:
        """What it holds while its process lives."""
        return self.folder / f"{self.name}{LOCK}"

    def connect(self) -> socket.socket | None:
        """Return a connection to the session; None if nobody listens.

        Raises:
            TimeoutError: It lives, and takes no more connections.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_WITHIN)
        try:
            connection.connect(str(self.path))
        except (ConnectionRefusedError, FileNotFoundError):
            connection.close()
            return None
        except (BlockingIOError, TimeoutError):  # all the kernel keeps are waiting already
            connection.close()
            raise TimeoutError from None
        except BaseException:
            connection.close()
            raise
        return connection

    def answers(self) -> bool:
        """Say whether somebody listens, be it one who is too busy to answer."""
        try:
            connection = self.connect()
        except TimeoutError:
            return True
        if connection is None:
            return False
        connection.close()
        return True

    def clean_up(self) -> None:
        """Remove what a dead session left; does nothing to a living or a starting one."""
        held = _take(self.lock)
        if held is not None:
            self.path.unlink(missing_ok=True)
            self.lock.unlink(missing_ok=True)
            os.close(held)


class Claim:
    """A name that is this process's own, and the socket that listens under it.

    Attributes:
        address: The name and its files.
        listener: Bound and listening.
    """

    def __init__(self, address: Address, listener: socket.socket, held: int) -> None:
        """Keep what was taken.

        Args:
            address: The name and its files.
            listener: Bound and listening.
            held: The descriptor that holds the lock.
        """
        self.address = address
        self.listener = listener
        self._held = held

    def leave(self) -> None:
        """Be found no more. The lock stays held until the process is gone: `stop` waits for it."""
        self.listener.close()
        if _is(self._held, self.address.lock):  # or both files are somebody else's by now
            self.address.path.unlink(missing_ok=True)
            self.address.lock.unlink(missing_ok=True)


def claim(recipe: str) -> Claim:
    """Take the first free name for a session: `handoff`, or `handoff-2` beside a living one.

    Raises:
        PmwError: The folder isn't ours, can't be written, or all names are taken.
    """
    folder = sessions_folder()
    try:
        # Not `parents`: those would get no mode, and the user's runtime folder must be private.
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _require_ours(folder)
        for number in range(1, SAME_NAME + 1):
            address = Address(folder, recipe if number == 1 else f"{recipe}-{number}")
            claimed = _claim(address)
            if claimed is not None:
                return claimed
    except OSError as error:
        raise PmwError(
            f"no session can be found in {folder}: {error.strerror or error}",
            mend="set XDG_RUNTIME_DIR to a folder of yours",
        ) from None
    raise PmwError(f"{SAME_NAME} sessions of {recipe} are running", mend="end some: pmw stop NAME")


def _claim(address: Address) -> Claim | None:
    held = _take_soon(address)
    if held is None:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not address.answers():  # or it lives, and somebody has removed its lock
            address.path.unlink(missing_ok=True)
            listener.bind(str(address.path))
            address.path.chmod(0o600)
            listener.listen(WAITING)
            return Claim(address, listener, held)
    except BaseException:
        listener.close()
        os.close(held)
        raise
    listener.close()
    os.close(held)
    return None


def _take_soon(address: Address) -> int | None:
    """Take a name's lock, waiting only for somebody who is cleaning up there."""
    until = time.monotonic() + CLEANED_WITHIN
    while (held := _take(address.lock)) is None:
        if address.answers() or time.monotonic() > until:
            return None
        time.sleep(LOOK_AGAIN)
    return held


def _take(lock: Path) -> int | None:
    """Lock a file, made if it isn't there, until the descriptor is closed; None if it is held."""
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        if _is(held, lock):
            return held
        os.close(held)  # whoever had it before has removed it meanwhile


def _is(held: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held), path.lstat())
    except FileNotFoundError:
        return False


def living() -> Iterator[Address]:
    """Give the sessions that live, by name, and clean up after the dead.

    Raises:
        PmwError: The folder isn't ours.
    """
    folder = sessions_folder()
    try:
        _require_ours(folder)
        names = {path.stem for path in folder.iterdir() if path.suffix in (SOCKET, LOCK)}
    except FileNotFoundError:
        return
    for name in sorted(names):
        address = Address(folder, name)
        if address.answers():
            yield address
        else:
            address.clean_up()


class Departure:
    """Watches a session's process until it is gone; made while it is there."""

    def __init__(self, address: Address) -> None:
        """Open the session's lock, to see when it is let go.

        Raises:
            FileNotFoundError: It is gone already.
        """
        self._lock = os.open(address.lock, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._lock)

    def is_over(self) -> bool:
        """Say whether the process is gone."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def peer_of(connection: socket.socket) -> tuple[int | None, int | None]:
    """Return process and user at the other end; None each where the system does not tell.

    There the mode of the sessions' folder alone keeps others out.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None, None
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, size))
    return pid, uid
