CREATE TABLE IF NOT EXISTS lookup (
	store UInt64 CODEC(ZSTD(1)),
	id Int64 CODEC(Delta, ZSTD(1)),
	node LowCardinality(String) CODEC(ZSTD(1)),
	listed UInt8 CODEC(ZSTD(1)),
	first Int64 CODEC(Delta, ZSTD(1)),
	last Int64 CODEC(Delta, ZSTD(1)),
	count UInt64 CODEC(T64, ZSTD(1)),
	attempts UInt32 CODEC(T64, ZSTD(1)),
	as_lookups UInt32 CODEC(T64, ZSTD(1)),
	device LowCardinality(String) CODEC(ZSTD(1)),
	device_name LowCardinality(String) CODEC(ZSTD(1)),
	mac LowCardinality(String) CODEC(ZSTD(1)),
	client String CODEC(ZSTD(3)),
	client_id LowCardinality(String) CODEC(ZSTD(1)),
	binding UInt64 CODEC(T64, ZSTD(1)),
	binding_source LowCardinality(String) CODEC(ZSTD(1)),
	binding_confidence LowCardinality(String) CODEC(ZSTD(1)),
	name String CODEC(ZSTD(3)),
	alias String CODEC(ZSTD(3)),
	type LowCardinality(String) CODEC(ZSTD(1)),
	verdict LowCardinality(String) CODEC(ZSTD(1)),
	reason LowCardinality(String) CODEC(ZSTD(1)),
	observed_by LowCardinality(String) CODEC(ZSTD(1)),
	list LowCardinality(String) CODEC(ZSTD(1)),
	line UInt32 CODEC(T64, ZSTD(1)),
	rule String CODEC(ZSTD(3)),
	vendor LowCardinality(String) CODEC(ZSTD(1)),
	product LowCardinality(String) CODEC(ZSTD(1)),
	purpose LowCardinality(String) CODEC(ZSTD(1)),
	tier LowCardinality(String) CODEC(ZSTD(1)),
	source LowCardinality(String) CODEC(ZSTD(1)),
	region LowCardinality(String) CODEC(ZSTD(1)),
	breaks LowCardinality(String) CODEC(ZSTD(1)),
	confidence LowCardinality(String) CODEC(ZSTD(1)),
	independent UInt32 CODEC(T64, ZSTD(1)),
	contested UInt8 CODEC(ZSTD(1)),
	attribution LowCardinality(String) CODEC(ZSTD(1)),
	attribution_list LowCardinality(String) CODEC(ZSTD(1)),
	attribution_line UInt32 CODEC(T64, ZSTD(1)),
	rcode LowCardinality(String) CODEC(ZSTD(1)),
	answered_from LowCardinality(String) CODEC(ZSTD(1)),
	transport LowCardinality(String) CODEC(ZSTD(1)),
	ttl UInt32 CODEC(T64, ZSTD(1)),
	elapsed UInt32 CODEC(T64, ZSTD(1)),
	upstream LowCardinality(String) CODEC(ZSTD(1)),
	imported LowCardinality(String) CODEC(ZSTD(1)),
	folded UInt8 CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree PARTITION BY (listed, if(listed = 1, intDiv(first + 259200000, 604800000), intDiv(first, 86400000))) ORDER BY (device, first, store, id);

CREATE TABLE IF NOT EXISTS total (
	store UInt64 CODEC(ZSTD(1)),
	node LowCardinality(String) CODEC(ZSTD(1)),
	hour Int64 CODEC(Delta, ZSTD(1)),
	device LowCardinality(String) CODEC(ZSTD(1)),
	vendor LowCardinality(String) CODEC(ZSTD(1)),
	product LowCardinality(String) CODEC(ZSTD(1)),
	purpose LowCardinality(String) CODEC(ZSTD(1)),
	tier LowCardinality(String) CODEC(ZSTD(1)),
	verdict LowCardinality(String) CODEC(ZSTD(1)),
	lookups UInt64 CODEC(T64, ZSTD(1)),
	attempts UInt64 CODEC(T64, ZSTD(1)),
	as_lookups UInt64 CODEC(T64, ZSTD(1)),
	names UInt64 CODEC(T64, ZSTD(1)),
	first Int64 CODEC(Delta, ZSTD(1)),
	last Int64 CODEC(Delta, ZSTD(1)),
	version UInt64 CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree(version) PARTITION BY intDiv(hour + 259200000, 604800000) ORDER BY (device, hour, vendor, product, purpose, tier, verdict, store);

CREATE TABLE IF NOT EXISTS ledger (
	store UInt64 CODEC(ZSTD(1)),
	id Int64 CODEC(Delta, ZSTD(1)),
	node LowCardinality(String) CODEC(ZSTD(1)),
	time Int64 CODEC(Delta, ZSTD(1)),
	since Int64 CODEC(Delta, ZSTD(1)),
	until Int64 CODEC(Delta, ZSTD(1)),
	kind LowCardinality(String) CODEC(ZSTD(1)),
	subject String CODEC(ZSTD(3)),
	detail String CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree ORDER BY (store, id);

CREATE TABLE IF NOT EXISTS binding (
	store UInt64 CODEC(ZSTD(1)),
	id UInt64 CODEC(T64, ZSTD(1)),
	device LowCardinality(String) CODEC(ZSTD(1)),
	name LowCardinality(String) CODEC(ZSTD(1)),
	addr String,
	mac LowCardinality(String) CODEC(ZSTD(1)),
	prefix String,
	source UInt8,
	confidence UInt8,
	since Int64 CODEC(Delta, ZSTD(1)),
	until Int64 CODEC(Delta, ZSTD(1)),
	seen Int64 CODEC(Delta, ZSTD(1)),
	grp UInt16,
	nolog UInt8,
	version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (store, id);

CREATE TABLE IF NOT EXISTS window (
	store UInt64 CODEC(ZSTD(1)),
	number Int64 CODEC(Delta, ZSTD(1)),
	first Int64 CODEC(Delta, ZSTD(1)),
	last Int64 CODEC(Delta, ZSTD(1)),
	rows Int64 CODEC(T64, ZSTD(1)),
	lookups Int64 CODEC(T64, ZSTD(1)),
	here Int64 CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree PARTITION BY intDiv(number * 1000 + 259200000, 604800000) ORDER BY (store, number);

CREATE TABLE IF NOT EXISTS node (
	store UInt64,
	node String CODEC(ZSTD(3)),
	upto UInt64 CODEC(T64, ZSTD(1)),
	last Int64 CODEC(Delta, ZSTD(1)),
	heard Int64 CODEC(Delta, ZSTD(1)),
	windows Int64 CODEC(T64, ZSTD(1)),
	rows Int64 CODEC(T64, ZSTD(1))
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

