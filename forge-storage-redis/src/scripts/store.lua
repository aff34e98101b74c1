-- Stores a token and releases the lease. Keys: token, meta, lease, cool-down, epoch. Arguments: owner, record,
-- seconds to keep it or empty, issue time or empty, channel, message, the epoch at the request for the lease, the
-- digest of the record that was read or empty, the message that the lease is released.
-- Returns 1: stored. 0: not stored; another lease holds the key, or the token was replaced or invalidated.
-- 2: not stored; no lease holds the key, so the digest is needed.
local held_by = holder(KEYS[3])
if held_by == ARGV[1] then
    if digest(KEYS[5]) ~= ARGV[7] then
        redis.call('DEL', KEYS[3])
        redis.call('PUBLISH', ARGV[5], ARGV[9])
        return 0
    end
else
    if held_by then return 0 end
    if ARGV[7] ~= '' and digest(KEYS[5]) ~= ARGV[7] then return 0 end
    if ARGV[8] == '' then return 2 end
    if digest(KEYS[1]) ~= ARGV[8] then return 0 end
end
put(KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[4])
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
