-- Keys: token, meta, lease, cool-down. Arguments: owner, record, seconds or nothing, issue time or
-- nothing, channel, message, the digest of what was read or nothing.
-- Returns 1: stored. 0: not, somebody else holds the lease or has stored. 2: not, nobody holds it, say
-- what was read.
local holder = redis.call('GET', KEYS[3])
if holder ~= ARGV[1] then
    if holder then return 0 end
    if ARGV[7] == '' then return 2 end
    if digest(KEYS[1]) ~= ARGV[7] then return 0 end
end
put(KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[4])
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
