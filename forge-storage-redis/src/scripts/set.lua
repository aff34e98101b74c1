-- Stores a token. Keys: token, meta. Arguments: record, seconds to keep it or empty, issue time or empty,
-- channel, message.
put(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
