package clickhouse

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// An Address says where a store is: servers in shards of replicas, and what of them
// is asked for.
type Address struct {
	Shards   [][]string // host:port of the HTTP interface, the replicas of each shard in the order in which they are tried
	Database string
	User     string
	Password string
	Secure   bool // HTTPS

	// Replicated is the path of the tables in the servers' Keeper; "" for tables that
	// are not replicated.
	Replicated string
	Quorum     int  // replicas that have a batch before it is acknowledged; 0 for one
	Plain      bool // batches are not packed
}

// Scheme begins every address.
const Scheme = "clickhouse://"

const (
	plainPort  = "8123"
	securePort = "8443"
	maxHosts   = 256
)

// ParseAddress reads an address: clickhouse://USER:PASSWORD@HOST:PORT/DATABASE, with
// replicas of a shard behind commas and further shards behind semicolons.
// docs/fleet.md explains it.
func ParseAddress(s string) (a Address, err error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return a, fmt.Errorf("%s does not begin with %s", Redact(s), Scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, password, _ := strings.Cut(rest[:i], ":")
		rest = rest[i+1:]
		var err1, err2 error
		a.User, err1 = url.PathUnescape(user)
		a.Password, err2 = url.PathUnescape(password)
		if err := errors.Join(err1, err2); err != nil {
			return a, errors.New("user or password has a % that stands for no octet: write it as %25") // the error would show the password
		}
	}
	hosts, database, _ := strings.Cut(rest, "/")
	if err := a.options(query); err != nil {
		return a, err
	}
	a.Database = database
	if a.Database == "" {
		a.Database = "telltale"
	}
	if !isWord(a.Database) {
		return a, fmt.Errorf("database %q: letters, digits and _ alone", a.Database)
	}
	return a, a.hosts(hosts)
}

func (a *Address) hosts(s string) error {
	port := plainPort
	if a.Secure {
		port = securePort
	}
	seen := map[string]bool{}
	for _, shard := range strings.Split(s, ";") {
		var replicas []string
		for _, host := range strings.Split(shard, ",") {
			if host == "" {
				return fmt.Errorf("a server without a name in %q", s)
			}
			h, p, err := net.SplitHostPort(host)
			if err != nil {
				h, p = strings.Trim(host, "[]"), port
			}
			if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 || h == "" || strings.ContainsAny(h, " /?#@") {
				return fmt.Errorf("%q is no host and port", host)
			}
			host = net.JoinHostPort(h, p)
			if seen[host] {
				return fmt.Errorf("%s stands there twice", host)
			}
			seen[host] = true
			replicas = append(replicas, host)
		}
		if len(replicas) > 1 && a.Replicated == "" {
			return fmt.Errorf("%s are replicas, but replicated=PATH is not set: each would have a part of the rows alone", strings.Join(replicas, " and "))
		}
		if a.Quorum > len(replicas) {
			return fmt.Errorf("quorum=%d is more than the %d replicas of a shard", a.Quorum, len(replicas))
		}
		a.Shards = append(a.Shards, replicas)
	}
	if len(seen) > maxHosts {
		return fmt.Errorf("%d servers; at most %d", len(seen), maxHosts)
	}
	return nil
}

func (a *Address) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("options: %w", err)
	}
	for key, all := range values {
		if len(all) != 1 {
			return fmt.Errorf("%s= stands there %d times", key, len(all))
		}
		v := all[0]
		switch key {
		case "secure":
			a.Secure, err = strconv.ParseBool(v)
		case "replicated":
			if a.Replicated = strings.TrimRight(v, "/"); !strings.HasPrefix(v, "/") || strings.ContainsAny(v, `'"\{}`) {
				err = errors.New("it is a path in the Keeper, such as /clickhouse/telltale")
			}
		case "quorum":
			if a.Quorum, err = strconv.Atoi(v); err == nil && a.Quorum < 0 {
				err = errors.New("it is a number of replicas")
			}
		case "compress":
			if a.Plain = v == "none"; !a.Plain && v != "gzip" {
				err = errors.New("there are gzip and none")
			}
		case "password_file":
			var b []byte
			if b, err = os.ReadFile(v); err == nil {
				a.Password = strings.TrimRight(string(b), "\r\n")
			}
		default:
			return fmt.Errorf("there is no option %q: secure, replicated, quorum, compress and password_file", key)
		}
		if err != nil {
			return fmt.Errorf("%s=%s: %w", key, v, err)
		}
	}
	return nil
}

func isWord(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_') {
			return false
		}
	}
	return s != ""
}

// Redact returns an address without its password, to be shown.
func Redact(s string) string {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return s
	}
	i := strings.LastIndexByte(rest, '@')
	if i < 0 {
		return s
	}
	user, _, has := strings.Cut(rest[:i], ":")
	if has {
		user += ":..."
	}
	return Scheme + user + rest[i:]
}

// ShardOf returns which shard has the rows of a store: always the same for a number of
// shards, whoever answers. A row that was sent twice is then twice on one server, which
// tells it once.
func (a *Address) ShardOf(store string) int {
	h := fnv.New64a()
	h.Write([]byte(store))
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return int(v % uint64(len(a.Shards)))
}
