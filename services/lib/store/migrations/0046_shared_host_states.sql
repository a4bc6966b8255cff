-- At most fifty host states per registrable domain (design section 11): names below a domain cost
-- nothing, so whoever has one could make as many hosts as they like, each with a window, a breaker
-- and a row of its own. Lock cost: the column is a catalogue change of a moment; the index locks
-- writes to inboxes while it is built, about a second per million.

-- Whose state deliveries to the inbox have, when that is not its own host's.
alter table inboxes add column state_host text;

-- Hosts below a domain are neighbours in this order, and those of one host are skipped.
create index inboxes_states on inboxes ((reverse(host) collate "C")) where state_host is null;
