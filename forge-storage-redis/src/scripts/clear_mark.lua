-- Removes a mark of this lease. Keys: lease, meta. Arguments: owner, the token's identity.
if holder(KEYS[1]) ~= ARGV[1] then return 0 end
if field(KEYS[2], 'spent') ~= ARGV[2] or field(KEYS[2], 'by') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[2], 'spent', 'by', 'at')
