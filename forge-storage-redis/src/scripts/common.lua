-- In front of each script.
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- A key's digest, or its type. Scripts have only SHA-1; a collision is of no use to an attacker.
local function digest(key)
    local what = redis.call('TYPE', key).ok
    if what ~= 'string' then return what end
    local length = redis.call('STRLEN', key)
    if length > 1048576 then return 'too long: ' .. length end
    return redis.sha1hex(redis.call('GET', key))
end
-- The owner of a lease; `false` if the key is not a string that expires.
local function holder(lease)
    if redis.call('TYPE', lease).ok ~= 'string' or redis.call('PTTL', lease) < 0 then return false end
    return redis.call('GET', lease)
end
-- A field as text, empty if it is missing.
local function field(hash, name)
    if redis.call('TYPE', hash).ok ~= 'hash' then return '' end
    return redis.call('HGET', hash, name) or ''
end
-- The content: time, kind (`none`, `record` or `unreadable`), record, digest, issue time.
local function present(key, meta)
    local what = redis.call('TYPE', key).ok
    if what == 'none' then return {now(), 'none', '', 'none', ''} end
    if what ~= 'string' then return {now(), 'unreadable', '', what, ''} end
    local digest = digest(key)
    if digest:sub(1, 8) == 'too long' then return {now(), 'unreadable', '', digest, ''} end
    local issued_at = ''
    if field(meta, 'digest') == digest then
        issued_at = field(meta, 'issued_at'):match('^%d+$') or ''
    end
    return {now(), 'record', redis.call('GET', key), digest, issued_at}
end
-- Race: the mark stays, since its process may be sending the refresh token now.
local function remove(key, meta)
    redis.call('DEL', key)
    if redis.call('TYPE', meta).ok == 'hash' then
        redis.call('HDEL', meta, 'version', 'digest', 'issued_at')
    end
end
-- The version of the hash. A later one may have more fields, which this one ignores.
local function put(key, meta, record, seconds, issued_at)
    redis.call('SET', key, record)
    redis.call('DEL', meta)
    redis.call('HSET', meta, 'version', '1', 'digest', redis.sha1hex(record))
    if issued_at ~= '' then redis.call('HSET', meta, 'issued_at', issued_at) end
    if seconds ~= '' then
        redis.call('EXPIRE', key, seconds)
        redis.call('EXPIRE', meta, seconds)
    end
end
