"""Starting a recipe: a commented one that runs as it is."""

import re
from pathlib import Path

from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.recipe.findings import show_value
from pipecat_workers_cli.recipe.schema import SCHEMA_FILE, write_schema
from pipecat_workers_cli.recipe.values import NAME_PATTERN

_TEMPLATE = Path(__file__).with_name("new.toml")
_NAME = "@NAME@"


def new_recipe(name: str) -> str:
    """Return the text of a first recipe.

    Args:
        name: What it is called.

    Raises:
        ConfigurationError: That is no name.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        bare = Path(name).name.removesuffix(".toml").lower()
        fits = re.fullmatch(NAME_PATTERN, bare)
        raise ConfigurationError(
            f"{show_value(name)} is no name for a recipe",
            mend=f"pmw recipe new {bare}"
            if fits
            else "begin with a lower-case letter; go on with those, digits, _ and -, 40 at most",
        )
    return _TEMPLATE.read_text(encoding="utf-8").replace(_NAME, name)


def write_recipe(name: str, folder: Path) -> list[Path]:
    """Write a first recipe, and the schema by which editors check it if none is there yet.

    Returns:
        What was written, the recipe first.

    Raises:
        ConfigurationError: The name is none, or a file is there already.
        PmwError: The folder can't be written.
    """
    text = new_recipe(name)
    path = folder / f"{name}.toml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        beside = [] if (folder / SCHEMA_FILE).exists() else [write_schema(folder)]
    except FileExistsError:
        raise ConfigurationError(
            f"{path} is there already", mend="choose another name, or move it away"
        ) from None
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise PmwError(f"cannot write {path}: {reason}", mend="go to a folder of yours") from None
    return [path, *beside]
