"""Where recipes lie: those that ship, those of the user; read within bounds."""

import stat
import tomllib
from pathlib import Path

from pipecat_workers_cli.errors import ConfigurationError, near_miss

MAX_BYTES = 1_000_000  # of a recipe; the longest that ships has some 5,000

_PACKAGE = Path(__file__).parents[1]


def shipped_folder(name: str = "recipes") -> Path:
    """Return the folder of the recipes that ship, or of what ships beside them."""
    # A wheel carries them inside the package, a checkout has them beside it.
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def shipped_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that ship, sorted."""
    return tuple(sorted(path.stem for path in shipped_folder().glob("*.toml")))


def shipped_path(name: str) -> Path:
    """Return the file of a recipe that ships.

    Raises:
        ConfigurationError: None has that name.
    """
    names = shipped_recipes()
    if name in names:
        return shipped_folder() / f"{name}.toml"
    own = Path(f"{name}.toml")
    if name and own.name == str(own) and own.is_file():
        raise ConfigurationError(
            f"no recipe named '{name}' ships with pmw", mend=f"name your own by its path: ./{own}"
        )
    mend = f"{near_miss(name, names)}; see pmw recipe list, or name a file: ./my.toml"
    raise ConfigurationError(f"no recipe is named '{name}'", mend=mend)


def find_recipe(ref: str) -> Path:
    """Return the file that a name or a path means; a `/` or a final `.toml` makes it a path.

    Raises:
        ConfigurationError: It is a name, and no recipe that ships has it.
    """
    return Path(ref) if "/" in ref or ref.endswith(".toml") else shipped_path(ref)


def scenarios_beside(ref: str) -> Path:
    """Return where a recipe's eval scenarios are looked for, whether they are there or not.

    They ship with a recipe that ships; for a file it is `evals/NAME.yaml` beside it.

    Raises:
        ConfigurationError: It is a name, and no recipe that ships has it.
    """
    path = find_recipe(ref)
    folder = path.parent / "evals" if path == Path(ref) else shipped_folder("evals")
    return folder / f"{path.stem}.yaml"


def read_bounded(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file, unless it is too big, which is known before it is read.

    Args:
        path: A regular file; a pipe or a device could keep the reader waiting.
        max_bytes: The most it may hold.

    Raises:
        ConfigurationError: It can't be read, or is too big.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ConfigurationError(f"{path}: this is a folder", mend="name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(
                f"{path}: this is a pipe or a device", mend="save it to a file and name that"
            )
        if status.st_size > max_bytes:
            raise _too_big(path, f"{status.st_size:,}", max_bytes)
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no such file", mend="look for a typo in the path"
        ) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise ConfigurationError(
            f"{path}: {reason[0].lower()}{reason[1:]}", mend="name a file that you may read"
        ) from None
    if len(content) > max_bytes:
        raise _too_big(path, f"over {max_bytes:,}", max_bytes)
    return content


def read_summary(path: Path) -> str:
    """Return a recipe's `summary` without checking the rest; empty if it can't be read."""
    try:
        tables = tomllib.loads(read_bounded(path).decode("utf-8-sig"))
    except (ConfigurationError, ValueError, RecursionError):
        return ""
    summary = tables.get("summary", "")
    return summary if isinstance(summary, str) and summary.isprintable() else ""


def read_workers(path: Path) -> list[str]:
    """Return the names of a recipe's workers, the rest unchecked; none if it can't be read."""
    try:
        tables = tomllib.loads(read_bounded(path).decode("utf-8-sig"))
    except (ConfigurationError, ValueError, RecursionError):
        return []
    workers = tables.get("workers")
    named = [one.get("name") for one in workers if isinstance(one, dict)] if workers else []
    return [name for name in named if isinstance(name, str) and name.isprintable()]


def _too_big(path: Path, size: str, max_bytes: int) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: {size} bytes are too many", mend=f"keep it within {max_bytes:,} bytes"
    )
