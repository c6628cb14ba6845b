package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/querylog"
	"telltale/resolver"
	"telltale/resolver/listen/certs"
	"telltale/resolver/upstream"
	"telltale/web"
)

// What State of a finding says. The words never change.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateWrong   = "wrong"
)

func (cl *cli) newDoctor() *cobra.Command {
	failOn, network := stateWrong, false
	c := cl.addJSON(&cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps Telltale from answering, or its log from being true",
		Long: `Check the settings, the port, whether devices can reach it, the upstreams (also for
loops and made-up answers), the certificates, the clock, the lists, the store, whether
devices ask and can be told apart, who is refused, and which names cannot be answered.
Each finding has a line that says what is so, and one that says what to do.
docs/doctor.md explains them all.

With --network also ask this network, as root, which DNS servers it hands out to
devices, by DHCP, DHCPv6 and router advertisements: one beside Telltale is a way past
it. Nothing is asked to be changed, and no address is taken.

The running server looks at the same things once an hour, and writes into the quality
ledger what begins and what ends. Exit status 1 if something is wrong, with
--fail-on warning also if there is a warning; 2 for a wrong command line.`,
		Example: "  telltale doctor\n  telltale doctor --json --fail-on warning\n  sudo telltale doctor --network",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if failOn != stateWrong && failOn != stateWarning {
				return usage("--fail-on is %q: it must be wrong or warning", failOn)
			}
			d := &doctor{}
			cfg := d.examine(c.Context(), cl, true)
			if network {
				d.network(c.Context(), cfg)
			}
			if err := cl.printFindings(d.findings); err != nil {
				return err
			}
			for i := range d.findings {
				if s := d.findings[i].State; s == stateWrong || s == failOn {
					return errSilent
				}
			}
			return nil
		},
	})
	c.Flags().StringVar(&failOn, "fail-on", stateWrong, "exit with status 1 from this state on: wrong or warning")
	c.Flags().BoolVar(&network, "network", false, "ask this network which DNS servers it hands out (needs root)")
	complete(c, "fail-on", stateWrong, stateWarning)
	return c
}

func (cl *cli) printFindings(all []web.Finding) error {
	enc := cl.encoder()
	for i := range all {
		f := &all[i]
		var err error
		if cl.json {
			err = enc.Encode(f)
		} else {
			_, err = fmt.Fprintf(cl.out, "%-8s %-10s %s\n", f.State, f.What, findingText(f, 20))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// findingText returns what is so and what to do, to be printed after a margin of so
// many columns: each stands on a line of its own, as does each mistake in the settings.
func findingText(f *web.Finding, margin int) string {
	lines := strings.Split(f.Says, "\n")
	if f.Cure != "" {
		lines = append(lines, "To do: "+f.Cure)
	}
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", margin))
}

// A doctor collects findings.
type doctor struct {
	findings []web.Finding
}

// says adds that all is well with something.
func (d *doctor) says(what, format string, args ...any) {
	d.findings = append(d.findings, web.Finding{What: what, State: stateOK, Says: fmt.Sprintf(format, args...)})
}

// finds adds a finding by its code, which begins with what it is about. Subject is which
// upstream, list or address it is about, where there can be several.
func (d *doctor) finds(state, code, subject, says, cure string) {
	what, _, _ := strings.Cut(code, "-")
	d.findings = append(d.findings, web.Finding{Code: code, What: what, State: state, Subject: subject, Says: says, Cure: cure})
}

// examine looks at what can be seen from here, and has the running server say what it
// finds. Where there is none it looks itself. probe is whether upstreams are asked for
// names that are not there. It returns the settings of a server that runs; nil where none does.
func (d *doctor) examine(ctx context.Context, a *cli, probe bool) *config.Config {
	cfg, err := a.loadStrictly()
	if err != nil {
		d.finds(stateWrong, "settings-invalid", "", err.Error(), "correct that: 'telltale validate' checks it again")
		if cfg, err = a.loadLastGood(); err != nil {
			return nil
		}
	}
	var st web.Status
	err = newClient(cfg).get(ctx, "/status", &st)
	if err == nil {
		d.running(ctx, cfg, &st, probe)
		return cfg
	}
	if len(d.findings) == 0 {
		d.says("settings", "%s", fileOrDefaults(cfg))
	}
	switch {
	case errors.Is(err, errForeign):
		d.finds(stateWarning, "server-foreign", "", err.Error()+"; its lists, its data and its clients are not looked at", "run this as that user, or as root")
		d.answers(ctx, cfg, nil)
	case errors.Is(err, errStopped):
		d.finds(stateWarning, "server-stopped", "", err.Error()+": what follows is about the next start", "start it, e.g. systemctl start telltale")
		d.stopped(ctx, cfg)
	default:
		d.finds(stateWrong, "server-silent", "", err.Error(), "restart the server; its messages on standard error may say more")
		d.stopped(ctx, cfg)
	}
	return nil
}

// running asks the server what it finds.
func (d *doctor) running(ctx context.Context, cfg *config.Config, st *web.Status, probe bool) {
	var all []web.Finding
	if err := newClient(cfg).get(ctx, "/findings?probe="+strconv.FormatBool(probe), &all); err != nil {
		d.finds(stateWrong, "server-silent", "", err.Error(), "restart the server; its messages on standard error may say more")
		d.answers(ctx, cfg, st)
		return
	}
	d.take(all)
}

// take adds what the server found. What is said of the settings on disk is said once.
func (d *doctor) take(all []web.Finding) {
	invalid := slices.IndexFunc(d.findings, func(f web.Finding) bool { return f.Code == "settings-invalid" })
	for _, f := range all {
		switch {
		case invalid < 0 || f.What != "settings":
		case f.State == stateOK: // the server has not seen the mistakes yet
			continue
		case f.Says == refusedText(d.findings[invalid].Says):
			d.findings, invalid = slices.Delete(d.findings, invalid, invalid+1), -1
		}
		d.findings = append(d.findings, f)
	}
}

// itself says which settings are in force on a server, which one it is, and whether it answers.
func (d *doctor) itself(ctx context.Context, f *facts) {
	st := f.status
	if st.Settings.Refused != "" {
		d.finds(stateWrong, "settings-refused", "", refusedText(st.Settings.Refused), "correct the file: it comes in force when it is saved")
	} else {
		d.says("settings", "%s", fileOrDefaults(f.cfg))
	}
	if st.Settings.LastGood != nil {
		d.finds(stateWrong, "settings-last-good", "", fmt.Sprintf("those kept on %s are in force, since those on disk had mistakes at the start", when(*st.Settings.LastGood)),
			"correct the file: it comes in force when it is saved")
	}
	d.says("server", "version %s, process %d, since %s", st.Version, st.PID, when(st.Started))
	if len(f.listens) == 0 {
		return
	}
	if err := askHealth(ctx, f.listens[0]); err != nil {
		d.silentPort(err)
		return
	}
	d.says("port", "Telltale answers on %s", strings.Join(st.Listen, ", "))
}

func refusedText(why string) string { return "those on disk are not in force: " + why }

func (d *doctor) silentPort(err error) {
	d.finds(stateWrong, "port-silent", "", err.Error(), "start the server, or set listen.dns to the addresses that it has")
}

// stopped looks at what a start would meet.
func (d *doctor) stopped(ctx context.Context, cfg *config.Config) {
	d.port(cfg)
	d.certificates(cfg, nil)
	f := &facts{now: time.Now(), cfg: cfg, clock: readClock()}
	if _, err := os.Stat(cfg.Lists.Dir); errors.Is(err, fs.ErrNotExist) {
		f.listsErr = errUnmade
	} else {
		f.lists, f.listsErr = listStatus(ctx, cfg)
	}
	f.updates = copiesStatus(cfg)
	f.catalogue, f.catalogueErr = catalogueStatus(ctx, cfg)
	f.readStore(false)
	if r, err := querylog.OpenReader(cfg.Data.Dir); err != nil {
		f.dayErr = err
	} else {
		f.day, f.dayErr = readDay(ctx, r, f.now)
		r.Close()
	}
	d.judge(f)
}

func fileOrDefaults(cfg *config.Config) string {
	if cfg.File == "" {
		return "no file; the defaults, the environment and the flags are valid"
	}
	return cfg.File + " is valid"
}

// port says whether the addresses could be listened on.
func (d *doctor) port(cfg *config.Config) {
	err := canListen(cfg)
	var taken interface {
		Cause() string
		Cure() string
	}
	switch {
	case errors.As(err, &taken):
		d.finds(stateWrong, "port-taken", "", taken.Cause(), taken.Cure())
	case err != nil:
		d.finds(stateWrong, "port-taken", "", err.Error(), "set other addresses under listen in the settings")
	default:
		d.says("port", "all addresses of listen are free")
	}
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

// answers asks the server as a client on this machine does.
func (d *doctor) answers(ctx context.Context, cfg *config.Config, st *web.Status) {
	addr, err := health(ctx, cfg)
	if err != nil {
		d.silentPort(err)
		return
	}
	on := addr.String()
	if st != nil {
		on = strings.Join(st.Listen, ", ")
	}
	d.says("port", "Telltale answers on %s", on)
}

// findings returns what the running server finds. probe is whether it asks others, too:
// its upstreams, for names that are not there, and itself over the addresses of this
// machine. Then it writes into the ledger what has begun and what is over.
func (a *app) findings(ctx context.Context, probe bool) []web.Finding {
	cfg, st := a.cfg.Load(), a.status()
	f := &facts{
		now: time.Now(), cfg: cfg, clock: readClock(), status: &st, lists: a.listStatus(), updates: a.subscriptions.Status(),
		catalogue: a.catalogueStatus(), devices: a.boundDevices(), own: ownAddresses(), listens: a.server.Addrs(), container: inContainer(), contact: readContact(cfg),
	}
	a.log.Flush() // the log is read next
	f.readStore(true)
	f.day, f.dayErr = a.lastDay.get(ctx, a.log.Reader(), probe)
	if probe {
		a.probe(ctx, f, probeWait)
	}
	d := &doctor{findings: []web.Finding{}}
	d.itself(ctx, f)
	d.judge(f)
	if f.day != nil && f.day.read.Before(f.now) {
		d.date(f.day.read)
	}
	if probe && ctx.Err() == nil { // else what was not seen looks like what is not so
		a.markFindings(d.findings, f.unanswered())
	}
	return d.findings
}

// The hours in which nobody asks for findings have them, too, in the ledger.
const (
	firstFindings = 15 * time.Minute // after the start
	findingsEvery = time.Hour
)

// findingsHourly examines the server until ctx ends.
func (a *app) findingsHourly(ctx context.Context) {
	timer := time.NewTimer(firstFindings)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			a.findings(ctx, true)
			timer.Reset(findingsEvery)
		}
	}
}

// hasOwnKind are findings that the ledger has by events of their own, or that are about
// the moment alone.
var hasOwnKind = []string{
	"settings-", "server-", "port-", "tls-", "leases-", "announcements-", "reports-", "load-", "pause-", "observe-", "log-", "clock-", "catalogue-", "data-", "upstreams-down", "upstreams-failing", "upstreams-looped", "upstreams-none",
	"upstreams-returns", "lists-held", "lists-failed", "lists-bad-lines", "lists-warning", "lists-late", "upstreams-late", "devices-shared-mac",
}

// ofTheDay are the codes of findings that rest on the last day of the log.
var ofTheDay = []string{"clients-none", "clients-one-address", "devices-unknown", "lists-essential", "store-growing", "rebinding-refused", "answers-failed"}

// date says of findings that rest on the last day of the log when that was read.
func (d *doctor) date(read time.Time) {
	for i := range d.findings {
		if f := &d.findings[i]; f.What == "clients" || slices.Contains(ofTheDay, f.Code) {
			f.At = read.UTC().Truncate(time.Second)
		}
	}
}

// unanswered are the upstreams of which it is not known whether what probes showed of them
// is still so, and the codes of which that is not known as the log could not be read.
func (f *facts) unanswered() map[string]bool {
	all := map[string]bool{}
	for i := range f.status.Upstreams {
		all[f.status.Upstreams[i].ID] = true
	}
	for i := range f.probes {
		all[f.probes[i].id] = !f.probes[i].answered
	}
	if f.dayErr != nil {
		for _, code := range ofTheDay {
			all[code] = true
		}
	}
	return all
}

// markFindings writes into the ledger which findings are new, and which are over. Of the
// subjects of which nothing is known, none is over that a probe would have to show; of the
// codes of which nothing is known, none at all.
func (a *app) markFindings(all []web.Finding, unknown map[string]bool) {
	a.marking.Lock()
	defer a.marking.Unlock()
	now := marksOf(all, func(f *web.Finding) bool {
		return !slices.ContainsFunc(hasOwnKind, func(prefix string) bool { return strings.HasPrefix(f.Code, prefix) })
	})
	for key, says := range a.marked {
		code, subject, _ := strings.Cut(key, " ")
		if probed := code == "upstreams-lying" || code == "upstreams-telltale" || code == "upstreams-filtering"; (probed && unknown[subject] || unknown[code]) && now[key] == "" {
			now[key] = says
		}
	}
	a.mark(a.marked, now)
	a.marked = now
}

// markNetwork does so with what doctor --network found, which the server has no right to
// look at.
func (a *app) markNetwork(n web.NetworkFindings) error {
	if i := slices.IndexFunc(n.Findings, func(f web.Finding) bool { return f.Code != foreignDNS }); i >= 0 {
		return web.Invalid(fmt.Errorf("finding %d is %q: of the network there is %s", i+1, n.Findings[i].Code, foreignDNS))
	}
	a.marking.Lock()
	defer a.marking.Unlock()
	now := marksOf(n.Findings, func(*web.Finding) bool { return true })
	a.mark(a.markedNetwork, now)
	a.markedNetwork = now
	return nil
}

// marksOf returns what the ledger is to have of the findings that are wanted: code and
// subject, and what they say.
func marksOf(all []web.Finding, wanted func(*web.Finding) bool) map[string]string {
	now := map[string]string{}
	for i := range all {
		f := &all[i]
		if f.State == stateOK || !wanted(f) {
			continue
		}
		key := f.Code
		if f.Subject != "" {
			key += " " + f.Subject
		}
		now[key] = f.Says
	}
	return now
}

// mark writes what is new, and what is over.
func (a *app) mark(before, now map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if _, ok := before[key]; !ok {
			a.log.Report("finding", key, now[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, ok := now[key]; !ok {
			a.log.Report("finding-over", key, "it is not so any more")
		}
	}
}

// probe asks this server itself, the upstreams and the router. The upstreams are waited for
// so long, the others for as long as theirs take: none has less time for another's silence.
func (a *app) probe(ctx context.Context, f *facts, wait time.Duration) {
	f.reached = reachAll(ctx, f.listens, f.own)
	asking, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	f.probes = a.probeUpstreams(asking, f.status.Upstreams)
	if hidden, _ := f.oneClient(); hidden.IsValid() && slices.Contains(f.status.Gateways, hidden.String()) {
		ctx, cancel := context.WithTimeout(ctx, routerWait)
		defer cancel()
		f.router = routerKindAt(ctx, netip.AddrPortFrom(hidden, 53))
	}
}

// How long others are waited for.
const (
	probeWait  = 4 * time.Second // all upstreams together
	routerWait = 2 * time.Second
)

// An upstreamProbe is what an upstream said to questions of ours.
type upstreamProbe struct {
	id       string
	madeUp   string // a name that nobody has
	answered bool
	answer   []string // to that
	filtered []string // the addresses of a listed name, where they lead nowhere
	telltale bool     // it is one itself
}

// probeUpstreams asks those that are up and asked for all names.
func (a *app) probeUpstreams(ctx context.Context, all []web.Upstream) []upstreamProbe {
	const most = 16
	var probes []upstreamProbe
	for i := range all {
		if u := &all[i]; isGeneral(u) && u.State == upstream.Up.String() && len(probes) < most {
			probes = append(probes, upstreamProbe{id: u.ID, madeUp: madeUpName()})
		}
	}
	done := make(chan struct{})
	tasks := 0
	start := func(task func()) {
		tasks++
		go func() { task(); done <- struct{}{} }()
	}
	for i := range probes {
		p := &probes[i]
		start(func() {
			r, err := a.query(ctx, web.Lookup{Name: p.madeUp, Type: "A", Upstream: p.id})
			if err != nil || r.Reply == nil || r.Reply.Rcode == "SERVFAIL" {
				return
			}
			p.answered = true
			if r.Verdict == "pass" && r.Reply.Rcode == "NOERROR" {
				p.answer = r.Reply.Answer
			}
		})
		u := all[slices.IndexFunc(all, func(u web.Upstream) bool { return u.ID == p.id })]
		if addr, err := netip.ParseAddrPort(u.Addr); err == nil && u.Transport == upstream.UDP.String() {
			start(func() { p.telltale = askHealth(ctx, addr) == nil })
			start(func() { p.filtered = nowhere(askAddresses(ctx, addr, listedName)) })
		}
	}
	for range tasks {
		<-done
	}
	return probes
}
