package clickhouse

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A client asks the servers of an address over HTTP.
type client struct {
	a      Address
	http   *http.Client
	shards []*shard
}

// A shard is servers that have the same rows.
type shard struct {
	number int
	hosts  []string
	first  atomic.Int32 // who is asked first: who answered last

	inserting sync.Mutex // a quorum is of one insert at a time
}

func newClient(a Address) *client {
	c := &client{a: a, http: &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
			TLSHandshakeTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for i, hosts := range a.Shards {
		c.shards = append(c.shards, &shard{number: i, hosts: hosts})
	}
	return c
}

func (c *client) close() { c.http.CloseIdleConnections() }

// A statement is what a server is asked.
type statement struct {
	sql      string
	settings map[string]string
	body     []byte // rows of an insert
	packed   bool   // body is in gzip
	table    string // that it is about, for errors
	once     bool   // no other server is asked once one has begun to tell rows
}

// A ServerError is what a server answered instead.
type ServerError struct {
	Server string
	Table  string // "" where it is about none
	Code   int    // of ClickHouse; 0 where it said none
	Text   string
}

func (e *ServerError) Error() string {
	s := "ClickHouse at " + e.Server
	if e.Table != "" {
		s += ", table " + e.Table
	}
	s += ": " + e.Text
	if e.Code != 0 {
		s += " (code " + strconv.Itoa(e.Code) + ")"
	}
	if to := whatToDo[e.Code]; to != "" {
		s += ": " + to
	}
	return s
}

// Codes of ClickHouse that mean the same in all its versions.
const (
	codeNoColumn      = 16
	codeUnknown       = 47
	codeNoTable       = 60
	codeNoDatabase    = 81
	codeTimeout       = 159
	codeReadOnlyUser  = 164
	codeMemory        = 241
	codeReadOnlyTable = 242
	codeNoSpace       = 243
	codeTooManyParts  = 252
	codeFewReplicas   = 285
	codeQuorumBefore  = 286
	codeLags          = 289
	codeUnknownStatus = 319
)

var whatToDo = map[int]string{
	codeNoColumn:      "the table is of another version: run telltale center migrate",
	codeUnknown:       "the table is of another version: run telltale center migrate",
	codeNoTable:       "run telltale center migrate, which makes it",
	codeNoDatabase:    "run telltale center migrate, which makes it",
	codeReadOnlyUser:  "give this user the right to write, or another user to center.store",
	codeMemory:        "raise max_memory_usage of this user, or ask for a shorter time",
	codeReadOnlyTable: "the server has lost its Keeper: start that; nodes keep their rows meanwhile",
	codeNoSpace:       "its disk is full: add room, or shorten the retention; nodes keep their rows meanwhile",
	codeTooManyParts:  "it merges more slowly than rows come: give it time, a faster disk, or more shards",
	codeFewReplicas:   "fewer replicas than quorum= asks for are up: start them; nodes keep their rows meanwhile",
	codeQuorumBefore:  "an insert before has not reached quorum= replicas yet: start those that are down; nodes keep their rows meanwhile",
	codeUnknownStatus: "it is not known whether the rows are there: they are sent again, which counts none twice",
	192:               "user or password of center.store is wrong",
	193:               "user or password of center.store is wrong",
	194:               "user or password of center.store is wrong",
	516:               "user or password of center.store is wrong",
	497:               "give this user the right to it",
}

// another reports whether another replica may do what this one would not.
func another(err error) bool {
	var s *ServerError
	if !errors.As(err, &s) {
		return true // no answer
	}
	switch s.Code {
	case codeReadOnlyTable, codeNoSpace, codeTooManyParts, codeLags, codeUnknownStatus, codeFewReplicas, codeQuorumBefore, codeMemory, codeTimeout, 0, 209, 210, 225, 999:
		return true
	}
	return false
}

// anyOf asks the servers of a shard in turn, until one does it.
func (c *client) anyOf(ctx context.Context, s *shard, st *statement, each func(*rowReader) error) error {
	var failed []error
	first := int(s.first.Load())
	for i := range s.hosts {
		at := (first + i) % len(s.hosts)
		began := false
		read := each
		if st.once {
			read = func(r *rowReader) error {
				began = true
				return each(r)
			}
		}
		err := c.do(ctx, s.hosts[at], st, read)
		if err == nil {
			s.first.Store(int32(at))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, err)
		if began || !another(err) {
			break
		}
	}
	err := errors.Join(failed...)
	if len(c.shards) > 1 {
		return fmt.Errorf("shard %d of %d, without which numbers would be too small: %w", s.number+1, len(c.shards), err)
	}
	return err
}

// do asks one server. each takes the result, which is whole when it is called.
func (c *client) do(ctx context.Context, host string, st *statement, each func(*rowReader) error) error {
	// A server says that a query failed in the middle by a text behind the rows, unless it
	// keeps the answer until it is whole.
	query := url.Values{"wait_end_of_query": {"1"}, "buffer_size": {"4194304"}, "database": {c.a.Database}}
	for k, v := range st.settings {
		query.Set(k, v)
	}
	sql := io.Reader(strings.NewReader(st.sql))
	if st.body != nil {
		query.Set("query", st.sql)
		sql = bytes.NewReader(st.body)
	}
	u := url.URL{Scheme: "http", Host: host, Path: "/", RawQuery: query.Encode()}
	if c.a.Secure {
		u.Scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), sql)
	if err != nil {
		return err
	}
	if st.packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if c.a.User != "" {
		req.SetBasicAuth(c.a.User, c.a.Password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error // without the URL, which has the statement
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("ClickHouse at %s does not answer: %w", host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-ClickHouse-Exception-Code") != "" {
		return c.serverError(host, st, resp)
	}
	if each == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		r := newRowReader(resp.Body)
		if err := each(r); err != nil {
			return err
		}
		err = r.err
	}
	if err != nil {
		return fmt.Errorf("ClickHouse at %s: %w", host, err)
	}
	return nil
}

var exceptionText = regexp.MustCompile(`^Code: (\d+)[.,] (?:e\.displayText\(\) = )?(?:DB::Exception: )?(.*)`)

func (c *client) serverError(host string, st *statement, resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	text := strings.TrimSpace(string(b))
	e := &ServerError{Server: host, Table: st.table}
	if m := exceptionText.FindStringSubmatch(text); m != nil {
		e.Code, _ = strconv.Atoi(m[1])
		text, _, _ = strings.Cut(m[2], ", e.what()")
	} else {
		e.Code, _ = strconv.Atoi(resp.Header.Get("X-ClickHouse-Exception-Code"))
	}
	if text, _, _ = strings.Cut(text, "\n"); text == "" {
		text = resp.Status
	}
	if len(text) > 400 {
		text = text[:400] + "..."
	}
	e.Text = text
	return e
}

// everywhere runs a statement on every server.
func (c *client) everywhere(ctx context.Context, st *statement) error {
	var failed []error
	for _, s := range c.shards {
		for _, host := range s.hosts {
			if err := c.do(ctx, host, st, nil); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

// pack returns rows in gzip.
func pack(rows []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(rows) / 4)
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one there is
	z.Write(rows)
	z.Close()
	return b.Bytes()
}

// quote returns a text as a literal of SQL.
func quote(s string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(s) + `'`
}

func quoteAll(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, `, `)
}
