-- Version 2: runs have a namespace. It is plain text of [a-z0-9-]; '' is the default one.

alter table runs add column namespace text not null default '';

-- Names of the default namespace that look like those of another, `acme x`, get a space in front, as they do on their
-- way in from now on (runtime/namespaces.py). Ids of runs never had spaces.
update runs set queue = ' ' || queue
where substr(queue, 1, 1) = ' '
  or (instr(queue, ' ') between 2 and 64 and queue not glob '-*'
    and substr(queue, 1, instr(queue, ' ') - 1) not glob '*[^a-z0-9-]*'
    and queue not glob 'blueprints of all runs/*');

-- Not in place: while one name moves, another may still be where it moves to.
create table moved as
select name, holder from names
where substr(name, 1, 1) = ' '
  or (instr(name, ' ') between 2 and 64 and name not glob '-*'
    and substr(name, 1, instr(name, ' ') - 1) not glob '*[^a-z0-9-]*'
    and name not glob 'blueprints of all runs/*');
delete from names where name in (select name from moved);
insert into names (name, holder) select ' ' || name, holder from moved;
drop table moved;
