"""A user's own code: what a recipe names as `module:name`, and what may be wrong with it.

It is looked for in the recipe's folder, then in the environment. A module is read once a
process, as Python does; a recipe that is read anew meets the code it met before.
"""

import asyncio
import functools
import json
import traceback
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from loguru import logger

from pipecat_workers_cli.call.beside import PREFIX, import_beside, plain_name
from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.logs import told

if TYPE_CHECKING:
    from pipecat_workers_cli.workers.tools import Tool

MEND_TOOL = "write async def NAME(params, …) with a docstring that tells of its arguments"


def load_own(reference: str, folder: Path) -> object:
    """Import what a reference names.

    Args:
        reference: `module:name`, the module dotted where it is in a package.
        folder: The recipe's.

    Raises:
        ConfigurationError: There is no such module or name, or the import fails.
    """
    module_name, _, name = reference.partition(":")
    module = _import(module_name, folder)
    if not hasattr(module, name):
        what = f"{module_name} has nothing called '{name}'"
        public = (known for known in vars(module) if not known.startswith("_"))
        raise ConfigurationError(what, mend=near_miss(name, public))
    return getattr(module, name)


def load_tool(reference: str, folder: Path) -> "Tool":
    """Make a tool of the function that a reference names.

    Raises:
        ConfigurationError: It isn't there, or is no direct function as Pipecat calls it.
    """
    from pipecat.adapters.llm.schemas.direct_function import DirectFunctionWrapper
    from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
    from pipecat.services.llm_service import FunctionCallParams

    from pipecat_workers_cli.workers.jobs import staying
    from pipecat_workers_cli.workers.tools import Tool

    function: Any = load_own(reference, folder)
    if not callable(function) or not hasattr(function, "__name__"):
        raise ConfigurationError("this is no function", mend=MEND_TOOL)
    try:
        wrapped = DirectFunctionWrapper(function)
    except Exception as error:  # Pipecat's, and what its reading of the type hints raises
        why = told(error).removeprefix("Exception: ")  # the type that Pipecat raises
        raise ConfigurationError(f"this is no tool: {why}", mend=MEND_TOOL) from error

    @functools.wraps(function)  # with what Pipecat's `tool_options` noted on it
    async def run(params: FunctionCallParams) -> None:
        answered = asyncio.Event()

        async def note(result: Any, **more: Any) -> None:
            json.dumps(result)  # raises here, where the tool is, and not where it is read
            await params.result_callback(result, **more)
            answered.set()

        noting = replace(params, result_callback=note)
        with staying():
            returned: object = await wrapped.invoke(args=params.arguments, params=noting)
        if not answered.is_set():
            await _await_answer(answered, returned)

    schema = FunctionSchema(
        name=reference.partition(":")[2],  # as the recipe has it, whatever `def` says
        description=wrapped.description,
        properties=wrapped.properties,
        required=wrapped.required,
    )
    return Tool(schema, run)


async def _await_answer(answered: asyncio.Event, returned: object) -> None:
    """Wait for the answer of a tool that has returned; it may have left that to somebody else.

    Pipecat takes its time limit back when a tool returns, and would wait without end for one
    that forgot to answer. Here it stays in force, since the call is still running.

    Raises:
        TypeError: The tool returned its answer, as any other function would.
    """
    if returned is not None:
        raise TypeError("it returned its answer; give it to params.result_callback instead")
    await answered.wait()


def raised(error: BaseException) -> str:
    """Say what a user's code raised, redacted, and on which of its lines."""
    lines = [
        f"{Path(frame.f_code.co_filename).name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(PREFIX)
    ]
    return f"{told(error)} ({lines[-1]})" if lines else told(error)


def _import(name: str, folder: Path) -> ModuleType:
    try:
        return import_beside(name, folder)
    except ModuleNotFoundError as error:
        missing = plain_name(error.name or name)
        if name == missing or name.startswith(f"{missing}."):
            what = f"there is no module '{name}'"
            mend = f"put {name.replace('.', '/')}.py beside the recipe, or install it"
        else:
            what = f"{name} needs the module '{missing}'"
            mend = f"install it beside pmw: uv pip install {missing.partition('.')[0]}"
        raise ConfigurationError(what, mend=mend) from error
    except (Exception, SystemExit) as error:  # a script without a main guard leaves
        logger.opt(exception=error).debug(f"{name} can't be imported")
        what = f"{name} can't be imported: {raised(error)}"
        raise ConfigurationError(what, mend="mend the code; see it all with -v") from error
