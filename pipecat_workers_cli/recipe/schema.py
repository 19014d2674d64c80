"""The recipe format as a JSON Schema, by which editors complete and check recipes.

What tables say of each other no schema tells: that is for `pmw recipe check`.
`python -m pipecat_workers_cli.recipe.schema` writes the one that ships anew in a checkout.
"""

import json
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from pipecat_workers_cli.recipe.files import shipped_folder
from pipecat_workers_cli.recipe.model import Recipe

SCHEMA_FILE = "recipe.schema.json"
"""What the schema's file is called beside the recipes that it is for."""

VARIABLE_PATTERN = r"\$\{"

SCHEMA_LINE = f"#:schema ./{SCHEMA_FILE}"
"""The line at a recipe's top by which an editor finds the schema."""


def recipe_schema() -> dict[str, Any]:
    """Return the schema, in the dialect of 2020-12."""
    schema = Recipe.model_json_schema(schema_generator=_AsTomlHasIt)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "A recipe of pmw",
        **_for_editors(schema),
    }


def render_schema() -> str:
    """Return the schema as a file holds it."""
    return json.dumps(recipe_schema(), indent=2, ensure_ascii=False) + "\n"


class _AsTomlHasIt(GenerateJsonSchema):
    """Leaves out what a TOML file can't have, and defaults that say nothing."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # TOML has no null

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        default = schema.get("default")
        if not default or isinstance(default, BaseModel):
            inner.pop("default", None)
        return inner

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        table = super().dict_schema(schema)
        if "patternProperties" in table:  # other keys are refused
            table["additionalProperties"] = False
        return table

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _for_editors(value: Any) -> Any:
    """Drop the names of classes, unwrap descriptions, and let variables stand for any text."""
    if isinstance(value, list):
        return [_for_editors(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = {key: inner for key, inner in value.items() if not _is_text(inner, key, "title")}
    for key, inner in kept.items():
        if _is_text(inner, key, "description"):
            kept[key] = " ".join(inner.split())
        elif _is_text(inner, key, "pattern"):
            kept[key] = f"{inner}|{VARIABLE_PATTERN}"
        else:
            kept[key] = _for_editors(inner)
    return kept


def _is_text(value: object, key: str, wanted: str) -> TypeGuard[str]:
    """Tell a keyword of the schema from a recipe's key of that name, which has a schema."""
    return key == wanted and isinstance(value, str)


def write_schema(folder: Path) -> Path:
    """Write the schema into a folder, for the recipes there.

    Returns:
        Its file.
    """
    path = folder / SCHEMA_FILE
    path.write_text(render_schema(), encoding="utf-8")
    return path


if __name__ == "__main__":
    write_schema(shipped_folder())
