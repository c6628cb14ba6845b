package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"telltale/blocklists/format"
	"telltale/dnswire"
	"telltale/querylog"
)

// parseAge reads a duration as Go does, and days (7d).
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		return time.Duration(n * 24 * float64(time.Hour)), err
	}
	return time.ParseDuration(s)
}

// ignoreCancel drops the error of a command that was told to end.
func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// parseNamePart reads a part of a name, or a pattern, as a person types it. A
// label in another script than Latin is one of the wire's only as a whole.
func parseNamePart(s string) (string, error) {
	s, exact := strings.CutPrefix(s, "=")
	switch {
	case exact && s == "":
		return "", querylog.ErrNoName
	case exact && s == ".": // the root
		return "=.", nil
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for i, l := range labels {
		ascii := strings.IndexFunc(l, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
		if ascii {
			labels[i] = strings.ToLower(l)
			continue
		}
		if strings.ContainsAny(l, "*?") {
			return "", fmt.Errorf("%q: a part of a name between two dots must be whole where it has letters outside ASCII", l)
		}
		var err error
		if labels[i], err = format.ASCII(l); err != nil {
			return "", err
		}
	}
	if s = strings.Join(labels, "."); exact {
		s = "=" + s
	}
	return s, nil
}

// parseHost is parseName for what may be the address of a page: then its host is
// meant.
func parseHost(s string) (n dnswire.Name, err error) {
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return n, fmt.Errorf("%q has no name of a host in it", s)
		}
		s = u.Hostname()
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return n, fmt.Errorf("%s is an address: give the name of a host", addr)
	}
	return parseName(s)
}

// parseName reads a name as a person types it, in any script.
func parseName(s string) (n dnswire.Name, err error) {
	switch {
	case s == "":
		return n, errors.New("the name is empty")
	case strings.ContainsAny(s, " \t\r\n"):
		return n, fmt.Errorf("%q has a space in it: give one name", s)
	}
	if s, err = format.ASCII(s); err != nil {
		return n, err
	}
	return dnswire.ParseName(s)
}

// parseType reads a record type as a person types it: its name, or its number.
func parseType(s string) (uint16, error) {
	if n, err := strconv.ParseUint(s, 10, 16); err == nil {
		return uint16(n), nil
	}
	if t, ok := dnswire.ParseType(s); ok {
		return t, nil
	}
	return 0, fmt.Errorf("%q is no record type; HTTPS, 65 and TYPE65 are", s)
}
