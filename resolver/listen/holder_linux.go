package listen

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder names the process that holds a port, as far as this process may
// know; "" otherwise. network is udp or tcp.
func portHolder(network string, addr netip.AddrPort) string {
	for range 5 { // the kernel's table is read piece by piece: while sockets come and go, one can be passed over
		for _, table := range []string{network, network + "6"} {
			for _, inode := range portInodes("/proc/net/"+table, network, addr.Port()) {
				if who := inodeHolder(inode); who != "" {
					return who
				}
			}
		}
	}
	return ""
}

// portInodes returns the socket inodes bound to port in a table of /proc/net.
func portInodes(table, network string, port uint16) (inodes []string) {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	const listening = "0A" // TCP_LISTEN
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) < 10 {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if p, err := strconv.ParseUint(hex, 16, 16); err != nil || uint16(p) != port || network == "tcp" && fields[3] != listening {
			continue
		}
		inodes = append(inodes, fields[9])
	}
	return inodes
}

// inodeHolder finds the process with a socket open, e.g. "dnsmasq (process 812)".
func inodeHolder(inode string) string {
	want := "socket:[" + inode + "]"
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err != nil || link != want {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		if pid == strconv.Itoa(os.Getpid()) {
			return fmt.Sprintf("this server itself (process %s): two of its addresses overlap", pid)
		}
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
	}
	return ""
}
