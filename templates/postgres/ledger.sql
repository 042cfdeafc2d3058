-- The ledger's tables on PostgreSQL 15 or later. Run by the role that is to own them, in a database of their own, with
-- the name of the broker's role, which may add and read and nothing else:
--   psql "$OWNER_URL" -v broker=rolecall_broker -f ledger.sql
-- May be run again: what is there stays as it is.

\set ON_ERROR_STOP on
\if :{?broker}
\else
  \set broker rolecall_broker
\endif

begin;

create table if not exists meta (
  key text primary key,
  value text not null
);
insert into meta (key, value) values ('version', '3') on conflict do nothing;

create table if not exists rows (
  seq bigint primary key,
  type text not null,
  request_id text,
  time text not null,
  row text not null,
  leaf_hash text not null
);

create table if not exists personal (
  seq bigint primary key references rows (seq),
  salt text not null,
  record text not null
);

create table if not exists nodes (
  level integer not null,
  idx bigint not null,
  hash text not null,
  constraint nodes_place primary key (level, idx)
);

-- A name's next generation can be written once, whoever writes.
create table if not exists people (
  seq bigint primary key references rows (seq),
  directory text not null,
  subject text not null,
  session_name text not null,
  generation integer not null,
  salt text not null,
  constraint people_name unique (session_name, generation)
);
create index if not exists people_person on people (directory, subject, seq);

create table if not exists revocations (
  seq bigint primary key references rows (seq),
  target text not null,
  effect text not null,
  salt text not null
);
create index if not exists revocations_target on revocations (target);

-- One credentials.requested and one outcome a request, whoever writes.
create index if not exists rows_request on rows (request_id);
create unique index if not exists one_request on rows (request_id) where type = 'credentials.requested';
create unique index if not exists one_outcome on rows (request_id)
  where type in ('credentials.issued', 'credentials.failed');
create index if not exists rows_denied on rows (seq) where type = 'login.denied';

-- The owner too can't change or remove a row, not even by mistake.
create or replace function ledger_is_append_only() returns trigger language plpgsql as
  $$ begin raise exception 'the ledger is append-only'; end $$;
create or replace trigger rows_no_change before update or delete or truncate on rows
  for each statement execute function ledger_is_append_only();
create or replace trigger nodes_no_change before update or delete or truncate on nodes
  for each statement execute function ledger_is_append_only();

create or replace trigger people_no_change before update or delete or truncate on people
  for each statement execute function ledger_is_append_only();
create or replace trigger revocations_no_change before update or delete or truncate on revocations
  for each statement execute function ledger_is_append_only();

revoke all on meta, rows, personal, nodes, people, revocations from public, :"broker";
grant select on meta to :"broker";
grant select, insert on rows, personal, nodes, people, revocations to :"broker";

commit;
