-- Extends a lease. Keys: lease. Arguments: owner, milliseconds. Returns whether the owner still holds it.
if holder(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
