-- Marks a refresh token as spent. Keys: lease, meta, token. Arguments: owner, the token's identity, which foreign
-- mark to take over (`never`, `once` or `always`), milliseconds to keep the mark if the token is missing.
-- Returns `ours`, `foreign` or `lost`, and the age of a foreign mark in milliseconds, -1 if it is unknown.
if holder(KEYS[1]) ~= ARGV[1] then return {'lost', -1} end
local what = redis.call('TYPE', KEYS[2]).ok
if what ~= 'hash' and what ~= 'none' then redis.call('DEL', KEYS[2]) end
local again = '0'
if field(KEYS[2], 'spent') == ARGV[2] then
    if field(KEYS[2], 'by') == ARGV[1] then return {'ours', -1} end
    if ARGV[3] == 'never' or (ARGV[3] == 'once' and field(KEYS[2], 'again') == '1') then
        local at = tonumber(field(KEYS[2], 'at'):match('^%d+$'))
        return {'foreign', at and math.max(0, now() - at) or -1}
    end
    again = '1'
end
redis.call('HSET', KEYS[2], 'spent', ARGV[2], 'by', ARGV[1], 'again', again, 'at', now())
local left = redis.call('PTTL', KEYS[3])
if left > 0 then
    redis.call('PEXPIRE', KEYS[2], left)
elseif left == -2 then
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return {'ours', -1}
