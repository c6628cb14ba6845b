package listen

import (
	"encoding/binary"
	"errors"
	"io"

	"telltale/dnswire"
	"telltale/resolver/packets"
)

// errProtocol means that a client does what RFC 9250, 4.3.3 calls a fatal error.
var errProtocol = errors.New("not the protocol")

// readQuery reads the one query of a stream: its length, the message, and the end.
func readQuery(stream io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(stream, length[:]); err != nil {
		return nil, shortQuery(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n < dnswire.HeaderLen || n > packets.MaxSize {
		return nil, errProtocol
	}
	packet := make([]byte, n)
	if _, err := io.ReadFull(stream, packet); err != nil {
		return nil, shortQuery(err)
	}
	if more, err := stream.Read(length[:1]); more > 0 {
		return nil, errProtocol
	} else if err != nil && err != io.EOF {
		return nil, err
	}
	if packet[0] != 0 || packet[1] != 0 || packet[2]&0x80 != 0 { // the id is 0 (RFC 9250, 4.2.1)
		return nil, errProtocol
	}
	var q dnswire.Question
	if dnswire.ParseQuestion(packet, &q); q.AsksKeepalive { // RFC 9250, 5.5.2
		return nil, errProtocol
	}
	return packet, nil
}

// shortQuery says what is wrong with a stream that has ended too early.
func shortQuery(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errProtocol
	}
	return err
}
