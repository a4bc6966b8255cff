-- Ends a rebuild: the ids, then what was appended meanwhile, behind a complete marker.
-- KEYS[1] the list. ARGV: nonce, floor, run, time to live (ms), longest, what a cut leaves,
-- then the ids in ascending order.
-- Ids have up to 19 digits, more than a Lua number keeps: they are compared as strings.
local function higher(a, b)
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

local marker = redis.call('LINDEX', KEYS[1], 0)
local mine = 'building:' .. ARGV[1] .. ':'
if not marker or marker:sub(1, #mine) ~= mine then
  return 0
end
local all = {}
for i = 7, #ARGV do
  all[#all + 1] = ARGV[i]
end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 1, -1)) do
  all[#all + 1] = id
end
local floor = ARGV[2]
local first = 1
if #all > tonumber(ARGV[5]) then
  first = #all - tonumber(ARGV[6]) + 1
  for i = 1, first - 1 do
    if higher(all[i], floor) then
      floor = all[i]
    end
  end
end
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], 'complete:' .. floor .. ':' .. ARGV[3])
-- A call takes a few thousand arguments at most.
for from = first, #all, 500 do
  redis.call('RPUSH', KEYS[1], unpack(all, from, math.min(from + 499, #all)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
