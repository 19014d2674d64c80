"""The fence: which paths of a folder may be read, and the one safe way to open them.

Inside is what the folder holds after every link is resolved; a link that stays inside is
followed, one that leads out is refused. Two things inside are refused all the same: what
version control keeps (old secrets live on in `.git`, tokens in its configuration) and what
by its name is there to be kept secret, such as `.env` and private keys. Other hidden files
are code like any other: `.github/workflows` is worth a question.

Hard links and mounts can't be told from the folder's own files, and aren't.
"""

import os
import re
import stat
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from pipecat_workers_cli.errors import ConfigurationError

LONGEST = 4_096  # characters of a path; Linux has no longer one either

PRIVATE_FOLDERS = (
    *(".git", ".hg", ".svn", ".jj", ".bzr"),
    *(".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".docker", ".terraform"),
)
"""Nothing in a folder of such a name is read; nor is a file of that name (a worktree's `.git`)."""

PRIVATE_FILES = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".htpasswd"),
    *(".npmrc", ".yarnrc.yml", ".pypirc", ".dockercfg", ".dockerconfigjson", ".git-credentials"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_*_sk", "*_rsa", "*_ed25519"),
    *("credentials", "credentials.json", "credentials.y*ml", "credentials.toml", "credentials.ini"),
    *("secret*.json", "secret*.y*ml", "secret*.toml", "secret*.ini", "service?account*.json"),
    *("*.tfstate", "*.tfstate.*", "*.tfvars", ".mcp.json", "settings.local.json"),
)
"""Names of files that are there to be kept secret, as glob patterns in lower case."""

FORMS = ("*.example", "*.sample", "*.template", "*.dist", "example.*", "sample.*")
"""Names of forms to be filled in, such as `.env.example`; they hold no secret yet."""

MARKS = re.compile(r"[\[\]{}()\\!?+@,|]")
"""What a glob may put between two dots to hide them."""

NO_FOLLOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
NO_WAIT = NO_FOLLOW | os.O_NONBLOCK  # a pipe with nobody at its other end would wait for ever


class Refused(Exception):
    """A path that the fence keeps shut; the text says why, and never what the path holds."""


class Fence:
    """One folder, and what of it may be read.

    Attributes:
        root: The folder with all links resolved; if the folder was named by a link, what the
            link meant at that moment.
    """

    def __init__(self, root: str | Path) -> None:
        """Put a fence round a folder.

        Raises:
            ConfigurationError: It is no folder, or can't be entered.
        """
        try:
            self.root = Path(root).expanduser().resolve(strict=True)
            entered = os.access(self.root, os.R_OK | os.X_OK)
        except (OSError, ValueError, RuntimeError):
            raise ConfigurationError(f"there is no folder {_shown(root)}", mend=NAME_ONE) from None
        if not self.root.is_dir():
            raise ConfigurationError(f"{_shown(root)} is no folder", mend=NAME_ONE)
        if not entered:
            raise ConfigurationError(f"{_shown(root)} can't be read", mend=NAME_ONE)

    def judge(self, path: str) -> str:
        """Decide about a path as somebody named it.

        Args:
            path: Absolute, or relative to the root; it need not exist.

        Returns:
            The same path relative to the root, links resolved; "." is the root itself.

        Raises:
            Refused: It leads out, is private, or is no path at all.
        """
        _refuse_odd(path)
        try:
            real = os.path.realpath(self.root / path)  # a chain of links without end stays as it is
        except (OSError, ValueError):
            raise Refused("that is no path") from None
        if real != str(self.root) and not real.startswith(_with_slash(self.root)):
            raise Refused("that is outside the folder")
        relative = os.path.relpath(real, self.root)
        # By its own name too: a link `notes.txt` to `.env` is private, and so is the reverse.
        if is_private(relative) or is_private(self._as_named(path)):
            raise Refused("that is kept private")
        return relative

    def judge_pattern(self, pattern: str) -> None:
        """Decide about a glob pattern: where it starts, and that it doesn't climb.

        Raises:
            Refused: It could lead out, or starts from a private place.
        """
        _refuse_odd(pattern)
        if ".." in MARKS.sub("", pattern):
            raise Refused("a pattern can't climb out with '..'")
        if re.search(r"[{,(|]\s*[/~]", pattern):
            raise Refused("that is outside the folder")
        start = re.split(r"[*?\[{!(]", pattern, maxsplit=1)[0]
        folder = start if start == pattern else start.rpartition("/")[0]
        if folder or start.startswith("/"):
            self.judge(folder or "/")
        if is_private(pattern):
            raise Refused("that is kept private")

    def open(self, relative: str) -> int:
        """Open a regular file for reading, step by step from the root, following no link.

        Whoever swaps a folder for a link between the judgement and the opening gains nothing.

        Args:
            relative: What `judge` returned, or a path in the root without links.

        Returns:
            A file descriptor, which is the caller's to close.

        Raises:
            Refused: It is private, a link, no regular file, or gone.
        """
        parts = Path(relative).parts
        if not parts or ".." in parts or relative.startswith("/") or "\0" in relative:
            raise Refused("that is no file of the folder")
        if is_private(relative):
            raise Refused("that is kept private")
        opened = -1
        try:
            folder = os.open(self.root, NO_FOLLOW | os.O_DIRECTORY)
            try:
                for part in parts[:-1]:
                    inner = os.open(part, NO_FOLLOW | os.O_DIRECTORY, dir_fd=folder)
                    os.close(folder)
                    folder = inner
                opened = os.open(parts[-1], NO_WAIT, dir_fd=folder)
            finally:
                os.close(folder)
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise Refused("that is no plain file")
        except (OSError, Refused) as error:
            with suppress(OSError):
                os.close(opened)
            if isinstance(error, Refused):
                raise
            raise Refused("that can't be read") from None
        return opened

    def read(self, relative: str, *, most: int) -> bytes:
        """Read the first `most` bytes of a file, opened as `open` does.

        Raises:
            Refused: As `open`, or it can't be read.
        """
        descriptor = self.open(relative)
        try:
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                return file.read(most) or b""
        except OSError:
            raise Refused("that can't be read") from None

    def _as_named(self, path: str) -> str:
        named = os.path.normpath(self.root / path)
        return os.path.relpath(named, self.root)


NAME_ONE = "name a folder that is there: pmw code PATH, or the coder's path in a recipe"


def is_private(relative: str) -> bool:
    """Tell whether a path is one that nobody should be read aloud.

    Args:
        relative: A path, or a glob pattern, in the folder. Upper and lower case are alike.
    """
    parts = [part for part in relative.lower().split("/") if part not in ("", ".", "..")]
    if any(part in PRIVATE_FOLDERS for part in parts):
        return True
    name = parts[-1] if parts else ""
    if any(fnmatchcase(name, pattern) for pattern in FORMS):
        return False
    return any(fnmatchcase(name, pattern) for pattern in PRIVATE_FILES)


def private_patterns() -> tuple[str, ...]:
    """Give every private place as glob patterns from the root, for tools that take such a list."""
    folders = [f"**/{name}/**" for name in PRIVATE_FOLDERS]
    return (*folders, *(f"**/{name}" for name in PRIVATE_FILES))


def _refuse_odd(path: str) -> None:
    """Refuse what programs read differently: blanks at the ends, `~`, control characters."""
    if not path.strip() or len(path) > LONGEST:
        raise Refused("that is no path")
    if path != path.strip() or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise Refused("that path has characters that no path here has")
    if path.startswith("~"):
        raise Refused("that is outside the folder")


def _with_slash(root: Path) -> str:
    return f"{root}{os.sep}" if str(root) != os.sep else os.sep


def _shown(path: str | Path) -> str:
    """Word a path for an error line: printable, and not endless."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(path))
    return text if len(text) <= 120 else f"{text[:117]}..."
