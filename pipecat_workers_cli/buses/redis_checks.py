"""What `pmw doctor` says of a Redis or a Valkey."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redis.exceptions import NoPermissionError

from pipecat_workers_cli.buses.redis import open_network
from pipecat_workers_cli.buses.redis_requests import Requests
from pipecat_workers_cli.buses.trial import judge_clock, time_answers, try_out
from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import ConfigurationError, PmwError

LOWEST = 7  # the major version, in Redis's numbers, which Valkey tells beside its own
NEARLY_FULL = 0.9  # of the memory it may take


async def examine(url: str, *, channel: str) -> Sequence[Check]:
    """Look at a server that is to carry calls.

    Args:
        url: `redis://…` or `rediss://…`.
        channel: The application's name there.

    Raises:
        ConfigurationError: The URL is wrong.
    """
    findings = await _look(url)
    if findings[0].state is State.WRONG:
        return findings
    try:
        async with open_network(url, channel=channel) as network:
            findings.append(await try_out(network, name="redis rights"))
    except PmwError as error:
        findings.append(Check("redis rights", State.WRONG, error.what, error.mend))
    return findings


async def examine_stock(url: str, *, channel: str) -> Sequence[Check]:
    """Look at a server on which processes of stock Pipecat meet; nothing is said to them.

    Args:
        url: `redis+pubsub://…` or `rediss+pubsub://…`.
        channel: Its name there.

    Raises:
        ConfigurationError: The URL is wrong.
    """
    plain = url.replace("+pubsub", "", 1)
    findings = await _look(plain, keeps=False)
    if findings[0].state is State.WRONG:
        return findings
    requests = Requests(plain, rights=f"&{channel} +publish +subscribe +@connection")
    try:
        async with requests.listen(channel):
            findings.append(Check("redis rights", State.OK, f"may listen on {channel}"))
    except PmwError as error:
        findings.append(Check("redis rights", State.WRONG, error.what, error.mend))
    finally:
        await requests.close()
    return findings


async def _look(url: str, *, keeps: bool = True) -> list[Check]:
    """Look at the server itself; if the first finding is wrong, it is the only one.

    Args:
        url: `redis://…` or `rediss://…`.
        keeps: What is written there is to stay; pub/sub keeps nothing.
    """
    requests = Requests(url)
    try:
        await requests.ask(("PING",))
        told = _fields(await _if_allowed(requests, "INFO") or b"")
        findings = [_server(told, requests.place, keeps=keeps)]
        findings.append(await time_answers(lambda: requests.ask(("PING",)), name="redis latency"))
        if told and keeps:
            findings += [_memory(told), *_persistence(told)]
        before = time.time()
        if (clock := await _if_allowed(requests, "TIME")) is not None:
            theirs = int(clock[0]) + int(clock[1]) / 1e6
            after = time.time()
            findings.append(
                judge_clock(theirs=theirs, before=before, after=after, name="redis clock")
            )
    except ConfigurationError:
        raise
    except PmwError as error:
        return [Check("redis", State.WRONG, error.what, error.mend)]
    finally:
        await requests.close()
    return findings


async def _if_allowed(requests: Requests, command: str) -> Any:
    """Return the reply to a command; None if the user may not ask for it."""
    try:
        return (await requests.ask((command,)))[0]
    except PmwError as error:
        if isinstance(error.__cause__, NoPermissionError):
            return None
        raise


def _fields(info: bytes) -> Mapping[str, str]:
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _server(told: Mapping[str, str], place: str, *, keeps: bool) -> Check:
    if not told:
        found = f"answers at {place}; INFO isn't allowed, so its version and settings aren't known"
        mend = "for a look at them: ACL SETUSER name +info"
        return Check("redis", State.WARNING, found, mend)
    version = told.get("redis_version", "")
    ours = told.get("valkey_version")
    found = f"{f'Valkey {ours}' if ours else f'Redis {version}'} at {place}"
    if told.get("role") == "slave":
        return Check("redis", State.WRONG, f"{found}, a replica", "name its primary in the URL")
    if told.get("cluster_enabled") == "1":
        mend = "use a primary with a replica, and several servers, by channel, for throughput"
        if not keeps:  # pub/sub knows no slots
            return Check("redis", State.WARNING, f"{found}, a cluster, which was never tried", mend)
        found += (
            ", a cluster, whose slots would part the keys that a script of ours touches at once"
        )
        return Check("redis", State.WRONG, found, mend)
    major = re.match(r"\d+", version)
    if major and int(major[0]) < LOWEST:
        mend = f"use Redis {LOWEST} or newer, or any Valkey"
        return Check("redis", State.WRONG, f"{found} is too old", mend)
    return Check("redis", State.OK, found)


def _memory(told: Mapping[str, str]) -> Check:
    most, used = int(told.get("maxmemory", "0")), int(told.get("used_memory", "0"))
    policy = told.get("maxmemory_policy", "noeviction")
    if not most:
        return Check("redis memory", State.OK, f"{_mb(used)} used, without a limit")
    found = f"{_mb(used)} of {_mb(most)} used, {policy}"
    if policy != "noeviction":
        # All our keys may expire, so the volatile policies take them just the same.
        found += ": when it is full, it throws queues of calls away"
        mend = "CONFIG SET maxmemory-policy noeviction, and a server of its own for pmw"
        return Check("redis memory", State.WARNING, found, mend)
    if used > most * NEARLY_FULL:
        found += ": when it is full, nothing more is sent"
        return Check("redis memory", State.WARNING, found, "raise maxmemory, or make room")
    return Check("redis memory", State.OK, found)


def _persistence(told: Mapping[str, str]) -> Iterator[Check]:
    name = "redis persistence"
    failed = {
        "aof_last_write_status": "it could not write its log to disk",
        "rdb_last_bgsave_status": "it could not write its snapshot to disk",
    }
    broken = [what for field, what in failed.items() if told.get(field, "ok") != "ok"]
    if broken:
        found = f"{' and '.join(broken)}, and may refuse what is written"
        yield Check(name, State.WRONG, found, "see its log; make room on its disk")
    elif told.get("aof_enabled") == "1":
        yield Check(name, State.OK, "each write is logged (appendonly)")
    else:
        found = "a restart forgets what was written last: offers that wait and words under way"
        mend = "CONFIG SET appendonly yes; calls go on after a restart in any case"
        yield Check(name, State.WARNING, found, mend)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
