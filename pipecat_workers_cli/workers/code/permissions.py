"""What a Claude session may do: its tools, every call of them judged, and its environment."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipecat_workers_cli.workers.code.engines import KEY, Step
from pipecat_workers_cli.workers.code.fence import Fence, Refused, private_patterns

READ_ONLY = ("Read", "Glob", "Grep")
SHELL = "Bash"

PATHS: Mapping[str, tuple[str, ...]] = {
    "Read": ("file_path",),
    "Glob": ("path",),
    "Grep": ("path",),
}
"""The arguments of each tool that are paths; without one, a tool works on the whole folder."""

PATTERNS: Mapping[str, tuple[str, ...]] = {"Read": (), "Glob": ("pattern",), "Grep": ("glob",)}
"""The arguments that are glob patterns. Grep's `pattern` is an expression and names no file."""

SHOWN = 60  # characters of an argument in a line of progress

KEPT = frozenset(
    (
        *("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "SHELL", "USER"),
        *("LOGNAME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy"),
        *("https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("NODE_EXTRA_CA_CERTS", KEY, "ANTHROPIC_BASE_URL"),
    )
)
"""What a session inherits: where programs and the way out are, and its own key."""

SWITCHES: Mapping[str, str] = {
    # Else the CLI looks its maker's hosts up, and may send the words once more for a title.
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",  # by itself it tries a wrong key for over a minute
    "API_TIMEOUT_MS": "60000",  # ten minutes by itself
    # The folder's own texts are read when they are asked for, and never as instructions.
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    # It would run git in the folder, whose own configuration can name a program to run.
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
}


class Permissions:
    """Judges the tool calls of one session by the fence."""

    def __init__(self, fence: Fence, *, allow_bash: bool) -> None:
        """Take the fence; with `allow_bash` a shell is let through, which no fence can hold."""
        self._fence = fence
        self._allow_bash = allow_bash

    @property
    def tools(self) -> list[str]:
        """The tools there are at all."""
        return [*READ_ONLY, SHELL] if self._allow_bash else list(READ_ONLY)

    def refusal(self, tool: str, args: Mapping[str, Any]) -> str | None:
        """Say why a call is refused; None if it may go ahead."""
        if tool == SHELL and self._allow_bash:
            return None
        if tool not in READ_ONLY:
            return f"there is no {tool} here: this session only reads"
        try:
            for name in PATHS[tool]:
                if (path := args.get(name)) not in (None, ""):
                    self._fence.judge(str(path))
            for name in PATTERNS[tool]:
                if (pattern := args.get(name)) not in (None, ""):
                    self._fence.judge_pattern(str(pattern))
        except Refused as refused:
            return str(refused)
        return None

    def step(self, tool: str, args: Mapping[str, Any]) -> Step:
        """Word a call that goes ahead, for whoever watches."""
        match tool:
            case "Read":
                text = f"reading {self._short(args.get('file_path'))}"
            case "Glob":
                text = f"listing {_shown(args.get('pattern'))}"
            case "Grep":
                text = f"searching for {_shown(args.get('pattern'))}"
            case _:
                text = f"running {_shown(args.get('command'))}"
        return Step(text, tool, dict(args))

    def _short(self, path: object) -> str:
        text = str(path or "")
        return _shown(os.path.relpath(text, self._fence.root) if text.startswith("/") else text)


def session_environment(inherited: Mapping[str, str], home: Path) -> dict[str, str]:
    """Make what a session's `env` is to be; the SDK lays it over what this process has.

    A name can be blanked there, not removed. So all that isn't known to be needed is blanked:
    keys of other providers, addresses of databases, switches of somebody else's session.

    Args:
        inherited: This process's environment.
        home: A folder of the session's own, which takes what it writes.
    """
    blanked = {name: "" for name in inherited if name not in KEPT}
    folders = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "CLAUDE_CODE_TMPDIR": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
    }
    return {**blanked, **folders, **SWITCHES}


def session_settings() -> str:
    """Make the settings that keep the private files out of a search through the whole folder.

    The hook judges what a call names; which files a search then opens is up to these.
    """
    denied = [f"Read({pattern})" for pattern in private_patterns()]
    return json.dumps({"permissions": {"deny": denied}})


def _shown(value: object) -> str:
    text = " ".join(str(value or "").split())
    text = "".join(letter for letter in text if letter.isprintable())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
