-- What the delivery role looks for. Lock cost: each index blocks writes to deliveries while it is
-- built: well under a second per million rows that are still queued or parked, or dead.

-- Order holds per host, not per inbox: a person's own inbox and the shared one are one server.
drop index deliveries_order;
create index deliveries_order on deliveries (order_key, host, seq) where state in ('queued', 'parked');

-- Dead rows, for the gauge by state and for an operator who replays them all.
create index deliveries_dead on deliveries (activity_id) where state = 'dead';
