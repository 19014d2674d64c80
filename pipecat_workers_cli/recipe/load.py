"""Reading a recipe: from a name or a path to a checked model, all faults at once."""

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.logs import redact
from pipecat_workers_cli.recipe.explain import QUOTE_IT, explain
from pipecat_workers_cli.recipe.files import find_recipe, read_bounded
from pipecat_workers_cli.recipe.findings import (
    Finding,
    Place,
    is_list,
    key_at,
    show_value,
    value_at,
)
from pipecat_workers_cli.recipe.fitting import find_misfits
from pipecat_workers_cli.recipe.model import Recipe
from pipecat_workers_cli.recipe.overrides import Overrides, fill_variables
from pipecat_workers_cli.recipe.places import MAX_KEY_PARTS, find_lines, find_long_key
from pipecat_workers_cli.recipe.toml_errors import explain_toml
from pipecat_workers_cli.recipe.values import LINE_PATTERN

MAX_PROMPT_BYTES = 80_000  # 20,000 characters of four bytes at most
MAX_FAULTS = 100  # a file of something else altogether would have thousands


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a recipe.

    Attributes:
        file: The file as it was named, or `--set`.
        line: Where in it, from 1; None for `--set` and for a file as a whole.
        key: The key, as people write it: `workers.support.transfers[1]`; may be empty.
        what: What is wrong.
        mend: What to do about it.
        value: What stands there, shortened, as TOML would have it; variables unexpanded.
    """

    file: str
    line: int | None
    key: str
    what: str
    mend: str
    value: str | None = None

    @property
    def headline(self) -> str:
        """The fault without its mend: `my.toml:14: KEY = 'VALUE': what is wrong`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = self.key if self.value is None else f"{self.key} = {self.value}"
        return ": ".join(part for part in (place, key, self.what) if part)

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.headline} ({self.mend})"


class RecipeError(ConfigurationError):
    """A recipe that can't be used; the first fault is the error's text.

    Attributes:
        faults: All of them, in the file's order, those of `--set` last; at least one.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults, of which there must be one."""
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0].headline}{more}", mend=faults[0].mend)
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe that was read and checked.

    Attributes:
        recipe: What it says, with `--set`, variables and prompt files put in.
        path: Its file, absolute.
        folder: The file's folder, in which what it names is looked for.
        hash: 12 hexadecimal digits of the file, its prompt files and the `--set`s.
        text: The file as it stands.
        files: All that was read, absolute: the file and its prompt files.
    """

    recipe: Recipe
    path: Path
    folder: Path
    hash: str
    text: str
    files: tuple[Path, ...]


Resolve = Callable[[Recipe, Path], Iterable[Finding]]
"""Looks at what the recipe names and this layer doesn't know, such as providers; its folder
is where code of its own may stand."""


def load_recipe(
    ref: str, *, sets: Sequence[str] = (), resolve: Resolve | None = None
) -> LoadedRecipe:
    """Read and check a recipe.

    Args:
        ref: The name of one that ships, or a path if it holds a `/` or ends in `.toml`.
        sets: `--set` as typed, `KEY=VALUE` each. KEY is dotted, a worker goes by its
            name: `workers.support.voice=joe`. VALUE is TOML where it can be, else a text.
        resolve: Finds what else is wrong with a recipe whose shape is right.

    Raises:
        RecipeError: What the file or a `--set` says is wrong.
        ConfigurationError: No recipe has that name, or the file can't be read.
    """
    path = find_recipe(ref)
    content = read_bounded(path)
    text = _decode(content, str(path))
    draft = _Draft(path, text, sets, resolve)
    recipe = draft.check()
    parts = (
        content,
        *draft.prompts.values(),
        *(typed.encode(errors="surrogateescape") for typed in sets),
    )
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    absolute = path.absolute()
    files = (absolute, *draft.prompts)
    return LoadedRecipe(recipe, absolute, absolute.parent, digest.hexdigest()[:12], text, files)


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            [Fault(file, line, "", "this is not UTF-8 text", "save the file as UTF-8")]
        ) from None


def _parse(text: str, file: str) -> dict[str, Any]:
    if line := find_long_key(text):
        what = f"a key of more than {MAX_KEY_PARTS} parts"
        raise RecipeError([Fault(file, line, "", what, "write tables, not dots")])
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        line, key, what, mend = explain_toml(error, text)
        raise RecipeError([Fault(file, line, key, what, mend)]) from None


class _Draft:
    """A recipe on its way from text to model."""

    def __init__(self, path: Path, text: str, sets: Sequence[str], resolve: Resolve | None) -> None:
        self.prompts: dict[Path, bytes] = {}
        self._file = str(path)
        self._folder = path.absolute().parent
        self._text = text
        self._sets = sets
        self._resolve = resolve
        self._written: dict[str, Any] = {}
        self._prompt_files: dict[Place, Place] = {}

    def check(self) -> Recipe:
        """Return the model, or raise a `RecipeError` with all that is wrong."""
        try:
            self._written = _parse(self._text, self._file)
            overrides = Overrides(self._written, self._sets)
            tables, unset = fill_variables(self._written)
            early = [*overrides.findings, *unset, *self._read_prompts(tables, skip=unset)]
            recipe, late = self._validate(tables)
            # What is already wrong by itself is not also of the wrong shape.
            known = {finding.place for finding in early}
            findings = early + [finding for finding in late if finding.place not in known]
            if recipe is not None and self._resolve is not None:
                findings += self._resolve(recipe, self._folder)
            if recipe is None or findings:
                raise RecipeError(self._faults(findings, overrides))
        except RecursionError:
            what = "lists or tables are nested too deeply"
            raise RecipeError(
                [Fault(self._file, None, "", what, "a recipe needs six levels at most")]
            ) from None
        return recipe

    def _validate(self, tables: dict[str, Any]) -> tuple[Recipe | None, list[Finding]]:
        try:
            return Recipe.model_validate(tables), []
        except ValidationError as error:
            errors = error.errors(include_url=False)
        # The model compares its tables only where all else is right.
        misfits = list(find_misfits(tables))
        if misfits:
            whole = ValidationError.from_exception_data("Recipe", misfits)
            errors += whole.errors(include_url=False)
        findings = explain(errors[: MAX_FAULTS * 10], tables, written=self._written)
        return None, [
            finding._replace(place=self._prompt_files.get(finding.place, finding.place))
            for finding in findings
        ]

    def _read_prompts(self, tables: Mapping[str, Any], *, skip: Iterable[Finding]) -> list[Finding]:
        """Put the texts of prompt files in their place, and tell which can't be had."""
        findings: list[Finding] = []
        unset = {finding.place for finding in skip}
        workers = tables.get("workers")
        speakers: list[tuple[Place, Any]] = [(("main",), tables.get("main"))]
        speakers += [(("workers", i), w) for i, w in enumerate(workers if is_list(workers) else ())]
        for speaker, table in speakers:
            place = (*speaker, "prompt_file")
            name = table.get("prompt_file") if isinstance(table, dict) else None
            if not isinstance(name, str) or "prompt" in table or place in unset:
                continue
            if not re.fullmatch(LINE_PATTERN, name):
                continue  # which is a fault of its own
            try:
                table["prompt"] = self._read_prompt(name)
                del table["prompt_file"]
                self._prompt_files[(*speaker, "prompt")] = place
            except ConfigurationError as error:
                findings.append(Finding(place, error.what, error.mend))
        return findings

    def _read_prompt(self, name: str) -> str:
        try:
            path = (self._folder / name).resolve()
            inside = path.is_relative_to(self._folder.resolve())
        except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL
            inside = False
        if not inside:
            mend = "a prompt's file stands beside the recipe, or in a folder there"
            raise ConfigurationError("not in the recipe's folder", mend=mend)
        path = self._folder / name
        try:
            content = read_bounded(path, max_bytes=MAX_PROMPT_BYTES)
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigurationError("not UTF-8 text", mend="save that file as UTF-8") from None
        except ConfigurationError as error:  # without the path, which may hold a variable's value
            what = error.what.removeprefix(f"{path}: ")
            raise ConfigurationError(what, mend=error.mend) from None
        self.prompts[path] = content
        return text

    def _faults(self, findings: Sequence[Finding], overrides: Overrides) -> list[Fault]:
        lines = find_lines(self._text)
        placed: list[tuple[int | None, Finding]] = [
            (None if overrides.covers(finding.place) else _line_of(lines, finding.place), finding)
            for finding in findings
        ]
        placed.sort(key=lambda entry: (entry[0] is None, entry[0]))
        faults = [self._fault(line, finding) for line, finding in placed[:MAX_FAULTS]]
        if len(placed) > MAX_FAULTS:
            faults.append(Fault(self._file, None, "", "more faults follow", "mend these first"))
        return faults

    def _fault(self, line: int | None, finding: Finding) -> Fault:
        place, what, mend = finding
        key = key_at(self._written, place)
        secret = place[-1:] == ("token",)
        value = "'***'" if secret else show_value(value_at(self._written, place))
        if value and place[-1:] == ("at",):  # a password is one of the things wrong with it
            value = redact(value)
        if line is None and mend == QUOTE_IT:
            mend = f"quote it for TOML and for the shell: --set '{key}=\"TEXT\"'"
        return Fault("--set" if line is None else self._file, line, key, what, mend, value)


def _line_of(lines: Mapping[Place, int], place: Place) -> int:
    while place not in lines:  # what is missing is missed where its table begins
        place = place[:-1]
    return lines[place]
