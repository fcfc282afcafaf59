-- The state, version 1. Times are Unix milliseconds. The program may be running while this is read with the sqlite3 shell.

-- first_start: when this state was made; alive: the wall clock when it was last written; steady: the steady clock then, which all
-- other times here are of; skew/UPSTREAM: the clock of an upstream minus the steady clock.
create table meta (key text primary key, value integer not null) without rowid;

create table upstreams (id integer primary key, name text not null unique);

-- Every task that was ever named, for as long as it must not be taken for a new one. named: when a source last did, at least.
create table ledger (
  upstream integer not null references upstreams (id),
  task_id text not null,
  named integer not null,
  primary key (upstream, task_id)
) without rowid;

-- The tasks that are watched: active ones, and ended ones for tasks.retention. ended: when that was first read.
create table tasks (
  upstream integer not null references upstreams (id),
  task_id text not null,
  revision integer not null,
  ended integer,
  record text not null,
  primary key (upstream, task_id)
);
create index tasks_ended on tasks (ended) where ended is not null;

-- Label sets of the counters. labels: a JSON object. shown: 1 once a value other than 0 may have been seen.
create table aggregates (
  id integer primary key,
  upstream integer not null references upstreams (id),
  provider text not null,
  model text not null,
  labels text not null,
  created integer not null,
  shown integer not null,
  used integer not null,
  unique (upstream, provider, model, labels)
);

-- What was counted. Amounts (tokens, quota) are in thousandths, seconds of video and sums of durations in milliseconds.
create table counters (
  aggregate integer not null references aggregates (id) on delete cascade,
  cell text not null,
  value integer not null,
  primary key (aggregate, cell)
) without rowid;

-- Sources by their label, and how many tasks each brought first.
create table sources (
  upstream integer not null references upstreams (id),
  source text not null,
  created integer not null,
  shown integer not null,
  tasks integer not null,
  primary key (upstream, source)
) without rowid;

-- Sources, by what they read, that were read well at least once.
create table loads (
  upstream integer not null references upstreams (id),
  identity text not null,
  primary key (upstream, identity)
) without rowid;
