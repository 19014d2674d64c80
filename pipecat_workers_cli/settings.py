"""What comes from the environment: `.env` files, keys, defaults of options.

An empty variable counts as unset everywhere, because people copy `env.example` and
fill in half of it.
"""

import os
from pathlib import Path

from dotenv import dotenv_values

from pipecat_workers_cli.errors import ConfigurationError


def find_env_file(start: Path) -> Path | None:
    """Return the nearest `.env` in `start` or a folder above it, if there is one."""
    for folder in (start, *start.parents):
        candidate = folder / ".env"
        if candidate.is_file():
            return candidate
    return None


def load_env(env_file: Path | None) -> Path | None:
    """Put the variables of an env file into this process; those already set win.

    Variables that are set but empty are removed first: libraries would take an empty
    `OPENAI_BASE_URL` for an address. Afterwards dotenv is switched off in this process,
    because Pipecat's runner loads the nearest `.env` once more when it is imported, and
    there the file wins.

    Args:
        env_file: The file that `--env-file` names; None looks upward from the working
            directory for the nearest `.env`.

    Returns:
        The file that was read, or None.

    Raises:
        ConfigurationError: `env_file` is named and can't be read, or isn't UTF-8 text.
    """
    path = env_file or find_env_file(Path.cwd())
    for name in [name for name, value in os.environ.items() if not value]:
        del os.environ[name]
    if path is not None:
        for name, value in _read_env(path).items():
            if value:
                os.environ.setdefault(name, value)
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    # onnxruntime, under Silero, smart turn and Piper, reports to its maker unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return path


def _read_env(path: Path) -> dict[str, str | None]:
    reason = "it is a folder" if path.is_dir() else "there is none"
    try:
        if path.exists() and not path.is_dir():
            return dotenv_values(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        reason = "it isn't UTF-8 text"
    raise ConfigurationError(
        f"cannot read the env file {path}: {reason}", mend="name a text file, or leave it out"
    )


def variable(name: str) -> str | None:
    """Return an environment variable, or None when it is unset or empty."""
    return os.environ.get(name) or None
