-- Version 3: why a task ended without success, as its provider said at the time.
alter table timeline add column failure_class text;
alter table timeline add column error_code text;
alter table timeline add column error_message text;
