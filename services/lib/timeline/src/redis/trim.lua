-- Cuts a complete list that grew too long, and raises its floor to the highest id cut away.
-- A list under rebuild is left: finishing cuts it, and it lives only as long as its rebuild.
-- KEYS[1] the list. ARGV: longest, what a cut leaves.
-- Ids have up to 19 digits, more than a Lua number keeps: they are compared as strings.
local function higher(a, b)
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

local ids = redis.call('LLEN', KEYS[1]) - 1
if ids <= tonumber(ARGV[1]) then
  return 0
end
local marker = redis.call('LINDEX', KEYS[1], 0)
local floor, run = marker:match('^complete:(%d+):(.*)$')
if not floor then
  return 0
end
local left = tonumber(ARGV[2])
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 1, ids - left)) do
  if higher(id, floor) then
    floor = id
  end
end
redis.call('LTRIM', KEYS[1], -left, -1)
redis.call('LPUSH', KEYS[1], 'complete:' .. floor .. ':' .. run)
return ids - left
