package peerlogs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"telltale/dnswire"
)

// AdGuard Home writes querylog.json, a JSON object a line, and renames it to
// querylog.json.1 after a time. See internal/querylog/entry.go and decode.go of its
// source.
var adguardFormat = Format{
	Name: "adguard-home", Title: "AdGuard Home",
	Lost: "the name of the list whose rule blocked, the TTL of the answer, and what was asked while its log was off or left out",
	is: func(head []byte) bool {
		head = bytes.TrimLeft(head, " \r\n\t\ufeff")
		line, _, _ := bytes.Cut(head, []byte{'\n'})
		return bytes.HasPrefix(line, []byte("{")) && bytes.Contains(line, []byte(`"QH"`)) && bytes.Contains(line, []byte(`"T"`))
	},
}

type adguardLog struct {
	lines
	chain
	o Options
	l Lookup
}

// An adguardEntry is one of its lines. Rule and FilterID are those of before version
// 0.106.
type adguardEntry struct {
	T        time.Time
	QH       string
	QT       string
	QC       string
	CID      string
	CP       string
	IP       string
	Upstream string
	Answer   string
	Elapsed  time.Duration
	Cached   bool
	Result   struct {
		IsFiltered  bool
		Reason      int
		Rule        string
		CanonName   string
		ServiceName string
		Rules       []struct {
			Text string
		}
	}
}

// Its reasons, the numbers of filtering.Reason.
const (
	adguardAllowed  = 1
	adguardSearch   = 7 // answered with a search engine's address for safe searches
	adguardRewrites = 9 // and all above: answered with what was configured
)

func (g *adguardLog) Format() *Format         { return &adguardFormat }
func (g *adguardLog) Close() error            { return g.f.close() }
func (g *adguardLog) Read() (done, all int64) { return g.f.read() }
func (g *adguardLog) Notes() []string         { return g.notes() }

func (g *adguardLog) Next() (*Lookup, error) {
	for {
		line, err := g.next()
		if err != nil {
			return nil, err
		}
		if g.n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := g.read(line); err != nil {
			return nil, g.bad(err)
		}
		g.l.raw = line
		g.l.Place = g.place()
		return g.give(adguardFormat.Name, &g.l, g.o.Now)
	}
}

func (g *adguardLog) read(line []byte) (err error) {
	var e adguardEntry
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("this is no line of AdGuard Home's query log: %w", err)
	}
	g.l = Lookup{Time: e.T, Elapsed: max(e.Elapsed, 0), Upstream: e.Upstream, Rcode: -1}
	if g.l.Name, err = parseName(e.QH); err != nil {
		return err
	}
	var ok bool
	if g.l.Type, ok = dnswire.ParseType(e.QT); !ok {
		return fmt.Errorf("%q is no record type", shortened(e.QT))
	}
	if e.QC != "" && e.QC != "IN" {
		return fmt.Errorf("class %q is not the Internet's", shortened(e.QC))
	}
	if g.l.Client, err = parseAddr(e.IP); err != nil {
		return err
	}
	g.l.ClientID = strings.ToLower(e.CID)
	switch e.CP {
	case "doh":
		g.l.Transport = HTTPS
	case "dot":
		g.l.Transport = TLS
	case "doq":
		g.l.Transport = QUIC
	} // "" is UDP or TCP, and dnscrypt has no word here
	g.decided(&e)
	return g.answered(e.Answer)
}

// decided takes over what was decided, by what, and where the answer came from.
func (g *adguardLog) decided(e *adguardEntry) {
	r := &e.Result
	switch {
	case r.Reason == adguardSearch:
		g.l.Verdict, g.l.Source = Answered, FromPolicy
	case r.IsFiltered:
		g.l.Verdict, g.l.Source = Blocked, FromPolicy
	case r.Reason == adguardAllowed:
		g.l.Verdict = Allowed
	case r.Reason >= adguardRewrites:
		g.l.Verdict, g.l.Source = Answered, FromPolicy
	}
	g.l.Rule = r.Rule
	if len(r.Rules) > 0 {
		g.l.Rule = r.Rules[0].Text
	}
	if g.l.Rule == "" && r.ServiceName != "" {
		g.l.Rule = "blocked service: " + r.ServiceName
	}
	switch {
	case g.l.Source != Unknown:
	case e.Cached:
		g.l.Source = FromCache
	case e.Upstream != "":
		g.l.Source = FromUpstream
	}
}

// answered takes over the response code of an answer in wire form.
func (g *adguardLog) answered(text string) error {
	if text == "" {
		return nil
	}
	packet, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("the answer is damaged: %w", err)
	}
	if len(packet) >= 12 {
		g.l.Rcode = int(packet[3] & 0x0f)
	}
	return nil
}
