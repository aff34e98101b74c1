-- Releases a lease. Keys: lease. Arguments: owner, channel, message. Sent alone, without `common.lua`.
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
