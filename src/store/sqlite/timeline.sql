-- Version 2: what was seen of each watched task, with what its gateway and the provider behind that said at the time.
create table timeline (
  upstream integer not null,
  task_id text not null,
  revision integer not null,
  at integer not null,
  status text not null,
  gateway_status text,
  upstream_status text,
  primary key (upstream, task_id, revision),
  foreign key (upstream, task_id) references tasks (upstream, task_id) on delete cascade
) without rowid;
