-- Keys: lease. Arguments: owner, channel, message. Sent alone, without what is in front of the others.
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
