"""What `load_recipe` says of a text, and texts it should find nothing wrong with."""

from pathlib import Path

from pipecat_workers_cli.recipe.load import RecipeError, load_recipe

EXAMPLES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted(Path(__file__).with_name("examples").glob("*.toml"))
}
"""The five recipes of the format's description, completed where that leaves something out."""


def faults_in(text: str, folder: Path, *, sets: tuple[str, ...] = ()) -> list[str]:
    """Return all faults of a recipe, a line each; none if it is right."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load_recipe(str(path), sets=sets)
    except RecipeError as error:
        return [str(fault).replace(str(path), "mine.toml") for fault in error.faults]
    return []
