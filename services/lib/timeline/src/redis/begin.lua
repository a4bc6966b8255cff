-- Starts a rebuild unless another one of this run of the store is under way.
-- KEYS[1] the list. ARGV: nonce, deadline, now (both Unix seconds), run, time to live (ms).
local marker = redis.call('LINDEX', KEYS[1], 0)
if marker then
  local run, deadline = marker:match('^building:[^:.]*%.([^:]*):(%d+)$')
  if run == ARGV[4] and tonumber(deadline) > tonumber(ARGV[3]) then
    return 0
  end
end
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], 'building:' .. ARGV[1] .. ':' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
