-- Version 3: every index that lists runs begins with their namespace, and holds its runs in order of their numbers
-- (an index ends with `no` by itself).

drop index runs_workflow;
drop index runs_status;
create index runs_status on runs (namespace, status);
create index runs_workflow on runs (namespace, workflow, status);

alter table tags rename to old_tags;
create table tags (
  namespace text not null,
  key text not null,
  value text not null,
  run integer not null,
  primary key (namespace, key, value, run)
) strict, without rowid;
insert into tags (namespace, key, value, run)
select r.namespace, t.key, t.value, t.run from old_tags as t join runs as r on r.no = t.run;
drop table old_tags;

-- Runs are created in order of time, nearly. For each 1024 numbers that are all given away (span = no >> 10): between
-- which times those runs were created, both included, and when the first of them ended. So a page of old runs begins at
-- them, and no index over times has to be kept. A span may say too much: of runs that were deleted.
create table spans (
  span integer primary key,
  since integer not null,
  until integer not null,
  ended integer not null
) strict;
insert into spans (span, since, until, ended)
select no >> 10, min(created_at), max(created_at), ifnull(min(ended_at), 9223372036854775807)
from runs
where no >> 10 < (select (seq + 1) >> 10 from sqlite_sequence where name = 'runs')
group by no >> 10;
