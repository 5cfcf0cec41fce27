-- Sets of strings (selectors, DNS names, trust domains) are JSON arrays; NULL is the empty one.
-- Uniqueness of entries is kept by the server, whose memory is authoritative and which has the file for
-- itself: an index over random identifiers would dirty a page per row and triple the cost of a create.

CREATE TABLE entries (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    spiffe_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    selectors TEXT NOT NULL,
    x509_svid_ttl INTEGER NOT NULL,
    jwt_svid_ttl INTEGER NOT NULL,
    federates_with TEXT,
    admin INTEGER NOT NULL,
    downstream INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    dns_names TEXT,
    store_svid INTEGER NOT NULL,
    hint TEXT,
    disable_x509_svid_prefetch INTEGER NOT NULL,
    jwt_svid_include_jti INTEGER NOT NULL
) STRICT;

CREATE TABLE nodes (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    attestation_type TEXT NOT NULL,
    serial TEXT NOT NULL,
    new_serial TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    new_expires_at INTEGER NOT NULL,
    banned INTEGER NOT NULL,
    can_reattest INTEGER NOT NULL,
    selectors TEXT,
    agent_version TEXT NOT NULL
) STRICT;

CREATE TABLE bundles (
    trust_domain TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    refresh_hint INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE x509_authorities (
    row INTEGER PRIMARY KEY,
    trust_domain TEXT NOT NULL,
    certificate BLOB NOT NULL,
    tainted INTEGER NOT NULL
) STRICT;

CREATE TABLE jwt_authorities (
    row INTEGER PRIMARY KEY,
    trust_domain TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    tainted INTEGER NOT NULL
) STRICT;

CREATE TABLE join_tokens (
    token TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ca_journal (
    row INTEGER PRIMARY KEY CHECK (row = 1),
    journal BLOB NOT NULL
) STRICT;
