"""Definitions and uses of names in a source file: Python by its grammar, others by their look."""

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeGuard

from pipecat_workers_cli.workers.code.spoken import first_sentence

LANGUAGES: Mapping[str, str] = {
    **dict.fromkeys((".py", ".pyi"), "Python"),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), "JavaScript"),
    **dict.fromkeys((".ts", ".tsx", ".mts"), "TypeScript"),
    ".go": "Go",
    ".rs": "Rust",
    ".java": "Java",
    ".kt": "Kotlin",
    ".swift": "Swift",
    ".c": "C",
    ".h": "C",
    ".rb": "Ruby",
    ".php": "PHP",
    ".cs": "C sharp",
    ".scala": "Scala",
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hpp", ".hh"), "C plus plus"),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".fish"), "shell"),
    ".lua": "Lua",
    ".ex": "Elixir",
    ".exs": "Elixir",
    ".vue": "Vue",
    ".svelte": "Svelte",
    ".sql": "SQL",
    ".html": "HTML",
    ".css": "CSS",
    ".md": "Markdown",
    ".rst": "text",
    ".toml": "TOML",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".json": "JSON",
}
"""What a file is written in, by its ending."""

PROSE = frozenset({"Markdown", "text", "TOML", "YAML", "JSON", "HTML", "CSS"})
"""Languages in which nothing is defined or called."""

LEAD = (
    r"^[ \t]{0,40}(?:(?:export|default|public|private|protected|internal|static|final|abstract|"
    r"async|pub(?:\([^)\n]{0,40}\))?|unsafe|extern|const|override|open|data|sealed|inline)"
    r"[ \t]+){0,6}"
)
DEFINING = re.compile(
    LEAD + r"(?P<kind>class|interface|struct|enum|trait|protocol|module|object|type|impl|"
    r"func|function\*?|fn|def|defmodule|defp?|record|namespace|mixin)[ \t]+"
    r"(?:\([^)\n]{0,80}\)[ \t]*)?(?P<name>[A-Za-z_$][\w$]{0,99})",
    re.MULTILINE,
)
"""A definition that says what it is. The bracket is a receiver of Go's."""

ASSIGNED = re.compile(
    LEAD + r"(?:(?:let|var|val|const)[ \t]+)?(?P<name>[A-Za-z_$][\w$]{0,99})[ \t]*"
    r"(?::[^=\n]{1,80})?=[ \t]*"
    r"(?:async[ \t]*)?(?:function\b|\([^)\n]{0,200}\)[ \t]*(?::[^=\n]{1,80})?=>"
    r"|[\w$]{1,40}[ \t]*=>)",
    re.MULTILINE,
)
"""JavaScript's functions that are put into a name."""

MEMBER = re.compile(
    r"^[ \t]{1,12}(?:(?:async|static|get|set|public|private|protected|override)[ \t]+){0,3}"
    r"(?P<name>[A-Za-z_$][\w$]{0,99})[ \t]*\([^)\n;]{0,200}\)[ \t]*(?::[^{\n]{1,80})?\{[ \t]*$",
    re.MULTILINE,
)
"""JavaScript's methods: indented, with arguments and the beginning of a body."""

TYPED = re.compile(
    r"^(?:[ \t]{0,12})(?!return\b|else\b|new\b|throw\b|await\b|if\b|case\b)"
    r"(?:[A-Za-z_][\w:<>,\[\]]{0,60}[ \t*&]{1,4}){1,4}(?P<name>[A-Za-z_~]\w{0,99})[ \t]*"
    r"\([^;{}\n]{0,300}\)[^;{}\n]{0,60}\{?[ \t]*$",
    re.MULTILINE,
)
"""C's and Java's functions: a type, a name, arguments, and no semicolon."""

SHELL = re.compile(r"^[ \t]{0,12}(?P<name>[A-Za-z_][\w-]{0,60})[ \t]*\(\)[ \t]*\{?", re.MULTILINE)

LOOKS: Mapping[str, tuple[re.Pattern[str], ...]] = {
    **dict.fromkeys(("JavaScript", "TypeScript", "Vue", "Svelte"), (DEFINING, ASSIGNED, MEMBER)),
    **dict.fromkeys(("C", "C plus plus", "Java", "C sharp"), (DEFINING, TYPED)),
    "shell": (SHELL, DEFINING),
}
"""How definitions look in a language; in any other as `DEFINING` has it."""

CALLABLE = frozenset({"func", "function", "fn", "def", "defp"})
NO_NAMES = frozenset({"if", "for", "while", "switch", "catch", "function", "return", "sizeof"})
PARSED = 400_000  # characters of Python that are parsed; a file beyond them is read by its look


@dataclass(frozen=True, slots=True)
class Definition:
    """Where a name is defined, and what is said of it there.

    Attributes:
        kind: `class`, `function`, `method`, `constant`, `struct` and so on.
        line: Where it begins, from one; `end` is its last line, or 0 if that isn't known.
        within: The class that it belongs to; empty at the top of a file.
        takes: The names of its arguments, without `self`.
        doc: The first sentence of its documentation.
        bases: What a class inherits from.
    """

    name: str
    kind: str
    path: str
    line: int
    end: int = 0
    within: str = ""
    takes: tuple[str, ...] = ()
    doc: str = ""
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """Where a name is used: a `call`, an `import` or a `mention`; `within` names the function."""

    kind: str
    path: str
    line: int
    within: str = ""


def language(path: str) -> str:
    """Return what a file is written in; empty if that isn't known."""
    return LANGUAGES.get(PurePosixPath(path).suffix.lower(), "")


def is_code(path: str) -> bool:
    """Tell whether names are defined in a file of that ending."""
    written = language(path)
    return bool(written) and written not in PROSE


def is_test(path: str) -> bool:
    """Tell whether a file is one of the tests."""
    pure = PurePosixPath(path.lower())
    if any(part in ("test", "tests", "spec", "specs", "__tests__") for part in pure.parts[:-1]):
        return True
    return re.search(r"(^|[_.-])(test|spec)s?([_.-]|$)", pure.stem) is not None


def parse_python(text: str) -> ast.Module | None:
    """Parse Python; None if it can't be, or is too much."""
    if len(text) > PARSED:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of somebody's string escapes
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def definitions(path: str, text: str) -> list[Definition]:
    """Return all that a file defines, in order."""
    if not is_code(path):
        return []
    tree = parse_python(text) if language(path) == "Python" else None
    if tree is not None:
        return list(_python_definitions(path, tree))
    return list(_other_definitions(path, text))


def uses(path: str, text: str, name: str) -> list[Use]:
    """Return where a file uses a name, its definitions left out."""
    tree = parse_python(text) if language(path) == "Python" else None
    if tree is not None:
        with suppress(RecursionError):  # an expression of a thousand terms
            return sorted(_python_uses(path, tree, name), key=lambda use: use.line)
    return list(_other_uses(path, text, name))


def module_doc(path: str, text: str) -> str:
    """Return the first sentence of what a file says of itself; empty if it says nothing."""
    if language(path) == "Python":
        tree = parse_python(text)
        return first_sentence((tree and ast.get_docstring(tree)) or "")
    if language(path) in ("Markdown", "text"):
        paragraphs = re.split(r"\n\s*\n", text.strip())
        plain = [part for part in paragraphs if not re.match(r"[#=<!\[|-]|```", part.strip())]
        return first_sentence(plain[0]) if plain else first_sentence(text)
    comment = _comment_at(text.splitlines(), 0)
    return "" if LICENCE.search(comment) else first_sentence(comment)


def _python_definitions(path: str, tree: ast.Module) -> Iterator[Definition]:
    def within(body: list[ast.stmt], owner: str, *, local: bool = False) -> Iterator[Definition]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                bases = tuple(ast.unparse(base)[:60] for base in node.bases)
                yield _python_definition(path, node, "class", owner, bases=bases)
                yield from within(node.body, node.name)
            elif _is_function(node):
                kind = "method" if owner and not local else "function"
                yield _python_definition(path, node, kind, owner)
                yield from within(node.body, node.name, local=True)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and not local:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        end = node.end_lineno or node.lineno
                        kind = "field" if owner else "constant"
                        yield Definition(target.id, kind, path, node.lineno, end, owner)
            elif isinstance(node, ast.If | ast.Try | ast.With):
                yield from within(node.body, owner, local=local)

    yield from within(tree.body, "")


def _python_definition(
    path: str,
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    kind: str,
    owner: str,
    *,
    bases: tuple[str, ...] = (),
) -> Definition:
    takes: tuple[str, ...] = ()
    if not isinstance(node, ast.ClassDef):
        given = node.args
        names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        takes = tuple(name for name in names if name not in ("self", "cls"))
    doc = first_sentence(ast.get_docstring(node) or "")
    end = node.end_lineno or node.lineno
    return Definition(node.name, kind, path, node.lineno, end, owner, takes, doc, bases)


def _python_uses(path: str, tree: ast.Module, name: str) -> Iterator[Use]:
    def visit(node: ast.AST, within: str) -> Iterator[Use]:
        inner = within
        if _is_function(node) or isinstance(node, ast.ClassDef):
            inner = f"{within}.{node.name}" if within else node.name
        called = node.func if isinstance(node, ast.Call) else None
        if called is not None and _names(called, name):
            yield Use("call", path, called.end_lineno or called.lineno, within)
        if isinstance(node, ast.Import | ast.ImportFrom) and any(
            alias.name.split(".")[-1] == name for alias in node.names
        ):
            yield Use("import", path, node.lineno, within)
        for child in ast.iter_child_nodes(node):
            if child is not called and _is_read(child, name):
                yield Use("mention", path, child.end_lineno or child.lineno, inner)
            yield from visit(child, inner)

    yield from visit(tree, "")


def _names(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == name
    return isinstance(node, ast.Attribute) and node.attr == name


def _is_read(node: ast.AST, name: str) -> TypeGuard[ast.Name | ast.Attribute]:
    return (
        isinstance(node, ast.Name | ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and _names(node, name)
    )


def _is_function(node: ast.AST) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _other_definitions(path: str, text: str) -> Iterator[Definition]:
    lines = text.splitlines()
    seen: set[tuple[int, str]] = set()
    for look in LOOKS.get(language(path), (DEFINING,)):
        line, counted = 1, 0
        for found in look.finditer(text):
            line += text.count("\n", counted, found.start("name"))
            counted = found.start("name")
            name = found["name"]
            if (line, name) in seen or name in NO_NAMES:
                continue
            seen.add((line, name))
            kind = (found.groupdict().get("kind") or "function").rstrip("*")
            kind = "function" if kind in CALLABLE else kind
            doc = first_sentence(_comment_above(lines, line - 1))
            yield Definition(name, kind, path, line, doc=doc)


def _other_uses(path: str, text: str, name: str) -> Iterator[Use]:
    here = sorted(_other_definitions(path, text), key=lambda definition: definition.line)
    defined = {definition.line for definition in here if definition.name == name}
    word = re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])(?P<call>\s{{0,3}}\()?")
    for number, line in enumerate(text.splitlines(), 1):
        found = word.search(line)
        if found is None or number in defined:
            continue
        above = [definition.name for definition in here if definition.line <= number]
        imported = re.match(r"\s*(import|use|from|require|#include|export\s*\{)\b", line)
        kind = "import" if imported else "call" if found["call"] else "mention"
        yield Use(kind, path, number, above[-1] if above else "")


LICENCE = re.compile(r"\bcopyright\b|\blicen[sc]ed?\b|\bSPDX\b", re.IGNORECASE)
COMMENT = re.compile(r"^\s*(?://+!?|#+!?|/\*+|\*+/?|--+|;+)\s?(.*?)(?:\*/)?$")


def _comment_at(lines: list[str], start: int) -> str:
    """Return the comment that begins at a line, its marks taken off; a shebang is none."""
    told: list[str] = []
    for line in lines[start : start + 12]:
        found = COMMENT.match(line)
        if found and found[1].lstrip().startswith(("```", "@", "<")):
            break  # an example, or what is written for tools
        if line.startswith("#!") or (not told and found and not found[1].strip()):
            continue
        if found is None or not found[1].strip():
            break
        told.append(found[1].strip())
    return " ".join(told)


def _comment_above(lines: list[str], index: int) -> str:
    start = index
    while start > 0 and index - start < 12 and COMMENT.match(lines[start - 1]):
        start -= 1
    return _comment_at(lines[:index], start) if start < index else ""
