"""What is defined and used in a file, in several languages."""

import time

import pytest

from pipecat_workers_cli.workers.code.symbols import (
    definitions,
    is_code,
    is_test,
    module_doc,
    uses,
)
from tests.workers.code.conftest import APP


def named(path, text):
    return {(one.name, one.kind, one.line) for one in definitions(path, text)}


def test_python_is_read_by_its_grammar():
    found = {one.name: one for one in definitions("app.py", APP)}
    tally = found["tally"]
    assert (tally.kind, tally.line, tally.end, tally.takes) == ("function", 8, 16, ("names",))
    assert tally.doc == "Count how often each name comes."
    lines = found["lines"]
    assert (lines.kind, lines.within, lines.takes) == ("method", "Report", ())
    assert found["LIMIT"].kind == "constant"
    assert found["Report"].doc == "A report of counts."


def test_what_is_local_to_a_function_is_no_definition_but_a_function_in_it_is():
    text = "def outer():\n    x = 1\n    def inner():\n        pass\n    return x\n"
    assert named("a.py", text) == {("outer", "function", 1), ("inner", "function", 3)}
    assert [one.within for one in definitions("a.py", text)] == ["", "outer"]


def test_calls_imports_and_mentions_are_told_apart():
    assert [(use.kind, use.line, use.within) for use in uses("app.py", APP, "tally")] == [
        ("call", 24, "Report.lines")
    ]
    assert {use.kind for use in uses("app.py", APP, "ShopError")} == {"import", "mention"}
    text = "import x\n\ndef f():\n    x.y.go(1)\n    return go\n"
    found = [(use.kind, use.line) for use in uses("a.py", text, "go")]
    assert found == [("call", 4), ("mention", 5)]


def test_python_that_cannot_be_parsed_is_read_by_its_look():
    assert named("a.py", "def broken(:\n    pass\nclass Half\n") == {
        ("broken", "function", 1),
        ("Half", "class", 3),
    }


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "a.ts",
            "// Adds.\nexport async function add(a: number) {}\nexport const twice = (x) => x * 2\n"
            "class Shape {\n  async draw(pen) {\n    if (pen) {\n  }\n}\nconst n = 3\n",
            {("add", "function", 2), ("twice", "function", 3), ("Shape", "class", 4)}
            | {("draw", "function", 5)},
        ),
        (
            "a.go",
            "package a\n\nfunc (s *Server) Start() error {\n}\ntype Server struct {}\n",
            {("Start", "function", 3), ("Server", "type", 5)},
        ),
        (
            "a.rs",
            "pub struct Point { x: i32 }\npub(crate) fn run() {}\nimpl Point {}\n",
            {("Point", "struct", 1), ("run", "function", 2), ("Point", "impl", 3)},
        ),
        (
            "a.java",
            "public class App {\n    public static void main(String[] a) {\n    go();\n    }\n}\n",
            {("App", "class", 1), ("main", "function", 2)},
        ),
        (
            "a.c",
            "static int add(int a, int b)\n{\n    return add(a, b);\n}\nstruct point {int x;};\n",
            {("add", "function", 1), ("point", "struct", 5)},
        ),
        ("a.rb", "module Shop\n  class Cart\n    def total\n", {("total", "function", 3)}),
        ("a.sh", "deploy() {\n  echo hi\n}\n", {("deploy", "function", 1)}),
    ],
)
def test_other_languages_are_read_by_their_look(path, text, expected):
    assert expected <= named(path, text)
    assert not [one for one in definitions(path, text) if one.name in ("return", "if", "go")]


def test_uses_in_other_languages_name_the_function_above():
    text = "import { add } from './a'\n\nfunction total() {\n  return add(1)\n}\nconst f = add\n"
    found = [(use.kind, use.line, use.within) for use in uses("a.js", text, "add")]
    assert found == [("import", 1, ""), ("call", 4, "total"), ("mention", 6, "total")]


def test_a_comment_above_a_definition_is_its_documentation():
    [one] = definitions("a.go", "package a\n\n// Start begins it. And more.\nfunc Start() {}\n")
    assert one.doc == "Start begins it."


def test_a_file_says_what_it_is_for():
    assert module_doc("app.py", APP) == "Counts things, and tells how many there are."
    assert module_doc("README.md", "# Shop\n\nA shop that `counts`.\n") == "A shop that counts."
    assert module_doc("a.js", "// Copyright (c) Shop\n// All rights reserved.\n") == ""
    assert (
        module_doc("b.md", "See [the site](https://x.y/z) first. Then go.") == "See the site first."
    )
    assert module_doc("a.sh", "#!/bin/sh\n# Deploys it.\n") == "Deploys it."


def test_prose_and_data_define_nothing():
    assert not is_code("notes.md")
    assert definitions("notes.md", "class Example\n") == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/test_a.py", True),
        ("src/a_test.go", True),
        ("web/a.spec.ts", True),
        ("src/latest.py", False),
        ("src/contest/a.py", False),
    ],
)
def test_tests_are_known_by_their_paths(path, expected):
    assert is_test(path) is expected


@pytest.mark.parametrize(
    "line",
    ["a b " * 250, "a*&" * 330, "int f(" + "a," * 480, " " * 1000, "# " * 500, "export " * 140],
)
def test_no_text_takes_long_to_read(line):
    began = time.process_time()
    for path in ("x.c", "x.js", "x.go", "x.py", "x.sh"):
        definitions(path, f"{line}\n" * 200)
        uses(path, f"{line}\n" * 200, "a")
    assert time.process_time() - began < 5


def test_an_expression_of_a_thousand_terms_does_no_harm():
    text = "y = " + "+".join(["f(1)"] * 3_000) + "\n"
    assert [use.kind for use in uses("a.py", text, "f")] == ["call"]
    assert isinstance(definitions("a.py", text), list)
