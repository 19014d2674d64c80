"""What of a folder may be read."""

import os
import shutil

import psutil
import pytest

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.workers.code.fence import (
    Fence,
    Refused,
    is_private,
    private_patterns,
)

OUTSIDE = "outside"


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("the secret")
    return folder


@pytest.fixture
def root(tmp_path, outside):
    folder = tmp_path / "project"
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "app.py").write_text("print('hello')\n")
    (folder / "src" / "deep" / "er.py").write_text("1\n")
    (folder / ".env").write_text("KEY=1")
    (folder / "out").symlink_to(outside)
    (folder / "out.txt").symlink_to(outside / "secret.txt")
    (folder / "in").symlink_to("src/deep")
    (folder / "notes.txt").symlink_to(".env")
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.fixture
def fence(root):
    return Fence(root)


@pytest.mark.parametrize(
    ("path", "relative"),
    [
        ("src/app.py", "src/app.py"),
        ("./src//app.py", "src/app.py"),
        ("src/deep/../app.py", "src/app.py"),
        ("in/er.py", "src/deep/er.py"),
        (".", "."),
        ("not/there/yet.py", "not/there/yet.py"),
        ("src/..hidden/...", "src/..hidden/..."),
        ("src/a b.py", "src/a b.py"),
    ],
)
def test_a_path_inside_is_let_through_with_its_links_resolved(fence, path, relative):
    assert fence.judge(path) == relative


def test_an_absolute_path_inside_is_let_through(fence, root):
    assert fence.judge(str(root / "src" / "app.py")) == "src/app.py"
    assert fence.judge(str(root)) == "."


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/",
        "..",
        "../outside/secret.txt",
        "src/../../outside/secret.txt",
        "out/secret.txt",
        "out",
        "out.txt",
        "out/../project/../outside/secret.txt",
        "in/../../../outside/secret.txt",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/../../etc/passwd",
        "~/secret.txt",
        "~root/.ssh/id_rsa",
        "~",
    ],
)
def test_a_path_that_leads_out_is_refused(fence, path):
    with pytest.raises(Refused, match=OUTSIDE):
        fence.judge(path)


def test_a_neighbour_whose_name_begins_alike_is_outside(fence, root):
    neighbour = root.with_name("project2")
    neighbour.mkdir()
    with pytest.raises(Refused, match=OUTSIDE):
        fence.judge(str(neighbour / "x.py"))


@pytest.mark.parametrize("path", ["", " ", "src/app.py\0.txt", "a\nb", " /etc/passwd", "x\t"])
def test_what_programs_read_differently_is_no_path(fence, path):
    with pytest.raises(Refused, match="no path"):
        fence.judge(path)


def test_a_path_longer_than_any_is_refused_at_once(fence):
    with pytest.raises(Refused, match="no path"):
        fence.judge("a/" * 100_000)
    long_name = "b" * 3_000  # longer than a name may be, not than a path
    assert fence.judge(long_name) == long_name
    with pytest.raises(Refused, match="can't be read"):
        fence.open(long_name)


def test_a_link_to_itself_opens_nothing(fence):
    with pytest.raises(Refused):
        fence.open(fence.judge("loop"))


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".ENV",
        "src/.env.production",
        "prod.env",
        "notes.txt",  # a link to .env
        ".git/config",
        "vendor/.Git/objects/ab",
        ".git",
        "keys/server.pem",
        "keys/server.PEM",
        "id_rsa",
        "deploy_rsa",
        "id_ed25519_sk",
        ".ssh/config",
        ".aws/credentials",
        "config/credentials.json",
        "config/secrets.yaml",
        "service-account-prod.json",
        "terraform.tfstate.backup",
        ".npmrc",
        ".mcp.json",
        ".claude/settings.local.json",
    ],
)
def test_secrets_and_version_controls_own_files_are_private(fence, path):
    with pytest.raises(Refused, match="private"):
        fence.judge(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        ".github/workflows/ci.yml",
        ".gitignore",
        ".gitattributes",
        "id_rsa.pub",
        "src/secrets.py",
        "src/credentials.ts",
        "environment.py",
        "keyboard.key.md",
        "tokens.go",
    ],
)
def test_code_and_forms_with_such_names_are_not(fence, path):
    assert fence.judge(path) == path


def test_every_private_name_is_in_the_patterns_for_others():
    patterns = private_patterns()
    assert "**/.git/**" in patterns
    assert "**/.env" in patterns
    assert "**/*.pem" in patterns
    assert not is_private(".")


@pytest.mark.parametrize("pattern", ["**/*.py", "*", "src/**/[a-z]*.py", "in/*.py", "{a,b}/*.ts"])
def test_a_pattern_that_stays_inside_is_let_through(fence, pattern):
    fence.judge_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "/etc/*",
        "/*",
        "/etc/passwd",
        "../*",
        "src/../../outside/*",
        "{.,}./*",
        "[.][.]/outside/*",
        "{/etc/passwd,x}",
        "~/*",
        "out/*",
        "out/**/*.txt",
        "@(..)/outside/*",
        ".git/*",
        "**/.env",
        "\0",
    ],
)
def test_a_pattern_that_could_lead_out_is_refused(fence, pattern):
    with pytest.raises(Refused):
        fence.judge_pattern(pattern)


def test_an_absolute_pattern_inside_is_let_through(fence, root):
    fence.judge_pattern(f"{root}/**/*.py")


def test_a_root_that_is_a_link_is_what_the_link_means(tmp_path, root):
    link = tmp_path / "link"
    link.symlink_to(root)
    fence = Fence(link)
    assert fence.root == root
    assert fence.judge("src/app.py") == "src/app.py"
    assert fence.judge(str(link / "src" / "app.py")) == "src/app.py"
    link.unlink()
    link.symlink_to("/")  # swapped later: the fence stays where it was
    assert fence.read("src/app.py", most=100) == b"print('hello')\n"
    with pytest.raises(Refused, match=OUTSIDE):
        fence.judge(str(link / "etc" / "passwd"))


def test_the_root_of_everything_can_be_a_root():
    assert Fence("/").judge("/etc/hostname") == "etc/hostname"


@pytest.mark.parametrize("path", ["not-there", "project/src/app.py", "a\0b", "x" * 5_000])
def test_a_root_that_is_no_folder_is_a_configuration_error(tmp_path, root, path):
    with pytest.raises(ConfigurationError) as wrong:
        Fence(tmp_path / path if "\0" not in path else path)
    assert wrong.value.mend
    assert "\n" not in wrong.value.what
    assert len(wrong.value.what) < 200


def test_a_file_is_read_up_to_a_bound(fence):
    assert fence.read("src/app.py", most=5) == b"print"


@pytest.mark.parametrize(
    "path", ["out.txt", "out/secret.txt", "in/er.py", "src", "/etc/passwd", "../x", ".", ".env", ""]
)
def test_opening_follows_no_link_and_leaves_no_folder(fence, path):
    with pytest.raises(Refused):
        fence.open(path)


def test_a_folder_swapped_for_a_link_after_the_judgement_opens_nothing(fence, root, outside):
    (root / "src" / "secret.txt").write_text("harmless")
    relative = fence.judge("src/secret.txt")
    shutil.rmtree(root / "src")
    (root / "src").symlink_to(outside)
    with pytest.raises(Refused):
        fence.read(relative, most=100)


def test_a_file_swapped_for_a_link_after_the_judgement_opens_nothing(fence, root, outside):
    relative = fence.judge("src/app.py")
    (root / "src" / "app.py").unlink()
    (root / "src" / "app.py").symlink_to(outside / "secret.txt")
    with pytest.raises(Refused):
        fence.read(relative, most=100)


def test_a_pipe_does_not_hold_the_reader_up(fence, root):
    os.mkfifo(root / "pipe")
    with pytest.raises(Refused, match="no plain file"):
        fence.open("pipe")


def test_no_descriptor_stays_open_after_refusals(fence, root):
    os.mkfifo(root / "pipe")
    before = psutil.Process().num_fds()
    for path in ("pipe", "out.txt", "src", "gone/away", "src/app.py"):
        try:
            os.close(fence.open(path))
        except Refused:
            continue
    assert psutil.Process().num_fds() == before
