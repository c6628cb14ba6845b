package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale/config"
	"telltale/devices"
	"telltale/devices/kinds"
	"telltale/devices/same"
	"telltale/web"
)

// askedFor is how far back it counts which names a device asked.
const askedFor = 7 * 24 * time.Hour

// askedWait is how long the log is looked through for that. Then the kinds are guessed without.
const askedWait = 10 * time.Second

// deviceFacts are what is known of devices beside their bindings.
type deviceFacts struct {
	leases    map[netip.Addr]devices.LeaseOf
	announced map[netip.Addr]devices.Announced
	makers    map[string]string         // by MAC
	described map[string]*described     // by identity of today
	perhaps   map[string]*web.PerhapsIs // by identity of today
}

// A described device is what a guess of its kind rests on, and the guess.
type described struct {
	kinds.Description
	guess kinds.Guess
}

// factsOf gathers what is known of all devices.
func (a *app) factsOf(ctx context.Context, all []devices.DeviceStatus, ids *identities) *deviceFacts {
	var macs []string
	for i := range all {
		for _, b := range all[i].Bindings {
			macs = append(macs, b.MAC)
		}
	}
	f := &deviceFacts{leases: a.ledger.Load().Leases(), announced: a.ledger.Load().Announced(), makers: a.makers.Makers(macs), described: map[string]*described{}, perhaps: map[string]*web.PerhapsIs{}}
	known := a.signatures.of(a.cfg.Load())
	asked := a.askedNames(ctx, known.Names(), ids)
	for i := range all {
		d := f.describe(&all[i])
		d.Asked = sorted(asked[all[i].Device])
		d.guess = known.Guess(&d.Description)
		f.described[all[i].Device] = d
	}
	return f
}

// askedNames returns which of the names that signatures have were asked by each device of
// today.
func (a *app) askedNames(ctx context.Context, patterns []string, ids *identities) map[string][]string {
	var forms []string
	for _, p := range patterns {
		forms = append(forms, "."+strings.TrimPrefix(p, "="))
	}
	asked := map[string][]string{}
	ctx, cancel := context.WithTimeout(ctx, askedWait)
	defer cancel()
	rows, err := a.log.Reader().Asked(ctx, time.Now().Add(-askedFor), forms)
	if err != nil {
		a.logger.Warn("which names devices asked is not known, and their kinds are guessed without that", "error", err)
	}
	for _, row := range rows {
		device := ids.now(row.Device, row.Last)
		asked[device] = append(asked[device], row.Name)
	}
	return asked
}

// describe returns what is known of a device but for what it asked. A MAC that may stand for
// several devices describes none.
func (f *deviceFacts) describe(d *devices.DeviceStatus) *described {
	out := &described{}
	add := func(list *[]string, value string) {
		if value != "" && !slices.Contains(*list, value) {
			*list = append(*list, value)
		}
	}
	for _, name := range d.Called {
		add(&out.Hosts, name)
	}
	for i := range d.Bindings {
		b := &d.Bindings[i]
		if b.Source == devices.ThisHost || b.MAC != "" && b.Confidence == devices.Low {
			continue
		}
		add(&out.Makers, f.makers[b.MAC])
		if l, ok := f.leases[b.Addr]; ok && b.Until.IsZero() && !b.Prefix.IsValid() && (l.MAC == b.MAC || l.MAC == "") {
			add(&out.Hosts, l.Host)
			add(&out.Classes, l.Class)
		}
		if n, ok := f.announced[b.Addr]; ok && b.Until.IsZero() && !b.Prefix.IsValid() && !n.Relays {
			for to, said := range map[*[]string][]string{&out.Hosts: n.Names, &out.Models: n.Models, &out.Services: n.Services, &out.Software: n.Software} {
				for _, value := range said {
					add(to, value)
				}
			}
		}
	}
	return out
}

// suggestSame finds which of all devices may be one.
func (f *deviceFacts) suggestSame(all []devices.DeviceStatus, ids *identities) {
	var list []same.Device
	names := map[string]string{}
	for i := range all {
		d := &all[i]
		names[d.Device] = d.Name
		of := f.described[d.Device]
		madeUp, macs := true, 0
		for _, b := range d.Bindings {
			if b.MAC != "" {
				macs++
				madeUp = madeUp && devices.IsMadeUp(b.MAC)
			}
		}
		if macs == 0 || d.Device == thisHost || ids.view.Ignored(d.Device) {
			continue
		}
		list = append(list, same.Device{
			ID: d.Device, MadeUp: madeUp, Settled: d.Configured || ids.view.Name(d.Device) != "",
			Hosts: of.Hosts, Kind: cmp.Or(ids.kind(d.Device), of.guess.Kind), Vendor: of.guess.Vendor, Product: of.guess.Product, First: d.First, Last: d.Last,
		})
	}
	for _, s := range same.Suggest(list, time.Now()) {
		f.perhaps[s.New] = &web.PerhapsIs{Device: s.Old, Name: names[s.Old], Reasons: s.Reasons}
	}
}

// kindOf returns what a device is, or may be; nil where nothing is known of that.
func (f *deviceFacts) kindOf(device string, ids *identities) *web.DeviceKind {
	k := web.DeviceKind{Kind: ids.kind(device), Reasons: []web.KindReason{}}
	if k.Kind != "" {
		k.Confidence = "confirmed"
	}
	if of := f.described[device]; of != nil {
		g := &of.guess
		if k.Kind == "" {
			k.Kind = g.Kind
		}
		if k.Confidence == "" {
			k.Confidence = g.Confidence.String()
		}
		k.Vendor, k.Product = g.Vendor, g.Product
		for i := range g.Reasons {
			k.Reasons = append(k.Reasons, web.KindReason{Reason: printable(g.Reasons[i].String()), Source: g.Reasons[i].Signature.Source})
		}
	}
	if k.Kind == "" && k.Vendor == "" && len(k.Reasons) == 0 {
		return nil
	}
	return &k
}

// kind returns the kind that a person, or the settings, confirmed of a device; "" for none.
func (ids *identities) kind(device string) string {
	return cmp.Or(ids.view.Kind(device), ids.kinds[device])
}

// eachKind calls each with every device of which a person, or the settings, confirmed the
// kind.
func (ids *identities) eachKind(each func(device, kind string)) {
	for device, kind := range ids.kinds {
		if kind != "" && ids.view.Kind(device) == "" {
			each(device, kind)
		}
	}
	ids.view.Kinds(each)
}

// tagsOf returns what a person, or the settings, tagged a device with.
func (ids *identities) tagsOf(device string) []string {
	return slices.Concat(ids.tags[device], slices.DeleteFunc(slices.Clone(ids.view.Tags(device)), func(tag string) bool { return slices.Contains(ids.tags[device], tag) }))
}

// kindsFile is a person's own file of signatures, beside the settings.
const kindsFile = "kinds.txt"

func kindsPath(cfg *config.Config) string {
	if cfg.File == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(cfg.File), kindsFile)
}

// ownSignatures reads a person's own signatures: none where there is no such file. Beside an
// error it returns those without a mistake.
func ownSignatures(cfg *config.Config) ([]kinds.Signature, error) {
	path := kindsPath(cfg)
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > kinds.MaxSize) {
		err = fmt.Errorf("%s: expected a file of at most %d bytes", path, kinds.MaxSize)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return kinds.Parse(path, string(text))
}

// signatures are those that come with the program and a person's own. Its methods may be
// called from any goroutine.
type signatures struct {
	mu    sync.Mutex
	stamp string
	known *kinds.Known
}

// of returns the signatures that hold. The file is read again when it has changed.
func (s *signatures) of(cfg *config.Config) *kinds.Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp := "none"
	if info, err := os.Stat(kindsPath(cfg)); err == nil {
		stamp = fmt.Sprintln(kindsPath(cfg), info.Size(), info.ModTime().UnixNano())
	}
	if s.known == nil || stamp != s.stamp {
		shipped, _ := kinds.Shipped() // a test of the package holds it
		own, _ := ownSignatures(cfg)  // doctor and validate say what is wrong
		s.known, s.stamp = kinds.New(shipped, own), stamp
	}
	return s.known
}
