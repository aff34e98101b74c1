-- Keys: token, meta, epoch. Arguments: channel, message, milliseconds to remember it.
-- What was begun before this must not be stored after it.
remove(KEYS[1], KEYS[2])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
