-- Every statement but the bulk writes (bulk.py) and the search (search.py).
-- SQLite cuts a decoded JSON text at a NUL. Texts that may hold one come escaped (`escaped`): SUB 0 is NUL, SUB 1 is SUB.
-- Answers of many rows come as one row of JSON: each row fetched is a chance to lose the interpreter lock for 5 ms.

-- The last number that was given away, and the first span that is not counted yet.
-- name: last_run
select seq, (select ifnull(max(span), -1) + 1 from spans) from sqlite_sequence where name = 'runs'

-- name: deletions
select value from counters where name = 'deletions'

-- name: count_deletion
update counters set value = value + 1 where name = 'deletions'

-- name: run_numbers
select json_group_array(json_array(r.id, r.no)) from json_each(?1) as w cross join runs as r on r.id = w.value

-- What writes are decided by.
-- name: run_states
select json_group_array(json_array(r.id, r.no, r.status, r.owner, r.mail, r.wake_at, r.created_at))
from json_each(?1) as w cross join runs as r on r.id = w.value

-- name: heads_by_id
select json_group_array(json_array(
  r.no, r.id, r.workflow, r.version, r.status, r.queue, r.priority, r.created_at, r.ended_at, r.wake_at, r.owner, r.mail,
  r.takes, r.seq, r.base, r.parent, r.tags, r.metadata, r.waiting, r.error, r.namespace))
from json_each(?1) as w cross join runs as r on r.id = w.value

-- name: heads_by_no
select json_group_array(json_array(
  r.no, r.id, r.workflow, r.version, r.status, r.queue, r.priority, r.created_at, r.ended_at, r.wake_at, r.owner, r.mail,
  r.takes, r.seq, r.base, r.parent, r.tags, r.metadata, r.waiting, r.error, r.namespace))
from json_each(?1) as w cross join runs as r on r.no = w.value

-- name: head
select no, id, workflow, version, status, queue, priority, created_at, ended_at, wake_at, owner, mail,
  takes, seq, base, parent, tags, metadata, waiting, error, namespace
from runs where id = ?1

-- name: due_runs
select json_group_array(no) from (
  select no from runs
  where wake_at <= ?1
    and queue in (select replace(replace(value, char(26, 48), char(0)), char(26, 49), char(26)) from json_each(?2))
    and (?3 is null or workflow || '@' || version in (
      select replace(replace(value, char(26, 48), char(0)), char(26, 49), char(26)) from json_each(?3)))
  order by wake_at, priority desc
  limit ?4)

-- name: takeable_runs
select json_group_array(no) from (
  select r.no from json_each(?5) as w cross join runs as r on r.id = w.value
  where (r.wake_at <= ?1
      or (r.owner is null
        and not (r.wake_at is null and r.status in ('completed', 'failed', 'cancelled', 'terminated', 'dead'))))
    and r.queue in (select replace(replace(value, char(26, 48), char(0)), char(26, 49), char(26)) from json_each(?2))
    and (?3 is null or r.workflow || '@' || r.version in (
      select replace(replace(value, char(26, 48), char(0)), char(26, 49), char(26)) from json_each(?3)))
  group by r.no
  order by r.wake_at is null, r.wake_at, r.priority desc, r.no
  limit ?4)

-- name: claim_runs
update runs set owner = ?1, wake_at = ?2, takes = takes + 1,
  status = case when status in ('queued', 'waiting') then 'running' else status end
where no in (select value from json_each(?3))

-- Runs of a process that has died. The range is `owner like 'identity:%'` for the index.
-- name: free_claims
update runs set wake_at = ?1
where no in (
  select no from runs
  where owner >= ?2 || ':' and owner < ?2 || ';' and (wake_at is null or wake_at > ?1)
  limit ?3)

-- name: renew_runs
update runs set wake_at = ?1 where no in (select value from json_each(?2))

-- name: peek_due
select id, wake_at from runs where wake_at <= ?1 order by wake_at limit ?2

-- name: frames_at
select pos, body from frames where pos in (select value from json_each(?1))

-- name: frames_between
select pos, body from frames where pos > ?1 and pos <= ?2 order by pos

-- name: frames_between_in_one_row
select min(pos), group_concat(hex(body)) from (
  select pos, body from frames where pos > ?1 and pos <= ?2 order by pos)

-- name: mail_above
select no, id, accepted_at, body from inbox where run = ?1 and no > ?2 order by no

-- name: last_mail
select json_group_array(json_array(i.run, i.accepted_at))
from json_each(?1) as w cross join runs as r on r.no = w.value cross join inbox as i on i.run = r.no and i.no = r.mail

-- name: known_messages
select json_group_array(json_array(i.run, i.id)) from json_each(?1) as w
cross join inbox as i on i.run = json_extract(w.value, '$[0]')
  and i.id = replace(replace(json_extract(w.value, '$[1]'), char(26, 48), char(0)), char(26, 49), char(26))

-- name: tags_of_run
select namespace, tags from runs where no = ?1

-- name: delete_tag
delete from tags where namespace = ?1 and key = ?2 and value = ?3 and run = ?4

-- For searching: spans that may hold runs of these times, latest first, and the first span that is not counted yet.
-- name: spans_of_times
select
  (select json_group_array(span) from (
    select span from spans
    where (?1 is null or until >= ?1) and (?2 is null or since < ?2) and (?3 is null or ended < ?3)
    order by span desc)),
  (select ifnull(max(span), -1) + 1 from spans)

-- name: first_and_last_namespace
select (select min(namespace) from runs), (select max(namespace) from runs)

-- All numbers of the span (?1 to ?2) are given away.
-- name: close_span
insert or replace into spans (span, since, until, ended)
select ?1 >> 10, ifnull(min(created_at), 9223372036854775807), ifnull(max(created_at), 0),
  ifnull(min(ended_at), 9223372036854775807)
from runs where no between ?1 and ?2

-- name: end_in_span
update spans set ended = ?2 where span = ?1 and ended > ?2

-- name: delete_frames
delete from frames where pos between ?1 and ?2

-- name: delete_mail
delete from inbox where run = ?1

-- name: delete_names
delete from names where holder = ?1

-- name: delete_run
delete from runs where no = ?1

-- name: reserve
insert or ignore into names (name, holder) values (?1, ?2)

-- name: resolve
select holder from names where name = ?1

-- name: release
delete from names where name = ?1 and holder = ?2

-- name: visible_jobs
select json_group_array(json_array(visible_at, no)) from (
  select visible_at, no from jobs
  where queue = ?1 and visible_at <= ?2
  order by visible_at, no
  limit ?3)

-- name: hide_jobs
update jobs set visible_at = ?1, deliveries = deliveries + 1 where no in (select value from json_each(?2))

-- name: jobs
select no, queue, deliveries, body from jobs where no in (select value from json_each(?1))

-- name: next_job
select min(visible_at) from jobs where queue = ?1

-- name: ack_job
delete from jobs where no = ?1 and deliveries = ?2 and visible_at > ?3

-- name: hide_job
update jobs set visible_at = ?4 where no = ?1 and deliveries = ?2 and visible_at > ?3

-- name: key
select value, ends_at from keys where key = ?1 and (ends_at is null or ends_at > ?2)

-- name: put_key
insert or replace into keys (key, value, ends_at) values (?1, ?2, ?3)

-- name: delete_key
delete from keys where key = ?1

-- name: delete_ended_keys
delete from keys where ends_at <= ?1

-- name: put_blob
insert or replace into blobs (key, data) values (?1, ?2)

-- name: blob
select data from blobs where key = ?1

-- A prefix ends before the same text with a last byte that no text in UTF-8 holds.
-- name: delete_blobs
delete from blobs where key >= ?1 and key < ?1 || cast(x'ff' as text)

-- name: stream
select (select closed from streams where name = ?1), (select max(no) + 1 from chunks where stream = ?1)

-- name: chunks_taken
select count(*) from chunks where stream = ?1 and no >= ?2 and no < ?3

-- name: chunks
select no, data from chunks where stream = ?1 and no >= ?2 order by no limit ?3

-- name: close_stream
insert or replace into streams (name, closed) values (?1, 1)

-- name: delete_streams
delete from streams where name >= ?1 and name < ?1 || cast(x'ff' as text)

-- name: delete_chunks
delete from chunks where stream >= ?1 and stream < ?1 || cast(x'ff' as text)
