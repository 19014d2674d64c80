"""Put PGMQ into a database: as the extension if the server has it, else as plain SQL."""

import asyncio

import asyncpg

from pipecat_workers_cli.buses.postgres import FAILURES, failure, open_connection

INSTALL_WITHIN = 30.0  # seconds; some two hundred statements

HAS_EXTENSION = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgmq')"
VERSION = """
SELECT coalesce(
    (SELECT extversion FROM pg_extension WHERE extname = 'pgmq'),
    substring(obj_description(to_regnamespace('pgmq')) FROM 'PGMQ ([0-9.]+)'),
    'of unknown version')
WHERE to_regclass('pgmq.meta') IS NOT NULL
"""


async def install(url: str) -> str:
    """Install PGMQ unless it is there; what is there is left as it is.

    Needs the right to create a schema in the database, or the extension.

    Args:
        url: `postgresql://…`, as asyncpg takes it.

    Returns:
        The version that is there now, such as `1.13.0`.

    Raises:
        ConfigurationError: The URL is none.
        BusDown: Postgres can't be reached or refuses.
    """
    try:
        async with asyncio.timeout(INSTALL_WITHIN):
            connection = await open_connection(url)
            try:
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('pgmq'))")
                    version = await connection.fetchval(VERSION)
                    if version is None:
                        await _install(connection)
                        version = await connection.fetchval(VERSION)
                    return version
            finally:
                connection.terminate()
    except FAILURES as error:
        raise failure(error, url) from error


async def _install(connection: asyncpg.Connection) -> None:
    if await connection.fetchval(HAS_EXTENSION):
        await connection.execute("CREATE EXTENSION pgmq")
        return
    # It imports psycopg, which nothing else here needs.
    from pgmq.install import get_embedded_install_sql, get_embedded_sql_version  # noqa: PLC0415

    await connection.execute(get_embedded_install_sql())
    # Nowhere else does it say which it is; a version has digits and dots alone.
    said = f"PGMQ {get_embedded_sql_version()}, as plain SQL"
    await connection.execute(f"COMMENT ON SCHEMA pgmq IS '{said}'")
