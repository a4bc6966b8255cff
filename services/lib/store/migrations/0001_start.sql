-- The first schema. Lock cost: none, the database is empty.
-- Names of states and kinds are text with a check, so that a dump can be read by people.

-- Snowflake ids: 48 bits of milliseconds, 16 bits of one sequence. The clock is the
-- database's own, so that api hosts with skewed clocks cannot collide or reorder.
create sequence snowflake_sequence;
create function snowflake() returns bigint language sql volatile as $$
    select ((extract(epoch from clock_timestamp()) * 1000)::bigint << 16)
         | (nextval('snowflake_sequence') & 65535)
$$;

-- Run-time settings, felt by every replica within five seconds.
create table settings (
    name        text primary key,
    value       jsonb not null,
    updated_at  timestamptz not null default now()
);

-- Local and remote actors. A remote one has a domain.
create table accounts (
    id              bigint primary key default snowflake(),
    username        text not null,
    domain          text,
    uri             text not null unique,
    url             text not null,
    inbox_url       text not null,
    shared_inbox_url text,
    outbox_url      text not null default '',
    followers_url   text not null default '',
    following_url   text not null default '',
    actor_type      text not null default 'Person',
    display_name    text not null default '',
    -- Local: plain text. Remote: sanitised HTML.
    note            text not null default '',
    avatar_url      text not null default '',
    header_url      text not null default '',
    fields          jsonb not null default '[]',
    locked          boolean not null default false,
    bot             boolean not null default false,
    discoverable    boolean,
    indexable       boolean not null default false,
    hide_collections boolean,
    -- The id of the actor's key, and the SPKI PEM of its public half.
    key_id          text not null,
    public_key_pem  text not null,
    followers_count bigint not null default 0,
    following_count bigint not null default 0,
    statuses_count  bigint not null default 0,
    last_status_at  timestamptz,
    suspended_at    timestamptz,
    deleted_at      timestamptz,
    -- When a remote actor's document was last fetched.
    fetched_at      timestamptz,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now()
);
create unique index accounts_handle on accounts (lower(username), lower(coalesce(domain, '')));
create index accounts_key on accounts (key_id);
create index accounts_domain on accounts (domain) where domain is not null;

-- Private keys of local actors, encrypted with the instance's key-encryption key.
create table account_keys (
    account_id          bigint primary key references accounts on delete cascade,
    rsa_private         bytea not null,
    ed25519_private     bytea not null,
    -- Multibase (base58btc, multicodec ed25519-pub) of the public twin, FEP-521a.
    ed25519_public      text not null,
    version             int not null default 1,
    created_at          timestamptz not null default now()
);

-- People: the private side of a local account.
create table users (
    id              bigint primary key default snowflake(),
    account_id      bigint not null unique references accounts on delete cascade,
    email           text not null,
    password_hash   text not null,
    role            text not null default 'user' check (role in ('user', 'moderator', 'admin', 'owner')),
    locale          text not null default 'en',
    sign_up_reason  text,
    created_by_app_id bigint,
    confirmed_at    timestamptz,
    approved        boolean not null default true,
    disabled        boolean not null default false,
    last_active_at  timestamptz,
    preferences     jsonb not null default '{}',
    created_at      timestamptz not null default now()
);
create unique index users_email on users (lower(email));

create table email_confirmations (
    token_hash  bytea primary key,
    user_id     bigint not null references users on delete cascade,
    expires_at  timestamptz not null
);
create index email_confirmations_user on email_confirmations (user_id);

-- OAuth. Secrets, codes and tokens are stored as SHA-256 only.
create table apps (
    id              bigint primary key default snowflake(),
    name            text not null,
    website         text,
    redirect_uris   text[] not null,
    scopes          text[] not null,
    client_id       text not null unique,
    client_secret_hash bytea not null,
    created_at      timestamptz not null default now()
);
create table oauth_codes (
    code_hash       bytea primary key,
    app_id          bigint not null references apps on delete cascade,
    user_id         bigint not null references users on delete cascade,
    redirect_uri    text not null,
    scopes          text[] not null,
    code_challenge  text,
    expires_at      timestamptz not null,
    used_at         timestamptz
);
create table tokens (
    id          bigint primary key default snowflake(),
    token_hash  bytea not null unique,
    app_id      bigint not null references apps on delete cascade,
    -- Null: a client-credentials token.
    user_id     bigint references users on delete cascade,
    scopes      text[] not null,
    revoked_at  timestamptz,
    last_used_at timestamptz,
    created_at  timestamptz not null default now()
);
create index tokens_user on tokens (user_id) where user_id is not null;
create table web_sessions (
    token_hash  bytea primary key,
    user_id     bigint not null references users on delete cascade,
    csrf        text not null,
    expires_at  timestamptz not null
);
create index web_sessions_user on web_sessions (user_id);

-- Posts, local and remote, boosts included.
create table statuses (
    id              bigint primary key default snowflake(),
    uri             text not null unique,
    url             text,
    account_id      bigint not null references accounts on delete cascade,
    local           boolean not null,
    -- Local: what was typed. Remote: empty.
    text            text not null default '',
    -- Safe HTML, ready to show.
    content         text not null default '',
    spoiler_text    text not null default '',
    visibility      text not null check (visibility in ('public', 'unlisted', 'private', 'direct')),
    sensitive       boolean not null default false,
    language        text,
    in_reply_to_id  bigint references statuses on delete set null,
    in_reply_to_account_id bigint,
    -- The parent's URI, kept while the parent itself is unknown here.
    in_reply_to_uri text,
    reblog_of_id    bigint references statuses on delete cascade,
    app_id          bigint references apps on delete set null,
    -- Remote attachments as served by their origin: [{type, media_type, url, description, ...}].
    attachments     jsonb not null default '[]',
    emojis          jsonb not null default '[]',
    replies_count   bigint not null default 0,
    reblogs_count   bigint not null default 0,
    favourites_count bigint not null default 0,
    -- Fan-out on read, fixed in the posting transaction.
    pulled          boolean not null default false,
    created_at      timestamptz not null default now(),
    edited_at       timestamptz,
    deleted_at      timestamptz
);
create unique index statuses_one_reblog on statuses (account_id, reblog_of_id)
    where reblog_of_id is not null and deleted_at is null;
create index statuses_account on statuses (account_id, id desc) where deleted_at is null;
create index statuses_reply on statuses (in_reply_to_id) where in_reply_to_id is not null;
create index statuses_reply_uri on statuses (in_reply_to_uri)
    where in_reply_to_id is null and in_reply_to_uri is not null;
create index statuses_reblog on statuses (reblog_of_id) where reblog_of_id is not null;
create index statuses_public on statuses (id desc)
    where visibility = 'public' and deleted_at is null and reblog_of_id is null;
create index statuses_pulled on statuses (account_id, id desc) where pulled and deleted_at is null;

create table mentions (
    status_id   bigint not null references statuses on delete cascade,
    account_id  bigint not null references accounts on delete cascade,
    -- Addressed, but not named in the text.
    silent      boolean not null default false,
    primary key (status_id, account_id)
);
create index mentions_account on mentions (account_id, status_id desc);

create table status_tags (
    status_id   bigint not null references statuses on delete cascade,
    -- Lower-case, without #.
    name        text not null,
    primary key (name, status_id)
);
create index status_tags_status on status_tags (status_id);

-- URIs that were deleted by their owner; a late Create of one is ignored.
create table tombstones (
    uri         text primary key,
    account_id  bigint,
    created_at  timestamptz not null default now()
);

-- Who follows whom. The follow row carries the follower's preferred inbox, so that planning
-- reads distinct inboxes from a covering index and never joins accounts.
create table inboxes (
    id      bigint generated always as identity primary key,
    url     text not null unique,
    -- Lower-case IDNA name without port.
    host    text not null,
    shared  boolean not null
);
create index inboxes_host on inboxes (host, id);

create table follows (
    id          bigint primary key default snowflake(),
    -- The follower.
    account_id  bigint not null references accounts on delete cascade,
    -- The followed.
    target_id   bigint not null references accounts on delete cascade,
    -- The Follow activity's id.
    uri         text not null unique,
    state       text not null check (state in ('pending', 'accepted')),
    -- The follower's preferred inbox (shared if it has one); null for a local follower.
    inbox_id    bigint references inboxes,
    show_reblogs boolean not null default true,
    notify      boolean not null default false,
    languages   text[],
    created_at  timestamptz not null default now(),
    unique (account_id, target_id)
);
create index follows_audience on follows (target_id, inbox_id) where state = 'accepted';
create index follows_target on follows (target_id, id) include (account_id, state);
create index follows_local on follows (target_id, account_id) where state = 'accepted' and inbox_id is null;

create table blocks (
    id          bigint primary key default snowflake(),
    account_id  bigint not null references accounts on delete cascade,
    target_id   bigint not null references accounts on delete cascade,
    uri         text not null unique,
    created_at  timestamptz not null default now(),
    unique (account_id, target_id)
);
create index blocks_target on blocks (target_id);

create table mutes (
    id          bigint primary key default snowflake(),
    account_id  bigint not null references accounts on delete cascade,
    target_id   bigint not null references accounts on delete cascade,
    hide_notifications boolean not null default true,
    expires_at  timestamptz,
    created_at  timestamptz not null default now(),
    unique (account_id, target_id)
);

create table account_notes (
    account_id  bigint not null references accounts on delete cascade,
    target_id   bigint not null references accounts on delete cascade,
    comment     text not null,
    primary key (account_id, target_id)
);

create table favourites (
    id          bigint primary key default snowflake(),
    account_id  bigint not null references accounts on delete cascade,
    status_id   bigint not null references statuses on delete cascade,
    uri         text not null unique,
    created_at  timestamptz not null default now(),
    unique (account_id, status_id)
);
create index favourites_status on favourites (status_id, id);

create table bookmarks (
    id          bigint primary key default snowflake(),
    account_id  bigint not null references accounts on delete cascade,
    status_id   bigint not null references statuses on delete cascade,
    created_at  timestamptz not null default now(),
    unique (account_id, status_id)
);

-- Unique on (recipient, type, source): a repeat inserts nothing and therefore pushes nothing.
create table notifications (
    id          bigint primary key default snowflake(),
    account_id  bigint not null references accounts on delete cascade,
    kind        text not null,
    -- The id of the row that caused it: status, favourite, follow, reblog status.
    source_id   bigint not null,
    from_account_id bigint not null references accounts on delete cascade,
    status_id   bigint references statuses on delete cascade,
    created_at  timestamptz not null default now(),
    unique (account_id, kind, source_id)
);
create index notifications_account on notifications (account_id, id desc);
create index notifications_source on notifications (source_id, kind);

create table markers (
    account_id  bigint not null references accounts on delete cascade,
    timeline    text not null check (timeline in ('home', 'notifications')),
    last_read_id bigint not null,
    version     int not null default 0,
    updated_at  timestamptz not null default now(),
    primary key (account_id, timeline)
);

-- An Idempotency-Key lives in the transaction of the post that it made.
create table idempotency_keys (
    account_id  bigint not null references accounts on delete cascade,
    key         text not null,
    status_id   bigint not null,
    created_at  timestamptz not null default now(),
    primary key (account_id, key)
);

-- The outbox: messages that were committed with their change and wait to be published.
-- A row is born leased to the process that wrote it; others take it once the lease ran out.
create table outbox (
    id          bigint generated always as identity primary key,
    queue       text not null,
    payload     jsonb not null,
    lease_owner uuid not null,
    leased_until timestamptz not null,
    attempts    int not null default 0,
    created_at  timestamptz not null default now()
);
create index outbox_lease on outbox (leased_until, id);

-- The last sequence number of each order key; a row is locked while its next activity commits.
create table order_keys (
    order_key   text primary key,
    seq         bigint not null
);

-- What we send, body by body: built once in the transaction of the change, never altered.
create table activities (
    id          bigint primary key default snowflake(),
    uri         text not null,
    kind        text not null,
    -- The actor that signs.
    account_id  bigint not null,
    -- Activities of one order key reach a host in the order of seq.
    order_key   text not null,
    seq         bigint not null,
    lane        text not null check (lane in ('now', 'bulk', 'slow')),
    body        bytea not null,
    -- Base64 SHA-256 of body.
    digest      text not null,
    -- The status that the activity is about: re-read before every POST, and whose earlier
    -- recipients are addressed again when `to_earlier_recipients`.
    status_id   bigint,
    -- Its followers are addressed.
    to_followers_of bigint,
    -- These accounts are addressed.
    to_accounts bigint[] not null default '{}',
    to_earlier_recipients boolean not null default false,
    created_at  timestamptz not null default now(),
    planned_at  timestamptz,
    unique (order_key, seq)
);
create index activities_unplanned on activities (id) where planned_at is null;
create index activities_status on activities (status_id) where status_id is not null;

-- The inboxes that a status was planned for: Update and Delete go there too.
create table status_recipients (
    status_id   bigint primary key,
    inbox_ids   bigint[] not null
);

-- One row and one state machine per (activity, inbox).
create table deliveries (
    activity_id bigint not null,
    inbox_id    bigint not null,
    host        text not null,
    shard       int not null,
    lane        text not null check (lane in ('now', 'bulk', 'slow')),
    order_key   text not null,
    seq         bigint not null,
    state       text not null default 'queued'
                check (state in ('queued', 'parked', 'delivered', 'dead', 'cancelled')),
    -- Why it is dead, cancelled or parked.
    reason      text,
    attempts    int not null default 0,
    -- Parked rows are queued again from here on.
    not_before  timestamptz,
    -- When a message with this row was last handed to the queue.
    published_at timestamptz,
    republish_count int not null default 0,
    last_status int,
    last_error  text,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (activity_id, inbox_id)
) partition by range (activity_id);
-- The default partition takes what no day partition was made for; nothing is refused.
create table deliveries_default partition of deliveries default;
create index deliveries_parked on deliveries (not_before) where state = 'parked';
create index deliveries_queued on deliveries (published_at) where state = 'queued';
create index deliveries_order on deliveries (order_key, inbox_id, seq) where state in ('queued', 'parked');
create index deliveries_host on deliveries (host, state) where state in ('queued', 'parked', 'dead');

-- What is known of a remote host's way of taking deliveries.
create table hosts (
    host            text primary key,
    -- Which signature scheme it last accepted.
    signature       text not null default 'cavage' check (signature in ('cavage', 'rfc9421')),
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error      text,
    updated_at      timestamptz not null default now()
);

-- Local fan-out that is done: a range already here is acked unread.
create table fanout_done (
    -- The status, or for a retraction its negative id.
    event_id    bigint not null,
    range_start bigint not null,
    done_at     timestamptz not null default now(),
    primary key (event_id, range_start)
);

-- Activities taken in, by id: a repeat has no effect.
create table inbound_seen (
    uri         text primary key,
    account_id  bigint not null,
    done_at     timestamptz not null default now()
);

-- Activities whose key is not known yet: the only thing written before proof.
create table unverified_activities (
    id          bigint generated always as identity primary key,
    origin      text not null,
    key_id      text not null,
    -- The request as received: method, path, headers that matter, raw body.
    method      text not null,
    path        text not null,
    headers     jsonb not null,
    body        bytea not null,
    received_at timestamptz not null default now()
);
create index unverified_origin on unverified_activities (origin);
create index unverified_key on unverified_activities (key_id);

-- The embedded queue: a table with visibility time-outs, as durable as the database.
create table queue_messages (
    id          bigint generated always as identity primary key,
    queue       text not null,
    payload     jsonb not null,
    -- Invisible until then: in hand of a consumer, or returned with a delay.
    visible_at  timestamptz not null default now(),
    -- Who has it in hand; an ack of somebody else's message does nothing.
    holder      uuid,
    deliveries  int not null default 0,
    created_at  timestamptz not null default now()
);
create index queue_messages_ready on queue_messages (queue, visible_at, id);

-- Messages that nobody could handle, with the reason; `tidegate admin` lists and redrives them.
create table dead_messages (
    id          bigint generated always as identity primary key,
    queue       text not null,
    payload     jsonb not null,
    reason      text not null,
    created_at  timestamptz not null default now()
);
