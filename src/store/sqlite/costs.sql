-- Version 4: what was spent of each budget, by period, in micro-units of its currency; and how long the last succeeded tasks of each
-- model took, in milliseconds. updated: when the row was last written; at: when the end of the task was read.
create table budgets (
  upstream integer not null references upstreams (id),
  budget text not null,
  currency text not null,
  period text not null,
  spent integer not null,
  updated integer not null,
  primary key (upstream, budget, currency, period)
) without rowid;

create table latencies (
  upstream integer not null references upstreams (id),
  provider text not null,
  model text not null,
  at integer not null,
  millis integer not null
);
create index latencies_of_model on latencies (upstream, provider, model, at);
