"""What is put into a recipe's tables before they are checked: `--set` and variables."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pipecat_workers_cli.errors import near_miss
from pipecat_workers_cli.logs import keep_from_errors
from pipecat_workers_cli.recipe.findings import Finding, Place, is_list, names_in
from pipecat_workers_cli.settings import variable

_SEGMENT = re.compile(r"([A-Za-z0-9_-]+)((?:\[\d{1,4}\])*)")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}")
_SERVICES = frozenset({"llm", "stt", "tts"})
_NAMED: Mapping[str | int, tuple[str, str]] = {
    "workers": ("no such worker", "a worker goes by its name here"),
    "jobs": ("no job has such a tool", "a job goes by its tool's name here"),
}


class Overrides:
    """The `--set KEY=VALUE` of a command line, put into a recipe's tables.

    Attributes:
        findings: What was wrong with them; such a one changes nothing.
        places: Where the recipe now is as the command line says, not as the file does.
    """

    def __init__(self, tables: dict[str, Any], sets: Sequence[str]) -> None:
        """Apply `sets`, each `KEY=VALUE`, to `tables`, in their order."""
        self.findings: list[Finding] = []
        self.places: set[Place] = set()
        for typed in sets:
            self._apply(tables, typed)

    def covers(self, place: Place) -> bool:
        """Tell whether what stands at a place, or is missing there, comes from a `--set`."""
        return any(place[:length] in self.places for length in range(1, len(place) + 1))

    def _apply(self, tables: dict[str, Any], typed: str) -> None:
        key, equals, value = typed.partition("=")
        parts = _parse_key(key.strip())
        if not equals or not parts:
            self._refuse((key,), "not a KEY=VALUE", "write it like main.name=acme")
            return
        for depth, part in enumerate(parts):
            names = names_in(tables, tuple(parts[:depth]))
            if names is None:
                continue
            if not isinstance(part, str) or part not in names:
                what = _NAMED[parts[depth - 1]][_is_index(part)]
                self._refuse(tuple(parts), what, near_miss(str(part), set(names) - {""}))
                return
            parts[depth] = names.index(part)
        self._put(tables, tuple(parts), _parse_value(value))

    def _put(self, tables: dict[str, Any], place: Place, value: Any) -> None:
        parent: Any = tables
        for depth, part in enumerate(place[:-1], start=1):
            parent = self._enter(parent, part, place[:depth])
        if _assign(parent, place[-1], value):
            self.places.add(place)
        else:
            mend = "set a key of a table, or an entry that is there, like transfers[0]"
            self._refuse(place, "nothing there can be set", mend)

    def _enter(self, parent: Any, part: str | int, place: Place) -> Any:
        """Return the table or list below `parent`, made if it isn't there; None if it can't be."""
        if isinstance(part, int):
            return parent[part] if is_list(parent) and part < len(parent) else None
        if not isinstance(parent, dict):
            return None
        if part not in parent:
            parent[part] = {}
            self.places.add(place)
        elif part in _SERVICES and isinstance(parent[part], str):
            parent[part] = {"use": parent[part]}  # what the short form means
        return parent[part]

    def _refuse(self, place: Place, what: str, mend: str) -> None:
        self.findings.append(Finding(place, what, mend))
        self.places.add(place)


def fill_variables(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Put the environment's values in for `${NAME}` and `${NAME:-default}` in texts.

    Returns:
        The tables anew, and a finding for each variable that is unset and has no default.
    """
    findings: list[Finding] = []

    def fill(value: Any, place: Place) -> Any:
        if isinstance(value, str):
            # Up to the last brace every default has its end: no search runs on in vain.
            end = value.rfind("}") + 1
            filled = _VARIABLE.sub(lambda match: _expand(match, place, findings), value[:end])
            return filled + value[end:]
        if isinstance(value, dict):
            return {key: fill(below, (*place, key)) for key, below in value.items()}
        if is_list(value):
            return [fill(below, (*place, i)) for i, below in enumerate(value)]
        return value

    return {key: fill(value, (key,)) for key, value in tables.items()}, findings


def _expand(match: re.Match[str], place: Place, findings: list[Finding]) -> str:
    name, has_default, default = match.groups()
    value = variable(name)
    if value is not None:
        keep_from_errors(value)
        return value
    if not has_default:
        mend = f"set it in the environment or in .env, or write ${{{name}:-DEFAULT}}"
        findings.append(Finding(place, f"the variable {name} is not set", mend))
    return default or ""


def _assign(parent: Any, key: str | int, value: Any) -> bool:
    """Set a key of a table, or an entry that a list has; False if `parent` is neither."""
    if isinstance(key, int):
        if isinstance(parent, list) and key < len(parent):
            parent[key] = value
            return True
    elif isinstance(parent, dict):
        parent[key] = value
        return True
    return False


def _parse_key(key: str) -> list[str | int]:
    parts: list[str | int] = []
    for segment in key.split("."):
        match = _SEGMENT.fullmatch(segment)
        if match is None:
            return []
        parts.append(match[1])
        parts.extend(int(index) for index in re.findall(r"\d+", match[2]))
    return parts


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # A text of several lines may read like several keys.
    return parsed["value"] if len(parsed) == 1 else text


def _is_index(part: str | int) -> bool:
    return isinstance(part, int) or part.isdecimal()
