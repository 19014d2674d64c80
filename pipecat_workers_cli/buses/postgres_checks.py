"""What `pmw doctor` says of a Postgres and of the PGMQ in it."""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from loguru import logger

from pipecat_workers_cli.buses.pgmq import HEAR_WITHIN, open_network
from pipecat_workers_cli.buses.pgmq_install import VERSION
from pipecat_workers_cli.buses.postgres import Line, place
from pipecat_workers_cli.buses.trial import judge_clock, time_answers, try_out
from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import ConfigurationError, PmwError

OWNED_BEFORE = (1, 6)  # PGMQ's version; up to then a queue is part of the extension
FEW = 10  # connections; a process takes three
OWNS = "SELECT pg_has_role(extowner, 'MEMBER') FROM pg_extension WHERE extname = 'pgmq'"
CONNECTIONS = """
SELECT current_setting('max_connections')::int,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
"""
ABOUT = "SELECT current_setting('server_version'), pg_is_in_recovery()"


async def examine(url: str, *, channel: str) -> Sequence[Check]:
    """Look at a database that is to carry calls.

    Args:
        url: `postgresql://…`, as asyncpg takes it.
        channel: The application's name there.

    Raises:
        ConfigurationError: The URL is none.
    """
    line, second = Line(url), Line(url)
    findings: list[Check] = []
    try:
        findings.append(await _server(line, url))
        if findings[0].state is State.WRONG:
            return findings
        findings.append(await _latency(line))
        findings.append(await _clock(line))
        findings.append(await _pooler(line, second))
        findings.append(await _connections(line))
        findings.append(await _pgmq(line))
        if findings[-1].state is not State.WRONG:
            findings.append(await _rights(url, channel))
    except ConfigurationError:
        raise
    except PmwError as error:
        name = "postgres rights" if findings else "postgres"
        findings.append(Check(name, State.WRONG, error.what, error.mend))
    finally:
        for one in (line, second):
            one.drop()
    return findings


async def _latency(line: Line) -> Check:
    async def ask() -> object:
        return await line.run(lambda it: it.fetchval("SELECT 1"))

    return await time_answers(ask, name="postgres latency")


async def _server(line: Line, url: str) -> Check:
    version, replica = await line.run(lambda it: it.fetchrow(ABOUT))
    found = f"PostgreSQL {version.partition(' ')[0]} at {place(url)}"
    if replica:
        return Check("postgres", State.WRONG, f"{found}, a replica", "name its primary in the URL")
    return Check("postgres", State.OK, found)


async def _clock(line: Line) -> Check:
    before = time.time()
    asked = "SELECT extract(epoch FROM clock_timestamp())::float8"
    theirs = await line.run(lambda it: it.fetchval(asked))
    return judge_clock(theirs=theirs, before=before, after=time.time(), name="postgres clock")


async def _pooler(line: Line, second: Line) -> Check:
    """Listen on one connection and notify on another: a transaction pooler carries nothing."""
    heard = asyncio.Event()
    name = f"pmw_doctor_{secrets.token_hex(4)}"

    async def listen(it: Any) -> None:
        await it.add_listener(name, lambda *_: heard.set())

    await line.run(listen)
    await second.run(lambda it: it.execute(f"NOTIFY {name}"))
    with suppress(TimeoutError):
        async with asyncio.timeout(HEAR_WITHIN):
            await heard.wait()
    line.drop()  # with its listener
    if heard.is_set():
        return Check("postgres pooler", State.OK, "none that would hold notifications back")
    found = "a transaction pooler stands between, so every message waits up to 50 ms longer"
    mend = "connect to Postgres itself, or to a session pooler; they have ports of their own"
    return Check("postgres pooler", State.WARNING, found, mend)


async def _connections(line: Line) -> Check:
    most, taken = await line.run(lambda it: it.fetchrow(CONNECTIONS))
    found = f"{taken} of {most} taken; a process of pmw takes three"
    if most - taken >= FEW:
        return Check("postgres connections", State.OK, found)
    return Check("postgres connections", State.WARNING, found, "raise max_connections there")


async def _pgmq(line: Line) -> Check:
    version = await line.run(lambda it: it.fetchval(VERSION))
    if version is None:
        mend = "pmw bus init --bus postgresql://…"
        return Check("pgmq", State.WRONG, "PGMQ is not installed in that database", mend)
    owns = await line.run(lambda it: it.fetchval(OWNS))  # None where it is no extension
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    found = f"PGMQ {version}, {'plain SQL' if owns is None else 'an extension'}"
    if owns is False and numbers and numbers < OWNED_BEFORE:
        found += ": before 1.6 each queue becomes part of it, and this user doesn't own it"
        return Check("pgmq", State.WRONG, found, "ALTER EXTENSION pgmq UPDATE, or be its owner")
    return Check("pgmq", State.OK, found)


async def _rights(url: str, channel: str) -> Check:
    logger.disable("pipecat_workers_cli.buses.pgmq")  # of a pooler there is a finding
    try:
        async with open_network(url, channel=channel) as network:
            return await try_out(network, name="postgres rights")
    finally:
        logger.enable("pipecat_workers_cli.buses.pgmq")
