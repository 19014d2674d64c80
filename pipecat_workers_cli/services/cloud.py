"""What bounds the services behind an API, whoever's they are; see `providers` for who builds them.

Each factory, in the module of its provider, takes what `providers` read from the table: `model` or
`voice`, the key, another server's address or None, and the recipe's further settings, which have
been checked. Their names are those of Pipecat's own settings. Nothing connects before the pipeline
starts, and no provider's package is imported for another.
"""

from http import HTTPStatus
from typing import Any

ATTEMPT_TIMEOUT = 8.0  # seconds without a byte; a caller hangs up in longer silence
LOCAL_ATTEMPT_TIMEOUT = 60.0  # seconds; a server at home may have to load the model first
RETRIES = 1  # for a connection that had gone stale, or a server's moment of trouble


async def _refuse_to_wait(response: Any) -> None:
    """Make a limit that was hit an error at once: the clients would wait a minute for it."""
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        response.headers["x-should-retry"] = "false"


HOOKS = {"response": [_refuse_to_wait]}
