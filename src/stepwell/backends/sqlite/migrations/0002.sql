-- Version 2: runs have a namespace. It is plain text of [a-z0-9-]; '' is the default one.

alter table runs add column namespace text not null default '';
