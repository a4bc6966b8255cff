-- Earlier versions of edited posts. Lock cost: none, a new table; the foreign key takes a short
-- share lock on statuses.
create table status_edits (
    id          bigint primary key default snowflake(),
    status_id   bigint not null references statuses on delete cascade,
    content     text not null,
    spoiler_text text not null,
    sensitive   boolean not null,
    -- When this version was published: the time of the post or of the edit that made it.
    created_at  timestamptz not null
);
create index status_edits_status on status_edits (status_id, id);
