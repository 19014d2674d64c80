"""What a Redis does in one step for us, in Lua; each is sent as it is and kept by the server.

Times are in ms and by the server's clock.
"""

KEEP_INBOX = """
-- KEYS inbox; ARGV the last parcel that was read, the one after it, how long to keep.
if redis.call('PEXPIRE', KEYS[1], ARGV[3]) == 0 then
  -- Made to go on after what was read from an earlier one, also if the clock went back.
  redis.call('XADD', KEYS[1], 'MAXLEN', 0, ARGV[1], 'p', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
  redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
end
"""

TAKE = """
-- KEYS queues; ARGV who, the lease, how many at most, how long to keep, whether to tidy.
local who, lease, left, kept, tidy = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local taken = {}
local function take(queue, offer, number)
  taken[#taken + 1] = {queue - 1, offer[1], offer[2][2], number}
  left = left - 1
end
local function take_expired(queue, key)
  local start = '0-0'
  repeat
    local found = redis.pcall('XAUTOCLAIM', key, 'hosts', who, lease, start, 'COUNT', left)
    if found.err then  -- nobody has claimed here yet, or the data is lost
      redis.call('XGROUP', 'CREATE', key, 'hosts', '0', 'MKSTREAM')
      return
    end
    for _, offer in ipairs(found[2]) do
      take(queue, offer, redis.call('XPENDING', key, 'hosts', offer[1], offer[1], 1)[1][4])
    end
    start = found[1]
  until start == '0-0' or left == 0
end
local function take_new(queue, key)
  local found = redis.call(
    'XREADGROUP', 'GROUP', 'hosts', who, 'COUNT', left, 'STREAMS', key, '>')
  for _, offer in ipairs(found and found[1][2] or {}) do take(queue, offer, 1) end
end
local function forget_the_dead(key)
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', key, 'hosts')) do
    local about = {}
    for field = 1, #consumer, 2 do about[consumer[field]] = consumer[field + 1] end
    if about.pending == 0 and about.idle > tonumber(tidy) then
      redis.call('XGROUP', 'DELCONSUMER', key, 'hosts', about.name)
    end
  end
end
for queue, key in ipairs(KEYS) do
  if left == 0 then break end
  take_expired(queue, key)
  if left > 0 then take_new(queue, key) end
  if tidy ~= '' then forget_the_dead(key) end
  redis.call('PEXPIRE', key, kept)
end
return taken
"""

_HELD = """
local function held(key, who, offer, number)
  local found = redis.pcall('XPENDING', key, 'hosts', offer, offer, 1)[1]
  return found and found[2] == who and found[4] == tonumber(number)
end
"""

RENEW = f"""
-- KEYS a queue for each claim; ARGV who, how long to keep, then offer and number of each.
{_HELD}
local lost = {{}}
for claim, key in ipairs(KEYS) do
  local offer, number = ARGV[1 + 2 * claim], ARGV[2 + 2 * claim]
  if held(key, ARGV[1], offer, number)
      and redis.call('XCLAIM', key, 'hosts', ARGV[1], 0, offer, 'JUSTID')[1] then
    redis.call('PEXPIRE', key, ARGV[2])
  else
    lost[#lost + 1] = claim - 1
  end
end
return lost
"""

SETTLE = f"""
-- KEYS queue; ARGV who, offer, number.
{_HELD}
if held(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
  redis.call('XACK', KEYS[1], 'hosts', ARGV[2])
  redis.call('XDEL', KEYS[1], ARGV[2])
end
"""

GIVE_BACK = f"""
-- KEYS queue; ARGV who, offer, number, the lease.
{_HELD}
if held(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
  -- To nobody, and as if the lease were over; the number stays and goes on from there.
  redis.call('XCLAIM', KEYS[1], 'hosts', 'nobody', 0, ARGV[2], 'IDLE', ARGV[4], 'JUSTID')
end
"""

_FORGET_ABSENT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
end
"""

ANNOUNCE = f"""
-- KEYS until when by name, what they say by name; ARGV name, what it says, for how long.
{_FORGET_ABSENT}
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], string.format('%d:', now) .. ARGV[2])
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[3]) then redis.call('PEXPIRE', key, ARGV[3]) end
end
"""

PRESENT = f"""
-- KEYS as above; returns the time, then name and what it says, by turns.
{_FORGET_ABSENT}
return {{now, redis.call('HGETALL', KEYS[2])}}
"""
