package listen

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

// 192.0.2.77 and 2001:db8::77 are of nobody (RFC 5737, RFC 3849).
func TestAnAddressThatIsNotThereYetIsBound(t *testing.T) {
	var said bytes.Buffer
	addrs := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.77:0"), netip.MustParseAddrPort("127.0.0.1:0")}
	if v6 := netip.MustParseAddrPort("[2001:db8::77]:0"); hasIPv6() {
		addrs = append(addrs, v6)
	}
	l, err := Open(Options{
		Addrs: addrs, Readers: 2, Streams: 1, Logger: slog.New(slog.NewTextHandler(&said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.Addrs(); len(got) != len(addrs) {
		t.Errorf("got %v, want %d addresses", got, len(addrs))
	}
	if got := strings.Count(said.String(), "does not have the address yet"); got != len(addrs)-1 {
		t.Errorf("got %d warnings, want %d:\n%s", got, len(addrs)-1, said.String())
	}
}

func hasIPv6() bool {
	c, _, err := BindUDP(netip.MustParseAddrPort("[::1]:0"), false)
	if err == nil {
		c.Close()
	}
	return err == nil
}
