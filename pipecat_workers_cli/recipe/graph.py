"""Who is in a recipe and who turns to whom: as nodes and edges, a tree, a Mermaid flowchart.

Pure: a recipe gives the same graph, and nothing is printed here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pipecat_workers_cli.recipe.model import JobTool, MainRecipe, Recipe, WorkerRecipe
from pipecat_workers_cli.recipe.names import AGENT, SERVING_KINDS

MAIN = "main"
"""The kind of the worker that `[main]` describes."""


class Tie(StrEnum):
    """What leads from one worker to another."""

    BRIDGE = "bridge"
    TRANSFER = "transfer"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Node:
    """A worker.

    Attributes:
        name: Its name.
        kind: Its kind; `main` for the worker of `[main]`.
        summary: What it is for.
        opens: Whether it has the call first.
    """

    name: str
    kind: str
    summary: str
    opens: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """What one worker can do with another.

    Attributes:
        source: Who bridges, hands over or asks.
        target: To whom.
        tie: Which of these.
        tool: The tool that asks, with its arguments; None for the others.
    """

    source: str
    target: str
    tie: Tie
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A recipe's workers and what leads from one to another.

    Attributes:
        name: The recipe's name.
        summary: What it is.
        nodes: The main worker, then the others in the recipe's order.
        edges: Bridges, transfers and jobs, by their source.
    """

    name: str
    summary: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of a tree and what hangs on it; `note` says what `name` is."""

    name: str
    note: str = ""
    branches: tuple["Branch", ...] = ()


def build_graph(recipe: Recipe) -> Graph:
    """Return the workers of a recipe and what leads from one to another."""
    main, opener = recipe.main, recipe.opener.name
    nodes = [Node(main.name, MAIN, "", main.name == opener)]
    nodes += [Node(w.name, w.kind, w.summary, w.name == opener) for w in recipe.workers]
    edges = [Edge(main.name, agent.name, Tie.BRIDGE) for agent in _bridged(recipe)]
    edges += _asks(main)
    for worker in recipe.workers:
        edges += [Edge(worker.name, target, Tie.TRANSFER) for target in worker.transfers]
        edges += _asks(worker)
    return Graph(recipe.name, recipe.summary, tuple(nodes), tuple(edges))


def _bridged(recipe: Recipe) -> list[WorkerRecipe]:
    """Return those to whom the main worker bridges.

    A kind of the user's own may answer jobs or have the call; it has the call if it comes
    first, if it is handed one, or if nobody asks it.
    """
    if recipe.main.prompt is not None:
        return []
    handed = {name for worker in recipe.workers for name in worker.transfers}
    asked = {name for worker in recipe.workers for job in worker.jobs for name in job.workers}
    called = {recipe.opener.name, *handed}
    return [w for w in recipe.agents if w.kind == AGENT or w.name in called or w.name not in asked]


def _asks(speaker: MainRecipe | WorkerRecipe) -> list[Edge]:
    return [
        Edge(speaker.name, name, Tie.JOB, _signature(job))
        for job in speaker.jobs
        for name in job.workers
    ]


def _signature(job: JobTool) -> str:
    return f"{job.tool}({', '.join(job.takes)})"


# --- a tree ---


def build_tree(graph: Graph) -> Branch:
    """Return the graph as a tree: the main worker, those it reaches, and who is left over."""
    told: set[str] = set()
    main = _worker_branch(graph, graph.nodes[0], told)
    reached = {edge.target for edge in graph.edges}
    left = [
        replace(_worker_branch(graph, node, told), note=f"{_about(node)} (nobody asks it)")
        for node in graph.nodes[1:]
        if node.name not in reached
    ]
    return Branch(graph.name, graph.summary, (main, *left))


def _worker_branch(graph: Graph, node: Node, told: set[str]) -> Branch:
    """Return a worker with those below it, unless they were told of already."""
    if node.name in told:
        return Branch(node.name, f"{node.kind}, see above")
    told.add(node.name)
    nodes = {other.name: other for other in graph.nodes}
    mine = [edge for edge in graph.edges if edge.source == node.name]
    branches: list[Branch] = []
    for tool, edges in _by_tool(mine):
        members = [_worker_branch(graph, nodes[edge.target], told) for edge in edges]
        note = "asks" if len(members) == 1 else "asks all at once"
        branches.append(Branch(tool, note, tuple(members)))
    if targets := [edge.target for edge in mine if edge.tie is Tie.TRANSFER]:
        branches.append(Branch("transfer", f"to {', '.join(targets)}"))
    bridges = [edge.target for edge in mine if edge.tie is Tie.BRIDGE]
    branches += [_worker_branch(graph, nodes[name], told) for name in bridges]
    return Branch(node.name, _about(node), tuple(branches))


def _by_tool(edges: Iterable[Edge]) -> list[tuple[str, list[Edge]]]:
    tools: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge.tool is not None:
            tools.setdefault(edge.tool, []).append(edge)
    return list(tools.items())


def _about(node: Node) -> str:
    first = ", has the call first" if node.opens else ""
    return f"{node.kind}{first}{': ' if node.summary else ''}{node.summary}"


def tree_lines(root: Branch, *, plain: bool = False) -> Iterator[tuple[str, Branch]]:
    """Give each line of a tree: what leads to it, and the branch.

    Args:
        root: The tree.
        plain: In ASCII alone.
    """
    guides = ("|-- ", "`-- ", "|   ") if plain else ("├── ", "└── ", "│   ")
    yield "", root
    yield from _below(root.branches, "", guides)


def _below(
    branches: Sequence[Branch], indent: str, guides: tuple[str, str, str]
) -> Iterator[tuple[str, Branch]]:
    one, last, beside = guides
    for branch in branches:
        final = branch is branches[-1]
        yield indent + (last if final else one), branch
        yield from _below(branch.branches, indent + (" " * 4 if final else beside), guides)


# --- Mermaid ---

_ARROWS = {Tie.BRIDGE: "---", Tie.TRANSFER: "-->", Tie.JOB: "-.->"}


def render_mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart.

    Nodes go by numbers, for a worker may be called `end`, which Mermaid keeps for itself.
    """
    numbers = {node.name: f"w{i}" for i, node in enumerate(graph.nodes)}
    lines = ["flowchart TD", '    caller(["caller"])']
    lines += [f"    {numbers[node.name]}{_shape(node)}" for node in graph.nodes]
    lines.append(f"    caller --- {numbers[graph.nodes[0].name]}")
    for edge in graph.edges:
        words = edge.tool or ("transfer" if edge.tie is Tie.TRANSFER else "")
        label = f'|"{_escape(words)}"|' if words else ""
        lines.append(
            f"    {numbers[edge.source]} {_ARROWS[edge.tie]}{label} {numbers[edge.target]}"
        )
    return "\n".join(lines) + "\n"


def _shape(node: Node) -> str:
    """Round for who answers jobs, square for who talks."""
    words = f'"{_escape(node.name)}<br/>{_escape(node.kind)}"'
    return f"({words})" if node.kind in SERVING_KINDS else f"[{words}]"


def _escape(text: str) -> str:
    """Write what Mermaid or HTML would take for its own as Mermaid's character codes."""
    kept = "_-.,:()/ "
    return "".join(sign if sign.isalnum() or sign in kept else f"#{ord(sign)};" for sign in text)
