-- Acquires a lease.
-- Keys: lease, cool-down, token, epoch, meta. Arguments: owner, milliseconds of the lease, 1 to respect the
-- cool-down, milliseconds for which failures are remembered after a cool-down.
-- Returns: the outcome (`held`, `cooling` or `taken`), failures in a row, status or 0, milliseconds left of the
-- cool-down or of the other lease, the record's digest if `taken`, the epoch, the content if `held`.
local failures = tonumber(field(KEYS[2], 'failures')) or 0
local status = tonumber(field(KEYS[2], 'status')) or 0
failures = math.max(0, math.min(failures, 1000))
status = math.max(0, math.min(status, 999))
-- The key lives longer than the cool-down, by the time for which failures are remembered.
local left = math.min(redis.call('PTTL', KEYS[2]) - ARGV[4], 3600000)
if ARGV[3] == '1' and failures > 0 and left > 0 then
    return {'cooling', failures, status, left, '', '', false}
end
local held_by = holder(KEYS[1])
if held_by and held_by ~= ARGV[1] then
    return {'taken', failures, status, redis.call('PTTL', KEYS[1]), digest(KEYS[3]), digest(KEYS[4]), false}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'held', failures, status, 0, '', digest(KEYS[4]), present(KEYS[3], KEYS[5])}
