"""What installed packages add: entry points, looked up by group and name.

Looking up reads the packages' metadata and imports nothing; a package's code comes in only
when somebody names what it adds.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.logs import told

WORKERS, SERVICES = "pmw.workers", "pmw.services"
"""The groups: kinds of workers, each a class; providers, each a row of their table."""


@cache  # a process's packages stay, and reading the metadata of two hundred takes 20 ms
def added_names(group: str) -> frozenset[str]:
    """Return the names that installed packages add to a group; none is imported."""
    return frozenset(_points(group))


@cache
def load_added(group: str, name: str) -> object | None:
    """Import what an installed package adds under a name.

    Returns:
        None if no package adds it.

    Raises:
        ConfigurationError: Its import fails.
    """
    point = _points(group).get(name)
    if point is None:
        return None
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a stranger's code
        what = f"'{name}' of the package {package_of(group, name)} can't be imported: {told(error)}"
        raise ConfigurationError(what, mend=mend_package(group, name)) from error


def package_of(group: str, name: str) -> str:
    """Return which package adds a name; empty if none does."""
    point = _points(group).get(name)
    return point.dist.name if point is not None and point.dist is not None else ""


def mend_package(group: str, name: str) -> str:
    """Say what to do about a package whose entry point is of no use."""
    return f"mend or uninstall it: uv pip uninstall {package_of(group, name)}"


def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
