-- phase: expand

-- One row for each event that somebody must be able to answer for. A stream is one ordered source of events:
--   journal/<lineage>                  changes of chainfire's state; sequence is the Raft log index
--   decisions/<server>/<incarnation>   what one server decided without changing state; sequence is its own count
--   flaredb                            changes of this store's schema; sequence is its Raft log index
-- A restored backup begins a new lineage and a new disk a new incarnation, so neither ever rewrites older rows.
CREATE SCHEMA audit;

CREATE TABLE audit.events (
    stream           TEXT NOT NULL,
    sequence         BIGINT NOT NULL,
    sub              INT NOT NULL,
    event_id         TEXT NOT NULL,
    lineage          UUID,
    log_index        BIGINT,
    revision         BIGINT,
    time             TIMESTAMPTZ NOT NULL,
    actor            TEXT NOT NULL,
    authenticated_by TEXT NOT NULL,
    source           TEXT,
    token_id         TEXT,
    action           TEXT NOT NULL,
    resource         TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    reason           TEXT,
    request_id       TEXT NOT NULL,
    before_digest    BYTEA,
    after_digest     BYTEA,
    service          TEXT NOT NULL,
    node             TEXT,
    count            BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (stream, sequence, sub)
);
