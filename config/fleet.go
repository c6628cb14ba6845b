package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// checkFleet finds addresses that are none of a center, and settings that cannot be shared.
func (c *Config) checkFleet(d *decoding) {
	for _, of := range []struct {
		key string
		all []string
	}{{"fleet.center", c.Fleet.Center}, {"center.address", c.Center.Address}} {
		for i, address := range of.all {
			if u, err := url.Parse(address); err == nil && u.Scheme == "https" && address == "https://"+u.Host {
				continue
			}
			d.mistake(fmt.Sprintf("%s[%d]", of.key, i), "found "+quote(address), fmt.Sprintf("https://HOST:PORT, such as https://192.168.1.2:%d", CenterPort))
		}
	}
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
