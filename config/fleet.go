package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// parseCenter reads the address of a center, and adds the port where there is none.
func parseCenter(text string) (value string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || text != "https://"+u.Host {
		return "", false
	}
	if u.Port() == "" {
		text = strings.TrimSuffix(text, ":") + ":" + strconv.Itoa(CenterPort)
	}
	return text, true
}

// checkFleet finds settings that cannot be shared.
func (c *Config) checkFleet(d *decoding) {
	shareable := Shareable()
	for i, key := range c.Center.Share {
		if !slices.Contains(shareable, key) {
			d.mistakes.add(Mistake{Key: fmt.Sprintf("center.share[%d]", i), Where: d.place("center.share"), Found: "found " + quote(key), Expected: "the key of a setting that may hold on other machines, too", Nearest: nearest(key, shareable)})
		}
	}
}

// Shareable returns the keys of the settings that a center may set on nodes: those that
// may be set over the network, and subscriptions. Where a node listens, what it sends
// where, and which files it reads is said on the node alone.
func Shareable() []string {
	var all []string
	for _, s := range leaves() {
		if refusalOfShared(s.key, &s.setting) == "" {
			all = append(all, s.key)
		}
	}
	return all
}

// refusalOfShared says why a center cannot set a setting on nodes; "" where it can.
func refusalOfShared(schema string, s *setting) string {
	switch {
	case strings.HasPrefix(schema, overlayKey) && !s.is("path"), schema == "lists":
		return ""
	case schema == "node":
		return "it on the node: each has a name of its own"
	case schema == "reports":
		return "it on the node"
	}
	return refusal(schema, s)
}
