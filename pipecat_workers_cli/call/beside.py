"""Modules that stand beside a recipe, each folder's apart from all others'.

Two recipes may each have a `tools.py`, and one may have a `redis.py` that Pipecat must not
take for the library. So a folder's modules get names of their own in `sys.modules`, and what
they import is looked for beside them first, by them alone.
"""

import builtins
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "pmw_recipe_"
"""What the names of recipes' folders begin with in `sys.modules`."""


def import_beside(name: str, folder: Path) -> ModuleType:
    """Import a module from a recipe's folder, else from the environment; once a process.

    Args:
        name: The module's, dotted where it is in a package.
        folder: The recipe's.

    Raises:
        Exception: Whatever the module raises, and `ModuleNotFoundError` if there is none.
    """
    if not _stands_in(folder, name):
        return import_module(name)
    return import_module(f"{_package_of(folder)}.{name}")


def plain_name(name: str) -> str:
    """Return what a module is called by those who import it."""
    return name.partition(".")[2] if name.startswith(PREFIX) else name


def _package_of(folder: Path) -> str:
    """Return the package whose modules are those of a folder, made when it is first named."""
    folder = folder.resolve()
    name = f"{PREFIX}{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        if FINDER not in sys.meta_path:
            sys.meta_path.insert(0, FINDER)  # Python's own finds them too
    return name


def _stands_in(folder: Path, name: str) -> bool:
    path = folder.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


class _Finder(MetaPathFinder):
    """Finds the modules of recipes' folders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX):
            return None
        loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Loader, SOURCE_SUFFIXES)
        specs = (FileFinder(entry, *loaders).find_spec(fullname) for entry in path or ())
        return next((spec for spec in specs if spec is not None), None)


class _Loader(SourceFileLoader):
    """Gives a module an `import` of its own, which looks beside it first."""

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        own_import = _import_for(package, Path(sys.modules[package].__path__[0]))
        # CPython asks the module's own builtins for `__import__`, at each import in its code.
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": own_import}
        super().exec_module(module)


FINDER = _Finder()


def _import_for(package: str, folder: Path) -> Callable[..., ModuleType]:
    def import_first_beside(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        names = (name, name.partition(".")[0], *(f"{name}.{part}" for part in fromlist or ()))
        if level == 0 and any(_stands_in(folder, wanted) for wanted in names):
            module = import_module(f"{package}.{name}")
            if not fromlist:
                return sys.modules[f"{package}.{name.partition('.')[0]}"]
            name = module.__name__
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    return import_first_beside
