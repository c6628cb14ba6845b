package subscribe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// TestAddresses shows which addresses may be asked for a list.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		name  string
		addr  string
		url   string
		allow bool
		want  error
	}{
		{"a public address is asked", "93.184.216.34", "https://a.example/", false, nil},
		{"a public address of IPv6 is asked", "2606:2800:220:1::1", "https://a.example/", false, nil},
		{"a private address is not", "192.168.1.1", "https://a.example/", false, ErrAddress},
		{"loopback is not", "127.0.0.1", "https://a.example/", false, ErrAddress},
		{"loopback of IPv6 is not", "::1", "https://a.example/", false, ErrAddress},
		{"a unique local address is not", "fd00::1", "https://a.example/", false, ErrAddress},
		{"a carrier's address is not", "100.64.0.1", "https://a.example/", false, ErrAddress},
		{"a mapped private address is not", "::ffff:10.0.0.1", "https://a.example/", false, ErrAddress},
		{"a private address behind NAT64 is not", "64:ff9b::a00:1", "https://a.example/", false, ErrAddress},
		{"a private address behind 6to4 is not", "2002:a00:1::1", "https://a.example/", false, ErrAddress},
		{"a private address that the URL names is", "192.168.1.1", "http://192.168.1.1/l.txt", false, nil},
		{"its neighbour is not", "192.168.1.2", "http://192.168.1.1/l.txt", false, ErrAddress},
		{"a private address is asked where the option says so", "192.168.1.1", "https://a.example/", true, nil},
		{"a link-local address never is", "169.254.169.254", "http://169.254.169.254/", true, errNever},
		{"a link-local address of IPv6 never is", "fe80::1", "http://[fe80::1]/", true, errNever},
		{"a multicast address never is", "224.0.0.1", "https://a.example/", true, errNever},
		{"the unspecified address never is", "0.0.0.0", "http://0.0.0.0/", true, errNever},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := subscribed(t, c.url, func(o *Options) { o.AllowPrivate = c.allow })
			u, err := parseURL(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.permit(withList(context.Background(), u), netip.MustParseAddr(c.addr)); !errors.Is(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestDetours shows that neither a name nor a redirect leads inside.
func TestDetours(t *testing.T) {
	inside := publish(t, text(list(10)))
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	loopback := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	front := func(target string) string {
		p := publish(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) })
		return p.URL
	}
	for _, c := range []struct {
		name string
		url  string
		o    Options
		want string
	}{
		{"a name that resolves inside is not asked", "http://lists.example:" + port + "/", Options{Lookup: loopback}, "inside a network"},
		{"nor where Dial resolves it", "http://lists.example:" + port + "/", Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		}}, "inside a network"},
		{"it is where the option says so", "http://lists.example:" + port + "/", Options{Lookup: loopback, AllowPrivate: true}, ""},
		{"the address itself is asked", inside.URL, Options{}, ""},
		{"a redirect to another address inside is not followed", front("http://127.0.0.2:" + port + "/"), Options{}, "inside a network"},
		{"a redirect to link-local is not followed", front("http://169.254.169.254/latest"), Options{AllowPrivate: true}, "no list may come from"},
		{"a redirect to a file is not followed", front("file:///etc/passwd"), Options{}, "only http and https"},
		{"a redirect on the same address is followed", front(inside.URL), Options{}, ""},
		{"a file is not read", "file:///etc/passwd", Options{}, "only http and https"},
		{"a URL without host is refused", "http:///x", Options{}, "names no host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := subscribed(t, c.url, func(o *Options) {
				o.Dial, o.Lookup, o.AllowPrivate = c.o.Dial, c.o.Lookup, c.o.AllowPrivate
			})
			got := refreshed(t, s)
			if c.want == "" && got.Outcome != Updated {
				t.Errorf("got %v, %v, want an update", got.Outcome, got.Err)
			}
			if c.want != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), c.want)) {
				t.Errorf("got %v, %v, want %q", got.Outcome, got.Err, c.want)
			}
		})
	}
}

func TestARedirectLoopEnds(t *testing.T) {
	p := publish(t, nil)
	p.now(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, fmt.Sprintf("%s/%d", p.URL, len(r.URL.Path)), http.StatusFound)
	})
	s := subscribed(t, p.URL, nil)
	if got := refreshed(t, s); got.Err == nil || !strings.Contains(got.Err.Error(), "redirected more than") || p.asked > maxRedirects+2 {
		t.Errorf("got %v after %d requests", got.Err, p.asked)
	}
}

func TestEncryptionIsNotGivenUp(t *testing.T) {
	from, _ := http.NewRequest(http.MethodGet, "https://a.example/", nil)
	to, _ := http.NewRequest(http.MethodGet, "http://a.example/", nil)
	if err := checkRedirect(to, []*http.Request{from}); err == nil {
		t.Error("a redirect from https to http is followed")
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	s := subscribed(t, "http://user:secret@127.0.0.1:1/l", nil)
	got := refreshed(t, s)
	if st := s.Status()[0]; strings.Contains(st.URL+st.Err+fmt.Sprint(got.Err), "secret") {
		t.Errorf("shown: %s, %s", st.URL, st.Err)
	}
}
