-- What an actor's own word may change, which requests wait apart, and what sweeping needs.
-- Lock cost: the columns are catalogue changes of a moment. Every index locks writes of its
-- table while it is built: seconds per million rows; the one on statuses covers only posts that
-- were written through an app.

-- The `updated` of the newest profile document that was taken in; an older Update changes nothing.
alter table accounts add column profile_updated_at timestamptz;

-- A request that names a known key and fails with it. One per key, apart from the others: it
-- neither uses up the places of its origin nor makes that key's valid requests wait.
alter table unverified_activities add column suspect boolean not null default false;

-- Without these, deleting an app or an account reads the whole of each table that refers to it.
create index tokens_app on tokens (app_id);
create index oauth_codes_app on oauth_codes (app_id);
create index statuses_app on statuses (app_id) where app_id is not null;
create index users_app on users (created_by_app_id) where created_by_app_id is not null;
create index notifications_from on notifications (from_account_id);
create index mutes_target on mutes (target_id);
create index account_notes_target on account_notes (target_id);

-- What is swept is found by its age.
create index inbound_seen_age on inbound_seen (done_at);
create index tombstones_age on tombstones (created_at);
create index tokens_revoked on tokens (revoked_at) where revoked_at is not null;
create index users_unconfirmed on users (created_at) where confirmed_at is null;
create index mails_sent_age on mails_sent (sent_at) where sent_at is not null;
create index apps_age on apps (created_at);
