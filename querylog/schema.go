package querylog

import "fmt"

// schemaVersion is kept in the store's user_version. Version 1 was another file
// (see version1.go). A store of a later version is brought forward in place, a
// version at a time: it gets that version's columns.
const (
	schemaVersion         = 11
	firstVersion          = 2 // of this file
	versionOfTotals       = 3
	versionOfUpstreams    = 3
	versionOfImports      = 4
	versionOfDaySums      = 5
	versionOfSeal         = 6
	versionOfDestinations = 7
	versionOfSumAgain     = 8
	versionOfUnknown      = 9
	versionOfNameSets     = 10
	versionOfLasting      = 11
)

// otherSteps are what a store of an older version gets besides columns, by the
// version that brought it.
var otherSteps = map[int64]string{versionOfTotals: beginTotals + createUpstreams, versionOfImports: createImports + `ALTER TABLE window ADD COLUMN ` + windowImported + `; `,
	versionOfDaySums: createDaySums, versionOfSeal: createSeal, versionOfDestinations: createDestinations, versionOfSumAgain: createSumAgain, versionOfUnknown: `DROP VIEW lookup; ` + createView, versionOfNameSets: createNameSets, versionOfLasting: `DROP VIEW lookup; ` + createView}

const createUpstreams = `CREATE TABLE upstream (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT; -- those that rows name, by ID
`

// createImports are the tables of what rows are imported from.
const createImports = `CREATE TABLE import ( -- a log of another server
	id      INTEGER PRIMARY KEY,
	source  TEXT NOT NULL,    -- what tells it from others, whatever its file is called
	format  TEXT NOT NULL,
	file    TEXT NOT NULL,
	edition TEXT NOT NULL,    -- of the catalogue by which its names are attributed
	began   INTEGER NOT NULL, -- when it was first imported
	first   INTEGER NOT NULL, -- of its lookups; 0 for none
	last    INTEGER NOT NULL,
	lookups INTEGER NOT NULL,
	told    INTEGER NOT NULL, -- of them in the ledger
	UNIQUE (source, edition)
) STRICT;
CREATE TABLE import_mark ( -- how far a source is imported, and was before
	source   TEXT NOT NULL,
	position INTEGER NOT NULL,
	sum      TEXT NOT NULL, -- of all up to there; '' where the source numbers its lookups itself
	PRIMARY KEY (source, position)
) STRICT, WITHOUT ROWID;
`

const windowImported = `imported INTEGER NOT NULL DEFAULT 0` // 1 for a window of imported rows

// rowBits is how many bits of a row's id its place in the window takes. The
// rest is the window's number.
const rowBits = 20

// schema is the text of a new store.
func schema() string {
	return createTables + createTotals + createUpstreams + createImports + createDaySums + createSeal + createDestinations + createSumAgain + createNameSets + createRows("listed") + createRows("unlisted") + createView + fmt.Sprintf(`PRAGMA user_version = %d;`, schemaVersion)
}

const createTables = `CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
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
	source     INTEGER NOT NULL, -- 1 configured MAC, 2 configured address, 3 configured prefix, 4 neighbour, 5 bare address, 6 this host, 7 configured client id, 8 client id
	confidence INTEGER NOT NULL, -- 1 low, 2 medium, 3 high, 4 imported
	since      INTEGER NOT NULL,
	until      INTEGER NOT NULL, -- 0 while it lasts
	seen       INTEGER NOT NULL, -- when it was last known to be in use; 0 while it lasts
	grp        INTEGER NOT NULL,
	nolog      INTEGER NOT NULL
) STRICT;
CREATE TABLE listed_name (
	id   INTEGER PRIMARY KEY, -- (listed.id >> 30) << 26 | listed.name: a name is here once for each quarter of an hour that has it
	name TEXT NOT NULL        -- lower case, no trailing dot
) STRICT;
CREATE TABLE unlisted_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT; -- as listed_name
CREATE TABLE window (
	id      INTEGER PRIMARY KEY,
	first   INTEGER NOT NULL, -- of its lookups
	last    INTEGER NOT NULL,
	rows    INTEGER NOT NULL,
	lookups INTEGER NOT NULL,
	` + windowImported + ` -- 1 where its rows are
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
`

const createView = `CREATE VIEW lookup AS
SELECT (SELECT value FROM meta WHERE key = 'store') AS store, r.id, n.name AS node,
	strftime('%Y-%m-%dT%H:%M:%fZ', r.first / 1000.0, 'unixepoch') AS time,
	strftime('%Y-%m-%dT%H:%M:%fZ', ` + lastOfRow + ` / 1000.0, 'unixepoch') AS last, r.count, r.attempts,
	coalesce(b.device, 'addr:' || r.client) AS device, coalesce(r.client, b.addr) AS client, r.qname AS name, r.type,
	CASE r.verdict WHEN 0 THEN 'pass' WHEN 1 THEN 'allow' WHEN 2 THEN 'block' WHEN 3 THEN 'observe' WHEN 4 THEN 'answer' WHEN 5 THEN 'unknown' END AS verdict,
	r.class, r.observed_by, u.name AS list, r.line, CASE WHEN r.list <> 0 THEN coalesce(r.rule, r.qname) END AS rule,
	a.vendor, a.product, a.purpose, a.tier, a.source,
	CASE r.level WHEN 1 THEN 'owner' WHEN 2 THEN 'list' WHEN 3 THEN 'rule' END AS attribution, r.rcode, r.qalias AS alias, r.folded
FROM (
	SELECT l.*, m.name AS qname, c.name AS qalias FROM listed l
		LEFT JOIN listed_name m ON m.id = ((l.id >> 30) << 26) + l.name
		LEFT JOIN listed_name c ON c.id = ((l.id >> 30) << 26) + l.alias
	UNION ALL
	SELECT l.*, m.name AS qname, c.name AS qalias FROM unlisted l
		LEFT JOIN unlisted_name m ON m.id = ((l.id >> 30) << 26) + l.name
		LEFT JOIN unlisted_name c ON c.id = ((l.id >> 30) << 26) + l.alias
	) r
	JOIN node n ON n.id = r.node
	LEFT JOIN binding b ON b.id = r.binding
	LEFT JOIN list u ON u.id = r.list
	LEFT JOIN annotation a ON a.id = r.annotation;
`

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
