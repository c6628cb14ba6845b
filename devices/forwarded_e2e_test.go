//go:build e2e && linux

package devices

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"telltale/dnswire"
)

// dnsmasq in front says whose query it passes on, in each of its forms.
func TestE2EDnsmasqSaysWhoAsks(t *testing.T) {
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("skipped: dnsmasq is not installed")
	}
	h := newHome(t, 1)
	h.settle(t)
	l, _ := open(t, newTable(), Options{Devices: []Device{{Name: "tv", MACs: []string{"02:00:00:00:00:01"}}}})
	for i, form := range []string{"--add-mac", "--add-mac=text", "--add-mac=base64"} {
		t.Run(form, func(t *testing.T) {
			var upstream net.PacketConn
			h.server.do(t, func() (err error) {
				upstream, err = net.ListenPacket("udp", "192.168.77.1:0")
				return err
			})
			defer upstream.Close()
			server := "192.168.77.1#" + netip.MustParseAddrPort(upstream.LocalAddr().String()).String()[len("192.168.77.1:"):]
			start(t, h.server, "dnsmasq", []string{"--keep-in-foreground", "--conf-file=/dev/null", "--port=5300", "--listen-address=192.168.77.1", "--bind-interfaces", "--user=root",
				"--pid-file=" + filepath.Join(t.TempDir(), "pid"), "--no-resolv", "--no-hosts", "--cache-size=0", "--server=" + server, form, "--add-subnet=32,128", "--add-cpe-id=attic"})
			query := []byte{byte(i), 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1}
			packet := make([]byte, 1500)
			n := 0
			for deadline := time.Now().Add(30 * time.Second); n == 0; {
				if time.Now().After(deadline) {
					t.Fatal("dnsmasq passed no query on within 30 s")
				}
				h.devices[0].do(t, func() error {
					c, err := net.Dial("udp", "192.168.77.1:5300")
					if err != nil {
						return err
					}
					defer c.Close()
					_, _ = c.Write(query) // refused until dnsmasq listens
					return nil
				})
				_ = upstream.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				n, _, _ = upstream.ReadFrom(packet)
			}
			var q dnswire.Question
			if err := dnswire.ParseQuestion(packet[:n], &q); err != nil {
				t.Fatal(err)
			}
			f := dnswire.ReadForwarded(q.Forwarding)
			if !f.HasMAC || f.Addr != addr("192.168.77.11") || string(f.CPE) != "attic" {
				t.Errorf("got %+v of %x", f, packet[:n])
			}
			if b := l.Forwarded(f.MAC, f.HasMAC, f.Addr); b == nil || b.Device != "tv" || b.Source != Forwarder {
				t.Errorf("got %+v, want tv", b)
			}
		})
	}
}
