package peersettings

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

const (
	gravityKnown  = 20 // the latest version of gravity.db that was read in its source
	mostOfGravity = 200_000
	mostGroups    = 500 // combinations of groups that clients are in: a rule may name each
)

// A gravity is Pi-hole's gravity.db: lists, rules, groups and clients.
type gravity struct {
	*pihole
	path string
	file string
	conn *sqlite3.Conn
	have map[string]bool

	enabled map[int64]bool // groups
	names   map[int64]string
}

func (p *pihole) readGravity(path string) error {
	g := &gravity{pihole: p, path: path, file: filepath.Base(path), have: map[string]bool{}, enabled: map[int64]bool{}, names: map[int64]string{}}
	p.Product = cmp.Or(p.Product, "Pi-hole")
	p.Read = append(p.Read, path)
	err := g.read()
	if g.conn != nil {
		g.conn.Close()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		return fmt.Errorf("%s: another program has the database locked: try again, or stop pihole-FTL meanwhile (%w)", path, err)
	case errors.Is(err, sqlite3.READONLY_ROLLBACK), errors.Is(err, sqlite3.READONLY_RECOVERY):
		return fmt.Errorf("%s: a change of the database was broken off: start pihole-FTL, which takes it back (%w)", path, err)
	case errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.CORRUPT):
		return fmt.Errorf("%s: no database, or a damaged one: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (g *gravity) open() (err error) {
	uri := "file:" + (&url.URL{Path: g.path}).EscapedPath() + "?mode=ro"
	if !exists(g.path+"-wal") && !exists(g.path+"-journal") {
		uri += "&immutable=1" // no file is made beside it
	}
	defer func() {
		if r := recover(); r != nil { // there is no room for the library's memory
			err = fmt.Errorf("opening the database: %v", r)
		}
	}()
	if g.conn, err = sqlite3.OpenFlags(uri, sqlite3.OPEN_READONLY|sqlite3.OPEN_URI); err != nil {
		return err
	}
	g.conn.BusyTimeout(5 * time.Second)
	return g.conn.Exec(`PRAGMA query_only = ON; PRAGMA cache_size = -2048; PRAGMA trusted_schema = OFF`)
}

func (g *gravity) read() error {
	if err := g.open(); err != nil {
		return err
	}
	err := g.each(`SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'`, func(s *sqlite3.Stmt) { g.have[s.ColumnText(0)] = true })
	if err != nil {
		return err
	}
	for _, needed := range []string{"info.value", "group.enabled", "adlist.address", "adlist_by_group.group_id", "domainlist.type", "domainlist_by_group.group_id", "client.ip", "client_by_group.group_id"} {
		if !g.have[needed] {
			table, _, _ := strings.Cut(needed, ".")
			if g.have["info.value"] && g.have["adlist.address"] {
				return fmt.Errorf("it is from before Pi-hole 5.0, without %s: update Pi-hole once, which brings it forward", table)
			}
			return fmt.Errorf("this is an SQLite database, but not gravity.db of Pi-hole: it has no %s", table)
		}
	}
	version := int64(0)
	if err := g.each(`SELECT CAST(value AS INTEGER) FROM info WHERE property = 'version'`, func(s *sqlite3.Stmt) { version = s.ColumnInt64(0) }); err != nil {
		return err
	}
	if version > gravityKnown {
		g.leave(Place{File: g.file, Key: "info.version"}, "version %d is later than %d, the last that is known here: read as far as it is known", version, gravityKnown)
	}
	if err := g.readGroups(); err != nil {
		return err
	}
	if err := g.readLists(); err != nil {
		return err
	}
	return g.readRules()
}

// each calls a function for each row of a query.
func (g *gravity) each(query string, row func(*sqlite3.Stmt)) error {
	stmt, _, err := g.conn.Prepare(query)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for n := 0; stmt.Step(); n++ {
		if n >= mostOfGravity {
			return fmt.Errorf("more than %d entries: settings have fewer", mostOfGravity)
		}
		if row(stmt); g.failed != nil {
			return g.failed
		}
	}
	return stmt.Err()
}

// groupsOf returns in which groups each entry of a table is, of those that are on.
func (g *gravity) groupsOf(table, id string) (map[int64]map[int64]bool, error) {
	all := map[int64]map[int64]bool{}
	err := g.each(`SELECT `+id+`, group_id FROM `+table, func(s *sqlite3.Stmt) {
		if entry, group := s.ColumnInt64(0), s.ColumnInt64(1); g.enabled[group] {
			if all[entry] == nil {
				all[entry] = map[int64]bool{}
			}
			all[entry][group] = true
		}
	})
	return all, err
}

// readGroups reads the groups and who is in them.
func (g *gravity) readGroups() error {
	err := g.each(`SELECT id, enabled, name FROM "group" ORDER BY id`, func(s *sqlite3.Stmt) {
		id := s.ColumnInt64(0)
		g.names[id] = s.ColumnText(2)
		if g.enabled[id] = s.ColumnInt64(1) != 0; !g.enabled[id] {
			delete(g.enabled, id)
			g.leave(Place{File: g.file, Key: fmt.Sprintf("group %d", id)}, "it is off there")
		}
	})
	if err != nil {
		return err
	}
	everybody := map[int64]bool{}
	if g.enabled[0] {
		everybody[0] = true
	}
	g.groups = []clientGroup{{in: everybody}}
	groups, err := g.groupsOf("client_by_group", "client_id")
	if err != nil {
		return err
	}
	var all []clientPrefix
	err = g.each(`SELECT id, ip, comment FROM client ORDER BY id`, func(s *sqlite3.Stmt) {
		id, ip, comment := s.ColumnInt64(0), strings.TrimSpace(s.ColumnText(1)), s.ColumnText(2)
		at := Place{File: g.file, Key: fmt.Sprintf("client %d", id)}
		in := groups[id]
		if in == nil {
			in = map[int64]bool{}
		}
		p, err := netip.ParsePrefix(ip)
		if err != nil {
			c, ok := g.known(ip)
			if !ok {
				g.leave(at, "known by the name of a host or an interface: anybody can call himself so, so a device is known by its MAC or address")
				return
			}
			group := g.groupFor(in, g.names).name
			g.device(c, comment, group, at)
			if addr, err := netip.ParseAddr(c.value); err == nil {
				all = append(all, clientPrefix{netip.PrefixFrom(addr, addr.BitLen()), group, at})
			}
			return
		}
		group := g.groupFor(in, g.names).name
		all = append(all, clientPrefix{p.Masked(), group, at})
		if group == "" {
			g.leave(at, "its addresses are in the group Default alone: nothing is different for them")
			return
		}
		addTo(g.groupEntry(group), "prefix", p.Masked().String())
	})
	g.overlaps(all)
	return err
}

// A clientPrefix is the addresses of a client of Pi-hole.
type clientPrefix struct {
	netip.Prefix
	group string
	at    Place
}

// overlaps says which addresses have the settings of two groups here.
func (g *gravity) overlaps(all []clientPrefix) {
	var wide []clientPrefix
	for _, c := range all {
		if !c.IsSingleIP() && c.group != "" && len(wide) < 1000 {
			wide = append(wide, c)
		}
	}
	for _, c := range all {
		for _, o := range wide {
			if o.group != c.group && o.Bits() < c.Bits() && o.Overlaps(c.Prefix) {
				g.leave(c.at, "it is within the addresses of another client, %s: Pi-hole takes the narrowest alone, here both groups hold", o.Prefix)
				break
			}
		}
	}
}

// readLists reads the lists that are fetched.
func (g *gravity) readLists() error {
	groups, err := g.groupsOf("adlist_by_group", "adlist_id")
	if err != nil {
		return err
	}
	type found struct {
		id, kind         int64
		on               bool
		address, comment string
	}
	var all []found
	kind := "0"
	if g.have["adlist.type"] {
		kind = "type"
	}
	err = g.each(`SELECT id, enabled, address, comment, `+kind+` FROM adlist ORDER BY id`, func(s *sqlite3.Stmt) {
		all = append(all, found{s.ColumnInt64(0), s.ColumnInt64(4), s.ColumnInt64(1) != 0, s.ColumnText(2), s.ColumnText(3)})
	})
	if err != nil {
		return err
	}
	for _, l := range all {
		at := Place{File: g.file, Key: fmt.Sprintf("adlist %d", l.id)}
		on := l.on && meets(groups[l.id], g.groups[0].in)
		name := ""
		switch {
		case l.kind == 1 && !l.on:
			g.leave(at, "a list of what is allowed, and off: there are no such subscriptions")
		case l.kind == 1:
			if name, err = g.allowList(l.id, l.comment, on, at); err != nil {
				return err
			}
		default:
			name = g.subscribe(l.address, l.comment, on, false, at)
		}
		if name == "" || !l.on {
			continue
		}
		for _, c := range g.groups[1:] {
			switch has := meets(groups[l.id], c.in); {
			case has && !on:
				addTo(g.groupEntry(c.name), "lists_on", name)
			case !has && on:
				addTo(g.groupEntry(c.name), "lists_off", name)
			}
		}
	}
	return nil
}

// allowList takes over a list whose names are allowed, as Pi-hole has it now.
func (g *gravity) allowList(id int64, title string, on bool, at Place) (string, error) {
	l := g.list(unlike(wordOf("allow-"+title, "allow"), "-", g.listNames))
	skipped := 0
	if g.have["antigravity.adlist_id"] {
		err := g.each(fmt.Sprintf(`SELECT domain FROM antigravity WHERE adlist_id = %d`, id), func(s *sqlite3.Stmt) {
			for _, rule := range allowing(strings.TrimSpace(s.ColumnText(0)), "") {
				before := len(g.Left)
				if !g.rule(l, rule, at) {
					g.Left = g.Left[:before]
					skipped++
				}
			}
		})
		if err != nil {
			return "", err
		}
	}
	g.leave(at, "there are no subscriptions to what is allowed: %d rules of today's copy are in %s.txt, which is not fetched again; %d of its entries are no rules here", l.counts, l.Name, skipped)
	if l.counts == 0 {
		return "", nil
	}
	m := mapping()
	put(m, "name", text(l.Name))
	if !on {
		put(m, "enabled", word("false"))
	}
	put(m, "match", word("exact"))
	g.add("lists.settings", m, at)
	return l.Name, nil
}

// domain types in domainlist.
const (
	allowExact = iota
	denyExact
	allowRegex
	denyRegex
)

// readRules reads a person's own rules. In Pi-hole what is allowed by name or pattern
// goes before all, then what is blocked by name, then lists of what is allowed, then
// lists and patterns that block: exceptions and blocks with $important, and without.
func (g *gravity) readRules() error {
	groups, err := g.groupsOf("domainlist_by_group", "domainlist_id")
	if err != nil {
		return err
	}
	l := g.list(piholeRules)
	return g.each(`SELECT id, type, domain, enabled, comment FROM domainlist ORDER BY id`, func(s *sqlite3.Stmt) {
		id, kind, domain := s.ColumnInt64(0), s.ColumnInt64(1), strings.TrimSpace(s.ColumnText(2))
		at := Place{File: g.file, Key: fmt.Sprintf("domainlist %d", id)}
		if s.ColumnInt64(3) == 0 {
			g.leave(at, "it is off there")
			return
		}
		rule, problem := piholeRule(kind, domain)
		tags, some := g.tags(groups[id])
		switch {
		case problem != "":
			g.leave(at, problem)
			return
		case !some:
			g.leave(at, "it is in no group that is on")
			return
		case tags != "":
			rule = withModifier(rule, "ctag="+tags)
		}
		l.comment(s.ColumnText(4))
		g.rule(l, rule, at)
	})
}

// tags returns for whom a rule holds, by the groups that it is in: "" for everybody.
func (g *gravity) tags(in map[int64]bool) (tags string, some bool) {
	var with, without []string
	for _, c := range g.groups[1:] {
		if meets(in, c.in) {
			with = append(with, c.name)
		} else {
			without = append(without, "~"+c.name)
		}
	}
	if meets(in, g.groups[0].in) {
		return strings.Join(without, "|"), true
	}
	return strings.Join(with, "|"), len(with) > 0
}

// withModifier adds a modifier to an AdBlock rule.
func withModifier(rule, modifier string) string {
	if i := strings.LastIndexByte(rule, '$'); i > 0 && (rule[i-1] == '^' || rule[i-1] == '/') {
		return rule + "," + modifier
	}
	return rule + "$" + modifier
}

// subtree is the pattern that Pi-hole's page makes of a name and all below it.
var subtree = regexp.MustCompile(`^\(\\\.\|\^\)([a-zA-Z0-9_-]+(?:\\\.[a-zA-Z0-9_-]+)*)\$$`)

// piholeRule returns a rule of domainlist as an AdBlock one.
func piholeRule(kind int64, domain string) (rule, problem string) {
	modifiers := []string{}
	switch kind {
	case allowExact, denyExact:
		rule = "|" + domain + "^"
	case allowRegex, denyRegex:
		parts := strings.Split(domain, ";")
		if m := subtree.FindStringSubmatch(parts[0]); m != nil {
			rule = "||" + strings.ReplaceAll(m[1], `\.`, ".") + "^"
		} else {
			rule = "/" + strings.ReplaceAll(parts[0], "/", `\/`) + "/"
		}
		for _, option := range parts[1:] {
			modifier, problem := regexOption(option)
			if problem != "" {
				return "", problem
			}
			modifiers = append(modifiers, modifier)
		}
	default:
		return "", "a kind of rule that is not known here"
	}
	if kind != denyRegex {
		modifiers = append(modifiers, "important")
	}
	if kind == allowExact || kind == allowRegex {
		rule = "@@" + rule
	}
	for _, modifier := range modifiers {
		rule = withModifier(rule, modifier)
	}
	return rule, ""
}

// regexOption returns what stands behind a pattern of Pi-hole as a modifier.
func regexOption(option string) (modifier, problem string) {
	key, value, _ := strings.Cut(option, "=")
	switch strings.ToLower(key) {
	case "querytype":
		types, not := value, ""
		if rest, ok := strings.CutPrefix(value, "!"); ok {
			types, not = rest, "~"
		}
		var all []string
		for _, t := range strings.Split(types, ",") {
			all = append(all, not+strings.ToUpper(strings.TrimSpace(t)))
		}
		return "dnstype=" + strings.Join(all, "|"), ""
	case "reply":
		switch reply := strings.ToUpper(value); reply {
		case "NODATA":
			return "dnsrewrite=NOERROR", ""
		case "NXDOMAIN", "REFUSED":
			return "dnsrewrite=" + reply, ""
		}
		if addr, err := netip.ParseAddr(value); err == nil {
			return "dnsrewrite=" + addr.String(), ""
		}
		return "", "an answer that rules here cannot give"
	case "invert":
		return "", "a pattern for all names but those that it matches: only own.txt takes such, in a list with format: regex"
	}
	return "", "an option of a pattern that has no counterpart"
}
