"""What a project says of itself in its manifest: what it needs, and how it is started."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from pipecat_workers_cli.workers.code.sources import Sources

MOST = 4  # manifests that are read; a project of many parts has its own in each


@dataclass(frozen=True, slots=True)
class Manifest:
    """One file that names what a project needs.

    Attributes:
        path: The file.
        needs: Packages that it needs to run.
        groups: Packages besides, by the name of their group, such as `dev`.
        starts: How it is started, such as `pmw, which runs main in app.py`.
    """

    path: str
    needs: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] | None = None
    starts: tuple[str, ...] = ()


def read_manifests(sources: Sources) -> list[Manifest]:
    """Read the manifests nearest to the root; one that can't be parsed is passed over."""
    found = [path for path in sources.paths if _parser(path) is not None]
    found.sort(key=lambda path: (path.count("/"), path))
    manifests: list[Manifest] = []
    for path in found[:MOST]:
        parse = _parser(path)
        try:
            if parse is not None:
                manifests.append(parse(path, sources.read_whole(path)))
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue  # half written, or a template
    return manifests


def requirement_name(requirement: str) -> str:
    """Return the package that a requirement such as `redis[hiredis]>=6` names."""
    found = re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement)
    return found[1].rstrip(".-") if found else ""


def _parser(path: str) -> Callable[[str, str], Manifest] | None:
    name = PurePosixPath(path).name
    if re.fullmatch(r"requirements[\w.-]*\.(txt|in)", name):
        return _parse_requirements
    return PARSERS.get(name)


def _parse_pyproject(path: str, text: str) -> Manifest:
    table = tomllib.loads(text)
    project = _table(table, "project")
    poetry = _table(_table(table, "tool"), "poetry")
    needs = [*_names(project.get("dependencies")), *_keys(poetry.get("dependencies"), but="python")]
    groups = {name: _names(listed) for name, listed in _items(project, "optional-dependencies")}
    groups |= {name: _names(listed) for name, listed in _items(table, "dependency-groups")}
    groups |= {
        name: _keys(cast("dict[str, Any]", group).get("dependencies"))
        for name, group in _items(poetry, "group")
        if isinstance(group, dict)
    }
    scripts = [*_items(project, "scripts"), *_items(poetry, "scripts")]
    starts = tuple(f"{name}, which runs {target}" for name, target in scripts)
    return Manifest(
        path, tuple(needs), {name: tuple(some) for name, some in groups.items()}, starts
    )


def _parse_requirements(path: str, text: str) -> Manifest:
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return Manifest(path, tuple(_names([line for line in lines if not line.startswith("-")])))


def _parse_package_json(path: str, text: str) -> Manifest:
    table = json.loads(text)
    groups = {"dev": tuple(_keys(table.get("devDependencies")))}
    scripts = tuple(f"npm run {name}" for name, _ in _items(table, "scripts"))
    main = table.get("main")
    starts = (*([f"its main file {main}"] if isinstance(main, str) else []), *scripts)
    return Manifest(path, tuple(_keys(table.get("dependencies"))), groups, starts)


def _parse_go_mod(path: str, text: str) -> Manifest:
    lines = re.findall(r"^\s*(?:require\s+)?([\w.-]+\.[\w.-]+/\S+)\s+v\S+(.*)$", text, re.MULTILINE)
    needs = tuple(name for name, rest in lines if "indirect" not in rest)
    return Manifest(path, needs, {"indirect": tuple(name for name, rest in lines if "ind" in rest)})


def _parse_cargo(path: str, text: str) -> Manifest:
    table = tomllib.loads(text)
    groups = {"dev": tuple(_keys(table.get("dev-dependencies")))}
    return Manifest(path, tuple(_keys(table.get("dependencies"))), groups, ("cargo run",))


PARSERS: Mapping[str, Callable[[str, str], Manifest]] = {
    "pyproject.toml": _parse_pyproject,
    "package.json": _parse_package_json,
    "go.mod": _parse_go_mod,
    "Cargo.toml": _parse_cargo,
}


def _table(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _items(table: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    yield from _table(table, key).items()


def _keys(value: object, *, but: str = "") -> list[str]:
    return (
        [key for key in cast("dict[str, Any]", value) if key != but]
        if isinstance(value, dict)
        else []
    )


def _names(value: object) -> list[str]:
    listed: Sequence[object] = cast("list[object]", value) if isinstance(value, list) else []
    names = (requirement_name(line) for line in listed if isinstance(line, str))
    return [name for name in names if name]
