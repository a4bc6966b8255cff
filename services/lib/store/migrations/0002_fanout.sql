-- What the fanout role remembers. Lock cost: the two `alter table`s take an exclusive lock for
-- the moment of a catalogue change; replacing the primary key of inbound_seen builds one index
-- over it, which on a large instance takes seconds during which activities wait in their queue.

-- How many rows of `deliveries` an activity was planned to: the left side of
-- planned = queued + parked + delivered + dead + cancelled, frozen with planned_at.
alter table activities add column planned_count bigint;

-- An id counts as seen only from the actor that brought it, so that nobody can use up the ids
-- of somebody else's activities.
alter table inbound_seen drop constraint inbound_seen_pkey;
alter table inbound_seen add primary key (uri, account_id);

-- Mails by the key that absorbs their repeats. A claim keeps two workers from sending the same
-- mail at once; it runs out, so that a crashed worker's mail is sent after all.
create table mails_sent (
    dedupe_key      text primary key,
    claimed_until   timestamptz not null,
    sent_at         timestamptz
);

-- Planning asks which single account an inbox belongs to; shared ones belong to many and are
-- not asked for. Locks out writes while it is built, seconds per million remote accounts.
create index accounts_own_inbox on accounts (inbox_url)
    where domain is not null and shared_inbox_url is null;
