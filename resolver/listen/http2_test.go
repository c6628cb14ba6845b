package listen

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"telltale/dnswire"
	"telltale/resolver/packets"
)

// An echoer answers each query with itself as a response, with as many octets behind it as
// its last two say, and later where its first octet is odd.
type echoer struct {
	later  sync.WaitGroup
	panics atomic.Int32
	hold   chan struct{} // what is answered later waits for it; nil: it does not
}

func (e *echoer) NewBatchHandler(*UDPConn) BatchHandler { return nil }

func (e *echoer) NewStreamHandler(c Correspondent) StreamHandler { return &echoStream{e, c} }

type echoStream struct {
	echo *echoer
	from Correspondent
}

func (s *echoStream) ServeMessage(packet []byte) bool {
	reply := make([]byte, len(packet)+int(binary.BigEndian.Uint16(packet[len(packet)-2:])))
	copy(reply, packet)
	reply[2] |= 0x80
	if packet[0]&1 == 0 {
		s.from.Send(reply)
		return packet[0] != 2 // the handler fails
	}
	s.echo.later.Go(func() {
		if s.echo.hold != nil {
			<-s.echo.hold
		}
		s.from.Send(reply)
	})
	return true
}

// echoQuery is a query that is answered by more octets, and later if asked.
func echoQuery(more uint16, later bool) []byte {
	b := make([]byte, dnswire.HeaderLen+3)
	if later {
		b[0] = 1
	}
	return binary.BigEndian.AppendUint16(b, more)
}

func echoWeb(e *echoer, times StreamTimes) *web {
	l := &Listeners{options: Options{Handler: e, Allowed: func(netip.Addr) bool { return true }, ClientPrefix: 64}}
	l.streams = newStreams(100, times, &l.stats)
	l.streams.catchPanic = recovers(&e.panics)
	l.requests = newShare(1000)
	return &web{l: l}
}

// A peer is the client of a connection of HTTP/2.
type peer struct {
	*http2.Framer
	t      *testing.T
	l      *Listeners
	echo   *echoer
	conn   net.Conn
	server *requester
	fields bytes.Buffer
	hpack  *hpack.Encoder
	ended  chan struct{} // the server's side has
	panics int32         // as many are wanted
}

var unhurried = StreamTimes{Idle: time.Minute, IdleTLS: time.Minute, Handshake: time.Minute, Query: time.Minute, Write: time.Minute, Answer: time.Minute}

// startHTTP2 connects by HTTP/2, but for the settings.
func startHTTP2(t *testing.T, times StreamTimes, change ...func(net.Conn) net.Conn) *peer {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	e := &echoer{}
	w := echoWeb(e, times)
	p := &peer{t: t, l: w.l, echo: e, conn: conn, Framer: http2.NewFramer(conn, conn), server: &requester{altSvc: `h3=":443"`}, ended: make(chan struct{})}
	p.Framer.AllowIllegalWrites = true
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.hpack = hpack.NewEncoder(&p.fields)
	p.server.place.init(accepted, func() bool { return p.server.asking.Load() > 0 })
	w.l.admit(&p.server.place, netip.MustParseAddr("127.0.0.1"))
	for _, f := range change {
		accepted = f(accepted)
	}
	var reading sync.WaitGroup
	reading.Add(1)
	go func() {
		defer close(p.ended)
		w.serveHTTP2(accepted, p.server, Arrival{Client: netip.MustParseAddrPort("127.0.0.1:5000"), Transport: HTTPS}, nil, reading.Done)
	}()
	conn.SetDeadline(time.Now().Add(time.Minute))
	conn.Write([]byte(http2Preface))
	t.Cleanup(func() {
		conn.Close()
		<-p.ended
		reading.Wait()
		e.later.Wait()
		if got := e.panics.Load(); got != p.panics {
			t.Errorf("%d panics, want %d", got, p.panics)
		}
		if n := p.server.asking.Load(); n != 0 || !w.l.requests.isEmpty() || w.l.streams.count() != 0 {
			t.Errorf("%d requests and %d connections are left, or a share of all", n, w.l.streams.count())
		}
	})
	return p
}

// A panic of what reads or writes a connection of HTTP/2 ends that, and nothing else.
func TestAPanicEndsOneConnectionOfHTTP2(t *testing.T) {
	for _, reads := range []bool{true, false} {
		p := startHTTP2(t, unhurried, func(c net.Conn) net.Conn { return &panickingConn{c, reads} })
		p.panics = 1
		<-p.ended
	}
}

// connectHTTP2 connects by HTTP/2.
func connectHTTP2(t *testing.T, times StreamTimes, settings ...http2.Setting) *peer {
	p := startHTTP2(t, times)
	p.WriteSettings(settings...)
	p.WriteSettingsAck()
	return p
}

// header returns the fields of a header block.
func (p *peer) header(fields ...string) []byte {
	p.fields.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.fields.Bytes())
}

func getFields(query []byte) []string {
	return []string{":method", "GET", ":scheme", "https", ":authority", "dns.example", ":path", "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(query)}
}

var postFields = []string{":method", "POST", ":scheme", "https", ":path", "/dns-query", "content-type", dnsMediaType}

// begin sends a header.
func (p *peer) begin(stream uint32, end bool, fields ...string) {
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.header(fields...), EndStream: end, EndHeaders: true})
}

func (p *peer) get(stream uint32, query []byte) { p.begin(stream, true, getFields(query)...) }

// next returns what comes next, in words: "200 of 1", "data of 1: 5", "data of 1: 5, end", "reset 1: 0x7", "away 1: 0x0",
// "closed"; what belongs to the connection alone is passed over.
func (p *peer) next() string {
	for {
		f, err := p.ReadFrame()
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status") + " of " + fmt.Sprint(f.StreamID) + map[bool]string{true: ", end"}[f.StreamEnded()]
		case *http2.DataFrame:
			return fmt.Sprintf("data of %d: %d%s", f.StreamID, len(f.Data()), map[bool]string{true: ", end"}[f.StreamEnded()])
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("reset %d: %#x", f.StreamID, uint32(f.ErrCode))
		case *http2.GoAwayFrame:
			return fmt.Sprintf("away %d: %#x", f.LastStreamID, uint32(f.ErrCode))
		case *http2.PingFrame:
			return "pong"
		case nil:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return "nothing"
			}
			return "closed"
		}
	}
}

func (p *peer) want(all ...string) {
	p.t.Helper()
	for _, want := range all {
		if got := p.next(); got != want {
			p.t.Fatalf("%q, want %q", got, want)
		}
	}
}

// What a client does wrong ends its stream, or its connection, with the error that RFC 9113
// has for it.
func TestHTTP2Errors(t *testing.T) {
	t.Parallel()
	query := echoQuery(0, false)
	held := echoQuery(0, true)
	with := func(more ...string) []string { return append(slices.Clone(getFields(query)), more...) }
	priority := http2.PriorityParam{StreamDep: 1}
	tests := []struct {
		fact string
		send func(p *peer)
		want string
	}{
		{"a good request", func(p *peer) { p.get(1, query) }, "200 of 1"},
		{"a PING", func(p *peer) { p.WritePing(false, [8]byte{1}) }, "pong"},
		{"an unknown frame", func(p *peer) { p.WriteRawFrame(0x42, 0xff, 7, []byte("x")); p.get(1, query) }, "200 of 1"},
		{"an unknown setting", func(p *peer) { p.WriteSettings(http2.Setting{ID: 99, Val: 1}); p.get(1, query) }, "200 of 1"},
		{"GOAWAY", func(p *peer) { p.WriteGoAway(0, 0, nil); p.get(1, query) }, "200 of 1"},
		{"padding and priority", func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(getFields(query)...), EndStream: true, EndHeaders: true, PadLength: 200, Priority: http2.PriorityParam{StreamDep: 3, Weight: 9}})
		}, "200 of 1"},
		{"a header in pieces", func(p *peer) {
			b := p.header(getFields(query)...)
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:1], EndStream: true})
			p.WriteContinuation(1, false, b[1:7])
			p.WriteContinuation(1, false, nil)
			p.WriteContinuation(1, true, b[7:])
		}, "200 of 1"},
		{"a body in pieces, with padding", func(p *peer) {
			p.begin(1, false, append(slices.Clone(postFields), "content-length", fmt.Sprint(len(query)))...)
			p.WriteDataPadded(1, false, query[:5], make([]byte, 9))
			p.WriteData(1, false, nil)
			p.WriteData(1, true, query[5:])
		}, "200 of 1"},
		{"trailers", func(p *peer) {
			p.begin(1, false, postFields...)
			p.WriteData(1, false, query)
			p.begin(1, true, "x-check", "1")
		}, "200 of 1"},
		{"100-continue", func(p *peer) { p.begin(1, false, append(slices.Clone(postFields), "expect", "100-continue")...) }, "100 of 1"},
		{"a handler that fails", func(p *peer) { b := bytes.Clone(query); b[0] = 4; p.get(1, b) }, "200 of 1"},
		{"HEAD", func(p *peer) { p.begin(1, true, ":method", "HEAD", ":scheme", "https", ":path", "/dns-query") }, "405 of 1, end"},
		{"HEAD elsewhere", func(p *peer) { p.begin(1, true, ":method", "HEAD", ":scheme", "https", ":path", "/") }, "404 of 1, end"},
		{"te: trailers", func(p *peer) { p.begin(1, true, with("te", "trailers")...) }, "200 of 1"},
		{"a path in percents", func(p *peer) {
			p.begin(1, true, ":method", "GET", ":scheme", "https", ":path", "/dns%2dquery?%64ns="+base64.RawURLEncoding.EncodeToString(query))
		}, "200 of 1"},

		{"no settings", nil, "away 0: 0x1"},
		{"a connection in place of settings", nil, "away 0: 0x1"},
		{"no path", func(p *peer) { p.begin(1, true, ":method", "GET", ":scheme", "https") }, "reset 1: 0x1"},
		{"an empty path", func(p *peer) { p.begin(1, true, ":method", "GET", ":scheme", "https", ":path", "") }, "reset 1: 0x1"},
		{"a relative path", func(p *peer) { p.begin(1, true, ":method", "GET", ":scheme", "https", ":path", "dns-query") }, "reset 1: 0x1"},
		{"another scheme", func(p *peer) { p.begin(1, true, ":method", "GET", ":scheme", "gopher", ":path", "/") }, "reset 1: 0x1"},
		{"two methods", func(p *peer) { p.begin(1, true, append([]string{":method", "GET"}, getFields(query)...)...) }, "reset 1: 0x1"},
		{"an unknown field of the request", func(p *peer) { p.begin(1, true, append([]string{":x", "y"}, getFields(query)...)...) }, "reset 1: 0x1"},
		{"a status", func(p *peer) { p.begin(1, true, append([]string{":status", "200"}, getFields(query)...)...) }, "reset 1: 0x1"},
		{"the path behind other fields", func(p *peer) {
			p.begin(1, true, ":method", "GET", ":scheme", "https", "accept", "*/*", ":path", "/dns-query")
		}, "reset 1: 0x1"},
		{"upper case", func(p *peer) { p.begin(1, true, with("Accept", "*/*")...) }, "reset 1: 0x1"},
		{"a name with a space", func(p *peer) { p.begin(1, true, with("a b", "c")...) }, "reset 1: 0x1"},
		{"a name that is empty", func(p *peer) { p.begin(1, true, with("", "c")...) }, "reset 1: 0x1"},
		{"a line end in a value", func(p *peer) { p.begin(1, true, with("a", "b\r\nc: d")...) }, "reset 1: 0x1"},
		{"a space before a value", func(p *peer) { p.begin(1, true, with("a", " b")...) }, "reset 1: 0x1"},
		{"connection", func(p *peer) { p.begin(1, true, with("connection", "close")...) }, "reset 1: 0x1"},
		{"transfer-encoding", func(p *peer) { p.begin(1, true, with("transfer-encoding", "chunked")...) }, "reset 1: 0x1"},
		{"te: gzip", func(p *peer) { p.begin(1, true, with("te", "gzip")...) }, "reset 1: 0x1"},
		{"CONNECT with a path", func(p *peer) { p.begin(1, true, ":method", "CONNECT", ":authority", "a", ":path", "/") }, "reset 1: 0x1"},
		{"CONNECT", func(p *peer) { p.begin(1, true, ":method", "CONNECT", ":authority", "a") }, "404 of 1"},
		{"OPTIONS of all", func(p *peer) { p.begin(1, true, ":method", "OPTIONS", ":scheme", "https", ":path", "*") }, "404 of 1"},
		{"a length without a body", func(p *peer) { p.begin(1, true, with("content-length", "5")...) }, "reset 1: 0x1"},
		{"a length that is none", func(p *peer) { p.begin(1, true, with("content-length", "-1")...) }, "reset 1: 0x1"},
		{"two lengths", func(p *peer) { p.begin(1, true, with("content-length", "0", "content-length", "1")...) }, "reset 1: 0x1"},
		{"a body that is longer than its length", func(p *peer) {
			p.begin(1, false, append(slices.Clone(postFields), "content-length", "3")...)
			p.WriteData(1, false, query)
		}, "reset 1: 0x1"},
		{"a body that is shorter than its length", func(p *peer) {
			p.begin(1, false, append(slices.Clone(postFields), "content-length", "99")...)
			p.WriteData(1, true, query)
		}, "reset 1: 0x1"},
		{"trailers that do not end the request", func(p *peer) { p.begin(1, false, postFields...); p.begin(1, false, "x", "y") }, "reset 1: 0x1"},
		{"a path in trailers", func(p *peer) { p.begin(1, false, postFields...); p.begin(1, true, ":path", "/") }, "reset 1: 0x1"},
		{"a window of nothing more for a stream", func(p *peer) { p.begin(1, false, postFields...); p.WriteWindowUpdate(1, 0) }, "reset 1: 0x1"},
		{"a stream's window beyond the largest", func(p *peer) {
			p.begin(1, false, postFields...)
			p.WriteWindowUpdate(1, maxWindow)
		}, "reset 1: 0x3"},
		{"data behind the end", func(p *peer) { p.get(1, held); p.WriteData(1, true, query) }, "reset 1: 0x5"},
		{"data of a stream that has ended", func(p *peer) {
			p.get(1, query)
			p.want("200 of 1", fmt.Sprintf("data of 1: %d, end", len(query)))
			p.WriteData(1, true, query)
		}, "reset 1: 0x5"},
		{"a body that nobody waits for any more", func(p *peer) {
			p.begin(1, false, append(slices.Clone(postFields), "content-length", "5000")...)
			p.want("413 of 1", fmt.Sprintf("data of 1: %d, end", len(errTooLarge.text)+1), "reset 1: 0x0")
			p.WriteData(1, false, make([]byte, 5000))
			p.begin(1, true, "x-check", "1")
			p.get(3, query)
		}, "200 of 3"},

		{"an even stream", func(p *peer) { p.get(2, query) }, "away 0: 0x1"},
		{"stream 0", func(p *peer) { p.get(0, query) }, "away 0: 0x1"},
		{"a header of a stream that has ended", func(p *peer) {
			p.get(1, query)
			p.want("200 of 1", fmt.Sprintf("data of 1: %d, end", len(query)))
			p.get(1, query)
		}, "away 1: 0x5"},
		{"a stream behind a later one", func(p *peer) { p.begin(5, false, postFields...); p.get(3, query) }, "away 5: 0x1"},
		{"a second header behind the end", func(p *peer) { p.get(1, held); p.get(1, query) }, "away 1: 0x5"},
		{"data of a stream that has not begun", func(p *peer) { p.WriteData(1, true, query) }, "away 0: 0x1"},
		{"data of stream 0", func(p *peer) { p.WriteRawFrame(http2.FrameData, 0, 0, query) }, "away 0: 0x1"},
		{"too much padding of data", func(p *peer) {
			p.begin(1, false, postFields...)
			p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{3, 1, 2})
		}, "away 1: 0x1"},
		{"too much padding of a header", func(p *peer) {
			p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, []byte{9, 1, 2})
		}, "away 0: 0x1"},
		{"a header without room for its priority", func(p *peer) {
			p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPriority|http2.FlagHeadersEndHeaders, 1, []byte{9, 1, 2})
		}, "away 0: 0x6"},
		{"a stream that depends on itself", func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(getFields(query)...), EndStream: true, EndHeaders: true, Priority: priority})
		}, "away 0: 0x1"},
		{"PRIORITY on itself", func(p *peer) { p.WritePriority(1, priority) }, "away 0: 0x1"},
		{"a short PRIORITY", func(p *peer) { p.WriteRawFrame(http2.FramePriority, 0, 1, []byte{1}) }, "away 0: 0x6"},
		{"a frame within a header", func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(getFields(query)...)})
			p.WritePing(false, [8]byte{})
		}, "away 0: 0x1"},
		{"CONTINUATION of another stream", func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(getFields(query)...)})
			p.WriteContinuation(3, true, nil)
		}, "away 0: 0x1"},
		{"CONTINUATION of nothing", func(p *peer) { p.WriteContinuation(1, true, nil) }, "away 0: 0x1"},
		{"fields that cannot be read", func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, EndHeaders: true})
		}, "away 0: 0x9"},
		{"half a field", func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x40, 5, 'a'}, EndHeaders: true})
		}, "away 0: 0x9"},
		{"RST_STREAM of a stream that has not begun", func(p *peer) { p.WriteRSTStream(1, 0) }, "away 0: 0x1"},
		{"a short RST_STREAM", func(p *peer) {
			p.begin(1, false, postFields...)
			p.WriteRawFrame(http2.FrameRSTStream, 0, 1, []byte{1})
		}, "away 1: 0x6"},
		{"settings of a stream", func(p *peer) { p.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }, "away 0: 0x1"},
		{"half a setting", func(p *peer) { p.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{1}) }, "away 0: 0x6"},
		{"an acknowledgement with settings", func(p *peer) { p.WriteRawFrame(http2.FrameSettings, 1, 0, make([]byte, 6)) }, "away 0: 0x6"},
		{"more settings than there are", func(p *peer) { p.WriteSettings(make([]http2.Setting, 101)...) }, "away 0: 0xb"},
		{"a push setting of 2", func(p *peer) { p.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }, "away 0: 0x1"},
		{"a window beyond the largest", func(p *peer) {
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, "away 0: 0x3"},
		{"frames shorter than the shortest", func(p *peer) { p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16383}) }, "away 0: 0x1"},
		{"a window by settings beyond the largest", func(p *peer) {
			p.begin(1, false, postFields...)
			p.WriteWindowUpdate(1, maxWindow-firstWindow)
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: firstWindow + 1})
		}, "away 1: 0x3"},
		{"PING of a stream", func(p *peer) { p.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)) }, "away 0: 0x1"},
		{"a short PING", func(p *peer) { p.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }, "away 0: 0x6"},
		{"a push", func(p *peer) { p.WriteRawFrame(http2.FramePushPromise, 4, 1, make([]byte, 8)) }, "away 0: 0x1"},
		{"a window of nothing more", func(p *peer) { p.WriteWindowUpdate(0, 0) }, "away 0: 0x1"},
		{"a short WINDOW_UPDATE", func(p *peer) { p.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, []byte{1}) }, "away 0: 0x6"},
		{"the window beyond the largest", func(p *peer) { p.WriteWindowUpdate(0, maxWindow) }, "away 0: 0x3"},
		{"a window of a stream that has not begun", func(p *peer) { p.WriteWindowUpdate(1, 1) }, "away 0: 0x1"},
		{"a frame that is too long", func(p *peer) { p.WriteRawFrame(0x42, 0, 0, make([]byte, maxFrame+1)) }, "away 0: 0x6"},
		{"a short GOAWAY", func(p *peer) { p.WriteRawFrame(http2.FrameGoAway, 0, 0, make([]byte, 7)) }, "away 0: 0x6"},
		{"GOAWAY of a stream", func(p *peer) { p.WriteRawFrame(http2.FrameGoAway, 0, 1, make([]byte, 8)) }, "away 0: 0x1"},
	}
	for _, test := range tests {
		t.Run(test.fact, func(t *testing.T) {
			p := startHTTP2(t, unhurried)
			p.echo.hold = make(chan struct{})
			defer close(p.echo.hold)
			switch {
			case test.send != nil:
				p.WriteSettings()
				test.send(p)
			case strings.HasPrefix(test.fact, "no"):
				p.get(1, query)
			default:
				p.WriteSettingsAck()
			}
			p.want(test.want)
			if strings.HasPrefix(test.want, "away") {
				p.want("closed")
				if got := p.l.stats.streamsCut.Load(); got != 1 {
					t.Errorf("%d connections are counted", got)
				}
				return
			}
			if !strings.HasPrefix(test.want, "reset") {
				return
			}
			p.get(9, query) // the connection goes on
			p.want("200 of 9")
		})
	}
}

// What begins as HTTP/2 and is not is answered by the end.
func TestHTTP2Preface(t *testing.T) {
	t.Parallel()
	p := startHTTP2(t, unhurried, func(c net.Conn) net.Conn { return c })
	p.conn.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	p.want("away 0: 0x6", "closed") // the text is no frame
}

// An answer waits for the windows that the client gives, of the connection and of its
// stream, and others do not wait for it.
func TestHTTP2AnswersWaitForTheWindow(t *testing.T) {
	t.Parallel()
	p := connectHTTP2(t, unhurried, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	query := echoQuery(100, false)
	all := len(query) + 100
	p.get(1, query)
	p.want("200 of 1")
	p.WriteWindowUpdate(1, 7)
	p.want("data of 1: 7")
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3}) // three more for stream 1, too
	p.want("data of 1: 3")
	p.get(3, echoQuery(0, true))
	p.want("200 of 3", "data of 3: 3")
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) // less than nothing for both
	p.WriteWindowUpdate(1, 3)
	p.WritePing(false, [8]byte{})
	p.want("pong")
	p.WriteWindowUpdate(1, 1000)
	p.want(fmt.Sprintf("data of 1: %d, end", all-10))
	p.WriteWindowUpdate(3, 1000)
	p.want(fmt.Sprintf("data of 3: %d, end", len(query)-3))

	// The connection's own window: as first, less what was sent.
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	left := firstWindow - all - len(query)
	p.get(5, echoQuery(uint16(left+10-len(query)), false))
	p.want("200 of 5")
	got := 0
	for got < left {
		var stream, n int
		if _, err := fmt.Sscanf(p.next(), "data of %d: %d", &stream, &n); err != nil || stream != 5 || n > maxFrame {
			t.Fatal(stream, n, err)
		}
		got += n
	}
	if got != left {
		t.Fatalf("%d octets, want %d", got, left)
	}
	p.get(7, query)
	p.want("200 of 7")
	p.WriteWindowUpdate(0, 15) // in the order in which they came to wait
	p.want("data of 5: 10, end", "data of 7: 5")
	p.WriteRSTStream(7, http2.ErrCodeCancel)
	p.WriteWindowUpdate(0, 1000)
	p.get(9, query)
	p.want("200 of 9", fmt.Sprintf("data of 9: %d, end", all))
}

// A client that gives no window loses its answers after a time, and where there are many
// its connection.
func TestHTTP2ClientsWithoutAWindow(t *testing.T) {
	t.Parallel()
	noWindow := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}
	times := unhurried
	times.Write = 3 * time.Second // it must not be late by a machine that is busy
	p := connectHTTP2(t, times, noWindow)
	p.get(1, echoQuery(100, true))
	p.want("200 of 1", "reset 1: 0x8")
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	p.get(3, echoQuery(0, false))
	p.want("200 of 3")
	if got := p.l.stats.streamsCut.Load(); got != 1 {
		t.Errorf("%d are counted, want one", got)
	}

	p = connectHTTP2(t, unhurried, noWindow)
	for i := range uint32(5) {
		p.get(2*i+1, echoQuery(60000, i%2 == 0))
	}
	got := ""
	for got = p.next(); strings.HasPrefix(got, "200"); got = p.next() {
	}
	if got != "closed" || p.l.stats.streamsCut.Load() != 1 {
		t.Errorf("%q, want the end; %d are counted", got, p.l.stats.streamsCut.Load())
	}
}

// A countingConn counts writes.
type countingConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *countingConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// Requests that come together are answered by one write.
func TestHTTP2AnswersTogether(t *testing.T) {
	t.Parallel()
	var counting *countingConn
	p := startHTTP2(t, unhurried, func(c net.Conn) net.Conn { counting = &countingConn{Conn: c}; return counting })
	p.WriteSettings()
	p.get(1, echoQuery(0, false))
	p.want("200 of 1", "data of 1: 17, end")
	before := counting.count()
	var together bytes.Buffer
	f := http2.NewFramer(&together, nil)
	const requests = 25
	for i := range uint32(requests) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 3, BlockFragment: p.header(getFields(echoQuery(0, false))...), EndStream: true, EndHeaders: true})
	}
	p.conn.Write(together.Bytes())
	for i := range requests {
		p.want(fmt.Sprintf("200 of %d", 2*i+3), fmt.Sprintf("data of %d: 17, end", 2*i+3))
	}
	if got := counting.count() - before; got > 3 { // the kernel may hand them over in parts
		t.Errorf("%d writes for %d answers", got, requests)
	}
}

// All that a client may make grow has a bound.
func TestHTTP2Bounds(t *testing.T) {
	t.Parallel()
	t.Run("requests at once", func(t *testing.T) {
		p := connectHTTP2(t, unhurried)
		p.echo.hold = make(chan struct{})
		for i := range uint32(requestStreams) {
			p.get(2*i+1, echoQuery(0, true))
		}
		p.get(501, echoQuery(0, true))
		p.want("reset 501: 0x7")
		for i := range uint32(requestStreams) { // those that were reset are under way all the same
			p.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}
		p.get(503, echoQuery(0, false))
		p.want("reset 503: 0x7")
		close(p.echo.hold)
		p.echo.later.Wait()
		p.get(505, echoQuery(0, true))
		p.want("200 of 505", "data of 505: 17, end")
		if got := p.l.stats.requestsRefused.Load(); got != 2 {
			t.Errorf("%d are counted", got)
		}
	})
	floods := map[string]func(p *peer, i uint32){
		"PING":               func(p *peer, _ uint32) { p.WritePing(false, [8]byte{}) },
		"PING acknowledged":  func(p *peer, _ uint32) { p.WritePing(true, [8]byte{}) },
		"SETTINGS":           func(p *peer, _ uint32) { p.WriteSettings() },
		"WINDOW_UPDATE":      func(p *peer, _ uint32) { p.WriteWindowUpdate(0, 1) },
		"PRIORITY":           func(p *peer, i uint32) { p.WritePriority(2*i+1, http2.PriorityParam{}) },
		"unknown frames":     func(p *peer, _ uint32) { p.WriteRawFrame(0x42, 0, 0, nil) },
		"empty DATA":         func(p *peer, i uint32) { p.flood(i, func() { p.WriteData(1, false, nil) }) },
		"empty CONTINUATION": func(p *peer, i uint32) { p.floodHeader(i, nil) },
		"CONTINUATION":       func(p *peer, i uint32) { p.floodHeader(i, make([]byte, 1000)) },
		"resets at once": func(p *peer, i uint32) {
			p.get(2*i+1, echoQuery(0, true))
			p.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		},
		"malformed requests": func(p *peer, i uint32) {
			p.begin(2*i+1, true, ":path", "/")
			p.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		},
		"refused by the path": func(p *peer, i uint32) { p.begin(2*i+1, true, ":method", "GET", ":scheme", "https", ":path", "/") },
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connectHTTP2(t, unhurried)
			p.echo.hold = make(chan struct{})
			defer close(p.echo.hold)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := uint32(0); i < 20*framesForFree && p.isOpen(); i++ {
					send(p, i)
				}
			}()
			got := ""
			for got = p.next(); got != "closed" && !strings.HasPrefix(got, "away"); got = p.next() {
			}
			if got != "closed" && !strings.HasSuffix(got, ": 0xb") {
				t.Errorf("%q, want it to calm down", got)
			}
			<-p.ended
			<-done
		})
	}
}

// isOpen reports whether the server's side of the connection has not ended.
func (p *peer) isOpen() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *peer) flood(i uint32, send func()) {
	if i == 0 {
		p.begin(1, false, postFields...)
	}
	send()
}

func (p *peer) floodHeader(i uint32, more []byte) {
	if i == 0 {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(getFields(echoQuery(0, false))...)})
	}
	p.WriteContinuation(1, false, more)
}

// A header that is too long is refused, and those behind it can still be read.
func TestHTTP2LongHeaders(t *testing.T) {
	t.Parallel()
	p := connectHTTP2(t, unhurried)
	long := slices.Clone(getFields(echoQuery(0, false)))
	for i := range 30 { // each costs an octet from the second on: it is in the table
		long = append(long, "x-long", strings.Repeat("a", 1000), "x-"+fmt.Sprint(i), "y")
	}
	p.begin(1, true, long...)
	p.want("431 of 1", fmt.Sprintf("data of 1: %d, end", len(errHeader.text)+1))
	p.begin(3, true, append(slices.Clone(getFields(echoQuery(0, false))), "x-long", strings.Repeat("a", 1000))...)
	p.want("200 of 3", "data of 3: 17, end")
	b := p.header(append(slices.Clone(getFields(echoQuery(0, false))), "x-longer", strings.Repeat("a", 60000))...) // in many frames
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: b[:maxFrame], EndStream: true})
	for b = b[maxFrame:]; len(b) > maxFrame; b = b[maxFrame:] {
		p.WriteContinuation(5, false, b[:maxFrame])
	}
	p.WriteContinuation(5, true, b)
	p.want("431 of 5", fmt.Sprintf("data of 5: %d, end", len(errHeader.text)+1))
	p.get(7, echoQuery(0, false))
	p.want("200 of 7", "data of 7: 17, end")
	if got := p.l.stats.requestsBad.Load(); got != 2 {
		t.Errorf("%d bad requests, want 2", got)
	}
}

// A client that wants no table of fields gets none, from the first answer on or later.
func TestHTTP2WithoutATable(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		p := startHTTP2(t, unhurried)
		none := http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}
		if late {
			p.WriteSettings()
			p.get(1, echoQuery(0, false))
			p.want("200 of 1", "data of 1: 17, end")
			p.WriteSettings(none)
		} else {
			p.WriteSettings(none)
		}
		for i := range uint32(3) {
			p.WritePing(false, [8]byte{})
			p.want("pong") // the settings have come
			p.ReadMetaHeaders = nil
			p.get(2*i+3, echoQuery(0, false))
			f, err := p.ReadFrame()
			if s, ok := f.(*http2.SettingsFrame); ok && s != nil {
				f, err = p.ReadFrame()
			}
			h, ok := f.(*http2.HeadersFrame)
			if err != nil || !ok {
				t.Fatal(f, err)
			}
			block := h.HeaderBlockFragment()
			if shrunk := block[0] == 0x20; shrunk != (i == 0) {
				t.Errorf("answer %d: begins with %#x", i, block[0])
			}
			d := hpack.NewDecoder(0, nil)
			fields, err := d.DecodeFull(block)
			if err != nil || len(fields) != 6 || fields[1].Value != dnsMediaType || fields[2].Name != "alt-svc" {
				t.Errorf("%v, %v", fields, err)
			}
			p.want(fmt.Sprintf("data of %d: 17, end", 2*i+3))
		}
	}
}

// Where "100 Continue" is what is sent first, it says that the table is empty.
func TestHTTP2ContinuesWithoutATable(t *testing.T) {
	t.Parallel()
	p := startHTTP2(t, unhurried)
	p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	p.WritePing(false, [8]byte{})
	p.want("pong")
	p.ReadMetaHeaders = nil
	p.begin(1, false, append(slices.Clone(postFields), "expect", "100-continue")...)
	f, err := p.ReadFrame()
	h, ok := f.(*http2.HeadersFrame)
	if err != nil || !ok {
		t.Fatal(f, err)
	}
	block := h.HeaderBlockFragment()
	fields, err := hpack.NewDecoder(0, nil).DecodeFull(block)
	if block[0] != 0x20 || err != nil || len(fields) != 1 || fields[0].Value != "100" {
		t.Errorf("%x: %v, %v", block, fields, err)
	}
}

// A header that does not come in time ends the connection, a body its request.
func TestHTTP2SlowClients(t *testing.T) {
	t.Parallel()
	times := unhurried
	times.Handshake = 3 * time.Second // what is in time must be so on a machine that is busy
	slow := map[string]*peer{}
	for fact, send := range map[string]func(p *peer){
		"no preface": func(*peer) {},
		"half a frame": func(p *peer) {
			p.WriteSettings()
			p.get(1, echoQuery(0, false))
			p.want("200 of 1", "data of 1: 17, end")
			p.conn.Write([]byte{0, 0, 9})
		},
		"half a header": func(p *peer) {
			p.WriteSettings()
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(getFields(echoQuery(0, false))...)})
		},
	} {
		p := startHTTP2(t, times)
		send(p)
		slow[fact] = p
	}
	p := connectHTTP2(t, times)
	p.begin(1, false, postFields...)
	p.WriteData(1, false, make([]byte, 5))
	p.want("408 of 1", fmt.Sprintf("data of 1: %d, end", len(errSlow.text)+1), "reset 1: 0x0")
	p.get(3, echoQuery(0, false))
	p.want("200 of 3", "data of 3: 17, end")
	for fact, p := range slow {
		if got := p.next(); !strings.HasPrefix(got, "away") || p.next() != "closed" || p.l.stats.streamsCut.Load() != 1 {
			t.Errorf("%s: %q, %d counted", fact, got, p.l.stats.streamsCut.Load())
		}
	}
}

// The time for a request ends when all of it has come: its answer may take longer.
func TestHTTP2AnswersMayTakeLongerThanRequests(t *testing.T) {
	t.Parallel()
	times := unhurried
	times.Handshake = 300 * time.Millisecond
	p := connectHTTP2(t, times)
	p.echo.hold = make(chan struct{})
	query := echoQuery(0, true)
	p.conn.Write(framesOf(func(p *peer) { // at once: what is in time must be so on a machine that is busy
		p.begin(1, false, postFields...)
		p.WriteData(1, true, query)
	}))
	time.Sleep(3 * times.Handshake)
	close(p.echo.hold)
	p.want("200 of 1", "data of 1: 17, end")
}

// A connection on which nothing is asked ends, and says so; one that waits does not.
func TestHTTP2GoesAwayWhenIdle(t *testing.T) {
	t.Parallel()
	times := unhurried
	times.IdleTLS = 3 * time.Second
	p := connectHTTP2(t, times)
	p.echo.hold = make(chan struct{})
	p.get(1, echoQuery(0, true))
	time.Sleep(times.IdleTLS + 500*time.Millisecond)
	close(p.echo.hold)
	p.want("200 of 1", "data of 1: 17, end", "away 1: 0x0", "closed")
	if got := p.l.stats.streamsCut.Load(); got != 0 {
		t.Errorf("%d are counted as cut off", got)
	}
}

// At a stop the client is told, what is under way is answered, and nothing new.
func TestHTTP2GoesAwayAtAStop(t *testing.T) {
	t.Parallel()
	p := connectHTTP2(t, unhurried, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2})
	p.echo.hold = make(chan struct{})
	p.get(1, echoQuery(0, true))
	p.get(3, echoQuery(0, false))
	p.begin(5, false, postFields...)
	p.want("200 of 3", "data of 3: 2")
	p.WritePing(false, [8]byte{})
	p.want("pong") // all has come
	p.l.streams.stop()
	p.want("away 5: 0x0", "reset 5: 0x7")
	p.get(7, echoQuery(0, false))
	p.want("reset 7: 0x7")
	p.WriteWindowUpdate(3, 1000)
	p.want("data of 3: 15, end")
	close(p.echo.hold)
	p.want("200 of 1", "data of 1: 2")
	p.WriteWindowUpdate(1, 1000)
	p.want("data of 1: 15, end", "closed")
}

// A client that takes nothing costs its connection, and what is pending is bounded.
func TestHTTP2ClientsThatReadNothing(t *testing.T) {
	t.Parallel()
	times := unhurried
	times.Write = 3 * time.Second
	p := connectHTTP2(t, times, http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	p.WriteWindowUpdate(0, maxWindow-firstWindow)
	for i := uint32(0); p.isOpen(); i++ {
		p.get(2*i+1, echoQuery(60000, false))
	}
	if got := p.l.stats.streamsCut.Load(); got != 1 {
		t.Errorf("%d are counted", got)
	}
}

// An octets connection is what a client sends, in pieces, and then the end.
type octets struct {
	net.Conn
	mu     sync.Mutex
	rest   []byte
	piece  int
	out    bytes.Buffer
	closed bool
}

func (c *octets) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rest) == 0 || c.closed {
		return 0, io.EOF
	}
	n := copy(b, c.rest[:min(len(c.rest), c.piece)])
	c.rest = c.rest[n:]
	return n, nil
}

func (c *octets) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	return c.out.Write(b)
}

func (c *octets) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *octets) SetReadDeadline(time.Time) error  { return nil }
func (c *octets) SetWriteDeadline(time.Time) error { return nil }

// framesOf returns what write writes.
func framesOf(write func(p *peer)) []byte {
	var b bytes.Buffer
	p := &peer{Framer: http2.NewFramer(&b, nil)}
	p.Framer.AllowIllegalWrites = true
	p.hpack = hpack.NewEncoder(&p.fields)
	p.WriteSettings()
	write(p)
	return b.Bytes()
}

// Whatever a client sends, in whatever pieces, the connection ends when it does; what is
// sent to it is HTTP/2 as golang.org/x/net reads it, not more than what was asked for, and
// nothing is left under way.
func FuzzHTTP2Connection(f *testing.F) {
	query, later := echoQuery(30, false), echoQuery(3000, true)
	for _, write := range []func(*peer){
		func(p *peer) { p.get(1, query); p.get(3, later); p.get(5, query) },
		func(p *peer) { p.begin(1, false, postFields...); p.WriteDataPadded(1, true, query, make([]byte, 3)) },
		func(p *peer) {
			b := p.header(getFields(query)...)
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3], EndStream: true, PadLength: 2, Priority: http2.PriorityParam{StreamDep: 5}})
			p.WriteContinuation(1, false, b[3:9])
			p.WriteContinuation(1, true, b[9:])
		},
		func(p *peer) {
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
			p.get(1, query)
			p.get(3, later)
			p.WriteWindowUpdate(1, 6)
			p.WriteWindowUpdate(0, 60000)
			p.WriteRSTStream(3, 8)
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 60})
		},
		func(p *peer) {
			p.begin(1, false, append(slices.Clone(postFields), "expect", "100-continue", "x-forwarded-for", "192.0.2.1")...)
			p.WriteData(1, false, later[:4])
			p.WritePing(false, [8]byte{})
			p.WriteData(1, false, later[4:])
			p.begin(1, true, "x", "y")
			p.WritePriority(3, http2.PriorityParam{})
			p.WriteGoAway(0, 0, nil)
			p.WriteRawFrame(0x10, 0, 0, []byte("x"))
		},
		func(p *peer) {
			p.begin(1, true, ":method", "PUT", ":scheme", "http", ":path", "/dns-query/x?%")
			p.begin(3, false, ":path", "*")
		},
	} {
		f.Add(framesOf(write), byte(0), true)
		f.Add(framesOf(write), byte(1), true)
	}
	f.Add([]byte(http2Preface), byte(7), false)
	f.Fuzz(func(t *testing.T, sent []byte, piece byte, preface bool) {
		if preface {
			sent = append([]byte(http2Preface), sent...)
		}
		e := &echoer{}
		w := echoWeb(e, unhurried)
		conn := &octets{rest: sent, piece: int(piece) + 1}
		if piece == 0 {
			conn.piece = 1 << 20
		}
		r := &requester{altSvc: `h3=":443"`}
		r.place.closer, r.place.waits, r.place.stopRead = conn, func() bool { return r.asking.Load() > 0 }, func() {}
		r.place.opens()
		w.l.streams.admit(&r.place)
		ended := 0
		w.serveHTTP2(conn, r, Arrival{Client: netip.MustParseAddrPort("127.0.0.1:5000"), Transport: HTTPS}, nil, func() { ended++ })
		e.later.Wait()
		if n := r.asking.Load(); n != 0 || !w.l.requests.isEmpty() || w.l.streams.count() != 0 || ended != 1 {
			t.Fatalf("%d requests, %d connections are left; ended %d times", n, w.l.streams.count(), ended)
		}
		conn.mu.Lock()
		defer conn.mu.Unlock()
		requests, streams := bytes.Count(sent, []byte{frameHeaders}), map[uint32]bool{}
		got := http2.NewFramer(io.Discard, bytes.NewReader(conn.out.Bytes()))
		got.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		frames := 0
		for {
			f, err := got.ReadFrame()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("sent %x, which is no HTTP/2: %v", conn.out.Bytes(), err)
			}
			frames++
			if h, ok := f.(*http2.MetaHeadersFrame); ok {
				if status := h.PseudoValue("status"); streams[h.StreamID] || len(h.Fields) < 1 || len(status) != 3 {
					t.Errorf("a second answer on stream %d, or none: %v", h.StreamID, h.Fields)
				} else if status != "100" {
					streams[h.StreamID] = true
				}
			}
		}
		if len(streams) > requests {
			t.Errorf("%d answers to at most %d requests", len(streams), requests)
		}
		if most := 4*len(sent) + 2; frames > most {
			t.Errorf("%d frames for %d octets", frames, len(sent))
		}
	})
}

// A requester's fields are taken as golang.org/x/net would send them, and what it has not
// is malformed: a slow twin that knows the rules by heart.
func TestHTTP2RequestsAreWhole(t *testing.T) {
	names := []string{":method", ":scheme", ":path", ":authority", "accept", "te", "content-length", "X-Y", "connection", ":other", ""}
	values := []string{"GET", "https", "/dns-query", "a.example", "trailers", "7", " x", "a\nb", ""}
	random := rand.New(rand.NewPCG(1, 2))
	good := 0
	for range 20_000 {
		all := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/"}}
		for range random.IntN(3) {
			f := hpack.HeaderField{Name: names[random.IntN(len(names))], Value: values[random.IntN(len(values))]}
			at := random.IntN(len(all) + 1)
			if random.IntN(4) == 0 {
				all = slices.Delete(all, 0, 1)
				at = 0
			}
			all = slices.Insert(all, at, f)
		}
		r := request{length: -1}
		for _, f := range all {
			r.add(f)
		}
		if got, want := r.isWhole(), isRequest(all); got != want {
			t.Fatalf("%v: %v, want %v", all, got, want)
		} else if got {
			good++
		}
	}
	if good < 1000 {
		t.Errorf("%d good requests alone", good)
	}
}

// isRequest is what RFC 9113, 8.2 and 8.3 say of a request.
func isRequest(all []hpack.HeaderField) bool {
	pseudo, plain := map[string]string{}, false
	lengths := map[string]bool{}
	for _, f := range all {
		if f.Value != strings.Trim(f.Value, " \t") || strings.ContainsAny(f.Value, "\r\n\x00") || f.Name == "" {
			return false
		}
		if f.Name[0] == ':' {
			if _, twice := pseudo[f.Name]; twice || plain || !slices.Contains([]string{":method", ":scheme", ":path", ":authority"}, f.Name) {
				return false
			}
			pseudo[f.Name] = f.Value
			continue
		}
		plain = true
		switch f.Name {
		case "te":
			if f.Value != "trailers" {
				return false
			}
		case "connection", "X-Y":
			return false
		case "content-length":
			if lengths[f.Value] = true; f.Value != "7" || len(lengths) > 1 {
				return false
			}
		}
	}
	return pseudo[":method"] != "" && pseudo[":method"] != "CONNECT" && slices.Contains([]string{"https", "http"}, pseudo[":scheme"]) && strings.HasPrefix(pseudo[":path"], "/")
}

// A fedConn is a connection of HTTP/2 without its goroutine.
type fedConn struct {
	*http2Conn
	t   *testing.T
	out *octets
}

func feedHTTP2(t *testing.T, settings ...http2.Setting) *fedConn {
	conn := &octets{piece: 1 << 20}
	r := &requester{}
	r.place.closer, r.place.waits, r.place.stopRead = conn, func() bool { return false }, func() {}
	r.place.opens()
	w := echoWeb(&echoer{}, unhurried)
	c := &fedConn{w.newHTTP2(conn, r, Arrival{Client: netip.MustParseAddrPort("127.0.0.1:5000")}), t, conn}
	c.feed([]byte(http2Preface))
	c.feed(framesOf(func(p *peer) { p.WriteSettings(settings...) }))
	return c
}

// feed serves frames.
func (c *fedConn) feed(b []byte) {
	c.out.out.Reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames.add(copy(c.frames.space(), b))
	if err := c.serveLocked(); err != nil {
		c.t.Fatal(err)
	}
}

// A request and its answer take little memory.
func TestHTTP2Allocations(t *testing.T) {
	c := feedHTTP2(t)
	stream := uint32(1)
	c.feed(framesOf(func(p *peer) { p.get(1, echoQuery(0, false)) }))
	one := framesOf(func(p *peer) { p.get(1, echoQuery(0, false)) })
	one = one[frameHeader:] // without settings
	got := testing.AllocsPerRun(1000, func() {
		stream += 2
		binary.BigEndian.PutUint32(one[5:], stream)
		c.feed(one)
		c.sendable = firstWindow
	})
	t.Logf("%v allocations a request, of which two are this test's", got)
	if got > 8 {
		t.Errorf("%v allocations a request, want at most 8", got)
	}
}

// A client that gives no window and resets what it asks leaves nothing behind, nor does one
// that gives it late.
func TestHTTP2ResetsLeaveNothing(t *testing.T) {
	c := feedHTTP2(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for i := range uint32(2000) {
		c.feed(framesOf(func(p *peer) {
			p.get(2*i+1, echoQuery(10, false))
			if i < 1990 {
				p.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
			}
		})[frameHeader:])
	}
	if len(c.stalled) != 10 || len(c.streams) != 10 || c.owed != 270 {
		t.Errorf("%d answers wait, %d streams, %d octets; want 10 with 27 octets each", len(c.stalled), len(c.streams), c.owed)
	}
	for _, window := range []uint32{20, 27} {
		c.feed(framesOf(func(p *peer) {
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		}))
	}
	if len(c.stalled) > 0 || len(c.streams) > 0 || c.owed != 0 {
		t.Errorf("%d answers wait, %d streams, %d octets", len(c.stalled), len(c.streams), c.owed)
	}
}

// What is read of the beginning of a connection is not lost to who reads on.
func TestReadHead(t *testing.T) {
	t.Parallel()
	streams := newStreams(10, unhurried, new(counters))
	for _, test := range []struct {
		sent    string
		isHTTP2 bool
	}{{http2Preface + "abc", true}, {"GET / HTTP/1.1\r\n\r\nabc", false}, {"PUT / HTTP/1.1\r\n\r\nabc", false}, {"PRI * HTTP/1.1\r\n\r\nabc", false}, {"x", false}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		c := &webConn{TCPConn: accepted.(*net.TCPConn), streams: streams}
		client.Write([]byte(test.sent))
		client.(*net.TCPConn).CloseWrite()
		head, isHTTP2, ok := c.readHead(streams)
		c.head = head
		rest, _ := io.ReadAll(c)
		if !ok || isHTTP2 != test.isHTTP2 || string(rest) != test.sent {
			t.Errorf("%q: %v, %v, then %q", test.sent, isHTTP2, ok, rest)
		}
		client.Close()
		accepted.Close()
	}
}

func TestBodiesThatAreTooLong(t *testing.T) {
	t.Parallel()
	p := connectHTTP2(t, unhurried)
	p.begin(1, false, postFields...)
	p.WriteData(1, false, make([]byte, packets.MaxSize))
	p.WriteData(1, false, make([]byte, 1))
	p.want("413 of 1", fmt.Sprintf("data of 1: %d, end", len(errTooLarge.text)+1), "reset 1: 0x0")
	// What is not wanted counts for the window, which is given anew.
	for i := range uint32(20) {
		p.begin(2*i+3, false, postFields...)
		p.WriteData(2*i+3, false, make([]byte, maxFrame))
		p.want(fmt.Sprintf("413 of %d", 2*i+3), fmt.Sprintf("data of %d: %d, end", 2*i+3, len(errTooLarge.text)+1), fmt.Sprintf("reset %d: 0x0", 2*i+3))
	}
	// More than the window is an error.
	p.begin(101, false, postFields...)
	for range 5 {
		p.WriteRawFrame(http2.FrameData, 0, 101, make([]byte, maxFrame))
	}
	p.get(103, echoQuery(0, false))
	got := ""
	for got = p.next(); got != "closed" && !strings.HasPrefix(got, "away") && got != "200 of 103"; got = p.next() {
	}
	if got != "200 of 103" { // the connection's window is given anew in time
		t.Errorf("%q", got)
	}
}
