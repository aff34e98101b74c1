-- Deletes a record with this digest. Keys: token, meta. Arguments: channel, message, digest.
-- Returns whether the record had the digest.
if digest(KEYS[1]) ~= ARGV[3] then return 0 end
remove(KEYS[1], KEYS[2])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
