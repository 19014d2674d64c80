"""Answers about one name or file: where it is defined, who uses it, what it does."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from pipecat_workers_cli.workers.code.lookup import (
    WEIGHT,
    Found,
    Subject,
    Tell,
    code_paths,
    find_definitions,
    find_files,
)
from pipecat_workers_cli.workers.code.questions import Question
from pipecat_workers_cli.workers.code.sources import Sources
from pipecat_workers_cli.workers.code.spoken import (
    count,
    distinct,
    joined,
    listed,
    normal,
)
from pipecat_workers_cli.workers.code.symbols import (
    Definition,
    Use,
    definitions,
    is_code,
    is_test,
    language,
    module_doc,
    uses,
)

NEAR = 0.75  # of difflib's ratio; below it a suggestion puzzles more than it helps


def say_where(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer where something is defined; what isn't defined may stand somewhere as text."""
    subject = question.subject
    if files := find_files(sources, question, sure=True):
        return _explain_files(sources, files)
    tell(f"looking for {subject}", "find_definition", name=subject)
    if found := find_definitions(sources, subject, question.noun):
        text = joined(_guess(found[0], subject), _say_definitions(sources, found))
        return Found(text, Subject(found[0].name, found[0].path))
    if files := find_files(sources, question):
        return _explain_files(sources, files)
    return _say_origin(sources, subject) or say_text(sources, question, tell)


def explain(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer what a name or a file is, and what is said of it there."""
    subject = question.subject
    if files := find_files(sources, question, sure=True):
        return _explain_files(sources, files)
    tell(f"looking for {subject}", "find_definition", name=subject)
    found = find_definitions(sources, subject, question.noun)
    exact = [one for one in found if one.name in (subject, subject.rpartition(".")[2])]
    if not exact and (files := find_files(sources, question)):
        return _explain_files(sources, files)
    if not found:
        return _say_origin(sources, subject) or say_text(sources, question, tell)
    best = found[0]
    more = f"{count(len(found) - 1, 'other thing')} here are called so too." if found[1:] else ""
    said = joined(_describe(sources, best), _say_members(sources, best), _doc(best), more)
    text = joined(_guess(best, subject), said)
    return Found(text, Subject(best.name, best.path))


def say_members(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer which methods a class has, or which names a file defines."""
    subject = question.subject
    if files := find_files(sources, question, sure=True):
        return _explain_files(sources, files[:1])
    tell(f"looking for {subject}", "find_definition", name=subject)
    found = [one for one in find_definitions(sources, subject, "class") if one.kind not in WEIGHT]
    if not found:
        return explain(sources, question, tell)
    text = joined(_describe(sources, found[0]), _say_members(sources, found[0], most=6))
    return Found(text, Subject(found[0].name, found[0].path))


def say_uses(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer who calls, imports or otherwise uses a name; of a file, who imports it."""
    subject = question.subject
    files = find_files(sources, question, sure=True)
    found = [] if files else find_definitions(sources, subject, question.noun)
    if not found and (files := files or find_files(sources, question)):
        name = PurePosixPath(files[0]).stem
        path = files[0]
    else:
        name, path = (found[0].name if found else subject.rpartition(".")[2]), ""
    tell(f"searching for uses of {name}", "find_uses", name=name)
    seen = [
        use
        for file, text in sources.containing([name], code_paths(sources))
        for use in uses(file, text, name)
    ]
    if path:
        seen = [use for use in seen if use.kind == "import"]
        return Found(_say_imports(sources, path, seen), Subject(path=path))
    if not seen and not found:
        return say_text(sources, question, tell)
    return Found(_say_uses(sources, name, seen), Subject(name, found[0].path if found else ""))


def say_text(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer where a text stands, whatever it is."""
    subject = question.subject
    tell(f"searching for {subject}", "search_text", words=subject)
    wanted = subject.casefold()
    hits = [
        (path, number)
        for path, text in sources.texts()
        if wanted in text.casefold()
        for number, line in enumerate(text.splitlines(), 1)
        if wanted in line.casefold()
    ]
    if not hits:
        return Found(joined(f"I find {subject} nowhere here.", _suggestion(sources, subject)))
    hits.sort(key=lambda hit: (is_test(hit[0]), not is_code(hit[0]), hit))
    places = _places(sources, hits)
    where = f"in {count(len(hits), 'line')} of {count(len({hit[0] for hit in hits}), 'file')}"
    where = "once" if len(hits) == 1 else where
    return Found(f"The text {subject} stands here {where}: {places}.", Subject(subject))


def say_tests_of(sources: Sources, question: Question, tell: Tell) -> Found:
    """Answer which tests use a name or the module of a file."""
    found = find_definitions(sources, question.subject, question.noun)
    files = [] if found else find_files(sources, question)
    name = found[0].name if found else PurePosixPath((files or [question.subject])[0]).stem
    subject = Subject(name, (found[0].path if found else "") or (files or [""])[0])
    tell(f"searching the tests for {name}", "find_tests", name=name)
    tests = [path for path in code_paths(sources) if is_test(path)]
    seen = [
        use
        for path, text in sources.containing([name], tests)
        for use in uses(path, text, name)
        if use.kind != "import" or files
    ]
    stem = PurePosixPath(subject.path).stem.strip("_")
    own = [path for path in tests if stem and normal(f"test{stem}") in normal(path)]
    if not seen and not own:
        return Found(f"I find no test that uses {name}.", subject)
    most = Counter(use.path for use in seen).most_common()
    paths = distinct([*own, *(path for path, _ in most)])
    named = listed([sources.spoken(path) for path in paths])
    return Found(f"{name} is used by {count(len(paths), 'test file')}: {named}.", subject)


def _explain_files(sources: Sources, paths: Sequence[str]) -> Found:
    path = paths[0]
    if path.endswith("/"):
        return Found(_explain_folder(sources, path), Subject(path=path))
    text = sources.read(path)
    written = language(path)
    lines = count(text.count("\n") + (not text.endswith("\n")) if text else 0, "line")
    size = f"{sources.spoken(path)} has {lines}{f' of {written}' if is_code(path) else ''}."
    doc = module_doc(path, text)
    names = [one for one in definitions(path, text) if not one.within and one.kind != "constant"]
    public = [one for one in names if not one.name.startswith("_")] or names
    defines = f"It defines {listed([one.name for one in public], most=4)}." if public else ""
    more = f"{count(len(paths) - 1, 'other file')} here are called so too." if paths[1:] else ""
    return Found(joined(size, f"It says: {doc}" if doc else "", defines, more), Subject(path=path))


def _explain_folder(sources: Sources, folder: str) -> str:
    inside = [path for path in sources.paths if path.startswith(folder)]
    names = [PurePosixPath(path).name for path in inside if not path.endswith("__init__.py")]
    first = f"{folder.rstrip('/')} is a folder with {count(len(inside), 'file')}"
    docs = (
        module_doc(f"{folder}{name}", sources.read(f"{folder}{name}"))
        for name in ("README.md", "__init__.py")
        if f"{folder}{name}" in inside
    )
    doc = next(filter(None, docs), "")
    return joined(f"{first}: {listed(names, most=4)}.", f"It says: {doc}" if doc else "")


def _say_origin(sources: Sources, name: str) -> Found | None:
    """Say of a name that is only imported where it comes from."""
    if not name.isidentifier():
        return None
    look = re.compile(rf"^\s*from\s+([\w.]+)\s+import\s+(?:\([^)]*?)?[^)\n]*?\b{name}\b", re.M)
    origins = [
        (found[1], path)
        for path, text in sources.containing([name], code_paths(sources))
        if (found := look.search(text))
    ]
    if not origins:
        return None
    files = sorted({path for _, path in origins}, key=lambda path: (is_test(path), path))
    told = f"{name} isn't defined here; it comes from {origins[0][0]}."
    users = f"It is imported by {count(len(files), 'file')}: {listed(_spoken(sources, files))}."
    return Found(joined(told, users), Subject(name))


def _guess(one: Definition, subject: str) -> str:
    """Say so when a name is only near to what was said."""
    if normal(one.name) == normal(subject.rpartition(".")[2]):
        return ""
    return f"The nearest I find to {subject} is {one.name}."


def _say_definitions(sources: Sources, found: Sequence[Definition]) -> str:
    best = found[0]
    if len(found) == 1 or found[1].name != best.name:
        return joined(_describe(sources, best), _doc(best))
    places = listed([f"{_place(sources, one.path, one.line)}" for one in found])
    return joined(f"{best.name} is defined in {count(len(found), 'place')}: {places}.", _doc(best))


def _describe(sources: Sources, one: Definition) -> str:
    owner = f" of {one.within}" if one.within else ""
    article = "an" if one.kind[0] in "aeiou" else "a"
    lines = f"lines {one.line} to {one.end}" if one.end > one.line else f"line {one.line}"
    takes = f", taking {listed(one.takes)}" if one.takes else ""
    bases = f", made from {listed(one.bases)}" if one.bases else ""
    where = f"{sources.spoken(one.path)} {lines}"
    return f"{one.name} is {article} {one.kind}{owner} in {where}{takes}{bases}."


def _doc(one: Definition) -> str:
    return f"It says: {one.doc}" if one.doc else ""


def _say_members(sources: Sources, one: Definition, *, most: int = 4) -> str:
    if one.kind in WEIGHT:
        return ""
    inside = [
        other.name
        for other in definitions(one.path, sources.read(one.path))
        if other.within == one.name and other.kind == "method" and one.line < other.line <= one.end
    ]
    public = [name for name in inside if not name.startswith("_")]
    if not public:
        return ""
    return f"It has {count(len(public), 'method')}: {listed(public, most=most)}."


def _say_uses(sources: Sources, name: str, seen: Sequence[Use]) -> str:
    ordered = sorted(seen, key=lambda use: (is_test(use.path), use.path, use.line))
    calls = [use for use in ordered if use.kind == "call"]
    others = [use for use in ordered if use.kind == "mention"]
    if calls:
        said = _say_places(sources, f"{name} is called", calls)
        return joined(said, f"It is used in {count(len(others), 'other place')}." if others else "")
    if others:
        return joined(f"Nothing calls {name} by name.", _say_places(sources, "It is used", others))
    files = distinct(use.path for use in ordered)
    if files:
        return f"Nothing here calls {name}; it is imported by {listed(_spoken(sources, files))}."
    return f"Nothing else here uses {name}."


def _say_places(sources: Sources, what: str, seen: Sequence[Use]) -> str:
    code = [use for use in seen if not is_test(use.path)]
    tests = distinct(use.path for use in seen if is_test(use.path))
    where = {
        (use.path, use.within): f"{f'by {use.within} in' if use.within else 'in'} "
        f"{_place(sources, use.path, use.line)}"
        for use in reversed(code)  # so that each function's first line stays
    }
    named = listed(list(reversed(where.values())))
    number = "once" if len(seen) == 1 else f"in {count(len(seen), 'place')}"
    if not code:
        return f"{what} {number}, in tests alone: {listed(_spoken(sources, tests))}."
    aside = f", {len(seen) - len(code)} of them in tests" if tests else ""
    return f"{what} {number}{aside}: {named}."


def _say_imports(sources: Sources, path: str, seen: Sequence[Use]) -> str:
    name = sources.spoken(path)
    files = sorted({use.path for use in seen} - {path}, key=lambda file: (is_test(file), file))
    stem = PurePosixPath(path).stem
    if not files:  # `from package.stem import name` names it in the path alone
        look = re.compile(
            rf"^\s*(?:from\s+[\w.]*\b{re.escape(stem)}\s+import|import\s.*\b{re.escape(stem)}\b"
            rf"|.*(?:from|require\(|import\()\s*['\"][^'\"]*\b{re.escape(stem)}(?:\.\w+)?['\"])",
            re.MULTILINE,
        )
        files = [
            file
            for file, text in sources.containing([stem], code_paths(sources))
            if look.search(text) and file != path
        ]
        files.sort(key=lambda file: (is_test(file), file))
    if not files:
        return f"I find nothing here that imports {name}."
    return f"{name} is imported by {count(len(files), 'file')}: {listed(_spoken(sources, files))}."


def _suggestion(sources: Sources, subject: str) -> str:
    names: set[str] = set()
    for path, text in sources.texts(code_paths(sources)):
        names.update(one.name for one in definitions(path, text))
    heard = {normal(name): name for name in names}
    close = difflib.get_close_matches(normal(subject), heard, n=1, cutoff=NEAR)
    return f"Did you mean {heard[close[0]]}?" if close else ""


def _spoken(sources: Sources, paths: Iterable[str]) -> list[str]:
    return [sources.spoken(path) for path in paths]


def _place(sources: Sources, path: str, line: int) -> str:
    return f"{sources.spoken(path)} line {line}"


def _places(sources: Sources, hits: Sequence[tuple[str, int]]) -> str:
    return listed([_place(sources, path, line) for path, line in hits])
