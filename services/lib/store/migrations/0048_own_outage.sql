-- Whether the holder of the shard has no way out: whoever has the shard next goes on from there, because
-- an outage of our own that a restart forgets would count against every host. Lock cost: a catalogue
-- change of a moment, over a table of a few dozen rows.
alter table shard_leases add column own_outage boolean not null default false;

-- Whose state a server shares is looked up from the shared state's name, for servers with such a one only.
create index inboxes_shared_states on inboxes (state_host) where state_host is not null;
