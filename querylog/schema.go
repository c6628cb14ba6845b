package querylog

import "fmt"

// schemaVersion is kept in the store's user_version. Step i of migrations
// brings a store from version i to i+1; a step, once released, never changes.
const schemaVersion = 1

// rowBits is how many bits of a row's id its place in the window takes. The
// rest is the window's number.
const rowBits = 20

const rowColumns = `(
	id        INTEGER PRIMARY KEY, -- window << 20 | place in it
	node      INTEGER NOT NULL,    -- node.id
	first     INTEGER NOT NULL,    -- Unix milliseconds, as all times here
	last      INTEGER NOT NULL,
	count     INTEGER NOT NULL,    -- lookups, as received
	binding   INTEGER NOT NULL,    -- binding.id; 0 for none
	type      INTEGER NOT NULL,    -- of the question; 0 in a folded row
	verdict   INTEGER NOT NULL,    -- 0 pass, 1 allow, 2 block, 3 observe, 4 answer
	list      INTEGER NOT NULL,    -- of the deciding rule: list.id; 0 for none
	line      INTEGER NOT NULL,
	attr_list INTEGER NOT NULL,    -- of the attributing rule: list.id; 0 for none
	attr_line INTEGER NOT NULL,
	level     INTEGER NOT NULL,    -- of the attribution: 0 none, 1 owner, 2 list, 3 rule
	note      INTEGER NOT NULL,    -- annotation.id; 0 for none
	rcode     INTEGER NOT NULL,
	source    INTEGER NOT NULL,    -- 1 policy, 2 cache, 3 upstream, 4 error, 5 rebind, 6 shed, 7 failure
	transport INTEGER NOT NULL,    -- 1 udp, 2 tcp
	ttl       INTEGER NOT NULL,    -- the largest served, seconds
	elapsed   INTEGER NOT NULL,    -- the longest, microseconds
	folded    INTEGER NOT NULL,    -- 0 no, 1 by rule (unlisted: by device), 2 by device and verdict, 3 by verdict
	client    TEXT,                -- address that asked; NULL: the binding's
	name      TEXT,                -- lower case, no trailing dot; NULL in a folded row
	alias     TEXT,                -- the alias in the answer that decided
	rule      TEXT                 -- the deciding rule as written; NULL: the name itself, or no rule
) STRICT;`

var migrations = [schemaVersion]string{`
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE node (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE list (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE annotation (
	id         INTEGER PRIMARY KEY,
	vendor     TEXT NOT NULL,
	product    TEXT NOT NULL,
	purpose    TEXT NOT NULL,
	tier       TEXT NOT NULL,
	region     TEXT NOT NULL,
	source     TEXT NOT NULL,
	breaks     TEXT NOT NULL,
	since      TEXT NOT NULL,
	confidence TEXT NOT NULL,
	software   TEXT NOT NULL,
	UNIQUE (vendor, product, purpose, tier, region, source, breaks, since, confidence, software)
) STRICT;
CREATE TABLE binding (
	id         INTEGER PRIMARY KEY,
	device     TEXT NOT NULL,
	name       TEXT NOT NULL,
	addr       TEXT NOT NULL,
	mac        TEXT NOT NULL,
	prefix     TEXT NOT NULL,    -- what it covers where that is more than addr, else ''
	source     INTEGER NOT NULL, -- 1 configured MAC, 2 configured address, 3 configured prefix, 4 neighbour, 5 bare address, 6 this host
	confidence INTEGER NOT NULL, -- 1 low, 2 medium, 3 high
	since      INTEGER NOT NULL,
	until      INTEGER NOT NULL, -- 0 while it lasts
	seen       INTEGER NOT NULL, -- when it was last known to be in use; 0 while it lasts
	grp        INTEGER NOT NULL,
	nolog      INTEGER NOT NULL
) STRICT;
CREATE TABLE listed ` + rowColumns + `
CREATE TABLE unlisted ` + rowColumns + `
CREATE TABLE window (
	id      INTEGER PRIMARY KEY,
	first   INTEGER NOT NULL, -- of its lookups
	last    INTEGER NOT NULL,
	rows    INTEGER NOT NULL,
	lookups INTEGER NOT NULL
) STRICT;
CREATE INDEX window_last ON window (last);
CREATE TABLE hour ( -- what remains of unlisted rows
	hour    INTEGER NOT NULL, -- its beginning
	node    INTEGER NOT NULL,
	device  TEXT NOT NULL,
	lookups INTEGER NOT NULL,
	PRIMARY KEY (hour, node, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE ledger (
	id      INTEGER PRIMARY KEY, -- window << 20 | place in it
	node    INTEGER NOT NULL,
	time    INTEGER NOT NULL,
	since   INTEGER NOT NULL, -- of what it is about; 0 for none
	until   INTEGER NOT NULL,
	kind    TEXT NOT NULL,
	subject TEXT NOT NULL,
	detail  TEXT NOT NULL
) STRICT;
CREATE VIEW lookup AS
SELECT r.id, n.name AS node, strftime('%Y-%m-%dT%H:%M:%fZ', r.first / 1000.0, 'unixepoch') AS time,
	strftime('%Y-%m-%dT%H:%M:%fZ', r.last / 1000.0, 'unixepoch') AS last, r.count,
	coalesce(b.device, 'addr:' || r.client) AS device, coalesce(r.client, b.addr) AS client, r.name, r.type,
	CASE r.verdict WHEN 0 THEN 'pass' WHEN 1 THEN 'allow' WHEN 2 THEN 'block' WHEN 3 THEN 'observe' WHEN 4 THEN 'answer' END AS verdict,
	u.name AS list, r.line, CASE WHEN r.list <> 0 THEN coalesce(r.rule, r.name) END AS rule, a.vendor, a.product, a.purpose, a.tier, a.source,
	CASE r.level WHEN 1 THEN 'owner' WHEN 2 THEN 'list' WHEN 3 THEN 'rule' END AS attribution, r.rcode, r.alias, r.folded
FROM (SELECT * FROM listed UNION ALL SELECT * FROM unlisted) r
	JOIN node n ON n.id = r.node
	LEFT JOIN binding b ON b.id = r.binding
	LEFT JOIN list u ON u.id = r.list
	LEFT JOIN annotation a ON a.id = r.note;
`}

// A NewerError says that the store was written by a later version of this
// program, which this one leaves alone.
type NewerError struct {
	Path        string
	Have, Known int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has schema %d and this version knows %d: run the newer version again, or move the file away to begin a new log",
		e.Path, e.Have, e.Known)
}
