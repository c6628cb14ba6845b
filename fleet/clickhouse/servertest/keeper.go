package servertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// StartKeeper starts Debian's ZooKeeper, which replicas agree by, and returns its address. Where there is none, the test is skipped.
func StartKeeper(t testing.TB) string { return StartKeeperIn(t, Options{}) }

// StartKeeperIn starts it in the namespace and at the address of o.
func StartKeeperIn(t testing.TB, o Options) string {
	t.Helper()
	const jar = "/usr/share/java/zookeeper.jar"
	java, err := exec.LookPath("java")
	if _, err2 := os.Stat(jar); err != nil || err2 != nil {
		t.Skip("there is no ZooKeeper (Debian: zookeeper)")
	}
	dir := t.TempDir()
	port := strconv.Itoa(freePort(t))
	host := net.JoinHostPort(o.address(), port)
	config := fmt.Sprintf("tickTime=2000\ndataDir=%s/data\nclientPort=%s\nclientPortAddress=%s\nadmin.enableServer=false\nmaxClientCnxns=0\n", dir, port, o.address())
	path := filepath.Join(dir, "zoo.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd := o.command(java, "-Xmx256m", "-cp", "/etc/zookeeper/conf:/usr/share/java/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", path)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(answersWithin); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if c, err := net.Dial("tcp", host); err == nil {
			c.Close()
			return host
		}
	}
	b, _ := os.ReadFile(said.Name())
	t.Fatalf("ZooKeeper does not answer: %s", b)
	return ""
}
