package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"telltale/config"
	"telltale/querylog"
	"telltale/resolver"
	"telltale/resolver/listen/certs"
	"telltale/resolver/upstream"
	"telltale/web"
)

// A finding is one thing the doctor looked at.
type finding struct {
	What  string `json:"what"`
	State string `json:"state"` // ok, warning, wrong
	Says  string `json:"says"`
}

func (cl *cli) newDoctor() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps Telltale from answering, or its log from being true",
		Long: `Check the settings, the port, the upstreams (also for loops), the certificates,
the clock, the lists, the data directory, whether all clients hide behind one address, as they do when a
router forwards for them, and which names are refused or cannot be answered. Exit status 1 if something is wrong.`,
		Example: "  telltale doctor",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d := &doctor{}
			d.examine(c.Context(), cl)
			if cl.json {
				enc := cl.encoder()
				for _, f := range d.findings {
					if err := enc.Encode(f); err != nil {
						return err
					}
				}
			} else {
				for _, f := range d.findings {
					fmt.Fprintf(cl.out, "%-8s %-10s %s\n", f.State, f.What, f.text(20))
				}
			}
			for _, f := range d.findings {
				if f.State == "wrong" {
					return errSilent
				}
			}
			return nil
		},
	})
}

type doctor struct {
	findings []finding
}

// text returns what is said, to be printed after a margin of so many columns: each
// mistake in the settings stands on a line of its own.
func (f *finding) text(margin int) string {
	lines := strings.Split(f.Says, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", margin))
}

func (d *doctor) say(state, what, format string, args ...any) {
	d.findings = append(d.findings, finding{what, state, fmt.Sprintf(format, args...)})
}

func (d *doctor) examine(ctx context.Context, a *cli) {
	cfg, err := a.loadStrictly()
	if err != nil {
		d.say("wrong", "settings", "%v", err)
		if cfg, err = a.loadLastGood(); err != nil {
			return
		}
	} else {
		d.say("ok", "settings", "%s", fileOrDefaults(cfg))
	}
	var st web.Status
	err = newClient(cfg).get(ctx, "/status", &st)
	d.clock()
	switch {
	case errors.Is(err, errForeign):
		d.say("warning", "server", "%v; its lists, its data and its clients are not looked at", err)
		d.answers(ctx, cfg, nil)
		return
	case errors.Is(err, errStopped):
		d.say("warning", "server", "%v: what follows is about the next start", err)
		d.port(cfg)
		d.certificates(cfg, nil)
	case err != nil:
		d.say("wrong", "server", "%v", err)
	default:
		d.say("ok", "server", "version %s, process %d, since %s", st.Version, st.PID, when(st.Started))
		d.running(ctx, cfg, &st)
		newClient(cfg).do(ctx, http.MethodPost, "/log/flush", nil, nil) // what follows reads the log
	}
	d.lists(ctx, cfg)
	d.catalogue(ctx, cfg)
	d.data(cfg, &st)
	d.clients(ctx, cfg, &st)
	d.refusals(ctx, cfg, &st)
}

// running looks at what only the running server knows.
func (d *doctor) running(ctx context.Context, cfg *config.Config, st *web.Status) {
	if st.Settings.Refused != "" {
		d.refused(st.Settings.Refused)
	}
	if st.Settings.LastGood != nil {
		d.say("wrong", "settings", "those kept on %s are in force, since those on disk had mistakes at the start", when(*st.Settings.LastGood))
	}
	d.answers(ctx, cfg, st)
	d.upstreams(st)
	d.server(st)
	d.certificates(cfg, st.Certificates)
	d.unwatched(st)
	d.leases(st)
}

// leases says which files of DHCP servers tell who has an address.
func (d *doctor) leases(st *web.Status) {
	for _, f := range st.Leases {
		if f.Problem != "" {
			d.say("warning", "leases", "%s: %s", f.Path, f.Problem)
			continue
		}
		kind := f.Kind
		if kind == "" {
			kind = "empty as yet"
		}
		d.say("ok", "leases", "%s (%s): %s", f.Path, kind, number(uint64(f.Leases), "lease"))
	}
}

// refused says why the server goes on with other settings than those on disk. If
// that was found in the file already, it is said once.
func (d *doctor) refused(why string) {
	d.findings = slices.DeleteFunc(d.findings, func(f finding) bool { return f.What == "settings" && f.Says == why })
	d.say("wrong", "settings", "those on disk are not in force: %s", why)
}

// unwatched says whose changes come in force late.
func (d *doctor) unwatched(st *web.Status) {
	for _, u := range st.Unwatched {
		switch u.Files {
		case filesSettings:
			d.say("warning", "settings", "an edited settings file comes in force only after 10 s, since it cannot be watched: %s", u.Why)
		case filesLists:
			d.say("warning", "lists", "edited list files come in force only after 10 s, since they cannot be watched: %s", u.Why)
		case filesResolvConf:
			d.say("warning", "upstreams", "the DNS servers of a changed resolv.conf are asked only after 10 s, since it cannot be watched: %s", u.Why)
		}
	}
}

func fileOrDefaults(cfg *config.Config) string {
	if cfg.File == "" {
		return "no file; the defaults, the environment and the flags are valid"
	}
	return cfg.File + " is valid"
}

// port says whether the addresses could be listened on.
func (d *doctor) port(cfg *config.Config) {
	if err := canListen(cfg); err != nil {
		d.say("wrong", "port", "%v", err)
		return
	}
	d.say("ok", "port", "all addresses of listen are free")
}

// canListen returns why the addresses cannot be listened on.
func canListen(cfg *config.Config) error {
	none, err := certs.Open(certs.Options{}) // nobody is greeted
	if err != nil {
		return err
	}
	defer none.Close()
	s, err := resolver.New(resolver.Options{
		Listen: cfg.Listen.DNS, ListenTLS: cfg.Listen.TLS, ListenHTTPS: cfg.Listen.HTTPS, ListenHTTP: cfg.Listen.HTTP, ListenQUIC: cfg.Listen.QUIC,
		Certificates: none, Upstreams: upstream.Options{ResolvConf: os.DevNull},
	})
	if err != nil {
		return err
	}
	return s.Close()
}

func (d *doctor) answers(ctx context.Context, cfg *config.Config, st *web.Status) {
	addr, err := health(ctx, cfg)
	if err != nil {
		d.say("wrong", "port", "%v", err)
		return
	}
	on := addr.String()
	if st != nil {
		on = strings.Join(st.Listen, ", ")
	}
	d.say("ok", "port", "Telltale answers on %s", on)
}

func (d *doctor) upstreams(st *web.Status) {
	general := 0
	for i := range st.Upstreams {
		if isGeneral(&st.Upstreams[i]) {
			general++
		}
	}
	if general == 0 {
		d.say("wrong", "upstreams", "there are none: listed names are answered, all others are not; add e.g. upstreams: [\"192.0.2.53:53\"] to the settings")
	}
	asked := 0
	for i := range st.Upstreams {
		u := &st.Upstreams[i]
		if d.upstream(u) && isGeneral(u) {
			asked++
		}
		if u.Returned > 0 {
			d.say("warning", "upstreams", "%s sends some names back to this server (%d questions so far): they are answered SERVFAIL. Let it resolve them itself, or set another upstream", u.ID, u.Returned)
		}
		if u.Strays > 0 {
			d.say("warning", "upstreams", "%d packets from %s fitted no query: %s", u.Strays, u.ID, strayMeans(u))
		}
	}
	if general > 0 && asked == 0 {
		d.say("wrong", "upstreams", "none can be asked: only listed names, those of your own and those of forward are answered")
	}
}

// isGeneral reports whether an upstream is asked for all names.
func isGeneral(u *web.Upstream) bool {
	return len(u.Zones) == 0 && u.Source != "bootstrap" && u.Source != "forward"
}

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
		d.say("ok", "upstreams", "%s (%s) is up%s", name, of, speed(u))
		return true
	case upstream.Failing.String():
		d.say("warning", "upstreams", "%s (%s) is asked after all others since %s: it %s", name, of, when(u.Since), u.Why)
		return true
	}
	d.say("warning", "upstreams", "%s (%s) is not asked since %s: it %s", name, of, when(u.Since), u.Why)
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
		return "that server answers wrongly; set another upstream"
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

func (d *doctor) server(st *web.Status) {
	if st.Paused != nil {
		d.say("warning", "pause", "nothing is blocked until %s ('telltale resume' ends it)", when(*st.Paused))
	}
	if n := st.Server.Refused; n > 0 {
		d.say("warning", "access", "%d queries of clients outside this network were refused; access.allow lets them in", n)
	}
	if n := st.Server.OptionsIgnored; n > 0 {
		d.say("warning", "server", "%s said by EDNS whose they are, and were not believed: if they come from a forwarder of yours, put its address into identity.forwarders (docs/router.md)",
			number(n, "lookup"))
	}
	if n := st.Server.ProxiesRefused; n > 0 {
		d.say("warning", "access", "%d connections of listen.proxy_protocol were refused, since they did not say whose they are; let the proxy do so (HAProxy: send-proxy-v2), or take its address out", n)
	}
	if n := st.Server.Shed; n > 0 {
		d.say("warning", "load", "%d queries were shed because too many were waiting for upstreams", n)
	}
	if n := st.Server.Unread; n > 0 {
		d.say("warning", "load", "%d queries were dropped unread because more came than could be answered; the quality ledger says when, and whose", n)
	}
	if n := st.Server.InternalErrors; n > 0 {
		d.say("wrong", "internal errors", "%d queries caused an internal error; the messages on standard error have the places: please report them", n)
	}
	if st.Log.LastError != "" {
		d.say("wrong", "log", "%s", st.Log.LastError)
	}
	if n := st.Log.GivenUp; n > 0 {
		d.say("warning", "log", "%d lookups could not be kept; the quality ledger says when", n)
	}
}

// clock says whether times in the log can be believed.
func (d *doctor) clock() {
	const built = 1780000000 // a clock before this is not set: 2026-05-28
	if time.Now().Unix() < built {
		d.say("wrong", "clock", "it says %s, which is before this program was written", when(time.Now()))
		return
	}
	if synced, known := clockSynced(); known && !synced {
		d.say("warning", "clock", "it is not synchronised (NTP): times in the log may be wrong, and nothing is deleted from it for now")
		return
	}
	d.say("ok", "clock", "%s", time.Now().Format(time.RFC3339))
}

func (d *doctor) lists(ctx context.Context, cfg *config.Config) {
	if _, err := os.Stat(cfg.Lists.Dir); errors.Is(err, fs.ErrNotExist) {
		d.willBeMade("lists", "lists.dir", cfg.Lists.Dir)
		return
	}
	all, err := listStatus(ctx, cfg)
	if err != nil {
		d.say("wrong", "lists", "%v", err)
		return
	}
	rules := 0
	for i := range all {
		l := &all[i]
		rules += l.Rules
		if l.Held != "" || l.Failed != "" {
			d.say("wrong", "lists", "%s: %s", l.Name, l.State)
		}
		if l.BadLines > 0 {
			d.say("warning", "lists", "%s has %s ('telltale lists --bad' shows them)", l.Name, number(uint64(l.BadLines), "bad line"))
		}
		for _, w := range l.Warnings {
			d.say("warning", "lists", "%s: %s", l.Name, w)
		}
	}
	d.say("ok", "lists", "%d lists with %d rules", len(all), rules)
}

// catalogue says which edition is in force, and why not a later one.
func (d *doctor) catalogue(ctx context.Context, cfg *config.Config) {
	k, err := catalogueStatus(ctx, cfg)
	switch {
	case err != nil:
		d.say("wrong", "catalogue", "%v", err)
		return
	case k.Held != "":
		d.say("warning", "catalogue", "not in force: %s", catalogueHeld(&k))
	case k.Error != "":
		d.say("warning", "catalogue", "no later edition could be fetched from %s (%d attempts): %s", k.URL, k.Failures, k.Error)
	}
	d.say("ok", "catalogue", "edition %s is in force", k.Edition)
}

// willBeMade says of a directory that is missing whether the server can make it.
func (d *doctor) willBeMade(what, key, dir string) {
	above := filepath.Dir(dir)
	for above != "/" {
		if _, err := os.Stat(above); err == nil {
			break
		}
		above = filepath.Dir(above)
	}
	if err := unix.Access(above, unix.W_OK); err != nil {
		d.say("warning", what, "%s (%s) is not there, and this user cannot make it: make it, or start the server as a user who can", key, dir)
		return
	}
	d.say("ok", what, "%s (%s) is made at the first start", key, dir)
}

// data says whether the data directory can be written. Of a server that runs, it
// is the server that knows.
func (d *doctor) data(cfg *config.Config, st *web.Status) {
	_, err := os.Stat(cfg.Data.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.willBeMade("data", "data.dir", cfg.Data.Dir)
		return
	case st.PID == 0:
		err = canWrite(cfg.Data.Dir)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		d.say("warning", "data", "data.dir (%s) is another user's: run this as root, or as that user, to look at it", cfg.Data.Dir)
		return
	case err != nil:
		d.say("wrong", "data", "data.dir cannot be written, so that nothing would be logged: %v", err)
		return
	}
	text := cfg.Data.Dir
	if free, ok := freeBytes(cfg.Data.Dir); ok {
		const little = 64 << 20
		text += fmt.Sprintf(", %s free", bytesText(free))
		if free < little {
			d.say("warning", "data", "%s", text)
			return
		}
	}
	store := int64(0)
	files, _ := filepath.Glob(filepath.Join(cfg.Data.Dir, "*"))
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			store += info.Size()
		}
	}
	d.say("ok", "data", "%s, %s used", text, bytesText(store))
}

func canWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// clients says whether the log can tell devices apart.
func (d *doctor) clients(ctx context.Context, cfg *config.Config, st *web.Status) {
	r, err := querylog.OpenReader(cfg.Data.Dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return // data has said so
	}
	if err != nil {
		d.say("warning", "clients", "the log cannot be read: %v", err)
		return
	}
	defer r.Close()
	seen := map[string]uint64{}
	for row, err := range r.Rows(ctx, querylog.Filter{Since: time.Now().Add(-24 * time.Hour), Limit: 100_000}) {
		if err != nil {
			d.say("warning", "clients", "the log cannot be read: %v", err)
			return
		}
		seen[row.Client] += row.Count
	}
	const enough = 100 // lookups from which one client alone is odd
	for client, n := range seen {
		addr, err := netip.ParseAddr(client)
		if len(seen) != 1 || n < enough || err != nil || addr.IsLoopback() {
			continue
		}
		who := "one address"
		for _, g := range st.Gateways {
			if g == client {
				who = "the router"
			}
		}
		d.say("warning", "clients", "all %d lookups of the last day came from %s, %s: a router that forwards hides the devices. "+
			"Let its DHCP server hand out this machine's address as DNS server instead (README, \"Set it as your router's DNS\")", n, who, client)
		return
	}
	d.say("ok", "clients", "%s asked in the last day", number(uint64(len(seen)), "client"))
}

// bytesText writes a size for people: three digits and a unit.
func bytesText(n int64) string {
	size, unit := float64(n), 0
	for units := "KMGTPE"; size >= 1000 && unit < len(units); unit++ {
		size /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.3g %ciB", size, "KMGTPE"[unit-1])
}
