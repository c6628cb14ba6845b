package main

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"telltale/blocklists"
	"telltale/config"
	"telltale/devices"
	"telltale/sorting"
)

// Who has which settings. A membership says of every binding with which settings its
// device asks: those of the devices of the settings, of the groups that select it, of a
// pause, and of rules of the user's own that name it.

// A membership never changes.
type membership struct {
	members  map[string]owner // by identity of a binding
	devices  map[string]*chosen
	prefixes []chosenPrefix // the longest first
	rank     map[string]int // of the groups: the first in the settings goes before the others
	numbers  map[string]uint16
	silent   map[string]bool   // groups whose devices are not logged
	today    map[string]string // by identity that a temporary change has: that of its device today
	missing  func(key string)
	looked   *lookedUp // MACs whose makers were looked up, and whether they count; nil where no group selects by maker
}

// A lookedUp is what the newest selection has of MACs, for memberships that are in force still.
type lookedUp = atomic.Pointer[map[string]bool]

// A chosen is a device that has settings.
type chosen struct {
	device     string   // its identity today
	groups     []string // that select it by something else than an address
	identities []string // that it has
	alone      bool     // it has settings that no other device shares
	tags       []string
	configured *config.Device // nil: it is not in the settings
}

// An owner is what the membership has of an identity.
type owner struct {
	device string // for who has settings of its own; "" else
	groups []string
	noLog  bool
}

// A chosenPrefix is a prefix with all groups that select its addresses.
type chosenPrefix struct {
	netip.Prefix
	groups []string
}

// newMembership finds out who has settings. Clients are the names in rules for some
// devices alone, makers those of devices.
func newMembership(cfg *config.Config, ids *identities, changes []temporaryChange, clients []string, makers map[string][]string) *membership {
	s := &membership{
		members: map[string]owner{}, devices: map[string]*chosen{}, rank: map[string]int{}, silent: map[string]bool{}, today: map[string]string{}, missing: func(string) {},
	}
	for i := range cfg.Groups {
		s.rank[cfg.Groups[i].Name] = i
	}
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		c := s.choose(d.Name)
		c.alone, c.configured, c.tags = true, d, ids.tagsOf(d.Name)
		c.add(d.Group)
	}
	ids.view.Tagged(func(device string, _ []string) { // rules with $ctag are for it
		c := s.choose(device)
		c.alone, c.tags = true, ids.tagsOf(device)
	})
	for i := range cfg.Groups {
		s.selectFor(&cfg.Groups[i], ids, makers)
	}
	for i := range changes {
		if c := &changes[i]; c.Of == blocklists.OfDevice {
			s.today[c.Name] = ids.last(c.Name)
			s.choose(s.today[c.Name]).alone = true
		}
	}
	for _, name := range clients {
		if isIdentity(name) {
			s.choose(ids.last(name)).alone = true
		}
	}
	for device, c := range s.devices {
		c.groups = s.inOrder(c.groups)
		c.identities = []string{device}
		for _, span := range ids.of[device] {
			if span.Until.IsZero() && !slices.Contains(c.identities, span.Device) {
				c.identities = append(c.identities, span.Device)
			}
		}
		slices.Sort(c.identities)
		for _, identity := range c.identities {
			if ids.named[identity] && identity != device {
				continue // the settings have settings for it
			}
			m := owner{groups: c.groups, noLog: c.configured != nil && !c.configured.Log}
			if c.alone {
				m.device = device
			}
			s.members[identity] = m
		}
	}
	s.nestPrefixes()
	sorting.By(s.prefixes, func(a, b chosenPrefix) int {
		return cmp.Or(cmp.Compare(b.Bits(), a.Bits()), a.Addr().Compare(b.Addr()))
	})
	return s
}

// isIdentity reports whether a name can be the identity of a device that is in no
// settings.
func isIdentity(name string) bool {
	for _, prefix := range []string{"mac:", "addr:", "id:", "split:"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == thisHost
}

// choose returns the device of an identity.
func (s *membership) choose(device string) *chosen {
	c := s.devices[device]
	if c == nil {
		c = &chosen{device: device}
		s.devices[device] = c
	}
	return c
}

func (c *chosen) add(group string) {
	if group != "" && !slices.Contains(c.groups, group) {
		c.groups = append(c.groups, group)
	}
}

// selectFor finds the devices of a group.
func (s *membership) selectFor(g *config.Group, ids *identities, makers map[string][]string) {
	for _, word := range g.Devices {
		device, known := ids.device(word)
		if mac, err := net.ParseMAC(word); err == nil && !known {
			device = "mac:" + mac.String()
		} else if !known {
			device = word // an identity that was not seen yet
		}
		s.choose(device).add(g.Name)
	}
	for _, c := range s.devices {
		if slices.ContainsFunc(c.tags, func(tag string) bool { return slices.Contains(g.Tags, tag) }) {
			c.add(g.Name)
		}
	}
	ids.eachKind(func(device, kind string) {
		if slices.Contains(g.Kinds, kind) {
			s.choose(device).add(g.Name)
		}
	})
	for device, names := range makers {
		if slices.ContainsFunc(names, func(name string) bool {
			return slices.ContainsFunc(g.Makers, func(words string) bool { return hasWords(name, words) })
		}) {
			s.choose(device).add(g.Name)
		}
	}
	for _, p := range g.Prefixes {
		s.prefixes = append(s.prefixes, chosenPrefix{p, []string{g.Name}})
	}
	if !g.Log {
		s.silent[g.Name] = true
	}
}

// hasWords reports whether a name has some words in it, one behind the other, in upper or
// lower case.
func hasWords(name, words string) bool {
	wordsOf := func(text string) string {
		return " " + strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), " ") + " "
	}
	w := wordsOf(words)
	return strings.TrimSpace(w) != "" && strings.Contains(wordsOf(name), w)
}

// selectsByMaker reports whether a group does.
func selectsByMaker(cfg *config.Config) bool {
	return slices.ContainsFunc(cfg.Groups, func(g config.Group) bool { return len(g.Makers) > 0 })
}

// makersOf returns the makers of devices, by the MACs of the settings and of bindings: none
// of a MAC that may stand for several devices. Looked gets each MAC of bindings, and
// whether it counts.
func makersOf(cfg *config.Config, ids *identities, bindings []devices.Binding, makersBy func(macs []string) map[string]string, looked map[string]bool) map[string][]string {
	if !selectsByMaker(cfg) {
		return nil
	}
	macs := map[string][]string{} // by device
	for i := range cfg.Devices {
		macs[cfg.Devices[i].Name] = slices.Clone(cfg.Devices[i].MACs)
	}
	for i := range bindings {
		b := &bindings[i]
		if b.MAC == "" {
			continue
		}
		counts := b.Confidence != devices.Low && byMAC(b)
		looked[b.MAC] = looked[b.MAC] || counts
		if device := ids.last(b.Device); counts && !slices.Contains(macs[device], b.MAC) {
			macs[device] = append(macs[device], b.MAC)
		}
	}
	makers := makersBy(slices.Concat(slices.Collect(maps.Values(macs))...))
	names := map[string][]string{}
	for device, all := range macs {
		for _, mac := range all {
			if maker := makers[mac]; maker != "" {
				names[device] = append(names[device], maker)
			}
		}
	}
	return names
}

// nestPrefixes gives each prefix the groups of those that it is within, too.
func (s *membership) nestPrefixes() {
	all := slices.Clone(s.prefixes)
	for i := range s.prefixes {
		p := &s.prefixes[i]
		p.groups = nil
		for _, o := range all {
			if o.Bits() <= p.Bits() && o.Contains(p.Addr()) {
				p.groups = append(p.groups, o.groups...)
			}
		}
		p.groups = s.inOrder(p.groups)
	}
}

// inOrder returns names of groups in the order of the settings.
func (s *membership) inOrder(groups []string) []string {
	groups = slices.Clone(groups)
	sorting.By(groups, func(a, b string) int { return cmp.Compare(s.rank[a], s.rank[b]) })
	return slices.Compact(groups)
}

// byPrefix returns the groups that select the addresses of a binding.
func (s *membership) byPrefix(b *devices.Binding) []string {
	if !b.Addr.IsValid() {
		return nil
	}
	for i := range s.prefixes {
		if p := &s.prefixes[i]; p.Contains(b.Addr) && (!b.Prefix.IsValid() || b.Prefix.Bits() >= p.Bits()) {
			return p.groups
		}
	}
	return nil
}

// keyOf returns what tells settings apart: the device where it has some of its own, and
// the groups that are not known by it.
func (s *membership) keyOf(m *owner, byPrefix []string) string {
	if m.device == "" {
		return keyOf("", s.inOrder(slices.Concat(m.groups, byPrefix)))
	}
	return keyOf(m.device, byPrefix)
}

// keyOf returns the key of settings; "" for those of everybody.
func keyOf(device string, groups []string) string {
	if len(groups) == 0 {
		return device
	}
	return device + "\x00" + strings.Join(groups, "\x00")
}

// keys returns the keys of all settings that are needed for bindings.
func (s *membership) keys(bindings []devices.Binding) (all []string) {
	for _, m := range s.members {
		all = append(all, s.keyOf(&m, nil))
	}
	for i := range s.prefixes {
		all = append(all, s.keyOf(&owner{}, s.prefixes[i].groups))
	}
	for i := range bindings {
		m := s.members[bindings[i].Device]
		all = append(all, s.keyOf(&m, s.byPrefix(&bindings[i])))
	}
	return sorted(all)
}

// noLog reports whether nothing is kept of who has a binding.
func (s *membership) noLog(b *devices.Binding) bool {
	m := s.members[b.Device]
	silent := func(name string) bool { return s.silent[name] }
	return m.noLog || slices.ContainsFunc(m.groups, silent) || slices.ContainsFunc(s.byPrefix(b), silent)
}

// of is devices.Settings.Of.
func (s *membership) of(b *devices.Binding) (number uint16, noLog bool) {
	m := s.members[b.Device]
	byPrefix := s.byPrefix(b)
	noLog = s.noLog(b)
	if s.looked != nil && b.MAC != "" {
		if counts, ok := (*s.looked.Load())[b.MAC]; !ok || !counts && b.Confidence != devices.Low && byMAC(b) {
			s.missing("")
		}
	}
	key := s.keyOf(&m, byPrefix)
	if key == "" {
		return 0, noLog
	}
	number, ok := s.numbers[key]
	if !ok {
		s.missing(key)
		number = s.numbers[s.keyOf(&m, nil)]
	}
	return number, noLog
}

// ofAddress returns the number of an address that is no device's yet.
func (s *membership) ofAddress(addr netip.Addr) uint16 {
	number, _ := s.of(&devices.Binding{Device: "addr:" + addr.String(), Addr: addr})
	return number
}

// settings returns the settings of devices, as package devices takes them.
func (s *membership) settings() devices.Settings {
	byMAC := len(s.prefixes) > 0 || s.looked != nil // a prefix selects who is known by its MAC, too
	for identity := range s.members {
		byMAC = byMAC || isIdentity(identity)
	}
	return devices.Settings{Of: s.of, ByMAC: byMAC}
}

// settingsOf returns what a key stands for today: a device, nil for none of its own, and
// the groups in the order in which they go before each other.
func (s *membership) settingsOf(key string) (c *chosen, groups []string) {
	device, rest, some := strings.Cut(key, "\x00")
	if device != "" {
		if c = s.devices[device]; c != nil {
			groups = c.groups
		}
	}
	if some {
		for name := range strings.SplitSeq(rest, "\x00") {
			if _, there := s.rank[name]; there {
				groups = append(slices.Clone(groups), name)
			}
		}
	}
	return c, s.inOrder(groups)
}

// A groupNumbers gives each combination of settings a number, from 1, for as long as
// the process lives: whoever has looked up a number may use it with an older or
// newer policy, and never gets the settings of another device. By name are those of
// membership.keyOf: for a device of the settings its name.
type groupNumbers struct {
	mu     sync.Mutex
	byName map[string]uint16
}

const maxGroups = 1<<16 - 1

// add gives numbers to the keys that have none, and reports whether there were enough.
func (g *groupNumbers) add(keys []string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		if _, ok := g.byName[key]; ok || key == "" {
			continue
		}
		if len(g.byName) >= maxGroups {
			return false
		}
		g.byName[key] = uint16(len(g.byName) + 1)
	}
	return true
}

func (g *groupNumbers) all() map[string]uint16 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.byName)
}

// newNumbers returns the membership of settings alone, with numbers for it.
func newNumbers(cfg *config.Config) *membership {
	s := newMembership(cfg, newIdentities(cfg, nil, nil), nil, nil, nil)
	numbers := &groupNumbers{byName: map[string]uint16{}}
	s.number(numbers, cfg, nil)
	return s
}

// number gives numbers to what the membership needs for bindings, the devices of the
// settings first, by their order, and reports whether there were enough.
func (s *membership) number(numbers *groupNumbers, cfg *config.Config, bindings []devices.Binding) bool {
	var keys []string
	for i := range cfg.Devices {
		keys = append(keys, cfg.Devices[i].Name)
	}
	ok := numbers.add(append(keys, s.keys(bindings)...))
	s.numbers = numbers.all()
	return ok
}

// groupSettings returns the settings of each number, less one. Those of devices that
// were configured once are empty: as for everyone. Before is what is still in force: a
// device that s has no more keeps its settings while queries may be under way.
func groupSettings(cfg *config.Config, s *membership, cfgBefore *config.Config, before *membership) []blocklists.GroupSettings {
	all := make([]blocklists.GroupSettings, len(s.numbers))
	for key, number := range s.numbers {
		g, some := s.groupSettings(cfg, key)
		if !some {
			g, _ = before.groupSettings(cfgBefore, key)
		}
		all[number-1] = g
	}
	return all
}

// groupSettings returns the settings that a key stands for, and whether there are any.
func (s *membership) groupSettings(cfg *config.Config, key string) (g blocklists.GroupSettings, some bool) {
	c, names := s.settingsOf(key)
	if c == nil && len(names) == 0 {
		return g, false
	}
	g.Groups = names
	mode := ""
	if c != nil {
		g.Name, g.ClientNames, g.Tags = c.device, c.identities, c.tags
		if d := c.configured; d != nil {
			mode = d.Mode
			g.Observe, g.ObserveUntil = observe(d.Observe)
			for _, a := range d.Addresses {
				g.Addresses = append(g.Addresses, netip.PrefixFrom(a, a.BitLen()))
			}
			g.Addresses = append(g.Addresses, d.Prefixes...)
		}
	}
	g.Tags = append(slices.Clone(g.Tags), names...)
	g.Mode = modeOf(mode)
	for _, name := range names { // the first that says something of a setting
		mergeGroup(&g, &cfg.Groups[s.rank[name]])
	}
	return g, true
}

// mergeGroup adds to settings what a group says and no group before it has said.
func mergeGroup(g *blocklists.GroupSettings, of *config.Group) {
	if of.Observe.On && !g.GroupObserve && g.GroupObserveUntil.IsZero() {
		g.GroupObserve, g.GroupObserveUntil = observe(of.Observe)
	}
	if len(g.Schedule.Windows) == 0 {
		g.Schedule = schedule(&of.Schedule)
		if of.TimeZone != "" {
			g.Schedule.Zone, _ = time.LoadLocation(of.TimeZone) // checked with the settings
		}
	}
	if g.Mode == nil {
		g.Mode = modeOf(of.Mode)
	}
	g.Tier = cmp.Or(g.Tier, of.Tier)
	g.StripECH = g.StripECH || of.StripECH
	for _, lists := range listsOfGroup(of) {
		for _, name := range lists.names {
			if !slices.ContainsFunc(g.Lists, func(l blocklists.GroupList) bool { return l.Name == name }) {
				g.Lists = append(g.Lists, blocklists.GroupList{Name: name, Is: lists.is})
			}
		}
	}
}

// A groupLists is the lists of which a group says the same.
type groupLists struct {
	word  string
	names []string
	is    blocklists.ListFor
}

func listsOfGroup(g *config.Group) [3]groupLists {
	return [...]groupLists{{"lists_on", g.ListsOn, blocklists.ListOnFor}, {"lists_off", g.ListsOff, blocklists.ListOffFor}, {"lists_observe", g.ListsObserve, blocklists.ListObservesFor}}
}

// saidBy returns what a group says: each setting that it has, and how.
func saidBy(g *config.Group) (parts [][2]string) {
	add := func(key, value string) {
		if value != "" && value != "false" {
			parts = append(parts, [2]string{key, value})
		}
	}
	add("observe", g.Observe.String())
	add("mode", g.Mode)
	add("tier", g.Tier)
	add("schedule", strings.TrimSpace(g.Schedule.Text+" "+g.TimeZone))
	for _, lists := range listsOfGroup(g) {
		for _, name := range lists.names {
			add("list "+name, strings.TrimPrefix(lists.word, "lists_"))
		}
	}
	if g.StripECH {
		add("strip_ech", "true")
	}
	if !g.Log {
		add("log", "off")
	}
	return parts
}

// whence says from where the settings with a number come: a line for each part, and for
// what does not count because an earlier group says it, too.
func (s *membership) whence(cfg *config.Config, number uint16) (lines, clashes []string) {
	key := ""
	for k, n := range s.numbers {
		if n == number {
			key = k
		}
	}
	c, names := s.settingsOf(key)
	said := map[string][2]string{} // by setting: how, and by whom
	add := func(part [2]string, by string) {
		switch before, ok := said[part[0]]; {
		case !ok:
			said[part[0]] = [2]string{part[1], by}
			lines = append(lines, fmt.Sprintf("%s %s: %s", part[0], part[1], by))
		case before[0] != part[1]:
			clashes = append(clashes, fmt.Sprintf("%s %s: %s, does not count, since %s says %s", part[0], part[1], by, before[1], before[0]))
		}
	}
	if c != nil && c.configured != nil {
		d := &config.Group{Observe: c.configured.Observe, Mode: c.configured.Mode, Log: c.configured.Log}
		for _, part := range saidBy(d) {
			add(part, "the device")
		}
	}
	for _, name := range names {
		lines = append(lines, "member of group "+name)
		for _, part := range saidBy(&cfg.Groups[s.rank[name]]) {
			add(part, "group "+name)
		}
	}
	return lines, clashes
}

// reportClashesLocked says in the ledger which groups say different things of one device, once
// for each.
func (a *app) reportClashesLocked(cfg *config.Config) {
	const most = 20
	for _, key := range slices.Sorted(maps.Keys(a.selected.numbers)) {
		_, clashes := a.selected.whence(cfg, a.selected.numbers[key])
		if len(clashes) == 0 || len(a.clashed) >= most {
			continue
		}
		device, _, _ := strings.Cut(key, "\x00")
		_, names := a.selected.settingsOf(key)
		subject, detail := cmp.Or(device, "groups "+strings.Join(names, ", ")), strings.Join(clashes, "; ")
		if !a.clashed[subject+detail] {
			a.clashed[subject+detail] = true
			a.log.Report("groups-clash", subject, detail)
		}
	}
}

// groupRules are the files of groups' own rules, where they are.
func groupRules(cfg *config.Config) (all []blocklists.LocalList) {
	for i := range cfg.Groups {
		name := cfg.Groups[i].Name
		path := filepath.Join(cfg.Lists.Dir, blocklists.GroupDir, name+".txt")
		if _, err := os.Stat(path); err == nil {
			all = append(all, blocklists.LocalList{Name: blocklists.GroupDir + "/" + name, Path: path, Kind: blocklists.OwnList, Group: name})
		}
	}
	return all
}

// makeGroupRules makes the files of groups' own rules that are not there yet. Where it
// may not, such a group has no rules of its own until somebody else makes its file.
func makeGroupRules(cfg *config.Config) {
	dir := filepath.Join(cfg.Lists.Dir, blocklists.GroupDir)
	if len(cfg.Groups) == 0 || os.MkdirAll(dir, 0o755) != nil {
		return
	}
	for i := range cfg.Groups {
		f, err := os.OpenFile(filepath.Join(dir, cfg.Groups[i].Name+".txt"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			continue
		}
		fmt.Fprintf(f, "# Rules for the devices of group %s alone, as in own.txt. Save, and they are in force.\n", cfg.Groups[i].Name)
		f.Close()
	}
}

// membersOf returns the numbers of who is in a group.
func (s *membership) membersOf(group string) (numbers []uint16) {
	for key, number := range s.numbers {
		if _, groups := s.settingsOf(key); slices.Contains(groups, group) {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// numbersOf returns the numbers with which a device of the settings asks.
func (s *membership) numbersOf(device string) (numbers []uint16) {
	for key, number := range s.numbers {
		if is, _, _ := strings.Cut(key, "\x00"); is == device {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// selectLocked finds out who has settings by cfg, and gives them numbers.
func (a *app) selectLocked(cfg *config.Config) (*membership, error) {
	var bindings []devices.Binding
	if ledger := a.ledger.Load(); ledger != nil {
		bindings = ledger.InForce()
	}
	var clients []string
	if a.lists != nil {
		clients = a.lists.Current().Clients()
	}
	ids := newIdentities(cfg, bindings, a.corrected.All())
	looked := map[string]bool{} // without those that are forgotten
	s := newMembership(cfg, ids, a.temporary.all(), clients, makersOf(cfg, ids, bindings, a.makers.Makers, looked))
	a.looked.Store(&looked)
	if selectsByMaker(cfg) {
		s.looked = &a.looked
	}
	s.missing = a.settingsMissing
	if !s.number(a.groups, cfg, bindings) {
		return nil, fmt.Errorf("more than %d combinations of settings of devices since the start: restart Telltale", maxGroups)
	}
	return s, nil
}

// settingsMissing says that a binding has a combination of settings that has no number
// yet. It may be called with the locks of package devices held.
func (a *app) settingsMissing(string) { wake(a.renamed) }

// reselectLocked finds out anew who has settings, and puts it in force where that is
// another than before.
func (a *app) reselectLocked() error {
	cfg := a.cfg.Load()
	s, err := a.selectLocked(cfg)
	if err != nil {
		return err
	}
	if s.equal(a.selected) {
		return nil
	}
	return a.applyMembershipLocked(cfg, s)
}

// applyMembershipLocked puts a membership in force: the lists first, so that every number
// that a binding may have is known to them.
func (a *app) applyMembershipLocked(cfg *config.Config, s *membership) error {
	if err := a.configure(cfg, s); err != nil {
		return err
	}
	a.selected = s
	if err := a.applyForwardsLocked(cfg); err != nil {
		return err
	}
	a.ledger.Load().SetSettings(s.settings())
	a.reportClashesLocked(cfg)
	return nil
}

// equal reports whether two memberships say the same.
func (s *membership) equal(t *membership) bool {
	return t != nil && maps.Equal(s.numbers, t.numbers) && maps.EqualFunc(s.members, t.members, func(a, b owner) bool {
		return a.device == b.device && a.noLog == b.noLog && slices.Equal(a.groups, b.groups)
	}) && maps.EqualFunc(s.devices, t.devices, func(a, b *chosen) bool {
		return slices.Equal(a.identities, b.identities) && slices.Equal(a.tags, b.tags) && slices.Equal(a.groups, b.groups)
	}) && slices.EqualFunc(s.prefixes, t.prefixes, func(a, b chosenPrefix) bool {
		return a.Prefix == b.Prefix && slices.Equal(a.groups, b.groups)
	}) && maps.Equal(s.silent, t.silent) && maps.Equal(s.today, t.today) && (s.looked == nil) == (t.looked == nil)
}

// applyForwardsLocked puts the zones with servers of their own in force, where they are
// others than before: devices may have changed groups.
func (a *app) applyForwardsLocked(cfg *config.Config) error {
	next := forwards(cfg, a.selected)
	if reflect.DeepEqual(a.forwarded, next) {
		return nil
	}
	if err := a.server.SetForwards(next); err != nil {
		return err
	}
	a.forwarded = next
	return nil
}
