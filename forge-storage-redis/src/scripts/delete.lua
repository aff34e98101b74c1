-- Deletes a token. Keys: token, meta, epoch. Arguments: channel, message, milliseconds to keep the epoch.
-- Race: the new epoch keeps a fetch that began before the deletion from storing its token after it.
remove(KEYS[1], KEYS[2])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
