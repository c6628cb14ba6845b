package leases

import (
	"encoding/json"
	"net"
	"net/netip"
	"time"
)

// networkd reads the file that the DHCP server of systemd-networkd keeps for an
// interface (PersistLeases=), in JSON: a list of leases, or since version 257 an object
// that has one.
type networkd struct{}

func (networkd) looksLike(line string) bool { return line[0] == '{' || line[0] == '[' }

type networkdLease struct {
	ClientID               []int  `json:"ClientId"`
	Address                []int  `json:"Address"`
	Hostname               string `json:"Hostname"`
	HardwareAddress        []int  `json:"HardwareAddress"`
	ExpirationRealtimeUSec uint64 `json:"ExpirationRealtimeUSec"`
}

func (networkd) read(text string, r *reading) {
	var list []networkdLease
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		var object struct{ Leases []networkdLease }
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			r.bad(1)
			r.Incomplete = true // it is written whole, and put in place of the one before
			return
		}
		list = object.Leases
	}
	r.understood = true
	for i, n := range list {
		addr, ok := netip.AddrFromSlice(bytesOf(n.Address))
		if !ok {
			r.bad(i + 1)
			continue
		}
		l := Lease{Addr: addr, Host: r.host(n.Hostname)}
		id := bytesOf(n.ClientID)
		switch hardware := bytesOf(n.HardwareAddress); {
		case len(hardware) == 6:
			l.MAC = net.HardwareAddr(hardware).String()
		case len(id) == 7 && id[0] == 1: // a client id may be the type of hardware and its address
			l.MAC = net.HardwareAddr(id[1:]).String()
		case len(id) > 7 && id[0] == 255:
			l.duid = string(id[5:])
		}
		r.client(id, l.MAC)
		// ExpirationUSec, which is always there, counts from the start of the machine.
		if n.ExpirationRealtimeUSec > 0 && n.ExpirationRealtimeUSec < 1<<60 {
			l.Until = time.UnixMicro(int64(n.ExpirationRealtimeUSec))
		}
		r.set(l)
	}
}

// bytesOf returns numbers as octets, nil where one is none.
func bytesOf(numbers []int) []byte {
	if len(numbers) > 300 {
		return nil
	}
	var b []byte
	for _, n := range numbers {
		if n < 0 || n > 255 {
			return nil
		}
		b = append(b, byte(n))
	}
	return b
}
