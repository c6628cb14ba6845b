package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale/atomicfile"
	"telltale/blocklists"
	"telltale/blocklists/subscribe"
	"telltale/config"
	"telltale/web"
)

// What commands change. The running server alone writes list files and the
// overlay; a command writes them only where no server runs.

// ownRule writes or removes a rule of the user's own for a device, by the name that rules
// have for it, and returns the file and how many rules were removed.
func ownRule(cfg *config.Config, r web.Rule, device string, remove bool, now time.Time) (c web.Change, err error) {
	name, err := parseName(r.Name)
	if err != nil {
		return c, web.Invalid(err)
	}
	c.File = filepath.Join(cfg.Lists.Dir, ownFile)
	if remove {
		c.Removed, err = blocklists.RemoveOwn(c.File, device, &name)
		var others *blocklists.OtherClientsError
		if errors.As(err, &others) {
			err = web.NotFound(fmt.Errorf("%s: %w", c.File, others))
		}
		if err == nil && c.Removed == 0 {
			err = web.NotFound(fmt.Errorf("%s has no rule for %s", c.File, name.String()))
		}
		return c, err
	}
	action := blocklists.Block
	if r.Action == "allow" {
		action = blocklists.Allow
	}
	var until time.Time
	if r.Seconds > 0 {
		until = now.Add(time.Duration(r.Seconds) * time.Second)
	}
	return c, blocklists.EditOwn(c.File, device, action, &name, r.Comment, until)
}

func (a *app) addRule(r web.Rule, version string) (web.Change, error) {
	return a.changeRule(r, version, false)
}
func (a *app) removeRule(r web.Rule, version string) (web.Change, error) {
	return a.changeRule(r, version, true)
}

// changeRule changes the user's own file, if it is of the version ("" for any), and returns
// when that is in force.
func (a *app) changeRule(r web.Rule, version string, remove bool) (web.Change, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg, now := a.cfg.Load(), time.Now()
	if err := checkOwnVersion(filepath.Join(cfg.Lists.Dir, ownFile), version); err != nil {
		return web.Change{}, err
	}
	device, err := a.deviceInRules(cfg, r.Device)
	if err != nil {
		return web.Change{}, err
	}
	c, err := ownRule(cfg, r, device, remove, now)
	if err != nil {
		return c, mayNotWrite(cfg.Lists.Dir, err)
	}
	if err := a.applyRulesLocked(cfg); err != nil {
		return c, web.NotInForce(fmt.Errorf("%s is written, but not in force: %w", c.File, err))
	}
	if r.Seconds > 0 && !remove {
		until := now.Add(time.Duration(r.Seconds) * time.Second).UTC().Format(time.RFC3339)
		a.log.Report("rule", r.Name, fmt.Sprintf("%s for %s until %s", r.Action, cmp.Or(device, "everyone"), until))
	}
	if device != "" && !remove {
		if _, _, err := a.findKnown(a.background, r.Device); errors.Is(err, web.ErrNotFound) {
			c.Note = fmt.Sprintf("no device %q was ever seen: the rule holds for nobody until one is", printable(r.Device))
		}
	}
	return c, nil
}

// applyRulesLocked puts in force what the user's own file says now.
func (a *app) applyRulesLocked(cfg *config.Config) error {
	if err := a.configure(cfg, a.selected); err != nil {
		return err
	}
	return a.reselectLocked() // a rule may be of a device that had no settings
}

// deviceInRules returns the name by which rules know a device that a person means: that
// of the settings, or an address; else its identity. "" is everyone.
func (a *app) deviceInRules(cfg *config.Config, who string) (string, error) {
	if device, err := deviceInRules(cfg, who); err == nil {
		return device, nil
	}
	d, _, err := a.findKnown(a.background, who)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(d.Device, "addr:"), nil
}

// mayNotWrite says what lets the server write in a directory where it may not.
func mayNotWrite(dir string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("the server runs as user %d and may not write in %s (%w): 'chown %[1]d %[2]s' lets it", os.Getuid(), dir, err)
}

// addSubscription writes the overlay with a list more.
func addSubscription(cfg *config.Config, s web.Subscription) (c web.Change, err error) {
	if taken := slices.ContainsFunc(cfg.Lists.Subscriptions, func(o config.Subscription) bool { return strings.EqualFold(o.Name, s.Name) }); taken {
		return c, fmt.Errorf("a list called %s is subscribed to already: 'telltale lists remove %s' ends that, --name gives this one another name", s.Name, s.Name)
	}
	text, err := cfg.WithSubscription(s.Name, s.URL)
	if err != nil {
		return c, err
	}
	c.File = cfg.Overlay
	return c, atomicfile.Replace(cfg.Overlay, text, 0o644)
}

// removeSubscription writes the overlay without a list.
func removeSubscription(cfg *config.Config, name string) (c web.Change, err error) {
	text, ok, err := cfg.WithoutSubscription(name)
	if err != nil {
		return c, err
	}
	if !ok {
		for i := range cfg.Lists.Subscriptions {
			if strings.EqualFold(cfg.Lists.Subscriptions[i].Name, name) {
				return c, fmt.Errorf("%s stands in %s, which only you write: remove it there", name, cfg.File)
			}
		}
		return c, web.NotFound(fmt.Errorf("no list called %s is subscribed to: 'telltale lists' shows what is", name))
	}
	c.File, c.Removed = cfg.Overlay, 1
	return c, atomicfile.Replace(cfg.Overlay, text, 0o644)
}

// changeOverlay writes the overlay and applies it. Where it is refused the old one
// is put back.
func (a *app) changeOverlay(write func(*config.Config) (web.Change, error)) (web.Change, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg, err := a.load() // as it is on disk now: it may have been edited a moment ago
	if err != nil {
		return web.Change{}, fmt.Errorf("the settings have mistakes, which must be put right first: %w", err)
	}
	c, err := write(cfg)
	if err != nil {
		return c, err
	}
	changed, err := a.load()
	if err == nil {
		err = listNameMistakes(changed)
	}
	if err == nil {
		err = a.applyLocked(changed)
	}
	if err != nil {
		return c, web.Invalid(errors.Join(err, cfg.RestoreOverlay()))
	}
	a.refused.Store("")
	return c, nil
}

// subscribe adds a list to the overlay, fetches it, and returns when it is in force.
func (a *app) subscribe(ctx context.Context, s web.Subscription) (web.Change, error) {
	c, err := a.changeOverlay(func(cfg *config.Config) (web.Change, error) { return addSubscription(cfg, s) })
	if err != nil {
		return c, err
	}
	err = a.refreshLists(ctx, []string{s.Name}, func(r web.Refreshed) {
		switch {
		case !r.Done:
		case r.Error != "":
			c.Note = r.Outcome + ": " + r.Error
		default:
			c.Rules = r.Rules
		}
	})
	if err != nil {
		c.Note = err.Error()
	}
	return c, nil
}

// unsubscribe removes a list from the overlay, and returns when it is out of force.
func (a *app) unsubscribe(name string) (web.Change, error) {
	return a.changeOverlay(func(cfg *config.Config) (web.Change, error) { return removeSubscription(cfg, name) })
}

// subscriptionOf returns what to subscribe to: a preset by its name, or a URL.
func subscriptionOf(what, name string) (web.Subscription, error) {
	for _, p := range subscribe.Presets {
		if strings.EqualFold(p.Name, what) {
			return web.Subscription{Name: cmp.Or(name, p.Name), URL: p.URL}, nil
		}
	}
	if !strings.Contains(what, "://") {
		return web.Subscription{}, fmt.Errorf("%q is neither a URL nor a preset; 'telltale lists presets' shows those", what)
	}
	if u, err := url.Parse(what); err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return web.Subscription{}, fmt.Errorf("%q is not a list that can be fetched: give an http or https URL without a user and password", what)
	}
	if name == "" {
		name = nameOfURL(what)
	}
	if name == "" {
		return web.Subscription{}, errors.New("the URL gives the list no name: --name does")
	}
	return web.Subscription{Name: name, URL: what}, nil
}

// nameOfURL returns the last word of a URL's path, without its ending; "" where
// there is none.
func nameOfURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	base := path.Base(u.Path)
	name := strings.TrimLeft(strings.TrimSuffix(base, path.Ext(base)), ".")
	if name == "/" {
		return ""
	}
	return name
}
