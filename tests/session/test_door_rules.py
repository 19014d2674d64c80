import pytest

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.session.door_rules import (
    door_rules,
    is_loopback,
    parse_authority,
    parse_origin,
    printable,
)
from pipecat_workers_cli.session.runner import RunnerParser, runner_option

OWN_HOSTS = [
    "localhost:7860",
    "localhost",
    "LOCALHOST:7860",
    "localhost.:7860",
    "127.0.0.1:7860",
    "127.0.0.1",
    "[::1]:7860",
    "[0:0:0:0:0:0:0:1]:7860",
]
FOREIGN_HOSTS = [
    "evil.example:7860",
    "localhost.evil.example:7860",
    "evil-localhost:7860",
    "localhost:7861",
    "localhost:07861",
    "localhost:0",
    "localhost:99999",
    "localhost:7860:7860",
    "localhost:",
    "localhost..",
    "127.0.0.1.evil.example",
    "127.0.0.1:7860@evil.example",
    "evil@localhost:7860",
    "localhost:7860/",
    "localhost :7860",
    " localhost",
    "localhost\n",
    "[::1",
    "[::2]:7860",
    "[::1].:7860",
    "[::ffff:127.0.0.1]:7860",
    "192.168.1.5:7860",
    "0.0.0.0:7860",
    "lócalhost:7860",
    "",
    "*",
    "a" * 10_000,
]
OWN_ORIGINS = [
    "http://localhost:7860",
    "https://localhost:7860",
    "HTTP://LocalHost:7860",
    "http://localhost.:7860",
    "http://127.0.0.1:7860",
    "http://[::1]:7860",
]
FOREIGN_ORIGINS = [
    "null",
    "",
    "http://evil.example",
    "http://evil.example:7860",
    "http://localhost",
    "http://localhost:3000",
    "http://localhost:78600",
    "http://localhost:7860@evil.example",
    "http://user@localhost:7860",
    "http://localhost:7860/",
    "http://localhost:7860 http://evil.example",
    "http://localhost.evil.example:7860",
    "http://localhost:7860.evil.example",
    "http://evil.example#localhost:7860",
    "http:localhost:7860",
    "//localhost:7860",
    "localhost:7860",
    "ftp://localhost:7860",
    "file://",
    "chrome-extension://abcdef",
    "http://[::1:7860",
    "http://" + "a" * 10_000,
]
TOKEN = "0123456789abcdef"


@pytest.fixture
def local():
    return door_rules(ServeOptions())


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_own_hosts_are_admitted(local, host):
    assert local.admits_host(host)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_other_hosts_are_not(local, host):
    assert not local.admits_host(host)


@pytest.mark.parametrize("origin", OWN_ORIGINS)
def test_own_origins_are_admitted(local, origin):
    assert local.admits_origin(origin, host="localhost:7860")


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_other_origins_are_not(local, origin):
    assert not local.admits_origin(origin, host="localhost:7860")


def test_on_port_80_an_origin_carries_no_port():
    rules = door_rules(ServeOptions(port=80))
    assert rules.admits_origin("http://localhost", host="localhost")
    assert not rules.admits_origin("https://localhost", host="localhost")


def test_an_allowed_origin_is_admitted_as_origin_and_as_host():
    rules = door_rules(ServeOptions(allowed_origins=("https://Demo.Example", "http://a.test:81")))
    assert rules.admits_origin("https://demo.example", host="localhost:7860")
    assert rules.admits_origin("https://demo.example:443", host="localhost:7860")
    assert not rules.admits_origin("http://demo.example", host="localhost:7860")
    assert not rules.admits_origin("https://demo.example:444", host="localhost:7860")
    for host in ("demo.example", "demo.example:443", "demo.example:7860", "a.test:81"):
        assert rules.admits_host(host)
    assert not rules.admits_host("a.test:82")


def test_a_telephony_proxy_is_an_own_host():
    rules = door_rules(ServeOptions(transport="twilio"), proxy_host="https://me.ngrok.io/")
    assert rules.admits_host("me.ngrok.io")
    assert rules.admits_origin("https://me.ngrok.io", host="me.ngrok.io")
    assert not rules.admits_host("you.ngrok.io")
    with pytest.raises(ConfigurationError, match="--proxy takes a host name"):
        door_rules(ServeOptions(), proxy_host="me ngrok io")


@pytest.mark.parametrize(
    ("typed", "mend"),
    [
        ("demo.example", "did you mean 'https://demo.example'?"),
        ("demo.example:8443", "did you mean 'https://demo.example:8443'?"),
        ("https://demo.example/", "did you mean 'https://demo.example'?"),
        ("https://demo.example/app?x#y", "did you mean 'https://demo.example'?"),
        ("htps://demo.example", "did you mean 'https://demo.example'?"),
        (" https://demo.example ", "did you mean 'https://demo.example'?"),
        ("*", "name each origin"),
        ("null", "serve that page over http"),
        ("https://a.example,https://b.example", "give the option once for each"),
        ("ws://demo.example", "write it as in"),
        ("", "write it as in"),
    ],
)
def test_a_wrong_origin_is_refused_with_what_was_meant(typed, mend):
    with pytest.raises(ConfigurationError) as raised:
        door_rules(ServeOptions(allowed_origins=(typed,)))
    assert raised.value.exit_code == 2
    assert raised.value.mend.startswith(mend)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "mybox.lan", "127.1"])
def test_a_bind_beyond_loopback_needs_a_token_or_the_users_word(host):
    with pytest.raises(ConfigurationError, match="without a page token") as raised:
        door_rules(ServeOptions(host=host))
    assert raised.value.exit_code == 2
    assert "--insecure" in raised.value.mend
    door_rules(ServeOptions(host=host, insecure=True))
    door_rules(ServeOptions(host=host, page_token=TOKEN))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "::1"])
def test_a_loopback_bind_needs_none(host):
    assert is_loopback(host)
    rules = door_rules(ServeOptions(host=host))
    assert not rules.every_address


def test_a_bind_address_is_an_own_host():
    rules = door_rules(ServeOptions(host="fe80::1%eth0", insecure=True))
    assert rules.admits_host("[fe80::1]:7860")
    assert rules.admits_origin("http://[fe80::1]:7860", host="[fe80::1]:7860")
    assert not rules.admits_host("mybox.lan:7860")


def test_bound_to_all_addresses_only_an_address_or_localhost_is_a_host():
    rules = door_rules(ServeOptions(host="0.0.0.0", insecure=True))
    for host in ("192.168.1.5:7860", "[fe80::1]:7860", "localhost:8080", "127.0.0.1"):
        assert rules.admits_host(host)
    assert not rules.admits_host("rebound.evil.example:7860")
    assert rules.admits_origin("http://192.168.1.5:7860", host="192.168.1.5:7860")
    assert rules.admits_origin("http://192.168.1.5", host="192.168.1.5")
    assert not rules.admits_origin("http://6.6.6.6:7860", host="192.168.1.5:7860")
    assert not rules.admits_origin("http://192.168.1.5:3000", host="192.168.1.5:7860")


def test_bound_to_all_addresses_the_token_admits_any_host_and_its_own_origin():
    rules = door_rules(ServeOptions(host="::", page_token=TOKEN))
    assert rules.admits_host("mybox.lan:7860")
    assert not rules.admits_host("mybox.lan/x")
    assert rules.admits_origin("http://mybox.lan:7860", host="mybox.lan:7860")
    assert not rules.admits_origin("http://evil.example", host="mybox.lan:7860")


@pytest.mark.parametrize(
    "token",
    ["", "fifteen-letters", "has a blank in it", "täglich-0123456789", "semi;colon-0123456789"],
)
def test_a_token_that_protects_nothing_or_cannot_be_sent_is_refused(token):
    with pytest.raises(ConfigurationError) as raised:
        door_rules(ServeOptions(page_token=token))
    assert not token or token not in raised.value.what + raised.value.mend


def test_a_phone_provider_cannot_be_asked_for_a_token():
    with pytest.raises(ConfigurationError, match="-t twilio"):
        door_rules(ServeOptions(transport="twilio", page_token=TOKEN))


def test_the_token_is_not_in_the_rules_text():
    assert TOKEN not in repr(door_rules(ServeOptions(page_token=TOKEN)))


def test_what_was_parsed_is_written_as_a_browser_writes_it():
    assert str(parse_origin("HTTPS://A.Example:443")) == "https://a.example"
    assert str(parse_authority("[0::1]:80")) == "[::1]:80"


def test_a_strangers_text_is_made_fit_for_a_log_line():
    assert printable("a\nb\x1b[31mé") == "a?b?[31m?"
    assert printable("x" * 300) == "x" * 100 + "…"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("--proxy", "a.example"), "a.example"),
        (("--proxy=a.example",), "a.example"),
        (("-x", "a.example"), "a.example"),
        (("-xa.example",), "a.example"),
        (("-vxa.example",), "a.example"),
        (("-x", "a.example", "-xb.example"), "b.example"),
        (("-fx", "--proxies", "x"), None),
        (("--proxy",), ""),
        ((), None),
    ],
)
def test_an_option_behind_two_dashes_is_found_however_it_is_joined(words, value):
    assert runner_option(ServeOptions(runner_args=words), "-x", "--proxy") == value


@pytest.mark.parametrize("words", [("-tdaily",), ("-t=twilio",), ("-vdttwilio",), ("--host=::",)])
def test_what_is_ours_is_refused_behind_two_dashes(words):
    with pytest.raises(ConfigurationError, match="stands behind '--'"):
        RunnerParser(ServeOptions(runner_args=words))
