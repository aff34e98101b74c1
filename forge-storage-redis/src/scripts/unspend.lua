-- Keys: lease, meta. Arguments: owner, the token's identity, who marked.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local spent = redis.pcall('HMGET', KEYS[2], 'spent', 'by')
if spent.err or spent[1] ~= ARGV[2] or spent[2] ~= ARGV[3] then return 0 end
return redis.call('HDEL', KEYS[2], 'spent', 'by')
