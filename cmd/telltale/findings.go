package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/subscribe"
	"telltale/config"
	"telltale/resolver/upstream"
	"telltale/web"
)

// facts are what findings are made of. What is nil or zero was not looked at.
type facts struct {
	now    time.Time
	cfg    *config.Config
	clock  clockState
	status *web.Status // nil: no server runs

	lists        []web.List
	listsErr     error
	updates      []subscribe.Status
	catalogue    web.Catalogue
	catalogueErr error

	store  storeFacts
	day    *day // what the log has of the last day; nil: it cannot be read
	dayErr error

	correctionsErr error

	devices []web.Device
	own     []netip.Addr     // addresses of this machine
	listens []netip.AddrPort // for UDP and TCP
	reached []reached
	probes  []upstreamProbe
	router  string // the page of the router's kind; "" for unknown

	container bool // this runs in one

	contact *fleetContact // how the center answers; nil of a machine that is no node, or has not asked yet
}

// A clockState says whether the clock is synchronised, if that is known.
type clockState struct{ synchronised, known bool }

// storeFacts is what is known of data.dir.
type storeFacts struct {
	missing   bool // it is not there
	err       error
	free      int64
	freeKnown bool
	used      int64
}

// reached is what came of asking this server over an address of this machine.
type reached struct {
	addr netip.AddrPort
	err  error
}

// judge makes findings of facts.
func (d *doctor) judge(f *facts) {
	if f.status != nil {
		d.upstreams(f)
		d.server(f)
		d.reach(f)
		d.certificates(f.cfg, f.status.Certificates)
		d.unwatched(f.status)
		d.leases(f.status)
		d.announcements(&f.status.Announcements)
		d.reports(f.status)
		d.witnesses(f.status)
		d.alerts(f.status)
		d.console(&f.status.Console)
		d.discoveries(f.status)
		d.makers(f.cfg, &f.status.Makers)
		d.center(f)
	}
	if _, err := ownSignatures(f.cfg); err != nil {
		d.finds(stateWarning, "kinds-invalid", "", strings.ReplaceAll(err.Error(), "\n", "; "), "correct the file; its other lines hold")
	}
	if f.correctionsErr != nil {
		d.finds(stateWrong, "corrections-unread", "", "what people corrected of devices is not in force: "+f.correctionsErr.Error(), "put that line right, or bring the file back from a backup, and restart")
	}
	d.clock(f)
	d.lists(f)
	d.updates(f)
	d.catalogue(f)
	d.store(f)
	d.clients(f)
	d.devices(f)
	d.refusals(f)
}

// clock says whether times in the log can be believed.
func (d *doctor) clock(f *facts) {
	const built = 1780000000 // a clock before this is not set: 2026-05-28
	switch {
	case f.now.Unix() < built:
		d.finds(stateWrong, "clock-unset", "", fmt.Sprintf("it says %s, which is before this program was written", when(f.now)), "set it, and let NTP keep it (e.g. timedatectl set-ntp true)")
	case f.clock.known && !f.clock.synchronised:
		d.finds(stateWarning, "clock-unsynchronised", "", "it is not synchronised (NTP): times in the log may be wrong, and nothing is deleted from it for now",
			"switch NTP on (e.g. timedatectl set-ntp true); in a container, on its host")
	default:
		d.says("clock", "%s", f.now.Format(time.RFC3339))
	}
}

func (d *doctor) upstreams(f *facts) {
	st := f.status
	general := 0
	for i := range st.Upstreams {
		if isGeneral(&st.Upstreams[i]) {
			general++
		}
	}
	if general == 0 {
		d.finds(stateWrong, "upstreams-none", "", "there are none: listed names are answered, all others are not", "add e.g. upstreams: [\"192.0.2.53:53\"] to the settings")
	}
	asked := 0
	for i := range st.Upstreams {
		u := &st.Upstreams[i]
		if d.upstream(u) && isGeneral(u) {
			asked++
		}
		if u.Returned > 0 {
			d.finds(stateWarning, "upstreams-returns", u.ID, fmt.Sprintf("%s sends some names back to this server (%d questions so far): they are answered SERVFAIL", u.ID, u.Returned),
				"let it resolve them itself, or set another upstream")
		}
		if u.Strays > 0 {
			d.finds(stateWarning, "upstreams-strays", u.ID, fmt.Sprintf("%d packets from %s fitted no query: %s", u.Strays, u.ID, strayMeans(u)),
				"ask it by DNS over TLS (tls://), if it speaks that, or set another upstream")
		}
	}
	if general > 0 && asked == 0 {
		d.finds(stateWrong, "upstreams-unasked", "", "none can be asked: only listed names, those of your own and those of forward are answered", "see the upstreams above, or set others (upstreams in the settings)")
	}
	for i := range f.probes {
		d.probed(&f.probes[i])
	}
}

// probed says what questions of ours have shown of an upstream.
func (d *doctor) probed(p *upstreamProbe) {
	if len(p.answer) > 0 {
		d.finds(stateWarning, "upstreams-lying", p.id, fmt.Sprintf("%s gives addresses to names that nobody has: to %s (made up) it said %s", p.id, p.madeUp, strings.Join(p.answer, "; ")),
			"switch that help off at its provider, or set another upstream")
	}
	if len(p.filtered) > 0 {
		d.finds(stateWarning, "upstreams-filtering", p.id, fmt.Sprintf("%s blocks by itself: for %s it said %s. What it blocks looks in this log as if it had been answered", p.id, listedName, strings.Join(p.filtered, ", ")),
			"switch its filter off, or set another upstream; then this log says what was blocked, and why")
	}
	if p.telltale {
		d.finds(stateWarning, "upstreams-telltale", p.id, p.id+" is a Telltale itself: what it blocks looks here as if it had been answered, and its log has this machine for all devices",
			"let devices ask one of the two alone, and give this one another upstream")
	}
}

// isGeneral reports whether an upstream is asked for all names.
func isGeneral(u *web.Upstream) bool {
	return len(u.Zones) == 0 && u.Source != "bootstrap" && u.Source != "forward"
}

// Half of the answers of an upstream take longer than that: it is slow.
const (
	slowAnswer  = 400 * time.Millisecond
	slowAnswers = 20 // that this must rest on
)

// upstream says how an upstream does, and reports whether it is asked.
func (d *doctor) upstream(u *web.Upstream) (asked bool) {
	of := u.Source
	if u.Source == "forward" {
		of = u.Source + " " + forwardedTo(u)
	}
	name := u.ID
	if u.Router && u.Addr != "" {
		name += ", now at " + u.Addr + ","
	}
	switch u.State {
	case upstream.Up.String():
		d.says("upstreams", "%s (%s) is up%s", name, of, speed(u))
		if u.Latency.Answers >= slowAnswers && u.Latency.P50 > slowAnswer {
			d.finds(stateWarning, "upstreams-slow", u.ID, fmt.Sprintf("%s is slow: half of its last %d answers took more than %v", u.ID, u.Latency.Answers, u.Latency.P50.Round(time.Millisecond)),
				"set a nearer upstream, or several with strategy: fastest")
		}
		return true
	case upstream.Failing.String():
		d.finds(stateWarning, "upstreams-failing", u.ID, fmt.Sprintf("%s (%s) is asked after all others since %s: it %s", name, of, when(u.Since), u.Why), "see what it says; 'telltale upstreams' has its failures by kind")
		return true
	case upstream.Looped.String():
		d.finds(stateWarning, "upstreams-looped", u.ID, fmt.Sprintf("%s (%s) is not asked since %s: it %s", name, of, when(u.Since), u.Why),
			"set upstreams to servers that do not ask this one, such as your provider's")
		return false
	}
	d.finds(stateWarning, "upstreams-down", u.ID, fmt.Sprintf("%s (%s) is not asked since %s: it %s", name, of, when(u.Since), u.Why), "see whether it runs and can be reached from here, or set another upstream")
	return false
}

// forwardedTo says what an upstream of forward is asked for, and by whom.
func forwardedTo(u *web.Upstream) string {
	text := cmp.Or(zonesText(u.Zones), "all names")
	if len(u.For) > 0 {
		text += " for " + zonesText(u.For)
	}
	return text
}

// zonesText writes the first zones of a forward: a prefix can stand for many.
func zonesText(zones []string) string {
	const most = 4
	if more := len(zones) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(zones[:most], ", "), more)
	}
	return strings.Join(zones, ", ")
}

// strayMeans says what packets are a sign of that fit no query.
func strayMeans(u *web.Upstream) string {
	if u.Transport != upstream.UDP.String() && u.Transport != upstream.TCP.String() {
		return "that server answers wrongly"
	}
	return "somebody may be forging answers"
}

// speed says how fast an upstream answered so far, and how often it did not.
func speed(u *web.Upstream) (text string) {
	if u.SRTT > 0 {
		text += fmt.Sprintf(", answers in %v", max(u.SRTT.Round(100*time.Microsecond), 100*time.Microsecond))
	}
	if u.Failures > 0 {
		text += fmt.Sprintf(", failed %d of %d queries", u.Failures, u.Queries)
	}
	return text
}

func (d *doctor) server(f *facts) {
	st := f.status
	for i := range st.Temporary {
		t := &st.Temporary[i]
		says, cure := temporaryText(t)
		if of := strings.TrimSpace(t.Of + " " + t.Name); t.Kind == string(blocklists.Observing) {
			d.finds(stateWarning, "observe-on", of, says, cure)
		} else {
			d.finds(stateWarning, "pause-on", of, says, cure)
		}
	}
	if n := st.Server.RefusedShared; n > 0 {
		says := fmt.Sprintf("%s from 100.64.0.0/10 were refused, the last from %s: clients of Tailscale and the like ask from there", number(n, "query"), st.Server.LastShared)
		if slices.ContainsFunc(f.own, isShared) {
			says += ", and this machine is in such a network"
		}
		d.finds(stateWarning, "access-shared", "", says, "if they are yours, put 100.64.0.0/10, or their own addresses, into access.allow; not where your provider gives you an address from there (docs/routers.md)")
	}
	if n := st.Server.Refused - st.Server.RefusedShared; n > 0 && st.Server.Refused >= st.Server.RefusedShared {
		d.finds(stateWarning, "access-refused", "", fmt.Sprintf("%s of clients outside this network were refused", number(n, "query")),
			"if they are yours, put their addresses into access.allow; if not, close port 53 to the Internet at the router")
	}
	if n := st.Server.OptionsIgnored; n > 0 {
		d.finds(stateWarning, "server-options-ignored", "", fmt.Sprintf("%s said by EDNS whose they are, and were not believed", number(n, "lookup")),
			"if they come from a forwarder of yours, put its address into identity.forwarders (docs/routers.md)")
	}
	if n := st.Server.ProxiesRefused; n > 0 {
		d.finds(stateWarning, "access-proxies", "", fmt.Sprintf("%s of listen.proxy_protocol were refused, since they did not say whose they are", number(n, "connection")),
			"let the proxy do so (HAProxy: send-proxy-v2), or take its address out")
	}
	if n := st.Server.Shed; n > 0 {
		d.finds(stateWarning, "load-shed", "", fmt.Sprintf("%s were shed because too many were waiting for upstreams", number(n, "query")), "see the upstreams: one that answers late or not at all makes others wait")
	}
	if n := st.Server.Unread; n > 0 {
		d.finds(stateWarning, "load-unread", "", fmt.Sprintf("%s were dropped unread because more came than could be answered", number(n, "query")), "'telltale ledger --kind overload' says when, and whose")
	}
	if n := st.Server.InternalErrors; n > 0 {
		d.finds(stateWrong, "server-internal-errors", "", fmt.Sprintf("%s caused an internal error", number(n, "query")), "the messages on standard error have the places: please report them")
	}
}

// isShared reports whether an address is of the shared address space (RFC 6598).
func isShared(a netip.Addr) bool {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(a)
}

// reach says whether devices can reach this server, as far as this machine can tell.
func (d *doctor) reach(f *facts) {
	if len(f.listens) == 0 {
		return
	}
	if beyond := func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() }; !slices.ContainsFunc(f.listens, beyond) {
		says := fmt.Sprintf("listen.dns has loopback alone (%s): this machine can ask, and no other device", f.listens[0])
		if f.listens[0].Port() != 53 {
			d.says("reach", "%s", says) // a trial
			return
		}
		d.finds(stateWarning, "reach-loopback", "", says, "set listen.dns to this machine's address, or to 0.0.0.0:53 and [::]:53")
		return
	}
	all := len(f.reached) > 0
	for i := range f.reached {
		if r := &f.reached[i]; r.err != nil {
			all = false
			d.finds(stateWarning, "reach-failed", r.addr.String(), fmt.Sprintf("this server does not answer itself at %s: %v", r.addr, r.err),
				"let UDP and TCP to that port pass in this machine's firewall (nft list ruleset), or add the address to listen.dns")
		}
	}
	if all {
		var at []string
		for i := range f.reached {
			at = append(at, f.reached[i].addr.Addr().String())
		}
		d.says("reach", "it answers itself at %s; a firewall that lets this machine alone pass cannot be seen from here", strings.Join(at, ", "))
	}
}

// leases says which files of DHCP servers tell who has an address.
func (d *doctor) leases(st *web.Status) {
	for _, f := range st.Leases {
		if f.Problem != "" {
			d.finds(stateWarning, "leases-unread", f.Path, fmt.Sprintf("%s: %s", f.Path, f.Problem), "let Telltale's user read the file, or name its kind (docs/devices.md)")
			continue
		}
		kind := f.Kind
		if kind == "" {
			kind = "empty as yet"
		}
		d.says("leases", "%s (%s): %s", f.Path, kind, number(uint64(f.Leases), "lease"))
	}
}

// announcements says how far what devices say of themselves is heard.
func (d *doctor) announcements(st *web.Announcements) {
	if !st.On {
		return
	}
	if st.Problem != "" {
		d.finds(stateWarning, "announcements-unheard", "", "what devices say of themselves is not heard: "+st.Problem, "identity.announcements: false, if names of devices do not matter (docs/devices.md)")
	}
	if st.Limited+st.Beyond >= 1000 { // a few are a device that starts
		d.finds(stateWarning, "announcements-flooded", "", numberOf(st.Limited+st.Beyond, "packet was", "packets were")+" not read, since too many came: names of devices may be missing",
			"find who floods the network with mDNS or SSDP (docs/devices.md)")
	}
	if st.Problem == "" && len(st.Links) > 0 {
		d.says("announcements", "heard on %s: %s", strings.Join(st.Links, ", "), numberOf(uint64(st.Addresses), "address", "addresses"))
	}
}

// makers says where the names of devices' makers come from.
func (d *doctor) makers(cfg *config.Config, m *web.MakerFiles) {
	switch {
	case m.Problem != "":
		d.finds(stateWarning, "makers-unread", "", m.Problem+": makers of devices are not shown", "name another file in identity.makers (docs/devices.md)")
	case len(m.Files) == 0 && selectsByMaker(cfg):
		d.finds(stateWarning, "makers-missing", "", "groups of the settings select devices by maker, and no copy of the IEEE's registry is here: they have no device by that", "install the package ieee-data, or name a copy in identity.makers (docs/devices.md)")
	case len(m.Files) == 0:
		d.says("makers", "no copy of the IEEE's registry is here, so makers of devices are not shown (docs/devices.md)")
	default:
		d.says("makers", "%s, of %s", strings.Join(m.Files, ", "), m.Time.Format(time.DateOnly))
	}
}

// unwatched says whose changes come in force late.
func (d *doctor) unwatched(st *web.Status) {
	const cure = "give the system more room for watches, as the reason says; else wait the 10 s"
	for _, u := range st.Unwatched {
		switch u.Files {
		case filesSettings:
			d.finds(stateWarning, "settings-late", "", "an edited settings file comes in force only after 10 s, since it cannot be watched: "+u.Why, cure)
		case filesLists:
			d.finds(stateWarning, "lists-late", "", "edited list files come in force only after 10 s, since they cannot be watched: "+u.Why, cure)
		case filesResolvConf:
			d.finds(stateWarning, "upstreams-late", "", "the DNS servers of a changed resolv.conf are asked only after 10 s, since it cannot be watched: "+u.Why, cure)
		}
	}
}

func (d *doctor) lists(f *facts) {
	if f.listsErr != nil {
		if errors.Is(f.listsErr, errUnmade) {
			d.willBeMade("lists", "lists.dir", f.cfg.Lists.Dir)
			return
		}
		d.finds(stateWrong, "lists-unread", "", f.listsErr.Error(), "let Telltale's user read lists.dir")
		return
	}
	rules := 0
	for i := range f.lists {
		l := &f.lists[i]
		rules += l.Rules
		switch {
		case l.Held != "":
			d.finds(stateWrong, "lists-held", l.Name, l.Name+": "+l.State, fmt.Sprintf("look at it ('telltale lists diff %s'); 'telltale lists accept %[1]s' takes it", l.Name))
		case l.Failed != "":
			d.finds(stateWrong, "lists-failed", l.Name, l.Name+": "+l.State, "let Telltale's user read the file, or correct it")
		}
		if l.BadLines > 0 {
			d.finds(stateWarning, "lists-bad-lines", l.Name, fmt.Sprintf("%s has %s", l.Name, number(uint64(l.BadLines), "bad line")), "'telltale lists --bad' shows them")
		}
		for _, w := range l.Warnings {
			if !isStale(f, l.Name) {
				d.finds(stateWarning, "lists-warning", l.Name, l.Name+": "+w, "correct the list, or write what shall hold into own.txt; 'telltale lists' shows it again")
			}
		}
	}
	d.says("lists", "%d lists with %d rules", len(f.lists), rules)
}

// staleAfter is how long the server of a list may not have confirmed it, beside twice
// the time after which it is asked again.
const staleAfter = 48 * time.Hour

// isStale reports whether a list by URL has been fetched once, and not lately.
func isStale(f *facts, name string) bool {
	return slices.ContainsFunc(f.updates, func(u subscribe.Status) bool { return u.Name == name && u.Enabled && stale(f.now, &u) })
}

func stale(now time.Time, u *subscribe.Status) bool {
	at := checked(u)
	return u.Path != "" && u.Failures > 0 && !at.IsZero() && now.Sub(at) > max(staleAfter, 2*u.Refresh)
}

// checked is when the server of a list last said that the copy is current.
func checked(u *subscribe.Status) time.Time {
	if u.Checked.IsZero() {
		return u.Fetched
	}
	return u.Checked
}

// updates says which lists by URL are old.
func (d *doctor) updates(f *facts) {
	for i := range f.updates {
		u := &f.updates[i]
		if !u.Enabled || !stale(f.now, u) {
			continue
		}
		d.finds(stateWarning, "lists-stale", u.Name, fmt.Sprintf("%s has not been fetched since %s (%s): %s", u.Name, when(checked(u)), number(uint64(u.Failures), "attempt"), u.Err),
			fmt.Sprintf("see whether %s is still there; 'telltale lists refresh %s' tries again", u.URL, u.Name))
	}
	if f.day == nil {
		return
	}
	for _, name := range f.day.essentialNames() {
		e := f.day.essential[name]
		d.finds(stateWarning, "lists-essential", name, fmt.Sprintf("%s is essential, and was blocked %d times in the last day by %s, line %d", name, e.count, e.list, e.line),
			fmt.Sprintf("'telltale allow %s' lets it through", name))
	}
}

// catalogue says which edition is in force, and why not a later one.
func (d *doctor) catalogue(f *facts) {
	k := &f.catalogue
	switch {
	case f.catalogueErr != nil:
		d.finds(stateWrong, "catalogue-unread", "", f.catalogueErr.Error(), "'telltale catalog update' fetches it anew")
		return
	case k.Held != "":
		d.finds(stateWarning, "catalogue-held", "", "not in force: "+k.Held, "'telltale catalog edition' says more; 'telltale catalog accept' takes it where it can be taken")
	case k.Error != "":
		d.finds(stateWarning, "catalogue-stale", "", fmt.Sprintf("no later edition could be fetched from %s (%d attempts): %s", k.URL, k.Failures, k.Error), "see whether catalog.url can be reached; 'telltale catalog update' tries again")
	}
	d.says("catalogue", "edition %s is in force", k.Edition)
}

// store says whether the log can be written, and for how long.
func (d *doctor) store(f *facts) {
	s, dir := &f.store, f.cfg.Data.Dir
	switch {
	case s.missing:
		d.willBeMade("data", "data.dir", dir)
		return
	case errors.Is(s.err, fs.ErrPermission):
		d.finds(stateWarning, "data-foreign", "", fmt.Sprintf("data.dir (%s) is another user's", dir), "run this as root, or as that user, to look at it")
		return
	case s.err != nil:
		d.finds(stateWrong, "data-unwritable", "", fmt.Sprintf("data.dir cannot be written, so that nothing would be logged: %v", s.err), "make it writable for Telltale's user, or set data.dir")
		return
	}
	text := dir
	const little = 64 << 20
	if s.freeKnown {
		text += fmt.Sprintf(", %s free", bytesText(s.free))
	}
	full := s.freeKnown && s.free < little
	if full {
		d.finds(stateWarning, "store-full", "", text, "make room on that disk, or set data.dir to another; without room lookups are counted in memory alone")
	} else {
		d.says("data", "%s, %s used", text, bytesText(s.used))
	}
	if f.status == nil {
		return
	}
	log := &f.status.Log
	if log.LastError != "" {
		d.finds(stateWrong, "log-error", "", log.LastError, "remove the cause: the log is tried again every ten seconds, and its seal every minute")
	}
	if n := log.GivenUp; n > 0 {
		d.finds(stateWarning, "log-lost", "", number(n, "lookup")+" could not be kept", "'telltale ledger --kind lost' says when")
	}
	last := log.LastCommit
	if last.Before(f.status.Started) {
		last = f.status.Started
	}
	if waited := f.now.Sub(last); log.OpenRows > 0 && waited > slowStore && log.LastError == "" && log.Migration == nil {
		d.finds(stateWarning, "store-slow", "", fmt.Sprintf("%s wait to be stored, and nothing was stored for %s", number(uint64(log.OpenRows), "row"), spanText(waited.Round(time.Second))),
			"look at the disk of data.dir: a worn SD card or a network drive is too slow for it")
	}
	if !full {
		d.growth(f)
	}
}

// slowStore is how long rows may wait: a window is at most a minute long.
const slowStore = 5 * time.Minute

// growth says when the store will have no room any more.
func (d *doctor) growth(f *facts) {
	log := &f.status.Log
	limit := int64(f.cfg.Log.Size)
	if limit > 0 && log.Bytes > limit-limit/20 {
		d.finds(stateWarning, "store-limit", "", fmt.Sprintf("the log has %s, as much as log.size lets it (%s): its oldest rows are deleted early", bytesText(log.Bytes), bytesText(limit)),
			"set log.size higher, or log.unlisted and log.listed shorter")
		return
	}
	if f.day == nil || f.day.oldest.IsZero() || !f.store.freeKnown {
		return
	}
	const enough, soon = 2 * 24 * time.Hour, 14
	age := f.now.Sub(f.day.oldest)
	if age < enough || log.Bytes <= 0 {
		return
	}
	perDay := int64(float64(log.Bytes) / (age.Hours() / 24))
	if perDay == 0 {
		return
	}
	days := f.store.free / perDay
	if room := limit - log.Bytes; days >= soon || limit > 0 && room < f.store.free {
		return
	}
	d.finds(stateWarning, "store-growing", "", fmt.Sprintf("the log grows by about %s a day, and the disk has room for %s more", bytesText(perDay), number(uint64(days), "day")),
		"make room on the disk, set log.size to less than there is, or log.unlisted and log.listed shorter")
}

// Shares and counts from which something is said.
const (
	enoughLookups  = 100 // from which one client alone is odd, or many unknown ones
	unknownPercent = 20
	firstLookup    = 10 * time.Minute // after the start: by then a device has asked
)

// clients says whether devices ask, and whether the log can tell them apart.
func (d *doctor) clients(f *facts) {
	switch {
	case errors.Is(f.dayErr, fs.ErrNotExist) || errors.Is(f.dayErr, fs.ErrPermission):
		return // store has said so
	case f.dayErr != nil:
		d.finds(stateWarning, "clients-unread", "", fmt.Sprintf("the log cannot be read: %v", f.dayErr), "'telltale ledger' may say since when")
		return
	case f.day == nil:
		return
	}
	others := f.otherClients()
	switch hidden, says := f.oneClient(); {
	case says != "":
		d.finds(stateWarning, "clients-one-address", hidden.String(), says, f.apartCure(hidden))
		return
	case len(others) == 0 && f.isServing() && f.now.Sub(f.status.Started) > firstLookup:
		d.finds(stateWarning, "clients-none", "", fmt.Sprintf("no device has asked in the last day, and the server runs since %s", when(f.status.Started)),
			"enter "+f.serverAddress(netip.Addr{})+" as the DNS server that your router gives to devices (docs/routers.md), and reconnect one")
		return
	}
	d.says("clients", "%s asked in the last day", number(uint64(len(f.day.clients)), "client"))
}

// isServing reports whether devices could ask.
func (f *facts) isServing() bool {
	return f.status != nil && slices.ContainsFunc(f.listens, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// otherClients are the addresses that asked and are not this machine's.
func (f *facts) otherClients() (all []netip.Addr) {
	for _, client := range slices.Sorted(maps.Keys(f.day.clients)) {
		if a, err := netip.ParseAddr(client); err == nil && !a.IsLoopback() && !slices.Contains(f.own, a) {
			all = append(all, a)
		}
	}
	return all
}

// oneClient returns the address behind which all devices seem to hide, and says so; ""
// where they do not.
func (f *facts) oneClient() (hidden netip.Addr, says string) {
	if f.day == nil || f.status == nil {
		return hidden, ""
	}
	others := f.otherClients()
	if len(others) != 1 {
		return hidden, ""
	}
	a := others[0]
	n := f.day.clients[a.String()]
	if n < enoughLookups || f.day.forwarded[a.String()] {
		return hidden, ""
	}
	who := ""
	switch {
	case slices.Contains(f.status.Gateways, a.String()) && f.container:
		who = "the gateway of this container: its host hides the devices, or the router does where the container has an address of the home"
	case slices.Contains(f.status.Gateways, a.String()):
		who = "the router: it forwards for the devices, and hides them"
	case len(f.day.systems[a.String()]) > 1:
		who = "which asks for the connectivity checks of " + strings.Join(slices.Sorted(maps.Keys(f.day.systems[a.String()])), ", ") + ": something that forwards hides several devices (a router, a bridge, NAT)"
	default:
		return hidden, "" // it may well be the only device
	}
	return a, fmt.Sprintf("all %d lookups of the last day came from one address, %s, %s", n, a, who)
}

// apartCure says how the devices behind an address can be told apart.
func (f *facts) apartCure(hidden netip.Addr) string {
	if f.container && slices.Contains(f.status.Gateways, hidden.String()) {
		return "run the container in its host's network (docs/containers.md); where it is the router, see docs/routers.md"
	}
	page := "docs/routers.md"
	if f.router != "" {
		page += "#" + f.router
	}
	at := f.serverAddress(hidden)
	return fmt.Sprintf("let its DHCP server give %s to devices as their DNS server (%s); or, where it runs dnsmasq, put there: no-resolv, server=%[1]s, add-mac, add-subnet=32,128, cache-size=0; and here identity: {forwarders: [%[3]s]}", at, page, hidden)
}

// serverAddress is the address that a router shall give out: one in the network of near.
func (f *facts) serverAddress(near netip.Addr) string {
	best, bits := "this machine's address", -1
	for _, a := range f.own {
		if a.Is4() != near.Is4() && near.IsValid() || !near.IsValid() && !a.Is4() || isShared(a) {
			continue
		}
		if n := commonBits(a, near); n > bits {
			best, bits = a.String(), n
		}
	}
	return best
}

// commonBits is how many bits two addresses have in common at their beginnings.
func commonBits(a, b netip.Addr) int {
	if !b.IsValid() || a.BitLen() != b.BitLen() {
		return 0
	}
	for n := a.BitLen(); n > 0; n-- {
		if p, err := a.Prefix(n); err == nil && p.Contains(b) {
			return n
		}
	}
	return 0
}

// devices says whether the log knows whose lookups are.
func (d *doctor) devices(f *facts) {
	if y := f.day; y != nil && y.lookups >= enoughLookups && y.bare*100 >= y.lookups*unknownPercent {
		d.finds(stateWarning, "devices-unknown", "", fmt.Sprintf("%d %% of the lookups of the last day are of bare addresses, behind which there may be any device", y.bare*100/y.lookups),
			"if they come from another network, let Telltale read the leases of its DHCP server, or name the addresses in devices (docs/devices.md)")
	}
	for i := range f.devices {
		v := &f.devices[i]
		addrs := map[string][]string{}
		for _, b := range v.Bindings {
			if a, err := netip.ParseAddr(b.Addr); err == nil && a.Is4() && b.Until.IsZero() && b.MAC != "" && b.Confidence == "low" && b.Lease == nil && !slices.Contains(f.gateways(), b.Addr) {
				addrs[b.MAC] = append(addrs[b.MAC], b.Addr)
			}
		}
		for _, mac := range slices.Sorted(maps.Keys(addrs)) {
			if at := addrs[mac]; len(at) > 1 {
				d.finds(stateWarning, "devices-shared-mac", mac, fmt.Sprintf("%s answers for %d addresses at once (%s): there may be several devices behind it (a repeater, powerline, NAT)", mac, len(at), strings.Join(at, ", ")),
					"set that repeater to bridge (WDS, 4-address) mode, or name the devices by their addresses (docs/devices.md)")
			}
		}
	}
}

func (f *facts) gateways() []string {
	if f.status == nil {
		return nil
	}
	return f.status.Gateways
}
