//go:build e2e

package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/fleet/clickhouse"
	"telltale/fleet/clickhouse/servertest"
)

// killedReplicas runs TestE2ENothingIsLostOrDoubledWhereReplicasAreKilled: ten processes, and minutes. Beside it count the variables of
// TestE2ENothingIsLostOrDoubledWhereAllAreKilled.
const killedReplicas = "FLEET_KILL_REPLICAS"

// insideNamespace is set in the process of the test that has a network of its own.
const insideNamespace = "FLEET_KILL_INSIDE"

// Three nodes, a centre, ZooKeeper and three replicas of ClickHouse, each in a network namespace of its own: nodes, centre and replicas are
// killed at random, and some acknowledgements are dropped. At the end the merged log has every row that a node stored, once.
func TestE2ENothingIsLostOrDoubledWhereReplicasAreKilled(t *testing.T) {
	switch {
	case os.Getenv(killedReplicas) == "":
		t.Skip(killedReplicas + " is not set: ten processes and minutes")
	case os.Getenv(insideNamespace) == "":
		inNamespace(t)
		return
	}
	n := &bridged{t: t}
	n.run("ip link set lo up")
	n.run("ip link add br0 type bridge")
	n.run("ip addr add 192.168.93.1/24 dev br0")
	n.run("ip link set br0 up")
	space, address := n.member("keeper")
	o := servertest.Options{Keeper: servertest.StartKeeperIn(t, servertest.Options{Namespace: space, Address: address})}
	var servers []*servertest.Server
	var hosts []string
	s := site{centre: &process{t: t}, wrap: func(name string) []string {
		space, _ := n.member(name)
		return []string{"ip", "netns", "exec", space}
	}}
	for i := range 3 {
		o.Namespace, o.Address = n.member(fmt.Sprintf("replica%d", i))
		server := servertest.Start(t, o)
		servers, hosts = append(servers, server), append(hosts, server.Host)
		s.more = append(s.more, func() {
			server.Kill()
			server.Begin()
		})
	}
	s.store = clickhouse.Scheme + strings.Join(hosts, ",") + "/fleet?replicated=/telltale&quorum=2"
	s.settled = func() {
		for _, server := range servers {
			server.Answers()
		}
	}
	openMerged(t, s.store).Close() // makes the tables
	space, address = n.member("centre")
	s.centre.wrap = []string{"ip", "netns", "exec", space}
	s.front, s.dropped = dropping(t, "192.168.93.1:0", address+":5390")
	s.centre.start("CENTRE", s.store, address+":5390")
	s.killAll(t)
	for i, host := range hosts { // each of them has everything
		awaitKeys(t, clickhouse.Scheme+host+"/fleet?replicated=/telltale", keysOf(t, openMerged(t, s.store)), i)
	}
}

func keysOf(t *testing.T, s fleet.Store) (keys int) {
	t.Helper()
	defer s.Close()
	if err := s.Keys(context.Background(), func(fleet.Key) error { keys++; return nil }); err != nil {
		t.Fatal(err)
	}
	return keys
}

// awaitKeys waits until a replica has fetched from the others what it has not.
func awaitKeys(t *testing.T, store string, want, replica int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		got := keysOf(t, openMerged(t, store))
		if got == want {
			t.Logf("replica %d has all %d rows", replica, got)
			return
		}
		if time.Now().After(end) {
			t.Errorf("replica %d has %d rows, want %d", replica, got, want)
			return
		}
	}
}

// inNamespace runs the test in a process that has a network of its own, and skips it where that one does.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), insideNamespace+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	switch {
	case strings.Contains(out.String(), "--- PASS: "+t.Name()):
	case os.Getenv("CI") != "":
		t.Fatal("the test did not run in its namespace: what it says above has to be installed")
	default:
		t.Skip("the test did not run in its namespace: it says above why")
	}
}

// bridged are namespaces on a bridge.
type bridged struct {
	t    *testing.T
	last int
}

func (n *bridged) run(command string) {
	n.t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// member makes a namespace on the bridge.
func (n *bridged) member(name string) (space, address string) {
	n.t.Helper()
	n.last++
	space, address = fmt.Sprintf("ttk%d-%s", os.Getpid(), name), fmt.Sprintf("192.168.93.%d", 10+n.last)
	n.run("ip netns add " + space)
	n.t.Cleanup(func() { exec.Command("ip", "netns", "delete", space).Run() })
	n.run(fmt.Sprintf("ip link add p%d type veth peer name eth0 netns %s", n.last, space))
	n.run(fmt.Sprintf("ip link set p%d master br0 up", n.last))
	n.run("ip -n " + space + " link set lo up")
	n.run("ip -n " + space + " addr add " + address + "/24 dev eth0")
	n.run("ip -n " + space + " link set eth0 up")
	return space, address
}
