"""Answers about a folder as a whole: what is in it, what it needs, how it treats errors."""

import ast
import re
import sys
from collections import Counter
from pathlib import PurePosixPath

from pipecat_workers_cli.workers.code.lookup import Found, Subject, Tell, code_paths, find_files
from pipecat_workers_cli.workers.code.manifests import Manifest, read_manifests
from pipecat_workers_cli.workers.code.questions import Question
from pipecat_workers_cli.workers.code.sources import Sources
from pipecat_workers_cli.workers.code.spoken import count, distinct, joined, listed, normal
from pipecat_workers_cli.workers.code.symbols import (
    definitions,
    is_code,
    is_test,
    language,
    module_doc,
    parse_python,
)

MARK = re.compile(
    r"(?:^\s*(?=\w+:\s)|(?:^|\s)(?:#|//|/\*+|\*|--|<!--|;)\s*[-@\[(]?)(?:TODO|FIXME|HACK|XXX)\b"
    r"(?:\([^)]{0,40}\))?[\s:.\])-]*(?P<text>.{0,160})"
)
"""A note that something is left to do; only in capitals, and only in a comment."""

CATCHING = re.compile(r"\bcatch\b\s*[({]|\brescue\b|\bif err != nil\b|\.catch\(|\bexcept\b")
THROWING = re.compile(r"\bthrow\b|\braise\b|\bpanic!?\(|\bpanic\(|\breturn Err\(|\bbail!\(")
IMPORT = re.compile(
    r"^[ \t]{0,20}(?:import\s+|from\s+(?=[\w.]+\s+import\b))([A-Za-z_]\w*)", re.MULTILINE
)
ERROR_NAME = re.compile(r"(?:Error|Exception|Failure|Fault|Warning)$")


def say_structure(sources: Sources, _question: Question, tell: Tell) -> Found:
    """Answer what the folder holds: how much, in which languages, where, and what for."""
    tell("listing files", "list_files")
    lines: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for path, text in sources.texts():
        lines[language(path)] += text.count("\n") + 1
        places[path.split("/")[0] if "/" in path else ""] += is_code(path)
    if not sources.paths:
        return Found("I find no files here that may be read.", Subject())
    written = [name for name, _ in lines.most_common() if name and _is_language(name)]
    total = sum(number for name, number in lines.items() if _is_language(name))
    size = f"There are {count(len(sources.paths), 'file')} here"
    size += f", with {count(total, 'line')} of {listed(written)}." if written else "."
    largest = [name for name, number in places.most_common() if name and number]
    where = f"Most of the code is in {listed(largest)}." if largest else ""
    return Found(joined(_purpose(sources), size, where), Subject())


def say_lines(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer how long a file, a folder or everything is."""
    files = find_files(sources, question) if question.subject else []
    if question.subject and not files:
        return Found(f"I find no file called {question.subject}.")
    if files and not files[0].endswith("/"):
        text = sources.read(files[0])
        number = count(len(text.splitlines()), "line")
        return Found(f"{sources.spoken(files[0])} has {number}.", Subject(path=files[0]))
    tell("counting lines", "count_lines")
    inside = [path for path in sources.paths if not files or path.startswith(files[0])]
    sizes = {path: text.count("\n") + 1 for path, text in sources.texts(inside)}
    code = {path: size for path, size in sizes.items() if is_code(path)}
    longest = sorted(code, key=lambda path: -code[path])[:2]
    named = listed([f"{sources.spoken(path)} with {code[path]:,}" for path in longest])
    what = f"{files[0].rstrip('/')} has" if files else "There are"
    total = f"{what} {count(sum(code.values()), 'line')} of code in {count(len(code), 'file')}"
    return Found(joined(f"{total}.", f"The longest are {named}." if named else ""), Subject())


def say_todos(sources: Sources, _question: Question, tell: Tell) -> Found:
    """Answer what is marked as left to do."""
    tell("searching for TODO", "find_todos")
    hits = [
        (path, number, found["text"].strip(" */->."))
        for path, text in sources.containing(("TODO", "FIXME", "HACK", "XXX"))
        for number, line in enumerate(text.splitlines(), 1)
        if (found := MARK.search(line))
    ]
    if not hits:
        return Found("Nothing here is marked as left to do.")
    hits.sort(key=lambda hit: (is_test(hit[0]), not is_code(hit[0]), hit))
    files = distinct(hit[0] for hit in hits)
    many = f"There are {count(len(hits), 'note')}" if len(hits) > 1 else "There is one note"
    where = (
        f"{many} of something left to do, in {listed([sources.spoken(path) for path in files])}."
    )
    path, number, text = hits[0]
    says = f" and says: {text}." if text else "."
    first = f"{'It' if len(hits) == 1 else 'The first'} is in {sources.spoken(path)} line {number}"
    return Found(joined(where, f"{first}{says}"))


def say_dependencies(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer which packages are needed, or whether one is."""
    tell("reading the manifests", "read_manifests")
    manifests = read_manifests(sources)
    if question.subject:
        return _say_one_dependency(sources, manifests, question.subject)
    told = [_say_manifest(sources, manifest) for manifest in _merged(manifests)]
    if any(told):
        return Found(joined(*told[:2]))
    if manifests:
        names = listed([sources.spoken(manifest.path) for manifest in manifests])
        return Found(f"It needs nothing else: {names} names no package.")
    foreign = [name for name, _ in _foreign_imports(sources).most_common()]
    if foreign:
        return Found(f"No manifest names what it needs. Its Python imports {listed(foreign)}.")
    return Found("I find nothing that it needs: no manifest, and no foreign import.")


def say_errors(sources: Sources, _question: Question, tell: Tell) -> Found:
    """Answer how errors are treated: own classes, what is raised, what is caught, how widely."""
    tell("looking at how errors are raised and caught", "find_errors")
    own: dict[str, str] = {}
    raised: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    broad: list[tuple[str, int]] = []
    for path in code_paths(sources):
        if is_test(path):
            continue
        text = sources.read(path)
        for one in definitions(path, text):
            if any(ERROR_NAME.search(base) for base in one.bases):
                own.setdefault(one.name, path)
        if language(path) == "Python":
            _count_python_errors(path, text, raised, caught, broad)
        else:
            raised["an error"] += len(THROWING.findall(text))
            caught["an error"] += len(CATCHING.findall(text))
    if not raised.total() and not caught.total() and not own:
        return Found("I find nothing here that raises or catches errors.")
    return Found(_say_errors(sources, own, raised, caught, broad))


def say_tests(sources: Sources, _question: Question, tell: Tell) -> Found:
    """Answer how the tests are arranged."""
    tell("looking at the tests", "find_tests")
    tests = [path for path in code_paths(sources) if is_test(path)]
    if not tests:
        return Found("I find no tests here.")
    cases: Counter[str] = Counter()
    fixtures: list[str] = []
    for path, text in sources.texts(tests):
        folder = str(PurePosixPath(path).parent)
        cases[folder] += len(
            re.findall(r"\b(?:async )?def test_|\b(?:it|test)\(|\bfunc Test|#\[test", text)
        )
        if re.search(r"@pytest\.fixture|\bbeforeEach\(", text):
            fixtures.append(path)
    total = f"{count(len(tests), 'test file')} with {count(cases.total(), 'test')}"
    folders = [folder for folder, number in cases.most_common() if number]
    where = (
        f", most of them in {listed(folders[:3])}" if len(folders) > 1 else f" in {listed(folders)}"
    )
    shared = [path for path in fixtures if "conftest" in path] or fixtures
    shared.sort(key=lambda path: (path.count("/"), path))
    fixed = f"What they share is in {listed([sources.spoken(path) for path in shared], most=2)}."
    return Found(joined(f"There are {total}{where if folders else ''}.", fixed if shared else ""))


def say_start(sources: Sources, _question: Question, tell: Tell) -> Found:
    """Answer where the program starts."""
    tell("looking for the entry points", "find_entry_points")
    starts = [start for manifest in read_manifests(sources) for start in manifest.starts]
    mains = [path for path in sources.paths if PurePosixPath(path).name == "__main__.py"]
    guards = [
        path
        for path, _ in sources.containing(('__name__ == "__main__"', "__name__ == '__main__'"))
        if language(path) == "Python" and path not in mains
    ]
    others = [
        path
        for path in code_paths(sources)
        if PurePosixPath(path).name
        in ("main.go", "main.rs", "Main.java", "main.c", "main.ts", "index.js")
    ]
    others = others if starts else [*others, *guards]
    files = sorted([*mains, *others], key=lambda path: (is_test(path), path.count("/"), path))
    manifest = f"The manifest names {listed(starts)}." if starts else ""
    named = (
        f"These can be run: {listed([sources.spoken(path) for path in files])}." if files else ""
    )
    subject = Subject(path=files[0]) if files else None
    return Found(joined(manifest, named) or "I find no place where it would start.", subject)


def _purpose(sources: Sources) -> str:
    """Say what the folder is for, in the words of its own README or package."""
    tops = [path for path in sources.paths if "/" not in path]
    readmes = [path for path in tops if path.lower().startswith("readme")]
    inits = [path for path in sources.paths if re.fullmatch(r"(?:src/)?[^/]+/__init__\.py", path)]
    for path in (*readmes, *(inits if len(inits) == 1 else ())):
        if (doc := module_doc(path, sources.read(path))) and not is_test(path):
            return f"{PurePosixPath(path).name} says: {doc}"
    return ""


def _is_language(name: str) -> bool:
    return name not in ("", "JSON", "YAML", "TOML", "Markdown", "text")


def _merged(manifests: list[Manifest]) -> list[Manifest]:
    """Leave those nearest to the root, and of those that need something."""
    needy = [one for one in manifests if one.needs or any((one.groups or {}).values())]
    nearest = min((one.path.count("/") for one in needy), default=0)
    return [one for one in needy if one.path.count("/") == nearest]


def _say_manifest(sources: Sources, manifest: Manifest) -> str:
    name = sources.spoken(manifest.path)
    needs = distinct(manifest.needs)
    first = f"{name} names {count(len(needs), 'package')} that it needs to run"
    groups = [f"{len(some)} for {group}" for group, some in (manifest.groups or {}).items() if some]
    besides = f"Besides there are {listed(groups)}." if groups else ""
    return joined(f"{first}: {listed(needs, most=5)}." if needs else f"{first}.", besides)


def _say_one_dependency(sources: Sources, manifests: list[Manifest], wanted: str) -> Found:
    for manifest in manifests:
        groups = {"": manifest.needs, **(manifest.groups or {})}
        for group, names in groups.items():
            for name in names:
                if normal(name.split("/")[-1]) == normal(wanted) or normal(name) == normal(wanted):
                    where = f"{sources.spoken(manifest.path)}{f', for {group}' if group else ''}"
                    return Found(
                        joined(f"Yes: {name} is named in {where}.", _importers(sources, name))
                    )
    importers = _importers(sources, wanted)
    if importers:
        return Found(f"No manifest names {wanted}, but it is used. {importers}")
    return Found(f"No, nothing here names or imports {wanted}.")


def _importers(sources: Sources, package: str) -> str:
    module = re.escape(package.replace("-", "_"))
    look = re.compile(rf"^\s*(?:from|import)\s+{module}\b|['\"]{re.escape(package)}['\"/]", re.M)
    files = [path for path, text in sources.texts(code_paths(sources)) if look.search(text)]
    files.sort(key=is_test)
    if not files:
        return ""
    names = listed([sources.spoken(path) for path in files])
    return f"It is imported in {count(len(files), 'file')}: {names}."


def _foreign_imports(sources: Sources) -> Counter[str]:
    tops = {part for path in sources.paths for part in PurePosixPath(path).with_suffix("").parts}
    seen: Counter[str] = Counter()
    for path, text in sources.texts(code_paths(sources)):
        if language(path) == "Python":
            seen.update(set(IMPORT.findall(text)) - tops - sys.stdlib_module_names)
    return seen


def _count_python_errors(
    path: str,
    text: str,
    raised: Counter[str],
    caught: Counter[str],
    broad: list[tuple[str, int]],
) -> None:
    tree = parse_python(text)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            raised[_last_name(error)] += 1
        elif isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = [_last_name(kind) if kind else "everything" for kind in kinds]
            caught.update(names)
            if {"everything", "Exception", "BaseException"} & set(names):
                broad.append((path, node.lineno))


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else "an error"


def _say_errors(
    sources: Sources,
    own: dict[str, str],
    raised: Counter[str],
    caught: Counter[str],
    broad: list[tuple[str, int]],
) -> str:
    files = distinct(sources.spoken(path) for path in own.values())
    classes = "error class of its own" if len(own) == 1 else "error classes of its own"
    first = f"It has {count(len(own), classes, classes)}: {listed(list(own))}, in {listed(files)}."
    often = [name for name, _ in raised.most_common() if name[:1].isupper()]
    most = f", most often {listed(often[:2])}" if often else ""
    widest = [name for name, _ in caught.most_common() if name[:1].isupper()]
    mostly = f", most often {listed(widest[:2])}" if widest else ""
    second = f"Errors are raised in {count(raised.total(), 'place')}{most}"
    second += f", and caught in {count(caught.total(), 'place')}{mostly}."
    third = ""
    if broad:
        where = f"{sources.spoken(broad[0][0])} line {broad[0][1]}"
        third = f"There are {len(broad)} handlers that take any error, the first in {where}."
        third = f"One handler takes any error, in {where}." if len(broad) == 1 else third
    return joined(first if own else "", second, third)
