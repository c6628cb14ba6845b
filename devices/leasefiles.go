package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"telltale/devices/leases"
	"telltale/watch"
)

// A LeaseFile is where a DHCP server keeps its leases.
type LeaseFile struct {
	Path string // a file, a directory all of whose files are meant, or the control socket of Kea
	Kind string // one of leases.Kinds(), or "" where that is to be found out
}

// usualLeaseFiles are where the DHCP servers of common systems keep their leases.
var usualLeaseFiles = []string{
	"/var/lib/misc/dnsmasq.leases",               // dnsmasq, Debian
	"/var/lib/dnsmasq/dnsmasq.leases",            // dnsmasq, Fedora
	"/tmp/dhcp.leases",                           // dnsmasq, OpenWrt
	"/tmp/odhcpd.leases",                         // odhcpd, OpenWrt
	"/tmp/hosts/odhcpd",                          // the same, earlier
	"/etc/pihole/dhcp.leases",                    // dnsmasq in FTL
	"/var/lib/dhcp/dhcpd.leases",                 // ISC dhcpd, Debian
	"/var/lib/dhcp/dhcpd6.leases",                //
	"/var/lib/dhcpd/dhcpd.leases",                // ISC dhcpd, Fedora
	"/var/lib/dhcpd/dhcpd6.leases",               //
	"/var/lib/kea/kea-leases4.csv",               // Kea
	"/var/lib/kea/kea-leases6.csv",               //
	"/var/lib/kea/dhcp4.leases",                  // Kea, Fedora
	"/var/lib/kea/dhcp6.leases",                  //
	"/var/lib/systemd/network/dhcp-server-lease", // systemd-networkd
}

// openWrt is where that system says what it is. Elsewhere everybody may write to /tmp.
const openWrt = "/etc/openwrt_release"

const (
	mostLeaseFiles = 64               // of a directory
	removalWait    = time.Second      // before a lease that is not in its file any more counts as ended: the file may be half written
	brokenWait     = 10 * time.Minute // for which the leases of a file that cannot be read any more are believed
	cutWait        = 10 * time.Second // before it is said that a file ends within a lease
)

// FoundLeaseFiles returns the usual files of DHCP servers that are there and can be
// read.
func FoundLeaseFiles() (all []LeaseFile) {
	_, err := os.Stat(openWrt)
	for _, path := range usualLeaseFiles {
		if strings.HasPrefix(path, "/tmp/") && err != nil {
			continue
		}
		if f, err := os.Open(path); err == nil {
			f.Close()
			all = append(all, LeaseFile{Path: path})
		}
	}
	return all
}

// A LeaseStatus is how far a file of leases is read.
type LeaseStatus struct {
	Path    string
	Kind    string // "" while it is not known
	Leases  int    // in force
	Problem string // "" for none
}

// leaseFiles follows files of leases. It belongs to the goroutine that runs it.
type leaseFiles struct {
	ledger  *Ledger
	files   map[string]*leaseFile // by path
	applied map[netip.Addr]leases.Lease
	from    map[netip.Addr]string // the file of each
}

// A leaseFile is a source of leases as it was read last.
type leaseFile struct {
	LeaseFile
	stamp   []stamp // of its files, when they were read
	fresh   bool    // it was read so soon after a change that another would not show
	content map[netip.Addr]leases.Lease
	missing map[netip.Addr]time.Time // of content: not in the file any more, and since when
	kind    string
	problem string    // as it was said
	broken  time.Time // since when it cannot be read; zero: it can
	cut     time.Time // since when it ends within a lease; zero: it does not

	asked time.Time // when the control socket was asked; zero: it is none, or was not asked yet
}

// unsettled reports whether the file is to be read again although it has not changed.
func (s *leaseFile) unsettled(now time.Time) bool {
	return s.fresh || len(s.missing) > 0 || !s.cut.IsZero() && now.Sub(s.cut) < cutWait+removalWait
}

// A stamp tells whether a file is another one, or has changed.
type stamp struct {
	path     string
	size     int64
	modified time.Time
	inode    uint64
}

// followLeases keeps the ledger in step with the files of leases. It calls known when
// each has been read once.
func (l *Ledger) followLeases(known func()) {
	f := &leaseFiles{ledger: l, files: map[string]*leaseFile{}, applied: map[netip.Addr]leases.Lease{}, from: map[netip.Addr]string{}}
	w := watch.New(watch.Options{Poll: l.leasePoll, Quiet: leaseQuiet})
	defer w.Close()
	for {
		files := l.leaseFilesNow()
		if len(files) > 0 {
			w.Follow(watched(files)...)
		}
		began := time.Now()
		again := f.look(files)
		known()
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again)
		}
		// Files that are long and change all the time take a tenth of a processor.
		rest := time.After(min(9*time.Since(began), leaseRest))
		select {
		case <-l.context.Done():
			return
		case <-w.C:
		case <-l.leasesChanged:
		case <-timer:
		}
		select {
		case <-l.context.Done():
			return
		case <-rest:
		}
	}
}

// leaseQuiet is short: an address that is given to another device is bound wrongly until
// the file has been read.
const leaseQuiet = 20 * time.Millisecond

// leaseRest bounds how long changes are not looked at.
const leaseRest = 2 * time.Second

// leaseFilesNow returns the files that are configured, and those that are found.
func (l *Ledger) leaseFilesNow() []LeaseFile {
	l.mu.Lock()
	files, find := l.leaseFiles, l.findLeases
	l.mu.Unlock()
	if find != nil {
		for _, found := range find() {
			if !slices.ContainsFunc(files, func(f LeaseFile) bool { return f.Path == found.Path }) {
				files = append(slices.Clip(files), found)
			}
		}
	}
	return files
}

// watched returns what to watch for changes of files.
func watched(files []LeaseFile) (paths []string) {
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	return paths
}

// SetLeases puts other files of leases in force. find returns more of them, each time
// they are looked at; nil: there are none.
func (l *Ledger) SetLeases(files []LeaseFile, find func() []LeaseFile) {
	l.mu.Lock()
	l.leaseFiles, l.findLeases = slices.Clone(files), find
	l.mu.Unlock()
	select {
	case l.leasesChanged <- struct{}{}:
	default:
	}
}

// LeaseStatus returns how far the files of leases are read.
func (l *Ledger) LeaseStatus() []LeaseStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.leaseStatus)
}

// look reads what has changed, and tells the ledger. It returns when to look again at
// the latest; 0: when something changes.
func (f *leaseFiles) look(files []LeaseFile) (again time.Duration) {
	now := f.ledger.now()
	soon := func(d time.Duration) {
		if again == 0 || d < again {
			again = max(d, 10*time.Millisecond)
		}
	}
	wanted := map[string]bool{}
	for _, file := range files {
		wanted[file.Path] = true
		s := f.files[file.Path]
		if s == nil || s.LeaseFile != file {
			s = &leaseFile{LeaseFile: file, content: map[netip.Addr]leases.Lease{}, missing: map[netip.Addr]time.Time{}}
			f.files[file.Path] = s
		}
		if problem := s.read(f.ledger.context, now); problem != s.problem {
			f.say(s, problem)
		}
		switch {
		case !s.asked.IsZero():
			soon(s.ask().Sub(now))
		case s.unsettled(now):
			soon(removalWait)
		}
	}
	for path := range f.files {
		if !wanted[path] {
			delete(f.files, path)
		}
	}
	if end := f.apply(files, now); !end.IsZero() {
		soon(end.Sub(now))
	}
	return again
}

// say reports that a file has another problem than before, or none any more.
func (f *leaseFiles) say(s *leaseFile, problem string) {
	s.problem = problem
	detail := problem
	if detail == "" {
		detail = "it is read again without a problem"
	}
	f.ledger.mu.Lock()
	f.ledger.addReport(f.ledger.currentTick(), "lease-file", s.Path, detail)
	f.ledger.mu.Unlock()
	f.ledger.wakePublisher()
}

// paths returns the files of the source in the order in which they are read.
func (s *leaseFile) paths() ([]string, error) {
	info, err := os.Stat(s.Path)
	if err == nil && info.IsDir() {
		entries, err := os.ReadDir(s.Path)
		var all []string
		for _, e := range entries[:min(len(entries), mostLeaseFiles)] {
			if !strings.HasPrefix(e.Name(), ".") && e.Type().IsRegular() {
				all = append(all, filepath.Join(s.Path, e.Name()))
			}
		}
		return all, err
	}
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	return leases.Files(s.Path, exists), nil
}

// ask returns when the control socket is to be asked next.
func (s *leaseFile) ask() time.Time {
	if !s.broken.IsZero() {
		return s.asked.Add(socketRetry)
	}
	return s.asked.Add(socketPoll)
}

// readSocket asks the control socket, unless that was done lately.
func (s *leaseFile) readSocket(ctx context.Context, now time.Time) (problem string) {
	if !s.asked.IsZero() && now.Before(s.ask()) && now.After(s.asked) {
		return s.problem
	}
	s.asked = now
	pages, err := askKea(ctx, s.Path)
	if ctx.Err() != nil {
		return s.problem
	}
	if err != nil {
		return s.fail(err, now)
	}
	content, err := leases.Parse("kea", s.Path, pages...)
	if err != nil {
		return s.fail(err, now)
	}
	s.broken, s.kind = time.Time{}, content.Kind
	s.take(&content, now)
	return s.judge(&content, now)
}

// read reads the source if it has changed, and returns its problem; "" for none.
func (s *leaseFile) read(ctx context.Context, now time.Time) (problem string) {
	if (s.Kind == "" || s.Kind == "kea") && isSocket(s.Path) {
		return s.readSocket(ctx, now)
	}
	s.asked = time.Time{}
	paths, err := s.paths()
	if err != nil {
		return s.fail(err, now)
	}
	var stamps []stamp
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			stamps = append(stamps, stampOf(path, info))
		}
	}
	if slices.Equal(stamps, s.stamp) && !s.unsettled(now) && s.broken.IsZero() && s.kind != "" {
		return s.problem
	}
	var texts [][]byte
	for _, path := range paths {
		text, err := readLeaseFile(path)
		if errors.Is(err, fs.ErrNotExist) && path != s.Path {
			continue
		}
		if err != nil {
			return s.fail(err, now)
		}
		texts = append(texts, text)
	}
	content, err := leases.Parse(s.Kind, s.Path, texts...)
	if err != nil {
		return s.fail(err, now)
	}
	s.stamp, s.broken, s.kind = stamps, time.Time{}, content.Kind
	s.fresh = slices.ContainsFunc(stamps, func(t stamp) bool { return now.Sub(t.modified).Abs() < removalWait })
	s.take(&content, now)
	return s.judge(&content, now)
}

// fail keeps what was known for a while: a file may come back.
func (s *leaseFile) fail(err error, now time.Time) string {
	if s.broken.IsZero() {
		s.broken = now
	}
	over := now.Sub(s.broken) >= brokenWait
	if over {
		clear(s.content)
		clear(s.missing)
	}
	s.stamp = nil
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	switch {
	case over:
		return err.Error() + ": what it said before is not believed any more"
	case len(s.content) == 0 && !s.asked.IsZero():
		return err.Error()
	case len(s.content) == 0:
		return err.Error() + "; a file that is elsewhere can be named in identity.leases"
	}
	return err.Error() + ": what it said before is believed for " + brokenWait.String() + " more"
}

// take makes the content what the file says. What is not in it any more stays for a
// moment: servers rewrite their files in place.
func (s *leaseFile) take(content *leases.Content, now time.Time) {
	in := make(map[netip.Addr]bool, len(content.Leases))
	for _, one := range content.Leases {
		in[one.Addr] = true
		s.content[one.Addr] = one
		delete(s.missing, one.Addr)
	}
	for addr := range s.content {
		if in[addr] {
			continue
		}
		since, known := s.missing[addr]
		switch {
		case !known:
			s.missing[addr] = now
		case now.Sub(since) >= removalWait:
			delete(s.content, addr)
			delete(s.missing, addr)
		}
	}
}

// judge returns what is wrong with the content.
func (s *leaseFile) judge(content *leases.Content, now time.Time) string {
	var all []string
	if !content.Incomplete {
		s.cut = time.Time{}
	} else if s.cut.IsZero() {
		s.cut = now
	} else if now.Sub(s.cut) >= cutWait {
		all = append(all, "it ends within a lease, which is not read")
	}
	if content.Bad > 0 {
		all = append(all, fmt.Sprintf("%d lines are no leases, the first is line %d", content.Bad, content.FirstBad))
	}
	if content.Cleaned > 0 {
		all = append(all, fmt.Sprintf("%d host names have characters that cannot be shown, which are left out", content.Cleaned))
	}
	if content.Beyond > 0 {
		all = append(all, fmt.Sprintf("%d leases beyond %d are not read", content.Beyond, leases.MaxLeases))
	}
	return strings.Join(all, "; ")
}

func stampOf(path string, info fs.FileInfo) stamp {
	s := stamp{path: path, size: info.Size(), modified: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = uint64(sys.Ino)
	}
	return s
}

// readLeaseFile reads a regular file that is not too long.
func readLeaseFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case info.Size() > leases.MaxSize:
		return nil, fmt.Errorf("it is longer than %d MiB", leases.MaxSize>>20)
	}
	return io.ReadAll(io.LimitReader(f, leases.MaxSize))
}

// apply tells the ledger which leases are in force now, and returns when the first of
// them ends; the zero time for never.
func (f *leaseFiles) apply(files []LeaseFile, now time.Time) (end time.Time) {
	wanted, from := map[netip.Addr]leases.Lease{}, map[netip.Addr]string{}
	disputed := map[netip.Addr]bool{}
	var status []LeaseStatus
	limit := f.ledger.max / 2
	for _, file := range files {
		s := f.files[file.Path]
		inForce := 0
		for addr, one := range s.content {
			if !one.Until.IsZero() && !one.Until.After(now) {
				continue
			}
			inForce++
			if !one.Until.IsZero() && (end.IsZero() || one.Until.Before(end)) {
				end = one.Until
			}
			before, known := wanted[addr]
			switch {
			case !known && len(wanted) >= limit:
				continue
			case known && one.MAC != before.MAC && one.MAC != "" && before.MAC != "":
				disputed[addr] = true
			}
			if !known || laterLease(&one, &before) {
				wanted[addr], from[addr] = one, file.Path
			}
		}
		status = append(status, LeaseStatus{file.Path, s.kind, inForce, s.problem})
	}
	l := f.ledger
	l.mu.Lock()
	t := l.currentTick()
	for addr := range f.applied {
		if _, still := wanted[addr]; !still {
			l.applyLease(addr, nil, t)
		}
	}
	for addr, one := range wanted {
		if before, known := f.applied[addr]; known && before == one && f.from[addr] == from[addr] {
			switch a := l.addresses[addr]; {
			case a == nil && len(l.addresses) >= l.max-l.max/16, a != nil && a.lease != nil && a.lease.disputed == disputed[addr]:
				continue
			}
		}
		l.applyLease(addr, &lease{
			mac: one.MAC, guessed: one.Guessed, disputed: disputed[addr], host: one.Host, class: one.Class, file: from[addr], until: one.Until,
		}, t)
	}
	l.leaseStatus = status
	l.mu.Unlock()
	f.applied, f.from = wanted, from
	l.wakePublisher()
	return end
}

// laterLease reports whether one was given after other.
func laterLease(one, other *leases.Lease) bool {
	return cmp.Or(one.From.Compare(other.From), one.Until.Compare(other.Until)) > 0
}

// startLeases begins to follow the files of leases, and waits until each was read once,
// or ctx is done.
func (l *Ledger) startLeases(ctx context.Context) {
	known := make(chan struct{})
	once := false
	l.running.Go(func() {
		l.followLeases(func() {
			if !once {
				once = true
				close(known)
			}
		})
	})
	select {
	case <-known:
	case <-ctx.Done():
		l.logger.Warn("the files of leases have not been read yet", "waited", openWait)
	}
}
