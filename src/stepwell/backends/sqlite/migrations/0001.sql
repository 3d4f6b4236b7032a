-- Version 1. Times are milliseconds since the Unix epoch; JSON is text, null where it is empty.

-- One row per run. `no` is the order of creation and never used twice, so that late frames of a deleted run find
-- nobody. Frames and messages name their run by it: a random text key there would cost four times the writing.
create table runs (
  no integer primary key autoincrement,
  id text not null unique,
  workflow text not null,
  version text not null,
  status text not null,
  queue text not null,
  priority integer not null,
  created_at integer not null,
  ended_at integer,
  wake_at integer,
  owner text,
  mail integer not null,
  takes integer not null,
  seq integer not null,
  base integer not null,
  parent text,
  tags text,
  metadata text,
  waiting text,
  error text not null
) strict;
create index runs_due on runs (wake_at, priority desc, queue) where wake_at is not null;
create index runs_owner on runs (owner) where owner is not null;
create index runs_workflow on runs (workflow, no);
create index runs_status on runs (status, no);
create index runs_parent on runs (parent, no) where parent is not null;

-- The journals: a log in order of writing, and the index that makes each frame unique and findable.
-- pos = runs.no << 24 | seq. (Clustering the bodies by pos would rewrite a page per frame.)
create table frames (
  n integer primary key,
  pos integer not null,
  body blob not null
) strict;
create unique index frames_pos on frames (pos);

-- Messages, never rewritten: the ids must outlive the draining. `no` counts per run.
create table inbox (
  n integer primary key,
  run integer not null,
  no integer not null,
  id text not null,
  accepted_at integer not null,
  body blob not null
) strict;
create unique index inbox_no on inbox (run, no);
create unique index inbox_id on inbox (run, id);

create table tags (
  key text not null,
  value text not null,
  run integer not null,
  primary key (key, value, run)
) strict, without rowid;

create table names (
  name text primary key,
  holder text not null
) strict, without rowid;
create index names_holder on names (holder);

-- Doorbells. `receipt` names the last delivery, which ends at `visible_at`.
create table jobs (
  no integer primary key autoincrement,
  queue text not null,
  visible_at integer not null,
  deliveries integer not null,
  body blob not null
) strict;
create index jobs_visible on jobs (queue, visible_at, no);

create table keys (
  key text primary key,
  value text not null,
  ends_at integer
) strict, without rowid;
create index keys_end on keys (ends_at) where ends_at is not null;

create table blobs (
  key text primary key,
  data blob not null
) strict;

create table streams (
  name text primary key,
  closed integer not null
) strict, without rowid;

create table chunks (
  stream text not null,
  no integer not null,
  data blob not null,
  primary key (stream, no)
) strict;

-- Numbers about the file itself. `deletions`: how many times runs were deleted; caches of runs.no end when it moves.
create table counters (
  name text primary key,
  value integer not null
) strict, without rowid;
insert into counters (name, value) values ('deletions', 0);
