"""Puts the options that commands share into each command's signature, which Typer reads."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def join(
    command: Callable[..., None],
    options: Callable[..., object],
    *,
    into: tuple[str, ...],
    left_out: tuple[str, ...] = (),
) -> Callable[..., None]:
    """Return a command that takes the parameters of `options`, too.

    Args:
        command: The command.
        options: Makes one of what was typed of its parameters.
        into: The command's parameters that get it.
        left_out: Parameters of `options` that the command doesn't take.
    """
    parameters = inspect.signature(options).parameters
    shared = {name: p for name, p in parameters.items() if name not in left_out}
    own = [p for p in inspect.signature(command).parameters.values() if p.name not in into]
    own_names = {p.name for p in own}

    @functools.wraps(command)
    def with_options(**typed: Any) -> None:
        gathered = options(**{name: typed[name] for name in shared})
        command(**{name: typed[name] for name in own_names}, **dict.fromkeys(into, gathered))

    hints = {
        **get_type_hints(options, include_extras=True),
        **get_type_hints(command, include_extras=True),
    }
    both = {p.name: p for p in (*own, *shared.values())}
    written = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, p in both.items()
    ]
    with_options.__signature__ = inspect.Signature(written)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in written}
    del with_options.__wrapped__  # or Typer would look through to the command's own
    return with_options
