package devices

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"time"

	"telltale/devices/leases"
)

const (
	socketPoll   = 2 * time.Second  // between two questions to a control socket: nobody tells of a change
	socketRetry  = 15 * time.Second // after one that was not answered
	socketAnswer = 3 * time.Second  // for all pages together: other files wait meanwhile
)

// isSocket reports whether path is a socket, such as the control socket of Kea.
func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeSocket != 0
}

// askKea asks a server of Kea for its leases, by its control socket. Either server answers
// for both families where its hook is loaded; it has leases of its own alone.
func askKea(ctx context.Context, path string) (pages [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, socketAnswer)
	defer cancel()
	known := false
	for _, ipv6 := range []bool{false, true} {
		more, err := keaPages(ctx, path, ipv6)
		switch {
		case errors.Is(err, leases.ErrKeaCommand):
			continue
		case err != nil:
			return nil, err
		}
		known, pages = true, append(pages, more...)
	}
	if !known {
		return nil, errors.New("the server knows neither lease4-get-page nor lease6-get-page: let it load its hook libdhcp_lease_cmds.so")
	}
	return pages, nil
}

// keaPages asks for all pages of one family. The server answers one command on a
// connection.
func keaPages(ctx context.Context, path string, ipv6 bool) (pages [][]byte, err error) {
	var from netip.Addr
	for size := 0; ; {
		page, err := askSocket(ctx, path, leases.KeaCommand(ipv6, from), leases.MaxSize-size)
		if err != nil {
			return nil, err
		}
		next, err := leases.KeaRest(page)
		if err != nil {
			return nil, err
		}
		if pages = append(pages, page); !next.IsValid() || len(pages)*leases.KeaPage >= leases.MaxLeases {
			return pages, nil
		}
		if from.IsValid() && next.Compare(from) <= 0 {
			return nil, errors.New("the server goes back in its list of leases")
		}
		size, from = size+len(page), next
	}
}

// askSocket sends a command, and returns the answer up to the end of the connection.
func askSocket(ctx context.Context, path string, command []byte, most int) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, dialError(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write(command); err != nil {
		return nil, silence(ctx, err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, int64(most)+1))
	switch {
	case err != nil:
		return nil, silence(ctx, err)
	case len(answer) > most:
		return nil, fmt.Errorf("it says more than %d MiB", leases.MaxSize>>20)
	}
	return answer, nil
}

// silence names what it means that a connection has ended because ctx is done.
func silence(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the server does not answer within %v", socketAnswer)
	}
	return err
}

// dialError returns the cause without what everybody can see from the path.
func dialError(err error) error {
	if cause := (*os.SyscallError)(nil); errors.As(err, &cause) {
		return cause.Err
	}
	return err
}
