-- The inhabitants of the benchmark's database: a large instance that has been running for two
-- years. Nothing here is random, so that two machines measure over the same rows.
--   psql -v accounts=1000000 -v follows=20 -v statuses=10 -f seed.sql
-- accounts: of which every tenth is local; follows, statuses: of each account. Needs an empty,
-- migrated database. Indexes are built after the rows: that is five times faster.
\set ON_ERROR_STOP on
set session_replication_role = replica;
set synchronous_commit = off;
set maintenance_work_mem = '1GB';

create temporary table later (definition text, name text);
create procedure pg_temp.without_indexes(of regclass) language plpgsql as $$
declare found record;
begin
    for found in select i.indexrelid::regclass as name, pg_get_indexdef(i.indexrelid) as definition
                 from pg_index i where i.indrelid = of and not i.indisunique loop
        insert into later values (found.definition, found.name::text);
        execute format('drop index %s', found.name);
    end loop;
    -- Unique ones are constraints too.
    for found in select c.conname as name, pg_get_constraintdef(c.oid) as definition
                 from pg_constraint c where c.conrelid = of and c.contype = 'u' loop
        insert into later values (
            format('alter table %s add constraint %I %s', of, found.name, found.definition), found.name);
        execute format('alter table %s drop constraint %I', of, found.name);
    end loop;
end $$;

call pg_temp.without_indexes('accounts');
call pg_temp.without_indexes('follows');
call pg_temp.without_indexes('statuses');

insert into inboxes (url, host, shared)
select format('http://h%s.world.test/inbox', n), format('h%s.world.test', n), true
from generate_series(0, 9999) as n;
create temporary table home as select id, url, host from inboxes order by id;

\echo accounts
insert into accounts (id, username, domain, uri, url, inbox_url, shared_inbox_url, key_id, public_key_pem,
                      note, followers_count, following_count, statuses_count)
select 1000000 + n, 'u' || n,
       case when n % 10 > 0 then format('h%s.world.test', n % 10000) end,
       base || '/users/u' || n, base || '/@u' || n, base || '/users/u' || n || '/inbox', base || '/inbox',
       base || '/users/u' || n || '#main-key', repeat('k', 450), repeat('about me ', 8),
       :follows, :follows, :statuses
from generate_series(0, :accounts - 1) as n
cross join lateral (select case when n % 10 > 0 then format('http://h%s.world.test', n % 10000)
                                else 'http://us.test' end as base) as b;

\echo follows
insert into follows (account_id, target_id, uri, state, inbox_id)
select 1000000 + n, 1000000 + (n::bigint * 7919 + j * 104729 + j * j * 31 + 1) % :accounts,
       'http://world.test/follows/' || n || '-' || j, 'accepted',
       case when n % 10 > 0 then (select min(id) from home) + n % 10000 end
from generate_series(0, :accounts - 1) as n, generate_series(0, :follows - 1) as j;

\echo statuses
insert into statuses (id, uri, account_id, local, text, content, visibility, language, created_at)
select (1704067200000 + n * 6000) << 16, 'http://world.test/statuses/' || n, 1000000 + n % :accounts,
       n % 10 = 0, '', '<p>' || repeat('what everybody says every day ', 5) || '</p>', 'public', 'en',
       to_timestamp(1704067200 + n * 6)
from generate_series(0::bigint, :accounts::bigint * :statuses - 1) as n;

\echo indexes
select definition from later \gexec
analyze;
