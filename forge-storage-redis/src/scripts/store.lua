-- Keys: token, meta, lease, cool-down, epoch. Arguments: owner, record, seconds or nothing, issue time or
-- nothing, channel, message, the epoch in which the lease was given, the digest of what was read or
-- nothing, the message that the lease is free.
-- Returns 1: stored. 0: not, somebody else holds the lease, or has stored, or has invalidated. 2: not,
-- nobody holds it, say what was read.
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
