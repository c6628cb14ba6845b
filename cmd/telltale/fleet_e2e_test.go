//go:build e2e && !small

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A testCenter is a telltale center in a process of its own.
type testCenter struct {
	t      *testing.T
	dir    string
	config string
	addr   string
	cmd    *exec.Cmd
	errs   lockedBuffer
}

func startCenter(t *testing.T) *testCenter {
	t.Helper()
	return startCenterWith(t, "")
}

// startCenterWith starts one with more settings of section center.
func startCenterWith(t *testing.T, more string) *testCenter {
	t.Helper()
	dir := t.TempDir()
	c := &testCenter{t: t, dir: dir, config: filepath.Join(dir, "telltale.yaml")}
	writeFile(t, c.config, "data: {dir: data}\nlists: {dir: lists}\ncenter: {listen: [\"127.0.0.1:0\"]"+more+"}\n")
	c.policy(0)
	c.start()
	return c
}

func (c *testCenter) start() {
	c.t.Helper()
	c.cmd = exec.Command(os.Args[0], "center", "--config", c.config)
	c.cmd.Env = append(os.Environ(), asTelltale+"=1", "XDG_RUNTIME_DIR="+c.dir)
	c.cmd.Stderr = &c.errs
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.kill)
	line, _ := bufio.NewReader(out).ReadString('\n')
	_, rest, ok := strings.Cut(line, " on [")
	if !ok {
		c.t.Fatalf("the center did not start: %s\n%s", line, c.errs.String())
	}
	c.addr, _, _ = strings.Cut(rest, "]")
}

func (c *testCenter) kill() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

// policy puts a policy in the place of the one there is, whole: its own rules and its
// shared settings say the same number.
func (c *testCenter) policy(k int) {
	c.t.Helper()
	dir := fmt.Sprintf("policy-%d", k)
	writeFile(c.t, filepath.Join(c.dir, dir, "own.txt"), fmt.Sprintf("192.0.2.%d rules.example\n", k+1))
	writeFile(c.t, filepath.Join(c.dir, dir, "settings.yaml"), fmt.Sprintf("local: {records: [\"settings.example A 192.0.2.%d\"]}\n", k+1))
	link := filepath.Join(c.dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(c.dir, "lists")); err != nil {
		c.t.Fatal(err)
	}
}

// run runs a command of the center.
func (c *testCenter) run(env []string, args ...string) string {
	c.t.Helper()
	var out, errs lockedBuffer
	if exit := command(context.Background(), append(args, "--config", c.config), &out, &errs, env); exit != 0 {
		c.t.Fatalf("%v: %s", args, errs.String())
	}
	return out.String()
}

// nodes returns what 'center nodes' says of each.
func (c *testCenter) nodes() map[string]nodeLine {
	c.t.Helper()
	var lines []nodeLine
	if err := json.Unmarshal([]byte(c.run(nil, "center", "nodes", "--json")), &lines); err != nil {
		c.t.Fatal(err)
	}
	all := map[string]nodeLine{}
	for _, l := range lines {
		all[l.Node] = l
	}
	return all
}

// join lets a data directory join, by an address of the center.
func (c *testCenter) join(node, address, dataDir string) {
	c.t.Helper()
	line := c.run([]string{"TELLTALE_CENTER_ADDRESS=https://" + address}, "center", "invite", node)
	var out, errs lockedBuffer
	args := append(strings.Fields(line)[1:], "--data-dir", dataDir)
	if exit := command(context.Background(), args, &out, &errs, nil); exit != 0 {
		c.t.Fatalf("%v: %s\n%s", args, errs.String(), c.errs.String())
	}
}

// A fleetNode is a node in a process of its own.
type fleetNode struct {
	*process
	name string
}

// says returns the number that an answer for a name has; 0 for none.
func (n *fleetNode) says(name string) int {
	client := dns.Client{Timeout: 5 * time.Second}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), n.addr.String())
	if err != nil || len(reply.Answer) == 0 {
		return 0
	}
	a, ok := reply.Answer[0].(*dns.A)
	if !ok {
		return 0
	}
	return int(a.A.To4()[3])
}

// waits returns how long it takes until a policy is in force.
func (n *fleetNode) waits(k int, since time.Time) time.Duration {
	n.t.Helper()
	for n.says("rules.example.") != k+1 {
		if time.Since(since) > 60*time.Second {
			n.t.Fatalf("node %s has policy %d, want %d\n%s", n.name, n.says("rules.example.")-1, k, n.errs.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(since)
}

// A relay passes connections on, unless it is cut.
type relay struct {
	net.Listener
	to   string
	cut  atomic.Bool
	mu   sync.Mutex
	open map[net.Conn]bool
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to, open: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp4", to)
			if err != nil || r.cut.Load() {
				in.Close()
				if err == nil {
					out.Close()
				}
				continue
			}
			r.mu.Lock()
			r.open[in], r.open[out] = true, true
			r.mu.Unlock()
			running.Go(func() { io.Copy(out, in); in.Close(); out.Close() })
			running.Go(func() { io.Copy(in, out); in.Close(); out.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); r.disconnect(true); running.Wait() })
	return r
}

// disconnect ends all connections, and lets none through while it is cut.
func (r *relay) disconnect(cut bool) {
	r.cut.Store(cut)
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.Close()
	}
	clear(r.open)
}

// An edit at the center is in force on all nodes, at once or as one comes back; each
// answers by one whole policy at any time, with the center or without.
func TestE2EPolicyIsInStep(t *testing.T) {
	c := startCenter(t)
	through := newRelay(t, c.addr)
	var nodes []*fleetNode
	for _, name := range []string{"attic", "cellar", "kitchen"} {
		dir, address := t.TempDir(), c.addr
		if name == "kitchen" {
			address = through.Addr().String()
		}
		data := filepath.Join(dir, "data")
		c.join(name, address, data)
		p := startServe(t, dir, nil, "--data-dir", data, "--lists-dir", filepath.Join(dir, "lists"), "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1")
		nodes = append(nodes, &fleetNode{p, name})
	}
	last := nodes[2]
	begun := time.Now()
	for _, n := range nodes {
		n.waits(0, begun)
	}

	// Somebody asks each node all the time, and finds no mixture.
	ctx, stop := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	var asked, mixed atomic.Int64
	for _, n := range nodes {
		asking.Go(func() {
			for ctx.Err() == nil {
				before, between, after := n.says("rules.example."), n.says("settings.example."), n.says("rules.example.")
				if asked.Add(1); before == after && before != 0 && between != 0 && between != before {
					mixed.Add(1)
				}
			}
		})
	}
	t.Cleanup(func() { stop(); asking.Wait() })

	edit := func(k int) time.Time {
		c.policy(k)
		return time.Now()
	}
	since := edit(1)
	for _, n := range nodes {
		t.Logf("%s has an edit after %v", n.name, n.waits(1, since).Round(time.Millisecond))
	}
	through.disconnect(true)
	since = edit(2)
	for _, n := range nodes[:2] {
		t.Logf("one being cut off, %s has an edit after %v", n.name, n.waits(2, since).Round(time.Millisecond))
	}
	if got := last.says("rules.example."); got != 2 {
		t.Errorf("cut off, %s answers by policy %d, want 1", last.name, got-1)
	}
	through.disconnect(false)
	t.Logf("%s has the edit %v after its return", last.name, last.waits(2, time.Now()).Round(time.Millisecond))

	// A center that is killed is missed by nobody; what it has when it is back holds.
	c.kill()
	for _, n := range nodes {
		if got := n.says("rules.example."); got != 3 {
			t.Errorf("without its center, %s answers by policy %d, want 2", n.name, got-1)
		}
	}
	// Settings with mistakes change nothing on any node.
	writeFile(t, c.config, strings.Replace("data: {dir: data}\nlists: {dir: lists}\ncenter: {listen: [\"ADDR\"]}\n", "ADDR", c.addr, 1))
	c.start()
	writeFile(t, filepath.Join(c.dir, "policy-3", "own.txt"), "192.0.2.4 rules.example\n")
	writeFile(t, filepath.Join(c.dir, "policy-3", "settings.yaml"), "local: {records: 7, nonsense: 1}\n")
	if err := os.Symlink("policy-3", filepath.Join(c.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(c.dir, "link"), filepath.Join(c.dir, "lists")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); !strings.Contains(c.errs.String(), "nodes keep the policy that they have"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the center says nothing of settings with mistakes:\n%s", c.errs.String())
		}
	}
	since = edit(4)
	for _, n := range nodes {
		t.Logf("the center being back, %s has an edit after %v", n.name, n.waits(4, since).Round(time.Millisecond))
	}

	stop()
	asking.Wait()
	if n := mixed.Load(); n > 0 {
		t.Errorf("of %d times, an answer was by one policy and the next by another %d times", asked.Load(), n)
	}
	t.Logf("asked %d times, and %d times answered by a mixture of policies", asked.Load(), mixed.Load())

	// What a person says on a node goes before what the center says.
	writeFile(t, filepath.Join(last.dir, "lists", "own.txt"), "192.0.2.99 rules.example\n")
	last.waits(98, time.Now())

	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		is, current := c.nodes(), 0
		for _, l := range is {
			if l.Is == "current" && l.Entry != nil && l.State.Policy == l.Wanted && len(l.State.Lists) > 0 {
				current++
			}
		}
		if current == len(nodes) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the center says of its nodes %+v", is)
		}
	}
	var out, errs lockedBuffer
	if exit := command(context.Background(), append([]string{"fleet", "status"}, last.args...), &out, &errs, nil); exit != 0 || !strings.Contains(out.String(), c.nodes()["kitchen"].Wanted) || !strings.Contains(out.String(), "lists        center") {
		t.Errorf("fleet status: %s%s", out.String(), errs.String())
	}
	c.run(nil, "center", "revoke", "cellar")
	since = edit(5)
	nodes[0].waits(5, since)
	for end := time.Now().Add(60 * time.Second); !strings.Contains(nodes[1].errs.String(), "was revoked"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a node that was revoked is not told:\n%s", nodes[1].errs.String())
		}
	}
	if got := nodes[1].says("rules.example."); got != 5 {
		t.Errorf("revoked, a node answers by policy %d, want 4", got-1)
	}
	if got := c.nodes()["cellar"].Is; got != "revoked" {
		t.Errorf("the center says that the revoked node is %s", got)
	}
}

// Lookups of all nodes are printed within two seconds by who follows the merged log, and which node is away is said.
func TestE2EOneLiveViewOfAllNodes(t *testing.T) {
	t.Parallel()
	c := startCenter(t)
	var nodes []*process
	for _, name := range []string{"attic", "cellar"} {
		dir := t.TempDir()
		data, lists := filepath.Join(dir, "data"), filepath.Join(dir, "lists")
		writeFile(t, filepath.Join(lists, "ads.txt"), "tracker.example\n")
		c.join(name, c.addr, data)
		nodes = append(nodes, startServe(t, dir, nil, "--data-dir", data, "--lists-dir", lists, "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1"))
	}
	ctx, stop := context.WithCancel(context.Background())
	var out, errs lockedBuffer
	var following sync.WaitGroup
	following.Go(func() {
		if exit := command(ctx, []string{"log", "--follow", "--all-nodes", "--json", "--config", c.config}, &out, &errs, nil); exit != 0 {
			t.Errorf("exit %d: %s", exit, errs.String())
		}
	})
	defer following.Wait()
	defer stop()
	waits := func(from *lockedBuffer, what string) {
		t.Helper()
		for end := time.Now().Add(patience); !strings.Contains(from.String(), what); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%q is not said:\n%s\n%s", what, out.String(), errs.String())
			}
		}
	}
	ask := func(k int, name string) {
		t.Helper()
		if err := nodes[k].ask(name); err != nil {
			t.Fatal(err)
		}
	}
	ask(0, "first.tracker.example.") // the node may not have heard yet that somebody follows
	waits(&out, `"name":"first.tracker.example"`)
	ask(1, "first.of-cellar.tracker.example.")
	waits(&out, `"name":"first.of-cellar.tracker.example"`)
	var lags []time.Duration
	for i := range 10 {
		name := fmt.Sprintf("n%d.tracker.example", i)
		begun := time.Now()
		ask(i%2, name+".")
		waits(&out, `"name":"`+name+`"`)
		lags = append(lags, time.Since(begun).Round(time.Millisecond))
	}
	t.Logf("a row is printed %v after its lookup", lags)
	if slices.Sort(lags); lags[len(lags)/2] > 2*time.Second && os.Getenv("CI") == "" { // one that does other things may stall
		t.Errorf("rows are printed %v after their lookups, want within 2 s", lags)
	}
	ask(0, "not-listed.example.")
	nodes[1].kill()
	waits(&errs, "node cellar is away since ")
	var rows int
	for line := range strings.Lines(out.String()) {
		var row struct {
			Node, Name, Store string
			Count             int
			Open              bool
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if want := map[bool]string{true: "cellar", false: "attic"}[strings.Contains(row.Name, "of-cellar")]; strings.HasPrefix(row.Name, "first") && row.Node != want {
			t.Errorf("%s is a row of node %s, want %s", row.Name, row.Node, want)
		}
		if row.Name == "not-listed.example" {
			t.Error("a name that no list has left its node")
		}
		rows++
	}
	if rows < 12 {
		t.Errorf("%d rows were printed of 12 lookups", rows)
	}
	// A node that is there may be away for a moment where the machine does other things.
	for end := time.Now().Add(patience); strings.Count(errs.String(), "node attic is away ") > strings.Count(errs.String(), "node attic is back"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("of a node that is there is said: %s", errs.String())
		}
	}
}
