-- Renews a finished list; one under rebuild must not outlive its rebuild.
-- KEYS[1] the list. ARGV: time to live (ms).
local marker = redis.call('LINDEX', KEYS[1], 0)
if marker and marker:sub(1, 9) == 'complete:' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
