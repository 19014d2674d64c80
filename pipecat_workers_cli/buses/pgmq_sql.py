"""The names of a channel's queues in Postgres, and every statement on them.

All of it is PGMQ queues: an inbox for each process, one queue of offers, and one of those who
are there, which nobody reads from; its rows' visibility timeout is when they are gone. Columns
are named one by one, because PGMQ 1.5 and 1.13 differ in them, and only the columns and
functions that both have are used.
"""

import hashlib
import re
from dataclasses import dataclass

SLUG = 10  # characters of a channel's name in its queues' names, for whoever looks at them
READ_AT_ONCE = 500  # parcels
INBOXES = "Inbox"
"""A kind that no `announce` may use: whose inbox is kept, and until when."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a channel's queues are called: 45 characters at most; PGMQ allows 47.

    Each holds a digest of the whole channel, so that no channel's names begin with another's.

    Attributes:
        prefix: Of all the channel's queues.
    """

    prefix: str

    @classmethod
    def of(cls, channel: str) -> "Names":
        """Name the queues of a channel of any text."""
        slug = re.sub("[^a-z0-9]+", "_", channel.lower())[:SLUG]
        return cls(f"pmw_{slug}_{hashlib.sha256(channel.encode()).hexdigest()[:10]}_")

    @property
    def inboxes(self) -> str:
        """What an inbox's name begins with; its owner's address follows."""
        return f"{self.prefix}in_"

    @property
    def offers(self) -> str:
        """The queue of what is offered, and where a new offer is notified."""
        return f"{self.prefix}offers"

    @property
    def presence(self) -> str:
        """The queue of those who are there."""
        return f"{self.prefix}presence"


MAKE = "SELECT pgmq.create_unlogged($1::text)"
# PGMQ 1.5 fails to drop what isn't there.
DROP = "SELECT pgmq.drop_queue(queue_name) FROM pgmq.meta WHERE queue_name = $1"
ALONE = "SELECT pg_advisory_xact_lock(hashtext($1))"  # two who make one queue fail on PGMQ 1.5

# Dropping a queue takes away what `meta` says of it in the same transaction, so only a drop
# between this statement's first look and its insert can make it fail; it is then sent again.
SEND = """
SELECT p.queue, s.id, pg_notify(p.queue, '')
FROM unnest($1::text[], $2::bytea[]) AS p (queue, body)
JOIN pgmq.meta m ON m.queue_name = p.queue
CROSS JOIN LATERAL pgmq.send(p.queue, to_jsonb(encode(p.body, 'base64'))) AS s (id)
"""

# For one inbox alone, a third of the time: nothing to plan, and no text to be made a statement.
SEND_ONE = """
INSERT INTO {inbox} (vt, message)
VALUES (clock_timestamp(), to_jsonb(encode($2::bytea, 'base64')))
RETURNING $1::text, msg_id, pg_notify($1, '')
"""

ADOPT = """
INSERT INTO {presence} (vt, message)
SELECT clock_timestamp() + make_interval(secs => $2),
       jsonb_build_object('kind', $3::text, 'name', m.queue_name)
FROM pgmq.meta m
WHERE starts_with(m.queue_name, $1) AND NOT EXISTS (
    SELECT FROM {presence} p
    WHERE p.message->>'kind' = $3 AND p.message->>'name' = m.queue_name)
ON CONFLICT DO NOTHING
"""

# Whoever takes an expired inbox hides it from the others while dropping it.
TAKE_EXPIRED = """
WITH expired AS (
    SELECT msg_id FROM {presence}
    WHERE message->>'kind' = $1 AND vt <= clock_timestamp()
    ORDER BY msg_id LIMIT 100 FOR UPDATE SKIP LOCKED)
UPDATE {presence} p SET vt = clock_timestamp() + make_interval(secs => $2)
FROM expired WHERE p.msg_id = expired.msg_id
RETURNING p.message->>'name'
"""

FORGET_EXPIRED = """
DELETE FROM {presence} WHERE msg_id IN (
    SELECT msg_id FROM {presence}
    WHERE message->>'kind' <> $1 AND vt <= clock_timestamp()
    FOR UPDATE SKIP LOCKED)
"""

ANNOUNCE = """
INSERT INTO {presence} (vt, enqueued_at, message)
VALUES (clock_timestamp() + make_interval(secs => $4), clock_timestamp(),
        jsonb_build_object('kind', $1::text, 'name', $2::text,
                           'body', encode($3::bytea, 'base64')))
ON CONFLICT ((message->>'kind'), (message->>'name')) DO UPDATE
SET vt = excluded.vt, enqueued_at = excluded.enqueued_at, message = excluded.message
"""

TAKE_LEAVE = "DELETE FROM {presence} WHERE message->>'kind' = $1 AND message->>'name' = $2"

PRESENT = """
SELECT message->>'name', message->>'body',
       extract(epoch FROM clock_timestamp() - enqueued_at)::float8
FROM {presence}
WHERE message->>'kind' = $1 AND vt > clock_timestamp()
ORDER BY 1
"""

PRESENCE_INDEX = """
CREATE UNIQUE INDEX IF NOT EXISTS {name}_who
ON {presence} ((message->>'kind'), (message->>'name'))
"""

OFFER = """
INSERT INTO {offers} (vt, message)
VALUES (clock_timestamp(),
        jsonb_build_object('queue', $1::text, 'token', $2::text,
                           'body', encode($3::bytea, 'base64')))
RETURNING msg_id, pg_notify($4, $1)
"""

WITHDRAW = "DELETE FROM {offers} WHERE msg_id = $1 AND message->>'token' = $2"

CLAIM = """
WITH free AS (
    SELECT msg_id FROM {offers}
    WHERE message->>'queue' = ANY($1::text[]) AND vt <= clock_timestamp()
    ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE {offers} o
SET vt = clock_timestamp() + make_interval(secs => $3), read_ct = o.read_ct + 1
FROM free WHERE o.msg_id = free.msg_id
RETURNING o.msg_id, o.read_ct, o.message->>'queue', o.message->>'token',
          o.message->>'body'
"""

# A claim is known by how often its offer had been claimed: once another has it, none of these
# three touches it; nor once it was given back, which its time says. The token tells offers
# apart whose number the engine gave twice, which an unlogged queue does after a crash.
RENEW = """
UPDATE {offers} o SET vt = clock_timestamp() + make_interval(secs => $4)
FROM unnest($1::bigint[], $2::text[], $3::int[]) AS c (id, token, number)
WHERE o.msg_id = c.id AND o.read_ct = c.number AND o.message->>'token' = c.token
AND o.vt > '-infinity'
RETURNING c.id, c.token, c.number
"""

SETTLE = """
DELETE FROM {offers}
WHERE msg_id = $1 AND message->>'token' = $2 AND read_ct = $3 AND vt > '-infinity'
"""

GIVE_BACK = """
UPDATE {offers} SET vt = '-infinity'
WHERE msg_id = $1 AND message->>'token' = $2 AND read_ct = $3 AND vt > '-infinity'
RETURNING pg_notify($4, message->>'queue')
"""

OFFERS_INDEX = """
CREATE INDEX IF NOT EXISTS {name}_queue ON {offers} ((message->>'queue'), msg_id)
"""

TRIM_OFFERS = """
DELETE FROM {offers} WHERE msg_id IN (
    SELECT msg_id FROM {offers} WHERE message->>'queue' = $1
    ORDER BY msg_id DESC OFFSET $2)
"""

# No visibility timeout here: an inbox has one reader, who deletes what it was given last time
# and takes what is left. Not "all after the last number": a lower one may be committed later.
RECEIVE = """
WITH done AS (DELETE FROM {inbox} WHERE msg_id = ANY($1::bigint[]))
SELECT msg_id, decode(message #>> '{{}}', 'base64') FROM {inbox}
WHERE msg_id <> ALL($1::bigint[])
ORDER BY msg_id LIMIT $2
"""

# The same where something lies that no process of ours put there: Postgres decodes all or nothing.
RECEIVE_TEXT = """
WITH done AS (DELETE FROM {inbox} WHERE msg_id = ANY($1::bigint[]))
SELECT msg_id, message #>> '{{}}' FROM {inbox}
WHERE msg_id <> ALL($1::bigint[])
ORDER BY msg_id LIMIT $2
"""

TRIM_INBOX = "DELETE FROM {inbox} WHERE msg_id <= $1"


def table(queue: str) -> str:
    """Return a queue's table, to be put into a statement; takes names of `Names` alone."""
    return f'pgmq."q_{queue}"'
