package peerlogs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"telltale/dnstap"
)

// A dnstap file is Frame Streams of messages. Of a server's messages those of its clients
// count: a query, with what the response to it says; or a response where queries are not in
// the file.
var dnstapFormat = Format{
	Name: "dnstap", Title: "dnstap",
	Lost: "whether a name was blocked, and by what, whether the answer was cached, and which upstream gave it",
	is: func(head []byte) bool {
		return len(head) >= 12 && bytes.Equal(head[:4], []byte{0, 0, 0, 0}) && binary.BigEndian.Uint32(head[4:]) <= dnstap.MaxControl && binary.BigEndian.Uint32(head[8:]) == dnstap.ControlStart
	},
}

// What is said to a program that sends frames and waits for an answer.
var (
	frameAccept = dnstap.AppendControl(nil, dnstap.ControlAccept, dnstap.Content)
	frameFinish = dnstap.AppendControl(nil, dnstap.ControlFinish, "")
)

type dnstapLog struct {
	exchanges
	f      *file
	o      Options
	frame  int64
	others int64 // messages that are not of clients
	cut    bool
}

func newDnstap(f *file, o Options) (*dnstapLog, error) {
	d := &dnstapLog{f: f, o: o}
	body, control, err := d.next()
	if err == nil && control && o.reply != nil && len(body) >= 4 && binary.BigEndian.Uint32(body) == dnstap.ControlReady {
		if _, err := o.reply.Write(frameAccept); err != nil { // who sends waits for this
			return nil, err
		}
		body, control, err = d.next()
	}
	if err != nil {
		return nil, err
	}
	if !control || !bytes.Contains(body, []byte(dnstap.Content)) {
		return nil, errors.New("the file is Frame Streams, and not of dnstap")
	}
	return d, nil
}

func (d *dnstapLog) Format() *Format         { return &dnstapFormat }
func (d *dnstapLog) Close() error            { return d.f.close() }
func (d *dnstapLog) Read() (done, all int64) { return d.f.read() }

func (d *dnstapLog) Notes() (all []string) {
	if d.others > 0 {
		all = append(all, fmt.Sprintf("%d messages were left out that are not between the server and its clients", d.others))
	}
	if d.cut {
		all = append(all, fmt.Sprintf("frame %d, the last one, is cut and was left out: it is read when the file has grown", d.frame+1))
	}
	return all
}

func (d *dnstapLog) Next() (*Lookup, error) {
	return d.take(&d.chain, &dnstapFormat, d.o.now(), d.more)
}

// more takes over the next frame.
func (d *dnstapLog) more() error {
	body, control, err := d.next()
	switch {
	case err != nil:
		d.finish(err)
	case control:
		d.ended = len(body) >= 4 && binary.BigEndian.Uint32(body) == dnstap.ControlStop
		if d.ended && d.o.reply != nil {
			d.o.reply.Write(frameFinish) // who does not wait for it is gone
		}
	default:
		d.frame++
		if err := d.message(body); err != nil {
			return &BadRecord{d.place(), err}
		}
	}
	return nil
}

func (d *dnstapLog) place() string { return "frame " + strconv.FormatInt(d.frame, 10) }

// next returns the next frame.
func (d *dnstapLog) next() (body []byte, control bool, err error) {
	var n [4]byte
	size, err := d.number(n[:])
	if err != nil {
		return nil, false, err
	}
	most := uint32(dnstap.MaxFrame)
	if size == 0 {
		control, most = true, dnstap.MaxControl
		if size, err = d.number(n[:]); err != nil {
			return nil, true, err
		}
	}
	if size > most {
		return nil, control, fmt.Errorf("behind frame %d: a frame of %d octets: the file is damaged", d.frame, size)
	}
	body = make([]byte, size)
	if _, err := io.ReadFull(d.f.r, body); err != nil {
		return nil, control, d.end(err)
	}
	return body, control, nil
}

func (d *dnstapLog) number(b []byte) (uint32, error) {
	if _, err := io.ReadFull(d.f.r, b); err != nil {
		return 0, d.end(err)
	}
	return binary.BigEndian.Uint32(b), nil
}

// end is the error at the end of the file, where a frame may be cut.
func (d *dnstapLog) end(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		d.cut = true
		return io.EOF
	}
	return err
}

// message takes over a message.
func (d *dnstapLog) message(body []byte) error {
	m, err := dnstap.Parse(body)
	if err != nil {
		return err
	}
	if m.Kind != dnstap.ClientQuery && m.Kind != dnstap.ClientResponse {
		d.others++
		return nil
	}
	q := &exchange{}
	q.Lookup = Lookup{Place: d.place(), Verdict: NotKnown, Rcode: -1, raw: body}
	packet := m.Query
	q.Time = m.QueryTime
	if m.Kind == dnstap.ClientResponse {
		packet = m.Reply
		q.Rcode = 0
		if m.QueryTime.IsZero() {
			q.Time = m.ReplyTime
		}
	}
	if q.Time.IsZero() {
		q.Time = time.Unix(0, 0)
	}
	if err := q.question(packet); err != nil {
		return err
	}
	if q.Rcode == 0 {
		q.Rcode, q.done = int(packet[3]&0x0f), true
		if took := m.ReplyTime.Sub(q.Time); !m.QueryTime.IsZero() && !m.ReplyTime.IsZero() && took > 0 && took < time.Hour {
			q.Elapsed = took
		}
	}
	if addr, ok := netip.AddrFromSlice(m.Client); ok {
		q.Client = addr.Unmap()
	}
	q.Transport = [...]Transport{dnstap.UDP: UDP, dnstap.TCP: TCP, dnstap.TLS: TLS, dnstap.HTTP: HTTPS, dnstap.QUIC: QUIC}[min(m.Protocol, dnstap.QUIC)]
	q.key = fmt.Sprintf("%s %d %x %d %s", q.Client, m.ClientPort, packet[:2], q.Type, q.Name.Wire())
	d.seen(q, m.Kind == dnstap.ClientResponse)
	return nil
}
