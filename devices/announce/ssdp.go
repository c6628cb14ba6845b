package announce

import "strings"

const maxHeaders = 32

// ParseSSDP reads a packet of SSDP (UPnP Device Architecture 2.0, 1.2). Only NOTIFY says
// something: a device is there. What it refers to by an address is not fetched.
func ParseSSDP(packet []byte) (m Message, err error) {
	if len(packet) > MaxPacket {
		return Message{}, ErrMalformed
	}
	first, rest, _ := strings.Cut(string(packet), "\n")
	method, _, _ := strings.Cut(first, " ")
	if strings.TrimRight(first, "\r") != "NOTIFY * HTTP/1.1" {
		if method == "M-SEARCH" || strings.HasPrefix(method, "HTTP/") {
			return Message{}, nil
		}
		return Message{}, ErrMalformed
	}
	kind, alive := "", false
	for range maxHeaders {
		var line string
		if line, rest, _ = strings.Cut(rest, "\n"); strings.TrimSpace(line) == "" {
			break
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return Message{}, ErrMalformed
		}
		switch value = strings.TrimSpace(value); strings.ToUpper(strings.TrimSpace(key)) {
		case "NT":
			kind = value
		case "NTS":
			alive = value == "ssdp:alive" || value == "ssdp:update"
		case "SERVER":
			add(&m.Software, value, maxSoftware)
		}
	}
	if !alive {
		return Message{}, nil // it leaves
	}
	if strings.HasPrefix(kind, "urn:") { // else it is the device itself, or its number
		add(&m.Services, kind, maxServices)
	}
	return m, nil
}
