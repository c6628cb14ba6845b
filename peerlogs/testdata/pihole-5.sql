CREATE TABLE queries (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp INTEGER NOT NULL, type INTEGER NOT NULL, status INTEGER NOT NULL, domain TEXT NOT NULL, client TEXT NOT NULL, forward TEXT, additional_info TEXT);
CREATE TABLE ftl (id INTEGER PRIMARY KEY NOT NULL, value BLOB NOT NULL);
INSERT INTO ftl VALUES (0, 9), (1, 1795078803), (2, 1700000000);
INSERT INTO queries VALUES
	(11, 1795078800, 1, 2, 'shop.example', '192.168.1.7', '192.0.2.53#53', NULL),
	(12, 1795078801, 1, 1, 'tracker.example', '192.168.1.7', NULL, NULL),
	(13, 1795078802, 2, 9, 'alias.example', 'fe80::7', NULL, 'deep.tracker.example'),
	(14, 1795078803, 6, 3, '7.1.168.192.in-addr.arpa', '192.168.1.8', NULL, NULL),
	(15, 1795078803, 1, 3, 'hidden', '0.0.0.0', NULL, NULL),
	(16, 12, 1, 3, 'early.example', '192.168.1.8', NULL, NULL),
	(17, 1795078804, 14, 3, 'other.example', '192.168.1.8', NULL, NULL);
