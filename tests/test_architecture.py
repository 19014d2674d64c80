"""Who may import whom, and what stays out of the way to `--help`."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "pipecat_workers_cli"
PROGRAMS = Path(sys.executable).parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=CHECKOUT, capture_output=True, text=True, timeout=110, check=False
    )


def contracts() -> dict[str, dict[str, Any]]:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    return {row["name"]: row for row in settings["tool"]["importlinter"]["contracts"]}


def test_every_import_contract_holds() -> None:
    answer = run(str(PROGRAMS / "lint-imports"), "--no-cache")
    assert answer.returncode == 0, answer.stdout
    assert "0 broken" in answer.stdout


def test_the_contracts_that_the_architecture_promises_are_there() -> None:
    assert set(contracts()) >= {
        "layers",
        "Rich, Typer and prompt_toolkit only in cli",
        "of session, fleet knows the socket alone",
        "workers know no services",
        "no framework in the ground row",
    }


def test_every_room_has_its_place_in_the_layers() -> None:
    placed = {
        name.strip() for row in contracts()["layers"]["layers"] for name in re.split("[|:]", row)
    }
    rooms = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == placed


def test_the_contract_about_the_terminal_leaves_no_room_out() -> None:
    held = contracts()["Rich, Typer and prompt_toolkit only in cli"]["source_modules"]
    rooms = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"cli"}
    assert {name.removeprefix("pipecat_workers_cli.") for name in held} == rooms


def test_every_module_class_and_function_that_is_public_has_a_docstring() -> None:
    answer = run(
        str(PROGRAMS / "ruff"),
        "check",
        "--select",
        "D100,D101,D102,D103,D104",
        "--no-cache",
        str(PACKAGE),
    )
    assert answer.returncode == 0, answer.stdout


def test_starting_imports_what_declares_options_and_nothing_else() -> None:
    """What a command needs comes when it runs."""
    answer = run(
        sys.executable, "-c", "import sys, pipecat_workers_cli.cli.app; print(*sys.modules)"
    )
    loaded = set(answer.stdout.split())
    rooms = {name.split(".")[1] for name in loaded if name.startswith("pipecat_workers_cli.")}
    assert rooms == {"cli", "options", "errors"}
    drawing = {"cells", "keys", "parts", "serving", "sheet", "table", "talk", "turns"}
    assert not loaded & {f"pipecat_workers_cli.cli.{name}" for name in drawing}
    heavy = {"pipecat", "pydantic", "numpy", "loguru", "msgspec", "rich", "dotenv", "asyncio"}
    assert not loaded & heavy


def test_on_windows_it_says_in_two_lines_where_it_runs() -> None:
    code = "import sys, pipecat_workers_cli.cli.app as app; sys.platform = 'win32'; app.main()"
    answer = run(sys.executable, "-c", code)
    assert (answer.returncode, answer.stdout) == (1, "")
    what, mend = answer.stderr.splitlines()
    assert (what.startswith("error: "), mend) == (True, "  try: run it inside WSL")


def test_the_package_is_typed_for_whoever_imports_it() -> None:
    assert (PACKAGE / "py.typed").is_file()
