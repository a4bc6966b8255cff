-- The delivery engine: who owns a shard, what is known of a host, and where a row stands in its
-- own retries. Lock cost: the new columns are catalogue changes of a moment; each index locks
-- writes to deliveries while it is built, well under a second per million rows that wait or are
-- dead.

-- Delivery processes that live. One that was not seen for a lease's length does not count.
create table delivery_workers (
    id          uuid primary key,
    seen_at     timestamptz not null
);

-- One owner per shard, so that order, window, breaker and connections of a host are in one
-- process (design section 6).
create table shard_leases (
    shard       int primary key,
    holder      uuid,
    expires_at  timestamptz not null default '-infinity',
    -- A request of an earlier holder may still be under way until then.
    unsettled_until timestamptz not null default '-infinity'
);

alter table hosts
    -- Whose shard it is; null until a delivery role met the host.
    add column shard int,
    add column state text not null default 'ok' check (state in ('ok', 'failing', 'unavailable')),
    add column failing_since timestamptz,
    -- A failing host's next attempt; an unavailable one's next signed GET.
    add column next_probe_at timestamptz,
    -- The wait that led to next_probe_at, in seconds; doubles with every probe that fails.
    add column probe_interval float8,
    -- Days, in UTC, on which a probe failed; seven make the host unavailable.
    add column failed_days date[] not null default '{}',
    -- Never probed with twice in a row.
    add column last_probe_activity_id bigint,
    add column unavailable_since timestamptz,
    -- When verified inbound traffic last brought a probe forward: at most hourly.
    add column hinted_at timestamptz,
    -- Whether rows wait for the host as a whole: parked without a time of their own.
    add column backlog boolean not null default false,
    -- Requests a second, learnt from 429; forgotten after rate_until.
    add column rate float8,
    add column rate_until timestamptz,
    -- An operator's switch, and why.
    add column paused_at timestamptz,
    add column paused_reason text,
    -- When an operator last touched the row: its owner reads it again.
    add column steered_at timestamptz;
create index hosts_probes on hosts (shard, next_probe_at) where next_probe_at is not null;
create index hosts_backlog on hosts (shard, host) where backlog;
create index hosts_steered on hosts (steered_at) where steered_at is not null;
create index hosts_troubled on hosts (state, host) where state <> 'ok';

alter table deliveries
    -- Failures that were the activity's own: its place on the retry ladder. `attempts` counts
    -- every POST.
    add column own_failures int not null default 0,
    -- Whether a byte of a request with it may have reached the host.
    add column touched boolean not null default false;

-- Parked rows are of two kinds: with a time (not_before) they wait for it, without one they wait
-- for their host, lane by lane and in order.
drop index deliveries_parked;
create index deliveries_timed on deliveries (shard, not_before)
    where state = 'parked' and not_before is not null;
create index deliveries_backlog on deliveries (host, lane, activity_id)
    where state = 'parked' and not_before is null;
