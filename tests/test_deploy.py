"""What lies in `deploy/` is well-formed, and agrees with what the programs take and promise."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from typer.testing import CliRunner

from pipecat_workers_cli.cli.app import app
from pipecat_workers_cli.fleet.host import MOVE_WITHIN
from tests.installing import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
LEAVE = 6.0  # seconds for a host's last words, its spans and the interpreter
KUBERNETES = ("1.31", "1.33", "1.35")


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))


def compose(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


COMPOSED = sorted(path.name for path in DEPLOY.glob("compose*.yaml"))


def option(words: list[str], name: str) -> str:
    (found,) = (word.partition("=")[2] for word in words if word.startswith(f"{name}="))
    return found


def commands() -> Iterator[Any]:
    """What is run of ours, by where it stands."""
    for name in COMPOSED:
        for service, told in compose(name)["services"].items():
            if told["image"] == "pmw":
                yield pytest.param(told["command"], id=f"{name}:{service}")
    for one in manifests():
        for container in containers(one):
            if "pmw:" in container["image"]:
                yield pytest.param(container["args"], id=f"kubernetes:{one['metadata']['name']}")


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return manifest["spec"]["template"]["spec"]["containers"] if is_deployment(manifest) else []


def is_deployment(manifest: dict[str, Any]) -> bool:
    return manifest["kind"] == "Deployment"


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifests_are_what_kubernetes_takes(version: str) -> None:
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_that_is_none_would_be_noticed() -> None:
    manifest = next(filter(is_deployment, manifests()))
    containers(manifest)[0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("name", COMPOSED)
def test_the_compose_files_keep_to_the_specification(name: str) -> None:
    told = compose(name)
    known = set(PyCompose.from_json(json.dumps(told)).service_names())
    assert {"main", "greeter", "support"} < known
    for service in told["services"].values():
        assert set(service.get("depends_on", {})) <= known
    told["services"]["main"]["comand"] = []
    with pytest.raises(ValueError, match="comand"):
        PyCompose.from_json(json.dumps(told))


def test_the_dockerfile_pleases_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run(
        [hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_is_one_that_pmw_takes(words: list[str]) -> None:
    """`--help` behind it leaves it unrun; what comes before is read all the same."""
    ran = CliRunner().invoke(app, [*words, "--help"])
    assert ran.exit_code == 0, ran.output


def test_hosts_are_given_the_time_that_their_calls_are() -> None:
    hosts = [one for one in manifests() if is_deployment(one) and "host" in str(containers(one))]
    hosts = [one for one in hosts if containers(one)[0]["name"] == "host"]
    assert len(hosts) == 2
    for host in hosts:
        drain = float(option(containers(host)[0]["args"], "--drain-timeout"))
        given = host["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert given >= drain + MOVE_WITHIN + LEAVE
    for name in COMPOSED:
        for service in ("greeter", "support"):
            told = compose(name)["services"][service]
            drain = float(option(told["command"], "--drain-timeout"))
            given = float(told["stop_grace_period"].removesuffix("s"))
            assert given >= drain + MOVE_WITHIN + LEAVE


def test_probes_ask_where_a_host_answers() -> None:
    asked = 0
    for manifest in manifests():
        for container in containers(manifest):
            if container["name"] != "host":
                continue
            (port,) = container["ports"]
            assert str(port["containerPort"]) == option(container["args"], "--health-port")
            paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz"}
            for probe, path in {**paths, "readinessProbe": "/readyz"}.items():
                assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
                asked += 1
    assert asked == 6


def test_nothing_of_ours_runs_as_root_or_holds_a_key() -> None:
    for manifest in filter(is_deployment, manifests()):
        assert manifest["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
        for container in containers(manifest):
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert {one["name"] for one in container.get("env", ())} <= {"PMW_BUS"}
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001", dockerfile, re.MULTILINE)
    assert "!.env" not in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMPOSED)
def test_the_page_token_is_no_word_that_others_can_read(name: str) -> None:
    (main,) = (told for service, told in compose(name)["services"].items() if service == "main")
    assert main["environment"]["PMW_PAGE_TOKEN"].startswith("${PMW_PAGE_TOKEN:?")
    assert main["environment"]["PMW_BUS"]
    assert "page-token" not in (DEPLOY / name).read_text(encoding="utf-8")
    assert "page-token" not in (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
