package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
)

// An ImportHead is the first line of a batch.
type ImportHead struct {
	Key    string `json:"key"`
	Format string `json:"format"`
	File   string `json:"file"`
	Lost   string `json:"lost,omitempty"` // what such a log does not say
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Sum    string `json:"sum,omitempty"`
	End    bool   `json:"end,omitempty"` // nothing follows
}

// An ImportLine is each further line of a batch: one lookup. The keys are short as there
// are many.
type ImportLine struct {
	Time       int64  `json:"t"` // Unix milliseconds
	Client     string `json:"c,omitempty"`
	ClientID   string `json:"i,omitempty"`
	ClientName string `json:"n,omitempty"`
	Name       string `json:"q"`
	Type       uint16 `json:"y"`
	Verdict    uint8  `json:"v,omitempty"` // the numbers of package blocklists
	Rule       string `json:"u,omitempty"`
	Alias      string `json:"a,omitempty"`
	Rcode      uint8  `json:"r"`
	Source     uint8  `json:"s,omitempty"` // this and the next the numbers of package querylog
	Transport  uint8  `json:"p,omitempty"`
	Elapsed    int64  `json:"e,omitempty"` // microseconds
	Upstream   string `json:"w,omitempty"`
}

// importMost is how large a batch may be.
const importMost = 16 << 20

type importRequest struct {
	RawBody []byte `contentType:"application/jsonl"`
}

func registerImport(api huma.API, o *Options) {
	batch := operation(http.MethodPost, "/import", "import", "Store lookups that another server logged; a line of JSON that says which, then one for each lookup", http.StatusOK)
	batch.MaxBodyBytes = importMost
	add(api, batch, func(ctx context.Context, r *importRequest) (querylog.Imported, error) {
		b, err := readImport(r.RawBody)
		if err != nil {
			return querylog.Imported{}, Invalid(err)
		}
		return o.Import(ctx, b)
	})
}

// WriteImport returns a batch as the API takes it.
func WriteImport(b *querylog.ImportBatch) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	src := &b.Source
	if err := enc.Encode(ImportHead{src.Key, src.Format, src.File, src.Lost, b.From, b.To, b.Sum, b.End}); err != nil {
		return nil, err
	}
	for i := range b.Lookups {
		u := &b.Lookups[i]
		line := ImportLine{
			Time: u.Time.UnixMilli(), ClientID: u.ClientID, ClientName: u.ClientName, Name: textOf(u.Name), Type: u.Type, Verdict: uint8(u.Action), Rule: u.Rule,
			Alias: textOf(u.Alias), Rcode: u.Rcode, Source: uint8(u.Source), Transport: uint8(u.Transport), Elapsed: u.Elapsed.Microseconds(), Upstream: u.Upstream,
		}
		if u.Client.IsValid() {
			line.Client = u.Client.String()
		}
		if err := enc.Encode(&line); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func textOf(wire []byte) string {
	if len(wire) == 0 {
		return ""
	}
	return string(dnswire.AppendText(nil, wire))
}

// readImport reads what WriteImport wrote.
func readImport(body []byte) (*querylog.ImportBatch, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	var head ImportHead
	if err := d.Decode(&head); err != nil {
		return nil, fmt.Errorf("the first line: %w", err)
	}
	if head.Key == "" || head.From < 0 || head.To < head.From {
		return nil, errors.New("the first line: a key, and positions from 0 on, are wanted")
	}
	b := &querylog.ImportBatch{Source: querylog.ImportSource{Key: head.Key, Format: head.Format, File: head.File, Lost: head.Lost}, From: head.From, To: head.To, Sum: head.Sum, End: head.End}
	for n := 2; ; n++ {
		var line ImportLine
		if err := d.Decode(&line); err == io.EOF {
			return b, nil
		} else if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		u, err := line.lookup()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(b.Lookups) == querylog.MostImported {
			return nil, fmt.Errorf("there are more than %d lookups", querylog.MostImported)
		}
		b.Lookups = append(b.Lookups, u)
	}
}

func (l *ImportLine) lookup() (u querylog.ImportedLookup, err error) {
	if l.Verdict > uint8(querylog.UnknownVerdict) || l.Source > uint8(querylog.FromStale) || l.Transport > uint8(querylog.QUIC) {
		return u, errors.New("a verdict, a source or a transport is none that there is")
	}
	u = querylog.ImportedLookup{
		Time: time.UnixMilli(l.Time), ClientID: l.ClientID, ClientName: l.ClientName, Type: l.Type, Action: blocklists.Action(l.Verdict), Rule: l.Rule, Rcode: l.Rcode,
		Source: querylog.Source(l.Source), Transport: querylog.Transport(l.Transport), Elapsed: time.Duration(l.Elapsed) * time.Microsecond, Upstream: l.Upstream,
	}
	if l.Client != "" {
		if u.Client, err = netip.ParseAddr(l.Client); err != nil {
			return u, err
		}
	}
	name, err := dnswire.ParseName(l.Name)
	if err != nil {
		return u, err
	}
	u.Name = name.Wire()
	if l.Alias != "" {
		alias, err := dnswire.ParseName(l.Alias)
		if err != nil {
			return u, err
		}
		u.Alias = alias.Wire()
	}
	return u, nil
}
