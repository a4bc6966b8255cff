-- Until when a host asked to be left alone (Retry-After), for whoever has its shard next. Lock cost: a
-- catalogue change of a moment.
alter table hosts add column held_until timestamptz;
