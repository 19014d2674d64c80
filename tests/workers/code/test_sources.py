"""Which files of a folder are looked at, and how much of them."""

import os
import subprocess

import pytest

from pipecat_workers_cli.workers.code import sources as module
from pipecat_workers_cli.workers.code.fence import Fence
from pipecat_workers_cli.workers.code.sources import Sources


def sources(root, within=5.0):
    return Sources(Fence(root), within=within)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "project"
    for path in (
        "app.py",
        "src/deep/er.py",
        "node_modules/left/pad.js",
        "__pycache__/app.pyc",
        "env/pyvenv.cfg",
        "env/lib/x.py",
        ".github/ci.yml",
        ".env",
        "keys/id_rsa",
        "out/made.py",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x = 1\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.py").write_text("secret = 1\n")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "link.py").symlink_to(tmp_path / "outside" / "secret.py")
    return folder


def init(root):
    subprocess.run(["git", "-C", str(root), "init", "--quiet"], check=True)


def test_a_walk_passes_over_what_tools_fill_and_over_links_and_secrets(root):
    found = sources(root)
    assert found.paths == [".github/ci.yml", "app.py", "out/made.py", "src/deep/er.py"]


def test_in_a_repository_git_says_what_belongs_to_it(root):
    init(root)
    (root / ".gitignore").write_text("out/\nnode_modules/\n__pycache__/\nenv/\n")
    found = sources(root)
    assert found.paths == [".github/ci.yml", ".gitignore", "app.py", "src/deep/er.py"]


def test_without_git_the_repository_is_walked(root, monkeypatch):
    init(root)
    (root / ".gitignore").write_text("out/\n")
    monkeypatch.setenv("PATH", str(root))
    found = sources(root)
    assert "out/made.py" in found.paths


def test_a_folder_that_its_repository_ignores_is_walked(root):
    init(root)
    (root / ".gitignore").write_text("out/\n")
    assert sources(root / "out").paths == ["made.py"]


def test_a_repositorys_own_configuration_runs_nothing(root, tmp_path):
    init(root)
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor"):
        program = f"touch {tmp_path}/RAN; false"
        subprocess.run(["git", "-C", str(root), "config", key, program], check=True)
    assert "app.py" in sources(root).paths
    assert not (tmp_path / "RAN").exists()


def test_a_file_that_git_still_lists_but_is_gone_is_left_out(root):
    init(root)
    subprocess.run(["git", "-C", str(root), "add", "app.py"], check=True)
    (root / "app.py").unlink()
    assert "app.py" not in sources(root).paths


def test_a_file_swapped_for_a_link_after_the_listing_is_read_as_empty(root, tmp_path):
    found = sources(root)
    (root / "app.py").unlink()
    (root / "app.py").symlink_to(tmp_path / "outside" / "secret.py")
    assert found.read("app.py") == ""


def test_binaries_and_what_programs_made_hold_no_text(root):
    (root / "data.py").write_bytes(b"x = 1\0\0")
    (root / "package-lock.json").write_text("{}")
    (root / "photo.png").write_text("not one, but called so")
    found = sources(root)
    assert [path for path, _ in found.texts()] == [
        ".github/ci.yml",
        "app.py",
        "out/made.py",
        "src/deep/er.py",
    ]


def test_huge_files_and_lines_are_cut(root):
    (root / "big.js").write_text("a" * 5_000_000)
    text = sources(root).read("big.js")
    assert len(text) == module.LONGEST_LINE


def test_the_number_of_files_is_bounded_and_said(root, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 3)
    found = sources(root)
    assert len(found.paths) <= 3
    assert found.cut


@pytest.mark.parametrize(("bytes_left", "within"), [(5, 5.0), (1_000, -1.0)])
def test_bytes_and_time_are_bounded_and_said(root, monkeypatch, bytes_left, within):
    monkeypatch.setattr(module, "MOST_BYTES", bytes_left)
    found = sources(root, within)
    assert len(list(found.texts())) <= 1
    assert found.cut


def test_names_that_would_confuse_a_terminal_or_a_listener_are_left_out(root):
    (root / "a\nb.py").write_text("x = 1\n")
    os.mkfifo(root / "pipe.py")
    assert [path for path in sources(root).paths if "b.py" in path or "pipe" in path] == []


def test_a_path_is_said_by_its_shortest_ending_that_is_its_own(root):
    (root / "src" / "app.py").write_text("x = 1\n")
    (root / "out" / "src").mkdir()
    (root / "out" / "src" / "app.py").write_text("x = 1\n")
    found = sources(root)
    assert found.spoken("src/deep/er.py") == "er.py"
    assert found.spoken("out/src/app.py") == "out/src/app.py"
    assert found.spoken("app.py") == "app.py"
