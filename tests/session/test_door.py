import asyncio
import json

import pytest
import websockets
from loguru import logger

from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.session.door import MAX_BODY_BYTES, Door
from pipecat_workers_cli.session.door_rules import door_rules
from tests.session.site import (
    DEADLINE,
    EVIL,
    OPENERS,
    TOKEN,
    Inner,
    as_list,
    site,
)


async def test_a_request_without_origin_passes():
    async with site() as web:
        assert await web.status() == 200
        assert await web.status("POST", "/start", body=b"{}") == 200
        assert await web.handshake() == 101
        assert web.inner.reached == ["GET /status 0", "POST /start 2", "WS /ws"]


async def test_an_own_page_passes():
    async with site() as web:
        for host in ("localhost", "127.0.0.1", "[::1]"):
            own = f"{host}:{web.port}"
            assert await web.status(host=own, Origin=f"http://{own}") == 200
            assert await web.handshake(host=own, Origin=f"http://{own}") == 101


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        "http://localhost",
        "http://localhost:{port}@evil.example",
        "http://localhost:{port}.evil.example",
        "http://localhost.evil.example:{port}",
        ["http://localhost:{port}", EVIL],
        ["http://localhost:{port}", "http://localhost:{port}"],
        "http://localhost:{port}, https://evil.example",
        "",
    ],
)
async def test_a_foreign_page_is_refused_everywhere(origin):
    async with site() as web:
        given = [one.replace("{port}", str(web.port)) for one in as_list(origin)]
        for path in ("/", "/page/page.js", "/client/", "/status", "/daily", "/nothing/there"):
            assert await web.status(path=path, Origin=given) == 403
        for path in OPENERS:
            assert await web.status("POST", path, body=b"{}", Origin=given) == 403
        assert await web.status("PATCH", "/api/offer", body=b"{}", Origin=given) == 403
        # The WebSocket library itself answers two Origins, before the door, with 400.
        refused = {403} if len(given) == 1 else {400}
        for path in ("/ws", "/ws/x", "/ws-client", "/nothing"):
            assert await web.handshake(path, Origin=given) in refused
        assert web.inner.reached == []
        assert web.door.refused["origin"] == 11 + (4 if len(given) == 1 else 0)


@pytest.mark.parametrize(
    "host",
    [
        "rebound.evil.example:{port}",
        "localhost.evil.example:{port}",
        "localhost:1",
        "evil@localhost:{port}",
        ["localhost:{port}", "evil.example"],
    ],
)
async def test_a_name_that_was_rebound_to_this_machine_is_refused(host):
    async with site() as web:
        given = [one.replace("{port}", str(web.port)) for one in as_list(host)]
        own = f"http://localhost:{web.port}"
        assert await web.status(path="/", host=given) == 403
        assert await web.status(host=given, Origin=f"http://{given[0]}") == 403
        assert await web.status("POST", "/api/offer", body=b"{}", host=given, Origin=own) == 403
        assert await web.handshake(host=given) == 403
        assert web.inner.reached == []


async def test_a_request_without_host_is_refused():
    async with site() as web:
        status, _, _ = await web.ask(b"GET /status HTTP/1.0\r\n\r\n")
        assert status == 403


async def test_only_own_preflights_reach_the_cors_behind_the_door():
    async with site(allowed_origins=("https://demo.example",)) as web:
        asked = {"Access_Control_Request_Method": "POST"}
        status, headers, _ = await web.http("OPTIONS", "/api/offer", Origin=EVIL, **asked)
        assert status == 403
        assert not [name for name in headers if name.startswith("access-control")]
        for origin in (f"http://localhost:{web.port}", "https://demo.example"):
            status, headers, _ = await web.http("OPTIONS", "/api/offer", Origin=origin, **asked)
            assert status == 200
            assert headers["access-control-allow-origin"] == origin


async def test_a_foreign_page_that_sends_no_origin_is_found_by_its_fetch_metadata():
    async with site() as web:
        for where in ("cross-site", "same-site"):
            image = {"Sec_Fetch_Site": where, "Sec_Fetch_Mode": "no-cors"}
            assert await web.status(path="/daily", Sec_Fetch_Dest="image", **image) == 403
            link = {"Sec_Fetch_Site": where, "Sec_Fetch_Mode": "navigate"}
            assert await web.status(path="/daily", Sec_Fetch_Dest="document", **link) == 403
            assert await web.status(path="/", Sec_Fetch_Dest="iframe", **link) == 403
            assert await web.status(path="/", Sec_Fetch_Dest="document", **link) == 200
        for where in ("none", "same-origin"):
            assert await web.status(path="/daily", Sec_Fetch_Site=where) == 200


async def test_with_a_page_token_every_endpoint_asks_for_it_but_the_page():
    async with site(page_token=TOKEN) as web:
        assert await web.status(path="/") == 200
        assert await web.status(path="/page/page.js") == 200
        for method, path in [
            ("GET", "/status"),
            ("GET", "/page"),
            ("GET", "/%0A"),
            ("GET", "/pages/x"),
            ("POST", "/"),
            ("POST", "/page/x"),
            ("OPTIONS", "/start"),
            *(("POST", path) for path in OPENERS),
        ]:
            status, headers, _ = await web.http(method, path, body=b"{}")
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert web.inner.reached == []
        for path in OPENERS[1:]:
            assert (
                await web.status("POST", path, body=b"{}", Authorization=f"Bearer {TOKEN}") == 200
            )
        assert await web.status(Authorization=f"bearer {TOKEN}") == 200


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN],
)
async def test_a_wrong_token_is_refused(value):
    async with site(page_token=TOKEN) as web:
        assert await web.status(Authorization=value) == 401
        assert await web.handshake(Authorization=value) == 401
        assert web.inner.reached == []


async def test_a_websocket_may_carry_the_token_in_its_query_and_loses_it_there():
    async with site(page_token=TOKEN) as web:
        assert await web.handshake("/ws") == 401
        assert await web.handshake("/ws?token=wrong") == 401
        assert await web.handshake(f"/ws?Token={TOKEN}") == 401
        assert await web.status(path=f"/status?token={TOKEN}") == 401
        assert await web.handshake(f"/ws?a=1&token={TOKEN}&token=the-runners-own&b=%20") == 101
        assert await web.handshake("/ws?c=2", Authorization=f"Bearer {TOKEN}") == 101
        assert web.inner.queries == ["a=1&token=the-runners-own&b=%20", "c=2"]


async def test_a_token_does_not_admit_a_foreign_page_or_host():
    async with site(page_token=TOKEN) as web:
        own = {"Authorization": f"Bearer {TOKEN}"}
        assert await web.status(Origin=EVIL, **own) == 403
        assert await web.status(host="evil.example", **own) == 403
        assert await web.handshake(f"/ws?token={TOKEN}", Origin=EVIL) == 403


async def test_the_prebuilt_client_is_off_with_a_page_token():
    async with site(page_token=TOKEN) as web:
        status, _, body = await web.http(path="/client/")
        assert status == 403
        assert "prebuilt client" in json.loads(body)["error"]
        assert await web.status(path="/client", Authorization=f"Bearer {TOKEN}") == 403
        assert await web.status(path="/clients") == 401


async def test_guesses_are_bounded_and_a_missing_token_is_no_guess():
    async with site(page_token=TOKEN) as web:
        for _ in range(30):
            assert await web.status() == 401
        for _ in range(10):
            assert await web.status(Authorization="Bearer guess") == 401
        assert await web.status(Authorization="Bearer guess") == 429
        # Behind a reverse proxy all have the address of whoever guesses.
        assert await web.status(Authorization=f"Bearer {TOKEN}") == 200
        assert await web.status(path="/") == 200


async def test_a_big_body_is_refused_before_it_is_read():
    async with site() as web:
        head = f"POST /start HTTP/1.1\r\nHost: localhost:{web.port}\r\n"
        announced = f"{head}Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        status, headers, _ = await web.ask(announced.encode())
        assert (status, headers["connection"]) == (413, "close")
        assert await web.status("POST", "/start", body=b"x" * MAX_BODY_BYTES) == 200
        assert web.inner.reached == [f"POST /start {MAX_BODY_BYTES}"]


async def test_a_big_body_of_unknown_length_is_refused_while_it_is_read():
    async with site() as web:
        head = f"POST /start HTTP/1.1\r\nHost: localhost:{web.port}\r\nTransfer-Encoding: chunked"
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        status, _, _ = await web.ask(head.encode() + b"\r\n\r\n" + chunk * 17)
        assert status == 413
        assert web.inner.reached == []


async def test_a_slow_body_is_given_up():
    async with site(body_timeout=0.2) as web:
        head = f"POST /start HTTP/1.1\r\nHost: localhost:{web.port}\r\nContent-Length: 9\r\n\r\n"
        status, _, _ = await web.ask(head.encode() + b"x")
        assert status == 408
        assert web.inner.reached == []


async def test_uploads_may_be_bigger_where_they_are_switched_on_and_must_say_their_length():
    body = b"x" * (MAX_BODY_BYTES + 1)
    async with site(uploads=True) as web:
        assert await web.status("POST", "/files", body=body) == 200
        assert await web.status("POST", "/sessions/7/files", body=body) == 200
        chunked = (
            f"POST /files HTTP/1.1\r\nHost: localhost:{web.port}\r\nTransfer-Encoding: chunked"
        )
        assert (await web.ask(chunked.encode() + b"\r\n\r\n"))[0] == 411
        huge = f"POST /files HTTP/1.1\r\nHost: localhost:{web.port}\r\nContent-Length: {2**30}"
        assert (await web.ask(huge.encode() + b"\r\n\r\n"))[0] == 413
    async with site() as web:
        head = f"POST /files HTTP/1.1\r\nHost: localhost:{web.port}\r\nContent-Length: {len(body)}"
        assert (await web.ask(head.encode() + b"\r\n\r\n"))[0] == 413


async def test_our_page_is_kept_to_itself_and_other_answers_are_left_alone():
    async with site() as web:
        for path in ("/", "/page/page.js"):
            _, headers, _ = await web.http(path=path)
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "origin"  # the page's own word holds
        _, headers, _ = await web.http(path="/client/")
        assert "content-security-policy" not in headers


async def test_busy_is_said_to_those_who_would_open_a_call_only():
    async with site(busy=lambda: True) as web:
        for path in OPENERS:
            status, _, body = await web.http("POST", path, body=b"{}")
            assert status == 503
            assert json.loads(body).keys() == {"error", "mend"}
        for path in ("/daily", "/ws-client"):
            assert await web.status(path=path) == 503
        for path in ("/ws", "/ws/x", "/ws-client", "/ws-client/x"):
            assert await web.handshake(path) == 503
        assert web.inner.reached == []
        assert await web.status(path="/") == 200
        assert await web.status() == 200
        assert await web.status("PATCH", "/api/offer", body=b"{}") == 200
        assert await web.status("PATCH", "/sessions/7/api/offer", body=b"{}") == 200


async def test_busy_can_be_read_by_a_page_that_was_let_in():
    async with site(busy=lambda: True, allowed_origins=("https://demo.example",)) as web:
        origin = "https://demo.example"
        status, headers, _ = await web.http("POST", "/api/offer", body=b"{}", Origin=origin)
        assert (status, headers["access-control-allow-origin"]) == (503, origin)


async def test_a_full_house_lets_open_calls_renegotiate_and_takes_the_next_when_one_ends():
    async with site(max_calls=2) as web:
        first = json.loads((await web.http("POST", "/api/offer", body=b"{}"))[2])["pc_id"]
        second = json.loads((await web.http("POST", "/api/offer", body=b"{}"))[2])["pc_id"]
        assert await web.status("POST", "/api/offer", body=b"{}") == 503
        assert await web.handshake() == 503
        for pc_id in (first, second):
            again = json.dumps({"pc_id": pc_id}).encode()
            assert await web.status("POST", "/api/offer", body=again) == 200
        stale = json.dumps({"pc_id": "of a call long over"}).encode()
        assert await web.status("POST", "/api/offer", body=stale) == 503
        web.inner.over.set()
        async with websockets.connect(f"ws://localhost:{web.port}/ws") as one:
            await one.send("hello")
            assert await one.recv() == "hello"


async def test_callers_who_come_together_cannot_exceed_the_limit():
    async with site(max_calls=3) as web:
        offers = [web.status("POST", "/api/offer", body=b"{}") for _ in range(20)]
        answers = await asyncio.gather(*offers)
        assert sorted(answers) == [200] * 3 + [503] * 17


@pytest.mark.parametrize(
    "body", [b"[" * 10_000, b'"pc_id"' + b"[" * 10_000, b"\xff\xfe", b'["pc_id"]']
)
async def test_a_body_that_is_no_offer_is_one_more_call(body):
    async with site(busy=lambda: True) as web:
        assert await web.status("POST", "/api/offer", body=body) == 503


@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio"])
@pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated")
async def test_a_websocket_client_hears_why_it_is_refused(ws, caplog):
    async with site(ws=ws, page_token=TOKEN) as web:
        address = f"ws://127.0.0.1:{web.port}/ws"
        with pytest.raises(websockets.InvalidStatus) as raised:
            await websockets.connect(address, origin="https://evil.example")
        assert raised.value.response.status_code == 403
        with pytest.raises(websockets.InvalidStatus) as raised:
            await websockets.connect(address)
        assert raised.value.response.status_code == 401
        async with websockets.connect(f"{address}?token={TOKEN}") as one:
            await one.send("hello")
            assert await one.recv() == "hello"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_server_that_cannot_refuse_with_a_status_is_told_to_close():
    door = Door(Inner().app(), rules=door_rules(ServeOptions()))
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"evil.example")]}
    await door({**scope, "query_string": b""}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_refusals_are_logged_once_a_kind_and_hold_no_token_or_control_character():
    lines: list[str] = []
    sink = logger.add(
        lambda message: lines.append(str(message)), level="WARNING", format="{message}"
    )
    try:
        async with site(page_token=TOKEN) as web:
            for number in range(5):
                await web.http(Origin=f"https://evil{number}.example/é\u009b" + "x" * 300)
                await web.http(host=f"evil{number}.example")
                await web.handshake("/ws?token=nearly-the-token")
            assert web.door.refused == {"origin": 5, "host": 5, "token": 5}
    finally:
        logger.remove(sink)
    assert len(lines) == 3
    assert "evil0.example" in lines[0]
    assert len(lines[0]) < 300
    assert not {"é", "\u009b"} & set("".join(lines))
    assert "nearly-the-token" not in "".join(lines)
    assert TOKEN not in "".join(lines)


async def test_nothing_is_left_running_after_strangers_and_callers_who_hang_up():
    before = asyncio.all_tasks()
    async with site(body_timeout=DEADLINE) as web:
        serving = asyncio.all_tasks()
        await asyncio.gather(*(web.handshake(Origin=EVIL) for _ in range(20)))
        await asyncio.gather(*(web.status(Origin=EVIL) for _ in range(20)))
        head = f"POST /start HTTP/1.1\r\nHost: localhost:{web.port}\r\nContent-Length: 9\r\n\r\n"
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", web.port)
            writer.write(head.encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        if late := asyncio.all_tasks() - serving:
            _, still = await asyncio.wait(late, timeout=DEADLINE)
            assert not still
        assert web.inner.reached == []
    assert asyncio.all_tasks() == before
