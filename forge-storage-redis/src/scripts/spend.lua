-- Keys: lease, meta, token. Arguments: owner, the token's identity, 1 to take over a foreign mark,
-- milliseconds to keep the mark of a token that is not there.
-- Returns `ours`, `foreign` or `lost`.
if holder(KEYS[1]) ~= ARGV[1] then return 'lost' end
local what = redis.call('TYPE', KEYS[2]).ok
if what ~= 'hash' and what ~= 'none' then redis.call('DEL', KEYS[2]) end
local again = '0'
if field(KEYS[2], 'spent') == ARGV[2] then
    if field(KEYS[2], 'by') == ARGV[1] then return 'ours' end
    if ARGV[3] ~= '1' or field(KEYS[2], 'again') == '1' then return 'foreign' end
    again = '1'
end
redis.call('HSET', KEYS[2], 'spent', ARGV[2], 'by', ARGV[1], 'again', again)
local left = redis.call('PTTL', KEYS[3])
if left > 0 then
    redis.call('PEXPIRE', KEYS[2], left)
elseif left == -2 then
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return 'ours'
