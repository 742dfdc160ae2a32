/**
 * The tables of the monitor's memory.
 *
 * A task's events are the facts; its row in `tasks` follows from them and is there to be searched. Numbers of tasks grow
 * with the time at which they were heard of first, so what is recent lies together, and "the latest first" is the order
 * of the table. Each index of `tasks` holds all four columns that lists are filtered by: any mixture of filters is
 * answered from one of them, without a look at the rows that do not fit.
 */

/** Written into the file; one of another version is refused, as nobody else's data is to be touched. */
export const schemaVersion = 1
/** `PRAGMA application_id` of a monitor's file: "CLmo". */
export const applicationId = 0x434c6d6f

export const schema = `
-- Names of tasks, states, queues and workers, once each. used_at: a day on which it was needed, epoch ms.
CREATE TABLE words (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, used_at INTEGER NOT NULL);

-- view: what the events say together, as JSON, secrets hidden. seen_at never goes back from one number to the next.
CREATE TABLE tasks (
  no INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, seen_at INTEGER NOT NULL,
  state INTEGER NOT NULL, name INTEGER NOT NULL, queue INTEGER NOT NULL, worker INTEGER NOT NULL,
  root TEXT, view TEXT NOT NULL
);
CREATE INDEX tasks_by_seen ON tasks (seen_at);
CREATE INDEX tasks_by_state ON tasks (state, no, name, queue, worker);
CREATE INDEX tasks_by_name ON tasks (name, no, state, queue, worker);
CREATE INDEX tasks_by_queue ON tasks (queue, no, state, name, worker);
CREATE INDEX tasks_by_worker ON tasks (worker, no, state, name, queue);
CREATE INDEX tasks_by_root ON tasks (root) WHERE root IS NOT NULL;

-- The words in what a task was given, returned and threw; rowid = tasks.no.
CREATE VIRTUAL TABLE task_text USING fts5 (args, result, error, content = '', contentless_delete = 1);

-- at: epoch ms by the sender's host, with fractions. The key tells an event that comes twice.
CREATE TABLE events (
  task INTEGER NOT NULL, at REAL NOT NULL, clock INTEGER NOT NULL, type TEXT NOT NULL, host TEXT NOT NULL,
  data TEXT NOT NULL, PRIMARY KEY (task, at, clock, type, host)
) WITHOUT ROWID;

-- Messages as they were seen in their queues, to be sent again with their true arguments.
CREATE TABLE messages (
  no INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, seen_at INTEGER NOT NULL, queue TEXT NOT NULL, message TEXT NOT NULL
);

-- What is counted: n of a metric in a step of time. step: its length, ms; at: its begin, epoch ms.
CREATE TABLE counts (
  step INTEGER NOT NULL, at INTEGER NOT NULL, task INTEGER NOT NULL, queue INTEGER NOT NULL, metric INTEGER NOT NULL,
  n REAL NOT NULL, PRIMARY KEY (step, at, task, queue, metric)
) WITHOUT ROWID;

-- Which task was sent by which, n times in a step. step, at: as in counts.
CREATE TABLE edges (
  step INTEGER NOT NULL, at INTEGER NOT NULL, parent INTEGER NOT NULL, child INTEGER NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (step, at, parent, child)
) WITHOUT ROWID;

-- What is measured: the last and the highest value in a step of time. kind: queue, worker, broker.
CREATE TABLE gauges (
  step INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, subject INTEGER NOT NULL, metric TEXT NOT NULL,
  last REAL NOT NULL, high REAL NOT NULL, PRIMARY KEY (step, at, kind, subject, metric)
) WITHOUT ROWID;

-- What was known last of workers and queues, as JSON: known again after a restart.
CREATE TABLE facts (kind TEXT NOT NULL, subject TEXT NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (kind, subject)) WITHOUT ROWID;

-- Who changed what.
CREATE TABLE audit (
  no INTEGER PRIMARY KEY, at INTEGER NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, action TEXT NOT NULL,
  target TEXT NOT NULL, outcome TEXT NOT NULL
);

-- Actions on many tasks, with how far they have come.
CREATE TABLE jobs (
  id TEXT PRIMARY KEY, at INTEGER NOT NULL, user TEXT NOT NULL, state TEXT NOT NULL, data TEXT NOT NULL
);

CREATE TABLE alert_rules (id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE alert_channels (id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE alert_history (
  no INTEGER PRIMARY KEY, at INTEGER NOT NULL, rule TEXT NOT NULL, target TEXT NOT NULL, event TEXT NOT NULL,
  message TEXT NOT NULL
);
`
