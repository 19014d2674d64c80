"""Says in the program's two lines what Typer found wrong with a command line."""

import re
from collections.abc import Sequence

import typer

from pipecat_workers_cli.errors import ConfigurationError, near_miss

UsageError = typer.BadParameter.__bases__[0]
"""What Typer raises for a command line it can't read; it exports subclasses only."""

NOT_ONE_OF = re.compile(r"'(?P<typed>.*)' is not one of (?P<known>'.*')")
LEFT_OVER = re.compile(r"unexpected extra arguments?(?:\(s\))? \((?P<words>.*)\)$")
BOUND = re.compile(r"should be (?P<side>greater|less) than or equal to (?P<number>[\d.]+)")
ANOTHER_COMMAND = re.compile(r"\. Did you mean (?P<guess>.*\?)")


def explain_usage(
    error: Exception, words: Sequence[str], program: str = "pmw"
) -> ConfigurationError | None:
    """Return what is wrong; None if Typer printed a help because nothing was typed.

    Args:
        error: A `UsageError`.
        words: What was typed after `pmw`; Typer doesn't always say which command it was for.
        program: What was typed before them.
    """
    message = " ".join(str(getattr(error, "message", error)).split()).rstrip(".")
    context: typer.Context | None = getattr(error, "ctx", None)
    command = words[0] if words and not words[0].startswith("-") else ""
    see = f"see {context.command_path if context else f'{program} {command}'.rstrip()} --help"
    if isinstance(error, typer.BadParameter):
        return _bad_value(error, message, see)
    if not message:
        return None
    option = getattr(error, "option_name", None)
    if option and context:
        known = [name for p in context.command.params for name in p.opts if name.startswith("--")]
        return ConfigurationError(f"no option '{option}'", mend=_nearest(option, known, see))
    left_over = LEFT_OVER.search(message)
    if left_over:
        own = context.command_path.removeprefix(program).strip() if context else command
        return ConfigurationError(f"{own} takes no argument '{left_over['words']}'", mend=see)
    guess = ANOTHER_COMMAND.search(message)
    if guess:
        return ConfigurationError(
            _small(message[: guess.start()]), mend=f"did you mean {guess['guess']} {see}"
        )
    return ConfigurationError(_small(message), mend=see)


def _bad_value(error: typer.BadParameter, message: str, see: str) -> ConfigurationError:
    """Name the option or argument first: Typer's message is about the value alone."""
    parameter = error.param
    name = "a value"
    if parameter is not None:
        is_option = parameter.param_type_name == "option"
        name = max(parameter.opts, key=len) if is_option else (parameter.name or "").upper()
    if not message:
        return ConfigurationError(f"{name} is missing", mend=see)
    choice = NOT_ONE_OF.search(message)
    if choice:
        known = [word.strip("' ") for word in choice["known"].split(",")]
        return ConfigurationError(
            f"{name}: there is no '{choice['typed']}'", mend=near_miss(choice["typed"], known)
        )
    bound = BOUND.search(message)
    if bound:
        side = "more" if bound["side"] == "greater" else "less"
        return ConfigurationError(f"{name} must be {bound['number']} or {side}", mend=see)
    return ConfigurationError(f"{name}: {_small(message.partition(',')[0])}", mend=see)


def _nearest(option: str, known: Sequence[str], see: str) -> str:
    guess, asked, _ = near_miss(option, known).partition("?")
    return f"{guess}? {see}" if asked else see


def _small(message: str) -> str:
    return message[:1].lower() + message[1:]
