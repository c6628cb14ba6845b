CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
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
	imported INTEGER NOT NULL DEFAULT 0 -- 1 where its rows are
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
CREATE TABLE total_key ( -- what an hourly total is of
	id      INTEGER PRIMARY KEY,
	node    INTEGER NOT NULL,
	device  TEXT NOT NULL,
	vendor  TEXT NOT NULL, -- this and the next three as a rule or a list says, '' where none does
	product TEXT NOT NULL,
	purpose TEXT NOT NULL,
	tier    TEXT NOT NULL,
	verdict INTEGER NOT NULL,
	last    INTEGER NOT NULL, -- the latest hour of which there is one, in hours since 1970
	UNIQUE (node, device, vendor, product, purpose, tier, verdict)
) STRICT;
CREATE TABLE total ( -- of one hour
	id         INTEGER PRIMARY KEY, -- hours since 1970 << 24 | total_key.id
	lookups    INTEGER NOT NULL,
	attempts   INTEGER NOT NULL, -- that began in the hour
	as_lookups INTEGER NOT NULL, -- of them, lookups that each counted as one
	names      INTEGER NOT NULL, -- different ones
	first      INTEGER NOT NULL, -- milliseconds from the beginning of the hour
	last       INTEGER NOT NULL
) STRICT;
CREATE TABLE total_name ( -- hashes of the names that were counted, while the hour is not long over
	total INTEGER NOT NULL, -- total.id
	name  INTEGER NOT NULL,
	PRIMARY KEY (total, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE upstream (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT; -- those that rows name, by ID
CREATE TABLE import ( -- a log of another server
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
CREATE TABLE summed_day ( -- the days that sums are of
	day   INTEGER PRIMARY KEY, -- since 1970, UTC
	low   INTEGER NOT NULL,    -- listed.id of its first row, as far as rows are summed
	high  INTEGER NOT NULL,    -- and of its last
	whole INTEGER NOT NULL     -- 0: it has no sums, since some of its rows are deleted, or they would be too many
) STRICT;
CREATE TABLE day_sum ( -- sums of a day's rows of listed names
	id      INTEGER PRIMARY KEY,
	day     INTEGER NOT NULL,
	binding INTEGER NOT NULL, -- binding.id; 0 for none
	sums    BLOB NOT NULL,    -- see docs/querylog.md
	UNIQUE (day, binding)
) STRICT;
CREATE TABLE seal_run ( -- leaves that were written together; a statement is a run of its own
	first  INTEGER PRIMARY KEY, -- number of its first leaf
	kind   INTEGER NOT NULL,    -- 1 rows of a window, 2 lines of the ledger, 3 a statement
	base   INTEGER NOT NULL,    -- number of the first row or line; 0 of a statement
	steps  BLOB NOT NULL,       -- from each number to the next, LEB128
	hashes BLOB NOT NULL,       -- of the leaves, 32 octets each
	line   TEXT                 -- of a statement
) STRICT;
CREATE INDEX seal_statement ON seal_run (first) WHERE kind = 3;
CREATE TABLE seal_node (n INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT; -- of the leaves from n * 256 on, 256 of them
CREATE TABLE seal_secret ( -- what salts of rows are made from
	device TEXT NOT NULL,
	day    INTEGER NOT NULL, -- (row id >> 20) / 86400
	secret BLOB NOT NULL,
	PRIMARY KEY (device, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE seal_salt ( -- of lines of the ledger, and of rows whose secret is destroyed
	kind INTEGER NOT NULL, -- as in seal_run
	id   INTEGER NOT NULL,
	salt BLOB NOT NULL,
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE destination ( -- where a name of the catalogue led when Telltale itself asked
	name  TEXT NOT NULL,
	first INTEGER NOT NULL, -- time this was first found
	last  INTEGER NOT NULL, -- and last, with nothing else in between
	times INTEGER NOT NULL, -- how often
	found TEXT NOT NULL,    -- JSON, see docs/evidence.md
	PRIMARY KEY (name, first)
) STRICT, WITHOUT ROWID;
ALTER TABLE summed_day ADD COLUMN again INTEGER NOT NULL DEFAULT 0; -- where it is not whole: the last row that is in the sums that are made again; -1: they are to be begun; 0: they are not made
CREATE TABLE listed_set ( -- which names of listed_name a period may have
	id   INTEGER PRIMARY KEY, -- listed_name.id >> 26
	bits BLOB NOT NULL        -- see docs/querylog.md; empty: to be made again
) STRICT;
CREATE TABLE unlisted_set (id INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT; -- as listed_set
CREATE TABLE listed (
	id INTEGER PRIMARY KEY,         -- window << 20 | place in it
	node INTEGER NOT NULL,          -- node.id
	first INTEGER NOT NULL,         -- Unix milliseconds, as all times here
	last INTEGER NOT NULL,          -- above 0 a time, as in all rows before schema 11; else first is so many milliseconds before it: -250 for a quarter of a second
	count INTEGER NOT NULL,         -- lookups, as received
	attempts INTEGER NOT NULL,      -- attempts that began in this row; 0: none, or not counted
	binding INTEGER NOT NULL,       -- binding.id; 0 for none
	client TEXT,                    -- address that asked; NULL: the binding's
	client_id TEXT,                 -- by which the client named itself over TLS, HTTPS or QUIC; NULL for none
	type INTEGER NOT NULL,          -- of the question; 0 in a folded row
	verdict INTEGER NOT NULL,       -- 0 pass, 1 allow, 2 block, 3 observe, 4 answer, 5 not known, of imported rows alone
	class INTEGER NOT NULL,         -- of the deciding rule: 0 none, 1 own, 2 important exception, 3 important block, 4 exception, 5 block, 6 special name, 7 exception of a list for itself
	observed_by INTEGER NOT NULL,   -- what made a block an observe: 0 nothing, 1 list, 2 schedule, 3 tier, 4 device, 5 group, 6 pause, 7 everything, 8 tcp-only, 9 pause-device, 10 pause-group, 11 pause-list, 12 pause-vendor, 13 observe, 14 observe-device, 15 observe-group, 16 observe-list, 17 observe-vendor
	list INTEGER NOT NULL,          -- of the deciding rule: list.id; 0 for none
	line INTEGER NOT NULL,
	attr_list INTEGER NOT NULL,     -- of the attributing rule: list.id; 0 for none
	attr_line INTEGER NOT NULL,
	level INTEGER NOT NULL,         -- of the attribution: 0 none, 1 owner, 2 list, 3 rule
	annotation INTEGER NOT NULL,    -- annotation.id; 0 for none
	rcode INTEGER NOT NULL,         -- 255: not known, of imported rows alone
	answered_from INTEGER NOT NULL, -- 1 policy, 2 cache, 3 upstream, 4 error, 5 rebind, 6 shed, 7 failure
	transport INTEGER NOT NULL,     -- 1 udp, 2 tcp, 3 tls, 4 https, 5 quic
	ttl INTEGER NOT NULL,           -- the largest served, seconds
	elapsed INTEGER NOT NULL,       -- the longest, microseconds
	folded INTEGER NOT NULL,        -- 0 no, 1 by rule (unlisted: by device), 2 by device and verdict, 3 by verdict
	alias INTEGER,                  -- the alias in the answer that decided, as name; NULL for none
	name INTEGER,                   -- lower 26 bits of listed_name.id or unlisted_name.id, whose upper bits are id >> 30; NULL in a folded row
	rule TEXT,                      -- the deciding rule as written; NULL: the name itself, or no rule
	leaf BLOB,                      -- NULL: hashes of sealed rows are in `seal_run`
	as_lookups INTEGER NOT NULL DEFAULT 0, -- of attempts, lookups that each counted as one, as there was no memory, or no name, to tell which belong together
	upstream INTEGER NOT NULL DEFAULT 0, -- that answered: upstream.id; 0 for none, and in a folded row
	import INTEGER NOT NULL DEFAULT 0 -- import.id: what it was imported from; 0: it was recorded here
) STRICT;
CREATE TABLE unlisted (
	id INTEGER PRIMARY KEY,         -- window << 20 | place in it
	node INTEGER NOT NULL,          -- node.id
	first INTEGER NOT NULL,         -- Unix milliseconds, as all times here
	last INTEGER NOT NULL,          -- above 0 a time, as in all rows before schema 11; else first is so many milliseconds before it: -250 for a quarter of a second
	count INTEGER NOT NULL,         -- lookups, as received
	attempts INTEGER NOT NULL,      -- attempts that began in this row; 0: none, or not counted
	binding INTEGER NOT NULL,       -- binding.id; 0 for none
	client TEXT,                    -- address that asked; NULL: the binding's
	client_id TEXT,                 -- by which the client named itself over TLS, HTTPS or QUIC; NULL for none
	type INTEGER NOT NULL,          -- of the question; 0 in a folded row
	verdict INTEGER NOT NULL,       -- 0 pass, 1 allow, 2 block, 3 observe, 4 answer, 5 not known, of imported rows alone
	class INTEGER NOT NULL,         -- of the deciding rule: 0 none, 1 own, 2 important exception, 3 important block, 4 exception, 5 block, 6 special name, 7 exception of a list for itself
	observed_by INTEGER NOT NULL,   -- what made a block an observe: 0 nothing, 1 list, 2 schedule, 3 tier, 4 device, 5 group, 6 pause, 7 everything, 8 tcp-only, 9 pause-device, 10 pause-group, 11 pause-list, 12 pause-vendor, 13 observe, 14 observe-device, 15 observe-group, 16 observe-list, 17 observe-vendor
	list INTEGER NOT NULL,          -- of the deciding rule: list.id; 0 for none
	line INTEGER NOT NULL,
	attr_list INTEGER NOT NULL,     -- of the attributing rule: list.id; 0 for none
	attr_line INTEGER NOT NULL,
	level INTEGER NOT NULL,         -- of the attribution: 0 none, 1 owner, 2 list, 3 rule
	annotation INTEGER NOT NULL,    -- annotation.id; 0 for none
	rcode INTEGER NOT NULL,         -- 255: not known, of imported rows alone
	answered_from INTEGER NOT NULL, -- 1 policy, 2 cache, 3 upstream, 4 error, 5 rebind, 6 shed, 7 failure
	transport INTEGER NOT NULL,     -- 1 udp, 2 tcp, 3 tls, 4 https, 5 quic
	ttl INTEGER NOT NULL,           -- the largest served, seconds
	elapsed INTEGER NOT NULL,       -- the longest, microseconds
	folded INTEGER NOT NULL,        -- 0 no, 1 by rule (unlisted: by device), 2 by device and verdict, 3 by verdict
	alias INTEGER,                  -- the alias in the answer that decided, as name; NULL for none
	name INTEGER,                   -- lower 26 bits of listed_name.id or unlisted_name.id, whose upper bits are id >> 30; NULL in a folded row
	rule TEXT,                      -- the deciding rule as written; NULL: the name itself, or no rule
	leaf BLOB,                      -- NULL: hashes of sealed rows are in `seal_run`
	as_lookups INTEGER NOT NULL DEFAULT 0, -- of attempts, lookups that each counted as one, as there was no memory, or no name, to tell which belong together
	upstream INTEGER NOT NULL DEFAULT 0, -- that answered: upstream.id; 0 for none, and in a folded row
	import INTEGER NOT NULL DEFAULT 0 -- import.id: what it was imported from; 0: it was recorded here
) STRICT;
CREATE VIEW lookup AS
SELECT (SELECT value FROM meta WHERE key = 'store') AS store, r.id, n.name AS node,
	strftime('%Y-%m-%dT%H:%M:%fZ', r.first / 1000.0, 'unixepoch') AS time,
	strftime('%Y-%m-%dT%H:%M:%fZ', (CASE WHEN r.last > 0 THEN r.last ELSE r.first - r.last END) / 1000.0, 'unixepoch') AS last, r.count, r.attempts,
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
PRAGMA user_version = 11;