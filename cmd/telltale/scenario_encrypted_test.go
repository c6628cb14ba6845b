package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// An encryptedWay is how a query of a scenario goes, where that is not UDP, TCP or TLS.
type encryptedWay struct {
	by      string // https, h3, http or quic; "" for none of these
	server  string // what the client calls it
	id      string // in the path
	forward string // X-Forwarded-For
	from    string // the client's address
}

func encryptedWayOf(args []string) (w encryptedWay) {
	for _, arg := range args {
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "https", "h3", "http", "quic":
			w.by, w.server = key, value
		case "id":
			w.id = value
		case "for":
			w.forward = value
		case "from":
			w.from = value
		}
	}
	return w
}

// askBy sends a query by HTTPS, HTTP/3, HTTP for a proxy, or QUIC. What HTTP says in
// place of an answer is an rcode that is none.
func (srv *testServer) askBy(w encryptedWay, m *dns.Msg) (*dns.Msg, error) {
	if w.by == "quic" {
		m.Id = 0
	}
	packet, err := m.Pack()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := srv.app.server
	dialer := &net.Dialer{}
	if w.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(w.from)}
	}
	to := func(addrs []netip.AddrPort) (netip.AddrPort, *tls.Config) {
		return addrs[0], &tls.Config{RootCAs: srv.trusted, ServerName: cmp.Or(w.server, addrs[0].Addr().String()), NextProtos: []string{"doq"}}
	}
	var reply []byte
	switch w.by {
	case "quic":
		addr, config := to(s.QUICAddrs())
		reply, err = askQUIC(ctx, addr, config, packet)
	case "http":
		reply, err = askHTTP(ctx, &http.Transport{DialContext: dialer.DialContext}, "http://"+s.HTTPAddrs()[0].String(), w, packet)
	case "https":
		addr, config := to(s.HTTPSAddrs())
		config.NextProtos = nil
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DialContext: dialer.DialContext}
		defer transport.CloseIdleConnections()
		reply, err = askHTTP(ctx, transport, "https://"+addr.String(), w, packet)
	case "h3":
		addr, config := to(s.HTTPSAddrs())
		config.NextProtos = []string{http3.NextProtoH3}
		transport := &http3.Transport{TLSClientConfig: config}
		defer transport.Close()
		reply, err = askHTTP(ctx, transport, "https://"+addr.String(), w, packet)
	}
	if err != nil {
		return nil, err
	}
	r := new(dns.Msg)
	return r, r.Unpack(reply)
}

func askHTTP(ctx context.Context, transport http.RoundTripper, server string, w encryptedWay, packet []byte) ([]byte, error) {
	path := "/dns-query"
	if w.id != "" {
		path += "/" + w.id
	}
	r, err := http.NewRequestWithContext(ctx, "POST", server+path, bytes.NewReader(packet))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/dns-message")
	if w.forward != "" {
		r.Header.Set("X-Forwarded-For", w.forward)
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

func askQUIC(ctx context.Context, server netip.AddrPort, config *tls.Config, packet []byte) ([]byte, error) {
	conn, err := quic.DialAddr(ctx, server.String(), config, nil)
	if err != nil {
		return nil, err
	}
	defer conn.CloseWithError(0, "")
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
	stream.Close()
	reply, err := io.ReadAll(stream)
	if err == nil && len(reply) < 2 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return reply[2:], nil
}
