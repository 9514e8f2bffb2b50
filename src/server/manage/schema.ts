/** Tables of the registry. */

/** Counted up with every change of the schema; a file of a later one is refused. */
export const SCHEMA_VERSION = 1;

/**
 * - `members`: hosts and administrators, by their keys. A row is never removed: who was shut out, or has a new key since,
 *   has `revoked_ms`. Of those without, a name and a key stand there once for each role.
 * - `invites`: only the hash of a token's secret. `bound_key` is the first key that showed it.
 * - `sessions`: one row for each, made with its row of the audit or not at all.
 * - `audit`: append-only. The triggers are no defence against whoever can write the file, the chain of hashes is; they
 *   keep a mistake of ours from ever changing a row.
 * - `meta`: single values by name.
 */
export const SCHEMA = `
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT;

CREATE TABLE members (
  id INTEGER PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('host', 'administrator')),
  name TEXT NOT NULL,
  key BLOB NOT NULL CHECK (length(key) = 32),
  tags TEXT NOT NULL,
  joined_ms INTEGER NOT NULL,
  revoked_ms INTEGER,
  online INTEGER NOT NULL DEFAULT 0,
  since_ms INTEGER,
  version TEXT,
  system TEXT,
  pins_generation INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX members_by_name ON members (role, name) WHERE revoked_ms IS NULL;
CREATE UNIQUE INDEX members_by_key ON members (role, key) WHERE revoked_ms IS NULL;
CREATE INDEX members_ever ON members (role, key);

CREATE TABLE invites (
  id INTEGER PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('host', 'administrator')),
  name TEXT NOT NULL,
  tags TEXT,
  replaces INTEGER NOT NULL,
  secret_hash BLOB NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  revoked_ms INTEGER,
  bound_key BLOB,
  member INTEGER REFERENCES members (id)
) STRICT;
CREATE INDEX invites_by_name ON invites (role, name);

CREATE TABLE sessions (
  session TEXT PRIMARY KEY,
  host_key BLOB NOT NULL,
  host TEXT NOT NULL,
  admin_key BLOB NOT NULL,
  admin TEXT NOT NULL,
  action TEXT NOT NULL,
  targets TEXT NOT NULL,
  outlives_link INTEGER NOT NULL,
  opened_ms INTEGER NOT NULL,
  ended_ms INTEGER
) STRICT;
CREATE INDEX sessions_open ON sessions (ended_ms) WHERE ended_ms IS NULL;

CREATE TABLE audit (
  number INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  event TEXT NOT NULL,
  body TEXT NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END;
CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never removed'); END;
`;
