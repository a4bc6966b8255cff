-- Messages that wait for another try. A broker cannot delay: held there or in a process they
-- would use up what it hands out. The relay of any process moves what is due into the outbox.
create table deferred_messages (
    id          bigint generated always as identity primary key,
    queue       text not null,
    payload     jsonb not null,
    -- How often the message was delivered so far; the broker counts anew.
    redeliveries int not null,
    due_at      timestamptz not null
);
create index deferred_messages_due on deferred_messages (due_at, id);

-- A column with a constant default: no rewrite, the lock is held for an instant.
alter table outbox add column redeliveries int not null default 0;
