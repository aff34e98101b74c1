-- Keys: token, meta, epoch. Arguments: channel, message, milliseconds to remember it.
-- What was begun before this must not be stored after it. The mark on a refresh token stays: it may be
-- on its way.
redis.call('DEL', KEYS[1])
redis.pcall('HDEL', KEYS[2], 'version', 'digest', 'issued_at')
if redis.call('TYPE', KEYS[3]).ok ~= 'string' then redis.call('DEL', KEYS[3]) end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
