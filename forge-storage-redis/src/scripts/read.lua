-- Keys: token, meta.
-- Returns: now, what (`none`, `record` or `unreadable`), the record, its digest, its issue time.
local what = redis.call('TYPE', KEYS[1]).ok
if what == 'none' then return {now(), 'none', '', 'none', ''} end
if what ~= 'string' then return {now(), 'unreadable', '', what, ''} end
local digest = digest(KEYS[1])
if digest:sub(1, 8) == 'too long' then return {now(), 'unreadable', '', digest, ''} end
local issued_at = ''
if field(KEYS[2], 'digest') == digest then
    issued_at = field(KEYS[2], 'issued_at'):match('^%d+$') or ''
end
return {now(), 'record', redis.call('GET', KEYS[1]), digest, issued_at}
