-- What operators look for, and what they did. Lock cost: the new column is a catalogue change of
-- a moment; each index on deliveries blocks writes to it while it is built, well under a second
-- per million rows that are parked, dead or cancelled. The index on activities is built over all
-- of them, one per event and hundreds of times fewer than deliveries: about a second per million.

-- When an operator last gave the row another life: its ladder and its age begin there.
alter table deliveries add column replayed_at timestamptz;

-- By host and state, in the order in which rows are listed and replayed. Conditions are spelled as
-- in migration 0043, so that these are used only by statements that mean them.
create index deliveries_host_order on deliveries (host, state, activity_id, inbox_id)
    where coalesce(state in ('queued', 'parked', 'dead'), false);
drop index deliveries_host;
-- By state alone, in the same order. Dead rows have theirs (deliveries_dead).
create index deliveries_waiting on deliveries (activity_id)
    where coalesce(state = 'parked', false);
create index deliveries_cancelled on deliveries (activity_id)
    where coalesce(state = 'cancelled', false);
create index deliveries_dead_reason on deliveries (reason, activity_id) where state = 'dead';
-- By actor.
create index activities_account on activities (account_id, id);

create index hosts_paused on hosts (host) where paused_at is not null;

-- Who did what; the latest ten thousand.
create table operator_acts (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    -- A local account; null is the command line.
    account_id  bigint,
    act         text not null check (act in ('pause', 'resume', 'probe', 'replay', 'purge')),
    -- A host, or the filter in words.
    target      text not null check (length(target) <= 1000),
    reason      text not null check (length(reason) <= 500),
    -- Rows that were moved.
    moved       bigint not null default 0
);
