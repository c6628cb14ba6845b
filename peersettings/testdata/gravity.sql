-- The tables and columns of Pi-hole's gravity.db, version 20, that are read, with made up settings.
CREATE TABLE info (property TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE "group" (id INTEGER PRIMARY KEY, enabled BOOLEAN NOT NULL, name TEXT UNIQUE NOT NULL, description TEXT);
CREATE TABLE domainlist (id INTEGER PRIMARY KEY, type INTEGER NOT NULL, domain TEXT NOT NULL, enabled BOOLEAN NOT NULL, comment TEXT);
CREATE TABLE domainlist_by_group (domainlist_id INTEGER NOT NULL, group_id INTEGER NOT NULL);
CREATE TABLE adlist (id INTEGER PRIMARY KEY, address TEXT NOT NULL, enabled BOOLEAN NOT NULL, comment TEXT, type INTEGER NOT NULL DEFAULT 0);
CREATE TABLE adlist_by_group (adlist_id INTEGER NOT NULL, group_id INTEGER NOT NULL);
CREATE TABLE gravity (domain TEXT NOT NULL, adlist_id INTEGER NOT NULL);
CREATE TABLE antigravity (domain TEXT NOT NULL, adlist_id INTEGER NOT NULL);
CREATE TABLE client (id INTEGER PRIMARY KEY, ip TEXT NOT NULL UNIQUE, comment TEXT);
CREATE TABLE client_by_group (client_id INTEGER NOT NULL, group_id INTEGER NOT NULL);
INSERT INTO info VALUES ('version', '20');
INSERT INTO "group" VALUES (0, 1, 'Default', NULL), (1, 1, 'The kids', NULL), (2, 1, 'IoT <b>', NULL), (3, 0, 'Off', NULL);
INSERT INTO client VALUES (1, '192.168.1.20', 'Anna''s tablet'), (2, '02:00:5E:10:00:02', 'Bulb'), (3, '192.168.40.0/24', NULL),
  (4, 'laptop-of-nobody', NULL), (5, '192.168.1.30', NULL), (6, ':eth0', NULL), (7, '192.168.1.40', 'Never blocked'), (8, '192.168.40.7', 'In the prefix');
INSERT INTO client_by_group VALUES (1, 0), (1, 1), (2, 2), (3, 2), (4, 1), (5, 0), (6, 0), (7, 3), (8, 0), (8, 1);
INSERT INTO adlist VALUES (1, 'http://lists.invalid/ads.txt', 1, 'Ads', 0), (2, 'http://lists.invalid/kids.txt', 1, 'For kids', 0),
  (3, 'http://lists.invalid/off.txt', 0, NULL, 0), (4, 'file:///etc/pihole/own.txt', 1, NULL, 0), (5, 'http://lists.invalid/allow.txt', 1, 'Allowed', 1),
  (6, 'https://user:SECRETWORD@lists.invalid/private.txt', 1, NULL, 0);
INSERT INTO adlist_by_group VALUES (1, 0), (1, 1), (2, 1), (3, 0), (4, 0), (5, 0), (5, 1), (5, 2), (6, 0);
INSERT INTO antigravity VALUES ('allowed.ads.example', 5), ('||wide.ads.example^', 5), ('denied.example', 5);
INSERT INTO domainlist VALUES (1, 0, 'ok.ads.example', 1, '@ vendor=Mallory'), (2, 1, 'denied.example', 1, 'why not'),
  (3, 3, '(\.|^)wild\.example$', 1, NULL), (4, 2, '^ok[0-9]+\.wild\.example$', 1, NULL), (5, 3, '^metrics[0-9]+\.;querytype=A', 1, NULL),
  (6, 1, 'games.example', 1, NULL), (7, 1, 'off.example', 0, NULL), (8, 3, '^(a)\1$', 1, NULL), (9, 3, '^x;invert', 1, NULL),
  (10, 2, 'both\.example$', 1, NULL), (11, 1, 'both.example', 1, NULL), (12, 1, 'nobody.example', 1, NULL),
  (13, 3, '^nodata\.example$;reply=NODATA', 1, NULL);
INSERT INTO domainlist_by_group VALUES (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2), (5, 0), (6, 1), (8, 0), (9, 0),
  (10, 0), (10, 1), (10, 2), (11, 0), (11, 1), (11, 2), (12, 3), (13, 0);
