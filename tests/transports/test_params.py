"""The table of transports: which there are, what each needs, how its parameters are made."""

import importlib

import pytest
from pipecat.evals.transport import EvalTransportParams
from pipecat.runner import run as runner
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams

from pipecat_workers_cli.errors import ConfigurationError, PmwError, mend_extra
from pipecat_workers_cli.transports.params import TRANSPORTS, check_transport, transport_params

WEB = ("webrtc", "websocket", "twilio", "telnyx", "plivo", "exotel", "eval")


@pytest.mark.parametrize("name", WEB)
def test_sound_goes_both_ways_on_every_transport_of_the_web_server(name):
    params = transport_params()[name]()
    assert isinstance(params, TransportParams)
    assert params.audio_in_enabled
    assert params.audio_out_enabled


def test_the_plain_websocket_has_a_serializer_for_without_one_all_is_dropped():
    params = transport_params()["websocket"]()
    assert isinstance(params.serializer, ProtobufFrameSerializer)
    assert transport_params()["websocket"]().serializer is not params.serializer  # one a call


def test_telephony_gets_its_serializer_from_pipecats_runner():
    params = transport_params()["twilio"]()
    assert isinstance(params, FastAPIWebsocketParams)
    assert params.serializer is None


def test_the_eval_client_is_always_served_and_never_named():
    assert isinstance(transport_params()["eval"](), EvalTransportParams)
    assert "eval" not in TRANSPORTS
    assert "console" not in transport_params()


@pytest.mark.parametrize("name", [name for name, kind in TRANSPORTS.items() if kind.params])
def test_every_row_names_a_class_of_pipecats_where_its_package_is_there(name):
    kind = TRANSPORTS[name]
    pytest.importorskip(kind.needs)
    for reference in filter(None, (kind.params, kind.serializer)):
        module, _, attribute = reference.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), type)


def test_whatever_pipecats_runner_serves_has_a_row():
    served = {*runner.TRANSPORT_ROUTE_DEPENDENCIES, *runner.TELEPHONY_TRANSPORTS} - {"telephony"}
    assert served <= {*TRANSPORTS}


def test_a_name_that_does_not_exist_is_refused_with_a_near_miss():
    with pytest.raises(ConfigurationError) as refused:
        check_transport("webrtx")
    assert "webrtc" in refused.value.mend


@pytest.mark.parametrize("name", ["console", "webrtc", "websocket", "twilio"])
def test_what_the_base_installation_brings_is_ready(name):
    check_transport(name)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("pipecat_workers_cli.transports.params.find_spec", lambda _: None)
    with pytest.raises(PmwError, match="daily") as missing:
        check_transport("daily")
    assert missing.value.mend == mend_extra("daily")
    assert missing.value.exit_code == 1


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(value, monkeypatch):
    monkeypatch.setattr("pipecat_workers_cli.transports.params.find_spec", lambda _: True)
    if value is not None:
        monkeypatch.setenv("DAILY_API_KEY", value)
    with pytest.raises(PmwError, match="DAILY_API_KEY"):
        check_transport("daily")
    monkeypatch.setenv("DAILY_API_KEY", "a-key")
    check_transport("daily")
