"""The Lua scripts of the materializer: compare and set for one entity key, atomic however many writers there are.

Lua's numbers are doubles, so an event timestamp is compared as (seconds, nanoseconds), never as nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from redis.exceptions import NoScriptError

_TIMESTAMP = """
-- seconds and nanoseconds of a google.protobuf.Timestamp; nothing where the bytes are none
local function parts(raw)
  local seconds, nanos, at = 0, 0, 1
  while at <= #raw do
    local tag = string.byte(raw, at)
    at = at + 1
    if tag ~= 8 and tag ~= 16 then return nil end
    local low, scale, count, byte = 0, 1, 0, 128
    while byte >= 128 do
      byte = string.byte(raw, at)
      if not byte or count == 10 then return nil end
      at, count = at + 1, count + 1
      -- 49 bits hold every second of the years 1 to 9999; a negative number has ten bytes, the rest being its sign
      if count <= 7 then low, scale = low + (byte % 128) * scale, scale * 128 end
    end
    if count == 10 then low = low - 562949953421312 elseif count > 7 then return nil end
    if tag == 8 then seconds = low else nanos = low end
  end
  if seconds < -62135596800 or seconds > 253402300799 or nanos < 0 or nanos > 999999999 then return nil end
  return seconds, nanos
end
"""

# ARGV: dry, overwrite_equal, key ttl, seconds, nanos, timestamp field, timestamp bytes, then field and bytes in turn
_WRITE = (
    _TIMESTAMP
    + """
local key, dry, ttl = KEYS[1], ARGV[1] == '1', tonumber(ARGV[3])
local CHUNK = 1000
local function set(pairs_, first)
  if dry then return end
  for at = first or 1, #pairs_, CHUNK do
    redis.call('HSET', key, unpack(pairs_, at, math.min(at + CHUNK - 1, #pairs_)))
  end
end
local function renew(outcome)
  if not dry and ttl > 0 then redis.call('EXPIRE', key, ttl) end
  return outcome
end
local function all()
  set(ARGV, 6)
  return renew(1)
end

local stored = redis.pcall('HGET', key, ARGV[6])
if type(stored) == 'table' then
  -- an entity key that holds no hash holds nothing that anybody can read: damage, and in the way
  if not dry then redis.call('DEL', key) end
  return all()
end
if not stored then return all() end
if stored ~= ARGV[7] then
  local seconds, nanos = parts(stored)
  if not seconds then return all() end
  local due, due_nanos = tonumber(ARGV[4]), tonumber(ARGV[5])
  if seconds > due or (seconds == due and nanos > due_nanos) then return 0 end
  if seconds < due or nanos < due_nanos then return all() end
end

local missing, changed = {}, {}
for first = 8, #ARGV, 2 * CHUNK do
  local fields = {}
  for at = first, math.min(first + 2 * CHUNK - 1, #ARGV), 2 do fields[#fields + 1] = ARGV[at] end
  for place, current in ipairs(redis.call('HMGET', key, unpack(fields))) do
    local at, target = first + 2 * (place - 1), nil
    if not current then target = missing elseif current ~= ARGV[at + 1] then target = changed end
    if target then
      target[#target + 1] = ARGV[at]
      target[#target + 1] = ARGV[at + 1]
    end
  end
end
set(missing)
if #changed > 0 then
  if ARGV[2] == '1' then
    set(changed)
    return renew(2)
  elseif #missing == 0 then
    return 5
  end
end
if #missing > 0 then return renew(3) end
return renew(4)
"""
)

# ARGV: dry, whether there is a limit, its seconds, its nanos, timestamp field, then the feature fields
_DELETE = (
    _TIMESTAMP
    + """
local key = KEYS[1]
local stored = redis.call('HGET', key, ARGV[5])
if not stored then return 0 end
if ARGV[2] == '1' then
  local seconds, nanos = parts(stored)
  local limit, limit_nanos = tonumber(ARGV[3]), tonumber(ARGV[4])
  if seconds and (seconds > limit or (seconds == limit and nanos > limit_nanos)) then return 2 end
end
if ARGV[1] == '1' then return 1 end
for at = 5, #ARGV, 1000 do
  redis.call('HDEL', key, unpack(ARGV, at, math.min(at + 999, #ARGV)))
end
for _, field in ipairs(redis.call('HKEYS', key)) do
  -- a feature's field has four bytes and may by chance be "_ts:"
  if #field > 4 and string.sub(field, 1, 4) == '_ts:' then return 1 end
end
redis.call('DEL', key)
return 1
"""
)


@dataclass(frozen=True)
class Script:
    """A Lua script by its text; ``sha`` is what Redis knows it by."""

    text: str

    @property
    def sha(self) -> str:
        """SHA-1 of the text, as EVALSHA takes it."""
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


WRITE = Script(_WRITE)
DELETE = Script(_DELETE)

Call = tuple[bytes, Sequence[Any]]
"""An entity key and the arguments for it."""


def ensure_loaded(client: Any, script: Script) -> None:
    """Load the script unless Redis has it; raises what redis-py raises."""
    if not client.script_exists(script.sha)[0]:
        client.script_load(script.text)


def run(client: Any, script: Script, calls: Sequence[Call]) -> list[int]:
    """The script's answer for each call, in one pipeline; loads the script into the servers that do not have it.

    Each call names one key, so that it runs on a cluster as well. Raises what redis-py raises.
    """
    replies = _pipeline(client, script.sha, calls)
    lacking = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if lacking:
        client.script_load(script.text)
        for index, reply in zip(lacking, _pipeline(client, script.sha, [calls[i] for i in lacking]), strict=True):
            replies[index] = reply
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _pipeline(client: Any, sha: str, calls: Sequence[Call]) -> list[Any]:
    with client.pipeline(transaction=False) as pipe:
        for key, arguments in calls:
            # not pipe.evalsha: redis-py blocks that name on a cluster, where one key a call is safe
            pipe.execute_command("EVALSHA", sha, 1, key, *arguments)
        answers: list[Any] = pipe.execute(raise_on_error=False)
    return answers
