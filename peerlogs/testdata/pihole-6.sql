CREATE TABLE query_storage (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp INTEGER NOT NULL, type INTEGER NOT NULL, status INTEGER NOT NULL, domain INTEGER NOT NULL, client INTEGER NOT NULL, forward INTEGER, additional_info INTEGER, reply_type INTEGER, reply_time REAL, dnssec INTEGER, list_id INTEGER, ede INTEGER);
CREATE TABLE domain_by_id (id INTEGER PRIMARY KEY, domain TEXT NOT NULL);
CREATE TABLE client_by_id (id INTEGER PRIMARY KEY, ip TEXT NOT NULL, name TEXT);
CREATE TABLE forward_by_id (id INTEGER PRIMARY KEY, forward TEXT NOT NULL);
CREATE TABLE addinfo_by_id (id INTEGER PRIMARY KEY, type INTEGER NOT NULL, content NOT NULL);
CREATE VIEW queries AS SELECT id, timestamp, type, status,
	CASE typeof(domain) WHEN 'integer' THEN (SELECT domain FROM domain_by_id d WHERE d.id = q.domain) ELSE domain END domain,
	CASE typeof(client) WHEN 'integer' THEN (SELECT ip FROM client_by_id c WHERE c.id = q.client) ELSE client END client,
	CASE typeof(forward) WHEN 'integer' THEN (SELECT forward FROM forward_by_id f WHERE f.id = q.forward) ELSE forward END forward,
	CASE typeof(additional_info) WHEN 'integer' THEN (SELECT content FROM addinfo_by_id a WHERE a.id = q.additional_info) ELSE additional_info END additional_info,
	reply_type, reply_time, dnssec, list_id FROM query_storage q;
CREATE TABLE ftl (id INTEGER PRIMARY KEY NOT NULL, value BLOB NOT NULL, description TEXT);
INSERT INTO ftl VALUES (0, 21, NULL), (1, 1795078803, NULL), (2, 1700000001, NULL);
INSERT INTO domain_by_id VALUES (1, 'shop.example'), (2, 'tracker.example'), (3, 'alias.example');
INSERT INTO client_by_id VALUES (1, '192.168.1.7', 'living-room-tv'), (2, '192.168.1.8', NULL);
INSERT INTO forward_by_id VALUES (1, '192.0.2.53#53');
INSERT INTO addinfo_by_id VALUES (1, 1, 'deep.tracker.example'), (2, 2, 7);
INSERT INTO query_storage VALUES
	(101, 1795078800.25, 1, 2, 1, 1, 1, NULL, 4, 0.012, 1, NULL, -1),
	(102, 1795078801.5, 16, 1, 2, 1, NULL, NULL, 1, 0.0001, 0, 3, 15),
	(103, 1795078802.0, 1, 9, 3, 2, NULL, 1, 4, 0.02, 0, 3, 15),
	(104, 1795078802.5, 101, 3, 1, 2, NULL, NULL, 2, 0.0001, 0, NULL, -1),
	(105, 1795078803.0, 1, 17, 1, 2, NULL, NULL, 3, 0.0001, 0, NULL, -1),
	(106, 1795078803.5, 1, 18, 2, 2, 1, NULL, 4, 0.0001, 0, NULL, 15);
