"""A user's own code: what a recipe names as `module:name`, and what may be wrong with it.

It is looked for in the recipe's folder, then in the environment. A module is read once a
process, as Python does; a recipe that is read anew meets the code it met before.
"""

import hashlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.logs import redact

if TYPE_CHECKING:
    from pipecat_workers_cli.workers.tools import Tool

TOLD = 200  # characters of a stranger's exception


def load_own(reference: str, folder: Path) -> object:
    """Import what a reference names.

    Args:
        reference: `module:name`, the module dotted where it is in a package.
        folder: The recipe's.

    Raises:
        ConfigurationError: There is no such module or name, or the import fails.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = _import(module_name, folder)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if missing == module_name.partition(".")[0] or missing == module_name:
            what = f"there is no module '{module_name}'"
            mend = f"put {module_name.replace('.', '/')}.py beside the recipe, or install it"
        else:
            what = f"{module_name} needs the module '{missing}'"
            mend = f"install it beside pmw: uv pip install {missing.partition('.')[0]}"
        raise ConfigurationError(what, mend=mend) from error
    except Exception as error:
        raise ConfigurationError(
            f"{module_name} can't be imported: {told(error)}", mend="mend the code"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise ConfigurationError(
            f"{module_name} has nothing called '{name}'", mend="look for a typo in the name"
        ) from None


def load_tool(reference: str, folder: Path) -> "Tool":
    """Make a tool of the function that a reference names.

    Raises:
        ConfigurationError: It isn't there, or is no direct function as Pipecat calls it.
    """
    import functools

    from pipecat.adapters.llm.schemas.direct_function import (
        DirectFunctionWrapper,
    )
    from pipecat.services.llm_service import FunctionCallParams

    from pipecat_workers_cli.workers.tools import Tool

    function: Any = load_own(reference, folder)
    mend = "write async def NAME(params, …) with a docstring that tells of its arguments"
    if not callable(function) or not hasattr(function, "__name__"):
        raise ConfigurationError("this is no function", mend=mend)
    try:
        wrapped = DirectFunctionWrapper(function)
    except Exception as error:  # Pipecat's, and what its reading of the type hints raises
        raise ConfigurationError(f"this is no tool: {told(error)}", mend=mend) from error

    @functools.wraps(function)  # with what Pipecat's `tool_options` noted on it
    async def run(params: FunctionCallParams) -> None:
        await wrapped.invoke(args=params.arguments, params=params)

    return Tool(wrapped.to_function_schema(), run)


def told(error: BaseException) -> str:
    """Say what a stranger's code raised, in a line without secrets."""
    lines = redact(str(error)).strip().splitlines() or [""]
    text = "".join(sign if sign.isprintable() else " " for sign in lines[0])[:TOLD]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _import(name: str, folder: Path) -> ModuleType:
    path = folder.joinpath(*name.split("."))
    source = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
    if source is None:
        return import_module(name)
    # Two recipes may each have a tools.py beside them.
    folder_id = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    own_name = f"pmw_recipe_{folder_id}.{name}"
    if own_name in sys.modules:
        return sys.modules[own_name]
    spec = spec_from_file_location(own_name, source)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(name=name)
    module = module_from_spec(spec)
    sys.modules[own_name] = module
    try:
        with _found_first(folder):  # what stands beside it may be imported by it
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own_name]
        raise
    return module


@contextmanager
def _found_first(folder: Path) -> Generator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
