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
)

// A dnstap file is Frame Streams (farsightsec/fstrm) of dnstap.proto messages. The few
// fields that are wanted are read here: a library for all of protocol buffers would be
// larger than this package. Of a server's messages those of its clients count: a query,
// with what the response to it says; or a response where queries are not in the file.
var dnstapFormat = Format{
	Name: "dnstap", Title: "dnstap",
	Lost: "whether a name was blocked, and by what, whether the answer was cached, and which upstream gave it",
	is: func(head []byte) bool {
		return len(head) >= 12 && bytes.Equal(head[:4], []byte{0, 0, 0, 0}) && binary.BigEndian.Uint32(head[4:]) <= frameControl && binary.BigEndian.Uint32(head[8:]) == controlStart
	},
}

// Of Frame Streams.
const (
	controlAccept = 1
	controlStart  = 2
	controlStop   = 3
	controlReady  = 4
	controlFinish = 5
	frameControl  = 512     // octets of a control frame, at most
	frameMost     = 1 << 20 // of a data frame
)

// dnstapContent is the type of what dnstap has in Frame Streams.
const dnstapContent = "protobuf:dnstap.Dnstap"

// What is said to a program that sends frames and waits for an answer.
var (
	frameAccept = controlFrame(controlAccept, dnstapContent)
	frameFinish = controlFrame(controlFinish, "")
)

// controlFrame returns a control frame, with a content type unless that is "".
func controlFrame(kind uint32, content string) []byte {
	body := binary.BigEndian.AppendUint32(nil, kind)
	if content != "" {
		body = binary.BigEndian.AppendUint32(body, 1) // the field that a content type is
		body = binary.BigEndian.AppendUint32(body, uint32(len(content)))
		body = append(body, content...)
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 4), uint32(len(body))), body...)
}

// Of dnstap.proto.
const (
	tapMessage        = 14
	tapClientQuery    = 5
	tapClientResponse = 6
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
	if err == nil && control && o.reply != nil && len(body) >= 4 && binary.BigEndian.Uint32(body) == controlReady {
		if _, err := o.reply.Write(frameAccept); err != nil { // who sends waits for this
			return nil, err
		}
		body, control, err = d.next()
	}
	if err != nil {
		return nil, err
	}
	if !control || !bytes.Contains(body, []byte(dnstapContent)) {
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
		d.ended = len(body) >= 4 && binary.BigEndian.Uint32(body) == controlStop
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
	most := uint32(frameMost)
	if size == 0 {
		control, most = true, frameControl
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

// A tapMessageFields is what is read of a message.
type tapMessageFields struct {
	kind, protocol       uint64
	client               []byte
	port                 uint64
	querySec, replySec   uint64
	queryNsec, replyNsec uint64
	query, reply         []byte
}

// message takes over a message.
func (d *dnstapLog) message(body []byte) error {
	var m tapMessageFields
	err := eachField(body, func(field int, number uint64, text []byte) error {
		if field != tapMessage {
			return nil
		}
		return eachField(text, m.field)
	})
	if err != nil {
		return err
	}
	if m.kind != tapClientQuery && m.kind != tapClientResponse {
		d.others++
		return nil
	}
	q := &exchange{}
	q.Lookup = Lookup{Place: d.place(), Verdict: NotKnown, Rcode: -1, raw: body}
	packet := m.query
	q.Time = time.Unix(int64(m.querySec), int64(m.queryNsec))
	if m.kind == tapClientResponse {
		packet = m.reply
		q.Rcode = 0
		if m.querySec == 0 {
			q.Time = time.Unix(int64(m.replySec), int64(m.replyNsec))
		}
	}
	if err := q.question(packet); err != nil {
		return err
	}
	if q.Rcode == 0 {
		q.Rcode, q.done = int(packet[3]&0x0f), true
		if took := time.Unix(int64(m.replySec), int64(m.replyNsec)).Sub(q.Time); m.querySec != 0 && m.replySec != 0 && took > 0 && took < time.Hour {
			q.Elapsed = took
		}
	}
	if addr, ok := netip.AddrFromSlice(m.client); ok {
		q.Client = addr.Unmap()
	}
	q.Transport = [...]Transport{1: UDP, 2: TCP, 3: TLS, 4: HTTPS, 7: QUIC}[min(m.protocol, 7)]
	q.key = fmt.Sprintf("%s %d %x %d %s", q.Client, m.port, packet[:2], q.Type, q.Name.Wire())
	d.seen(q, m.kind == tapClientResponse)
	return nil
}

// field takes over a field of a message.
func (m *tapMessageFields) field(field int, number uint64, text []byte) error {
	switch field {
	case 1:
		m.kind = number
	case 3:
		m.protocol = number
	case 4:
		m.client = text
	case 6:
		m.port = number
	case 8:
		m.querySec = number
	case 9:
		m.queryNsec = number
	case 10:
		m.query = text
	case 12:
		m.replySec = number
	case 13:
		m.replyNsec = number
	case 14:
		m.reply = text
	}
	return nil
}

var errProto = errors.New("the message is damaged")

// eachField calls do with each field of a message in protocol buffers: a number, or what
// has a length.
func eachField(b []byte, do func(field int, number uint64, text []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return errProto
		}
		b = b[n:]
		var number uint64
		var text []byte
		switch tag & 7 {
		case 0:
			if number, n = binary.Uvarint(b); n <= 0 {
				return errProto
			}
			b = b[n:]
		case 1:
			if len(b) < 8 {
				return errProto
			}
			number, b = binary.LittleEndian.Uint64(b), b[8:]
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return errProto
			}
			text, b = b[n:n+int(size)], b[n+int(size):]
		case 5:
			if len(b) < 4 {
				return errProto
			}
			number, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		default:
			return errProto
		}
		if err := do(int(tag>>3), number, text); err != nil {
			return err
		}
	}
	return nil
}
