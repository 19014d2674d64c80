"""Environments of their own, far from the checkout, as a user would make them."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def run(
    *words: str | Path, cwd: Path, timeout: float = 60, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def install(uv: str, folder: Path, *packages: Path) -> Path:
    """Make an environment in a folder, install packages into it, and return its programs."""
    made = run(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    assert made.returncode == 0, made.stderr
    programs = folder / "venv" / "bin"
    add(uv, programs, *packages)
    return programs


def add(uv: str, programs: Path, *packages: Path) -> None:
    """Install packages into an environment that there is."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    bounds = ("--exclude-newer", settings["tool"]["uv"]["exclude-newer"])
    words = (uv, "pip", "install", "--quiet", "--python", programs / "python", *bounds, *packages)
    # Whoever runs this has just installed the same packages: uv's cache holds them.
    if run(*words, "--offline", cwd=programs).returncode:
        answer = run(*words, cwd=programs, timeout=180)
        assert answer.returncode == 0, answer.stderr
