CREATE TABLE IF NOT EXISTS lookup (
	store UInt64,
	id Int64,
	node String,
	listed UInt8,
	first Int64,
	last Int64,
	count UInt64,
	attempts UInt32,
	as_lookups UInt32,
	device String,
	device_name String,
	mac String,
	client String,
	client_id String,
	binding UInt64,
	binding_source String,
	binding_confidence String,
	name String,
	alias String,
	type String,
	verdict String,
	reason String,
	observed_by String,
	list String,
	line UInt32,
	rule String,
	vendor String,
	product String,
	purpose String,
	tier String,
	source String,
	region String,
	breaks String,
	confidence String,
	independent UInt32,
	contested UInt8,
	attribution String,
	attribution_list String,
	attribution_line UInt32,
	rcode String,
	answered_from String,
	transport String,
	ttl UInt32,
	elapsed UInt32,
	upstream String,
	imported String,
	folded UInt8
) ENGINE = ReplacingMergeTree PARTITION BY (listed, if(listed = 1, intDiv(first + 259200000, 604800000), intDiv(first, 86400000))) ORDER BY (device, first, store, id);

CREATE TABLE IF NOT EXISTS total (
	store UInt64,
	node String,
	hour Int64,
	device String,
	vendor String,
	product String,
	purpose String,
	tier String,
	verdict String,
	lookups UInt64,
	attempts UInt64,
	as_lookups UInt64,
	names UInt64,
	first Int64,
	last Int64,
	version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY intDiv(hour + 259200000, 604800000) ORDER BY (device, hour, vendor, product, purpose, tier, verdict, store);

CREATE TABLE IF NOT EXISTS ledger (
	store UInt64,
	id Int64,
	node String,
	time Int64,
	since Int64,
	until Int64,
	kind String,
	subject String,
	detail String
) ENGINE = ReplacingMergeTree ORDER BY (store, id);

CREATE TABLE IF NOT EXISTS binding (
	store UInt64,
	id UInt64,
	device String,
	name String,
	addr String,
	mac String,
	prefix String,
	source UInt8,
	confidence UInt8,
	since Int64,
	until Int64,
	seen Int64,
	grp UInt16,
	nolog UInt8,
	version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (store, id);

CREATE TABLE IF NOT EXISTS window (
	store UInt64,
	number Int64,
	first Int64,
	last Int64,
	rows Int64,
	lookups Int64,
	here Int64
) ENGINE = ReplacingMergeTree PARTITION BY intDiv(number * 1000 + 259200000, 604800000) ORDER BY (store, number);

CREATE TABLE IF NOT EXISTS node (
	store UInt64,
	node String,
	upto UInt64,
	last Int64,
	heard Int64,
	windows Int64,
	rows Int64
) ENGINE = ReplacingMergeTree(upto) ORDER BY (store);

CREATE TABLE IF NOT EXISTS forgotten (
	device String,
	since Int64,
	until Int64
) ENGINE = ReplacingMergeTree ORDER BY (device, since, until);

CREATE TABLE IF NOT EXISTS meta (
	key String,
	value String
) ENGINE = ReplacingMergeTree ORDER BY (key, value);

