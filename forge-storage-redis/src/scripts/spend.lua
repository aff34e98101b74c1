-- Keys: lease, meta, token. Arguments: owner, the token's identity, who marks, milliseconds to keep
-- the mark of a token that is not there.
-- Returns `ours`, `foreign` or `lost`.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local what = redis.call('TYPE', KEYS[2]).ok
if what ~= 'hash' and what ~= 'none' then redis.call('DEL', KEYS[2]) end
local spent = redis.call('HMGET', KEYS[2], 'spent', 'by')
if spent[1] == ARGV[2] then
    if spent[2] == ARGV[3] then return 'ours' else return 'foreign' end
end
redis.call('HSET', KEYS[2], 'spent', ARGV[2], 'by', ARGV[3])
local left = redis.call('PTTL', KEYS[3])
if left > 0 then
    redis.call('PEXPIRE', KEYS[2], left)
elseif left == -2 then
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return 'ours'
