package leases

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// KeaPage is how many leases are asked of Kea's control socket at a time.
const KeaPage = 1000

// ErrKeaCommand means that Kea does not know the command: it is the server of the other
// family, or its hook for commands is not loaded.
var ErrKeaCommand = errors.New("the server does not know the command")

// KeaCommand returns what asks a server of Kea for a page of its leases: those behind the
// address from, or the first ones where from is no address.
func KeaCommand(ipv6 bool, from netip.Addr) []byte {
	command, start := "lease4-get-page", "start"
	if ipv6 {
		command = "lease6-get-page"
	}
	if from.IsValid() {
		start = from.String()
	}
	return fmt.Appendf(nil, `{"command":%q,"arguments":{"from":%q,"limit":%d}}`, command, start, KeaPage)
}

// KeaRest reads of a page where the next one begins; the zero Addr: it was the last.
func KeaRest(page []byte) (netip.Addr, error) {
	answer, err := keaAnswerOf(page)
	if err != nil || len(answer.Arguments.Leases) < KeaPage {
		return netip.Addr{}, err
	}
	last, err := netip.ParseAddr(answer.Arguments.Leases[KeaPage-1].Addr)
	if err != nil {
		return netip.Addr{}, errors.New("the server names a lease without an address")
	}
	return last, nil
}

// A keaAnswer is what Kea says to lease4-get-page and lease6-get-page.
type keaAnswer struct {
	Result    int    `json:"result"`
	Text      string `json:"text"`
	Arguments struct {
		Leases []keaLease `json:"leases"`
	} `json:"arguments"`
}

type keaLease struct {
	Addr     string `json:"ip-address"`
	MAC      string `json:"hw-address"`
	ClientID string `json:"client-id"`
	DUID     string `json:"duid"`
	Host     string `json:"hostname"`
	State    int    `json:"state"`
	Type     string `json:"type"` // IA_PD: a delegated prefix
	Given    int64  `json:"cltt"` // when it was given or renewed
	Lifetime uint32 `json:"valid-lft"`
}

const (
	keaSuccess     = 0
	keaUnsupported = 2
	keaEmpty       = 3
)

func keaAnswerOf(page []byte) (answer keaAnswer, err error) {
	if err := json.Unmarshal(page, &answer); err != nil {
		return answer, errors.New("what the server says is not JSON")
	}
	switch answer.Result {
	case keaSuccess, keaEmpty:
		return answer, nil
	case keaUnsupported:
		return answer, ErrKeaCommand
	}
	return answer, fmt.Errorf("the server refuses: %s", Shown(answer.Text))
}

// readPage takes a page of the control socket.
func (kea) readPage(text string, r *reading) {
	answer, err := keaAnswerOf([]byte(text))
	if err != nil {
		r.bad(1)
		return
	}
	r.understood = true
	for i := range answer.Arguments.Leases {
		k := &answer.Arguments.Leases[i]
		addr, err := netip.ParseAddr(k.Addr)
		if err != nil || k.Given < 0 || k.Given > 1<<40 {
			r.bad(i + 1)
			continue
		}
		if k.State != 0 || k.Lifetime == 0 || k.Type == "IA_PD" {
			continue
		}
		l := Lease{Addr: addr, MAC: parseMAC(k.MAC), Host: r.host(k.Host)}
		if k.Lifetime != 1<<32-1 { // else without end
			l.From = time.Unix(k.Given, 0)
			l.Until = l.From.Add(time.Duration(k.Lifetime) * time.Second)
		}
		if addr.Is4() {
			r.client(octets(k.ClientID), l.MAC)
		} else {
			l.ofDUID(octets(k.DUID), l.MAC == macOfDUID(string(octets(k.DUID))), r)
		}
		r.set(l)
	}
}

// ofDUID takes whose lease it is. guessed says that its MAC may be the one that the DUID
// was made of.
func (l *Lease) ofDUID(duid []byte, guessed bool, r *reading) {
	l.duid = string(duid)
	l.Guessed = l.MAC != "" && guessed
	if mac := r.ofDUID[l.duid]; l.Guessed && mac != "" {
		l.MAC, l.Guessed = mac, false
	}
}
