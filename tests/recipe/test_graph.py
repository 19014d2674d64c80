"""Recipes drawn: nodes and edges, a tree, a Mermaid flowchart."""

import pytest

from pipecat_workers_cli.recipe.graph import (
    Edge,
    Graph,
    Node,
    Tie,
    build_graph,
    build_tree,
    render_mermaid,
    tree_lines,
)
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.recipe.model import Recipe
from tests.recipe.reading import EXAMPLES


def graph_of(name: str, tmp_path) -> Graph:
    path = tmp_path / "mine.toml"
    path.write_text(EXAMPLES[name], encoding="utf-8")
    return build_graph(load_recipe(str(path)).recipe)


def graph(*workers: dict, **main) -> Graph:
    return build_graph(Recipe.model_validate({"name": "x", "main": main, "workers": workers}))


def drawn(graph: Graph, *, plain: bool = False) -> str:
    lines = tree_lines(build_tree(graph), plain=plain)
    return "\n".join(f"{guide}{branch.name}  {branch.note}".rstrip() for guide, branch in lines)


def specialist(name: str, *asked: str) -> dict:
    jobs = [{"tool": f"ask_{other}", "workers": [other]} for other in asked]
    return {"name": name, "kind": "specialist", "jobs": jobs}


def test_a_handoff_is_bridges_and_transfers(tmp_path):
    graph = graph_of("handoff", tmp_path)
    assert graph.nodes == (
        Node("acme", "main", "", False),
        Node("greeter", "agent", "welcomes callers; knows what we sell, no prices", True),
        Node("support", "agent", "", False),
    )
    assert graph.edges == (
        Edge("acme", "greeter", Tie.BRIDGE),
        Edge("acme", "support", Tie.BRIDGE),
        Edge("greeter", "support", Tie.TRANSFER),
        Edge("support", "greeter", Tie.TRANSFER),
    )


def test_a_debate_is_one_tool_that_asks_three(tmp_path):
    graph = graph_of("debate", tmp_path)
    assert graph.nodes[0] == Node("main", "main", "", True)
    assert graph.edges == tuple(
        Edge("main", name, Tie.JOB, "debate(topic)") for name in ("advocate", "critic", "analyst")
    )


def test_a_handoff_as_a_tree(tmp_path):
    assert drawn(graph_of("handoff", tmp_path)) == (
        "handoff  A greeter and a support agent hand one voice call to each other\n"
        "└── acme  main\n"
        "    ├── greeter  agent, has the call first: welcomes callers; knows what we sell, no "
        "prices\n"
        "    │   └── transfer  to support\n"
        "    └── support  agent\n"
        "        └── transfer  to greeter"
    )


def test_a_debate_as_a_tree_in_ascii(tmp_path):
    assert drawn(graph_of("debate", tmp_path), plain=True) == (
        "debate\n"
        "`-- main  main, has the call first\n"
        "    `-- debate(topic)  asks all at once\n"
        "        |-- advocate  specialist\n"
        "        |-- critic  specialist\n"
        "        `-- analyst  specialist"
    )


def test_who_is_asked_twice_is_told_of_once_and_who_is_asked_by_nobody_at_the_end():
    workers = (specialist("a", "c"), specialist("b", "c"), specialist("c"), specialist("d", "e"))
    jobs = [{"tool": "ask", "workers": ["a", "b"]}]
    assert drawn(graph(*workers, specialist("e"), prompt="x", jobs=jobs)) == (
        "x\n"
        "├── main  main, has the call first\n"
        "│   └── ask(question)  asks all at once\n"
        "│       ├── a  specialist\n"
        "│       │   └── ask_c(question)  asks\n"
        "│       │       └── c  specialist\n"
        "│       └── b  specialist\n"
        "│           └── ask_c(question)  asks\n"
        "│               └── c  specialist, see above\n"
        "└── d  specialist (nobody asks it)\n"
        "    └── ask_e(question)  asks\n"
        "        └── e  specialist"
    )


@pytest.mark.parametrize(
    ("workers", "bridged"),
    [
        ([{"name": "a"}, {"name": "own", "kind": "acme:Porter"}], ["a", "own"]),
        (
            [
                {"name": "a", "jobs": [{"tool": "ask", "workers": ["own"]}]},
                {"name": "own", "kind": "acme:Porter"},
            ],
            ["a"],
        ),
        (
            [
                {"name": "a", "jobs": [{"tool": "ask", "workers": ["own"]}], "transfers": ["own"]},
                {"name": "own", "kind": "acme:Porter"},
            ],
            ["a", "own"],
        ),
    ],
    ids=["alone", "asked", "asked and handed the call"],
)
def test_a_kind_of_the_users_own_has_the_call_unless_it_is_only_asked(workers, bridged):
    edges = graph(*workers).edges
    assert [edge.target for edge in edges if edge.tie is Tie.BRIDGE] == bridged


def test_mermaid_has_a_node_for_each_and_an_arrow_of_its_own_for_jobs(tmp_path):
    assert render_mermaid(graph_of("debate", tmp_path)).splitlines() == [
        "flowchart TD",
        '    caller(["caller"])',
        '    w0["main<br/>main"]',
        '    w1("advocate<br/>specialist")',
        '    w2("critic<br/>specialist")',
        '    w3("analyst<br/>specialist")',
        "    caller --- w0",
        '    w0 -.->|"debate(topic)"| w1',
        '    w0 -.->|"debate(topic)"| w2',
        '    w0 -.->|"debate(topic)"| w3',
    ]


def test_mermaid_takes_no_name_for_a_word_of_its_own(tmp_path):
    lines = render_mermaid(graph({"name": "end", "transfers": ["graph"]}, {"name": "graph"}))
    assert '    w1 -->|"transfer"| w2\n' in lines
    assert '    w1["end<br/>agent"]\n' in lines


def test_mermaid_escapes_what_html_or_mermaid_would_read():
    evil = '"]; click w0 "javascript:x" <script>&`#\n'
    nodes = (Node("main", "main", "", True), Node(evil, evil, "", False))
    text = render_mermaid(Graph("x", "", nodes, (Edge("main", evil, Tie.JOB, evil),)))
    label = "#34;#93;#59; click w0 #34;javascript:x#34; #60;script#62;#38;#96;#35;#10;"
    assert text.splitlines()[3:] == [
        f'    w1["{label}<br/>{label}"]',
        "    caller --- w0",
        f'    w0 -.->|"{label}"| w1',
    ]
