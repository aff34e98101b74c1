-- Releases a lease and begins a cool-down. Keys: lease, cool-down. Arguments: owner, channel, message,
-- milliseconds of the cool-down, failures, status or 0, milliseconds for which failures are remembered after it.
if holder(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[2], 'failures', ARGV[5], 'status', ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[4] + ARGV[7])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
