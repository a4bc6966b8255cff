-- What the delivery engine must remember across processes and days. Lock cost: catalogue changes of a moment.

-- Since when a refusal lasts that ends a row only when it does: 429 of the row's own, and 404, 405 or 410
-- of a host's shared inbox. It cannot be counted from the planning of a row: one that waited two days for
-- its host was not refused for two days.
alter table deliveries add column refused_since timestamptz;
alter table hosts add column gone_since timestamptz;

-- When the shard was last taken from a holder that did not hand it over: what that one sent last is written
-- down nowhere, so whatever was planned before may have reached its host.
alter table shard_leases add column unclean_at timestamptz;

-- Ranges of activity ids whose deliveries were dropped with their days, ends excluded. Neighbours are
-- merged, so there are few; before, one number said it, below which all had to be gone.
create table deliveries_dropped (
    from_id bigint primary key,
    to_id   bigint not null check (to_id > from_id)
);
insert into deliveries_dropped (from_id, to_id)
    select 0, (value #>> '{}')::bigint from settings
    where name = 'deliveries_dropped_below' and (value #>> '{}')::bigint > 0;
delete from settings where name = 'deliveries_dropped_below';
