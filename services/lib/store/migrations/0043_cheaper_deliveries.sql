-- A delivery is written twice, when it is planned and when it has its outcome, and no more. Lock
-- cost: the column is a catalogue change; each index blocks writes to deliveries while it is
-- built, well under a second per million rows that wait.

-- When the queue had taken every row of the activity. What was published row by row before this
-- version keeps its row's own time.
alter table activities add column published_at timestamptz;

-- Rows are looked for by when they were made: that never changes, and no row has to be written
-- only to say that it was published.
drop index deliveries_queued;
create index deliveries_queued on deliveries (created_at) where state = 'queued';

-- How many rows wait changes by the second and statistics do not follow: to a planner that saw
-- none, all partial indexes look equally small, and one whose first column a statement does not
-- name is read from end to end. These two are offered only to statements that spell the
-- condition exactly so; nothing else implies it in the eyes of the planner.
drop index deliveries_order;
create index deliveries_order on deliveries (order_key, host, seq)
    where coalesce(state in ('queued', 'parked'), false);
drop index deliveries_host;
create index deliveries_host on deliveries (host, state)
    where coalesce(state in ('queued', 'parked', 'dead'), false);
