-- Keys: lease, cool-down, token. Arguments: owner, milliseconds, 1 to heed the cool-down.
-- Returns: what (`held`, `cooling` or `taken`), failures so far, status or 0, milliseconds of the
-- cool-down or of the other's lease, the record's digest.
local failures, status = 0, 0
local pause = redis.pcall('HMGET', KEYS[2], 'until', 'failures', 'status')
if not pause.err and pause[1] then
    failures, status = tonumber(pause[2]) or 0, tonumber(pause[3]) or 0
    local left = (tonumber(pause[1]) or 0) - now()
    if ARGV[3] == '1' and left > 0 then return {'cooling', failures, status, left, ''} end
end
-- What never ends is no lease.
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('DEL', KEYS[1]) end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then
        return {'taken', failures, status, redis.call('PTTL', KEYS[1]), digest(KEYS[3])}
    end
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {'held', failures, status, 0, ''}
