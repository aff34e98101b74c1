-- Keys: token, meta. Arguments: channel, message, digest.
-- Returns whether the record had the digest.
if digest(KEYS[1]) ~= ARGV[3] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('HDEL', KEYS[2], 'version', 'digest', 'issued_at')
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
