package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/config"
	"telltale/devices"
)

// What is answered here beside own.txt: records of the settings, hosts files, and
// names of devices. Each is a list, so that one decision knows them all.

// recordsList and devicesList are what the lists of the records of the settings, and of
// the names of devices, are called.
const (
	recordsList = "records"
	devicesList = "devices"
)

// localLists returns those lists, the strongest first. named are hosts lines of devices.
func localLists(cfg *config.Config, named string) []blocklists.LocalList {
	var all []blocklists.LocalList
	if len(cfg.Local.Records) > 0 {
		all = append(all, blocklists.LocalList{Name: recordsList, Kind: blocklists.OwnList, Text: strings.Join(cfg.Local.Records, "\n")})
	}
	for _, path := range cfg.Local.Hosts {
		all = append(all, blocklists.LocalList{Name: path, Path: path, Kind: blocklists.Local})
	}
	all = append(all, groupRules(cfg)...)
	if named != "" {
		all = append(all, blocklists.LocalList{Name: devicesList, Kind: blocklists.Local, Text: named})
	}
	return append(all, centerLists(cfg)...)
}

// localMistakes finds settings for what this program was built without, records of the settings that cannot be answered, hosts files
// that are named twice, and devices whose names make the same name or none.
func localMistakes(cfg *config.Config) error {
	var all config.Mistakes
	for i, line := range cfg.Local.Records {
		if problem := recordProblem(line); problem != "" {
			all = append(all, cfg.Mistake(fmt.Sprintf("local.records[%d]", i), line, `a record such as "nas.lan A 192.168.1.9": `+problem, nil))
		}
	}
	for i, path := range cfg.Local.Hosts {
		if slices.Contains(cfg.Local.Hosts[:i], path) {
			all = append(all, cfg.Mistake(fmt.Sprintf("local.hosts[%d]", i), path, "each file once", nil))
		}
	}
	all = append(all, absentMistakes(cfg)...)
	if cfg.Local.DeviceSuffix != "" {
		all = append(all, deviceNameMistakes(cfg)...)
	}
	if len(all) > 0 {
		return all
	}
	return nil
}

// recordProblem says what is wrong with a record of the settings; "" for nothing.
func recordProblem(line string) string {
	rules, err := format.ParseLine(line, format.Options{Name: recordsList, Own: true})
	switch {
	case err != nil:
		return err.Error()
	case len(rules) == 0:
		return "this says nothing"
	case slices.ContainsFunc(rules, func(r format.Rule) bool { return r.Action != format.Answer }):
		return "this answers with no record; what blocks or allows goes into own.txt"
	}
	return ""
}

// deviceNameMistakes finds devices that cannot have a name of their own in
// local.device_suffix.
func deviceNameMistakes(cfg *config.Config) (all config.Mistakes) {
	if suffix := cfg.Local.DeviceSuffix; suffix == "." || suffix == "localhost" || strings.HasSuffix(suffix, ".localhost") {
		all = append(all, cfg.Mistake("local.device_suffix", suffix, "a domain of your network such as lan or home.arpa", nil))
	}
	first := map[string]string{}
	for i := range cfg.Devices {
		name, key := cfg.Devices[i].Name, fmt.Sprintf("devices[%d].name", i)
		label := devices.Label(name)
		switch other, taken := first[label]; {
		case label == "":
			all = append(all, cfg.Mistake(key, name, "a name with letters or digits, since local.device_suffix makes a domain name of it", nil))
		case taken:
			all = append(all, cfg.Mistake(key, name, fmt.Sprintf("a name that does not make %s.%s (local.device_suffix), as %s does", label, cfg.Local.DeviceSuffix, other), nil))
		default:
			first[label] = key
		}
	}
	return all
}

// deviceNames returns hosts lines of the devices that have names, as they are known now.
func (a *app) deviceNames(cfg *config.Config) string {
	ledger := a.ledger.Load()
	if cfg.Local.DeviceSuffix == "" || ledger == nil {
		return ""
	}
	return ledger.Hosts(cfg.Local.DeviceSuffix)
}

// keepBinding stores a binding, and says that a device's name may have another address.
func (a *app) keepBinding(b devices.Binding) {
	a.log.KeepBinding(b)
	if b.Source == devices.ConfiguredMAC {
		wake(a.renamed)
	}
}

// deviceNamesEvery is how often the names of devices change at most.
const deviceNamesEvery = 500 * time.Millisecond

// followDeviceNames keeps the names of devices in step with what is known of them.
func (a *app) followDeviceNames(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.renamed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(deviceNamesEvery):
		}
		if err := a.applyDeviceNames(); err != nil {
			a.logger.Error("the names of devices stay as they were", "error", err)
		}
	}
}

// applyDeviceNames puts the names of devices in force that are known now, if they are
// others than before.
func (a *app) applyDeviceNames() error {
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg := a.cfg.Load()
	if a.deviceNames(cfg) != a.named {
		if err := a.configure(cfg, a.selected); err != nil {
			return err
		}
	}
	return a.reselectLocked()
}
