import tomllib

import pytest

from pipecat_workers_cli.recipe.files import shipped_path
from pipecat_workers_cli.recipe.places import MAX_KEY_PARTS, find_lines, find_long_key

# ~~~ stands for the three single quotes that would end this text.
NASTY = r'''# a comment with ] } " ~~~ """
title = "a # b [c] {d} = \" 'e'"
'quoted key' = 'C:\path "x" #'
"dotted.key".sub . 'third one' = 1.5
date = 1979-05-27 07:32:00.5   # two words
empty = []
deep = { a = { b = [ { c = [1, 2.5, "x,y]"] }, {} ] }, d.e = true }
many = [
  "one", # comment ]

  'two',
  """three
  "quoted" ""twice"" \"""
  """, { four = 4 },
  [ "five", [] ],
]
text = """
[not.a.table]
key = "no key"
ends with quotes: """""
literal = ~~~
it''s "fine" = here~~~

[main]
name = "x"
[main.opening]
message = "hello"
[[workers]]
name = "a"
[workers.llm]
use = "x"
[[workers.script]]
say = "1"
[[workers.script]]
say = "2"
args.x = 1
args.y = 2
[[workers]]
[[workers]]
name = "c"
script = [ { say = "x" }, { say = [
   "y",
   "z" ] } ]
[ spaced . "out" ]
key = 0x1F
'''.replace("~~~", "'''")


def places_in(value, place=()):
    yield place
    if isinstance(value, dict):
        for key, below in value.items():
            yield from places_in(below, (*place, key))
    if isinstance(value, list):
        for i, below in enumerate(value):
            yield from places_in(below, (*place, i))


@pytest.mark.parametrize(
    "text",
    [NASTY, NASTY.replace("\n", "\r\n"), shipped_path("handoff").read_text()],
    ids=["nasty", "windows", "handoff"],
)
def test_every_key_and_entry_that_tomllib_reads_has_a_line(text):
    assert set(find_lines(text)) == set(places_in(tomllib.loads(text)))


def line_holding(words):
    return next(n for n, line in enumerate(NASTY.split("\n"), 1) if words in line)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("quoted key",), "'quoted key'"),
        (("dotted.key", "sub", "third one"), "third one"),
        (("deep", "a", "b", 0, "c", 2), "deep ="),
        (("many", 1), "'two'"),
        (("many", 2), '"""three'),
        (("many", 3, "four"), "four"),
        (("many", 4, 1), '"five"'),
        (("text",), 'text = """'),
        (("literal",), "literal ="),
        (("main", "opening"), "[main.opening]"),
        (("workers", 0, "llm", "use"), 'use = "x"'),
        (("workers", 0, "script", 1, "args", "y"), "args.y"),
        (("workers", 2, "name"), 'name = "c"'),
        (("workers", 2, "script", 1, "say"), "{ say = ["),
        (("workers", 2, "script", 1, "say", 1), '"z"'),
        (("spaced", "out", "key"), "0x1F"),
    ],
)
def test_the_line_is_where_the_key_or_entry_itself_begins(place, words):
    assert find_lines(NASTY)[place] == line_holding(words)


def test_no_line_is_past_the_end_of_the_shortest_prefix_that_parses_and_holds_the_key():
    text = shipped_path("handoff").read_text()
    rows = text.split("\n")
    lines = find_lines(text)
    held: set = set()
    for count in range(1, len(rows) + 1):
        try:
            now = set(places_in(tomllib.loads("\n".join(rows[:count]))))
        except tomllib.TOMLDecodeError:
            continue
        assert all(lines[place] <= count for place in now - held)
        held = now
    assert held == set(lines)


@pytest.mark.parametrize("part", ["a", '"a"', "'a b'", "a-1 "])
def test_a_key_of_many_parts_is_found_before_tomllib_has_to_read_it(part):
    text = 'name = "x"\n\n' + ".".join([part] * (MAX_KEY_PARTS + 1)) + " = 1\n"
    assert find_long_key(text) == 3
    assert find_long_key("x = { y = 1, " + ".".join([part] * 400_000) + " = 1 }") == 1


def test_a_text_with_many_dots_is_no_long_key():
    dotted = "A. B. C. D. E. F. G. H. I. J. K. L. M. N"
    assert find_long_key(f'say = "{dotted}"\nprompt = """\n{dotted}\n"""\n# {dotted}') is None
    assert find_long_key("a.b.c.d = 1.5\n" * 50) is None
