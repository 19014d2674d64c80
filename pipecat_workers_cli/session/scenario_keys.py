"""Which keys a scenario may have: Pipecat passes over those it doesn't know, a typo among them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from pipecat.evals.scenario import (
    EvalExpectation,
    EvalFunctionCall,
    EvalScriptScenario,
    EvalScriptTurn,
    EvalSendAfter,
    EvalSimulationMetric,
    EvalSimulationScenario,
)

from pipecat_workers_cli.errors import ConfigurationError, near_miss

INCLUDE = "!include"
MERGE = "tag:yaml.org,2002:merge"  # the `<<` before a mapping whose keys count here too


@dataclass(frozen=True, slots=True)
class _Block:
    """A mapping of a scenario file, or each mapping of a list of them."""

    keys: frozenset[str]
    inner: Mapping[str, "_Block"] = field(default_factory=dict[str, "_Block"])


def _fields(*models: Any) -> frozenset[str]:
    return frozenset(field.name for model in models for field in fields(model))


# Pipecat's classes have a field a key, but for these: what its reader makes of other keys.
_MADE = {"bot_audio", "transcriber", "user_audio", "user_speech", "source_path", "parts"}
_CALL = _Block(_fields(EvalFunctionCall))
_TURN = _Block(
    _fields(EvalScriptTurn) - _MADE,
    {
        # A single call may be written without its list.
        "expect": _Block(_fields(EvalExpectation, EvalFunctionCall), {"calls": _CALL}),
        "send_after": _Block(_fields(EvalSendAfter)),
    },
)
# A service takes any keys: its factory is the user's.
_SCENARIO = _Block(
    _fields(EvalScriptScenario, EvalSimulationScenario) - _MADE | {"user"},
    {
        "turns": _TURN,
        "metrics": _Block(_fields(EvalSimulationMetric), {"calls": _CALL}),
        "user": _Block(frozenset({"modality", "speech"})),
        "judge": _Block(frozenset({"modality", "eval", "transcription"})),
    },
)
_FILE = _Block(_SCENARIO.keys | {"scenarios"}, {**_SCENARIO.inner, "scenarios": _SCENARIO})


def refuse_unknown_keys(path: Path) -> None:
    """Refuse a file of scenarios with a key that nothing would read, in what it includes too.

    Args:
        path: The file; what is no mapping where one belongs is left to Pipecat's reader.

    Raises:
        ConfigurationError: File, line and key of the first, and the key that was meant.
        OSError: A file can't be read.
        yaml.YAMLError: It is not YAML.
    """
    faults = list(_Walk(path.parent).unknown(_composed(path), _FILE))
    if faults:
        key, block = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        place = f"{key.start_mark.name}:{key.start_mark.line + 1}"
        raise ConfigurationError(
            f"{place}: {key.value}: unknown key{more}", mend=near_miss(key.value, block.keys)
        )


def _composed(path: Path) -> yaml.Node | None:
    with path.open(encoding="utf-8") as file:
        return yaml.compose(file, yaml.SafeLoader)


class _Walk:
    """One pass over a file, as far as the blocks go; a node met by two aliases is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[tuple[int, int]] = set()
        self._kept: list[yaml.Node | None] = []  # whose ids mustn't be given to others

    def unknown(
        self, node: yaml.Node | None, block: _Block
    ) -> Iterator[tuple[yaml.ScalarNode, _Block]]:
        """Give each key that its block doesn't know, with the block."""
        if (id(node), id(block)) in self._seen:
            return
        self._seen.add((id(node), id(block)))
        self._kept.append(node)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield from self._pair(key, value, block)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self.unknown(item, block)
        elif isinstance(node, yaml.ScalarNode) and node.tag == INCLUDE:
            yield from self.unknown(_composed(self._folder / node.value), block)

    def _pair(
        self, key: yaml.Node, value: yaml.Node, block: _Block
    ) -> Iterator[tuple[yaml.ScalarNode, _Block]]:
        if key.tag == MERGE:
            yield from self.unknown(value, block)
        elif isinstance(key, yaml.ScalarNode):
            if key.value not in block.keys:
                yield key, block
            elif inner := block.inner.get(key.value):
                yield from self.unknown(value, inner)
