-- What the reconciler of the delivery role handed to the queue once more. Lock cost: the index
-- blocks writes to statuses while it is built, about a second per million local statuses.

-- Plan and FanoutStatus messages that were published again, with how often, so that each waits
-- longer every time and replicas do not repeat one another.
create table republished_events (
    message         text not null check (message in ('plan', 'fanout_status')),
    -- The activity, or the status.
    id              bigint not null,
    times           int not null default 1,
    republished_at  timestamptz not null default now(),
    primary key (message, id)
);

-- The local statuses of the last day, without reading everybody else's.
create index statuses_local on statuses (id) where local and deleted_at is null;
