package querylog

// The tables of the sealed log (docs/seals.md). Leaf hashes are kept as they came, in
// runs, with the numbers of the rows or lines that they are of; of each 256 of them one
// hash is kept beside. All nodes above are computed from these.
const createSeal = `CREATE TABLE seal_run ( -- leaves that were written together; a statement is a run of its own
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
`

// The kinds of runs. They are stored and never change.
const (
	sealRows      = 1
	sealLedger    = 2
	sealStatement = 3
)

// Keys of the sealed log in the store's meta table.
const (
	metaSealing  = "sealing"   // 1: what is written is sealed
	metaSealFrom = "seal_from" // the number from which on rows were first sealed; 0: none ever was
	metaSealKey  = "seal_key"  // the public key that signs now
)

// sealBlock is how many leaves have a hash in seal_node, and sealBlockLevel the level
// of that.
const (
	sealBlock      = 1 << sealBlockLevel
	sealBlockLevel = 8
)
