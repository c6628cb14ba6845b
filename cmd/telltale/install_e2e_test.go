//go:build e2e && linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A machine is a container that systemd runs, with this machine's programs, an
// empty /etc and /var of its own, and a network of its own where port 53 is free.
type machine struct {
	t      *testing.T
	leader string // the process id of its systemd, from here
}

// startMachine starts a machine with the program to install at /opt/new/bin/telltale,
// and skips where that cannot be done.
func startMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a container needs root")
	}
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		t.Skip("systemd-nspawn is not installed (Debian: systemd-container)")
	}
	if init, _ := filepath.EvalSymlinks("/sbin/init"); filepath.Base(init) != "systemd" {
		t.Skip("systemd is not installed here")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, builtProgram(t), filepath.Join(dir, "bin", "telltale"))
	if err := os.Chmod(filepath.Join(dir, "bin", "telltale"), 0o755); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("telltale-test-%d", os.Getpid())
	cmd := exec.Command("systemd-nspawn", "--quiet", "--directory=/", "--volatile=yes", "--boot", "--register=no", "--keep-unit", "--link-journal=no",
		"--private-network", "--console=pipe", "--machine="+name, "--tmpfs=/usr/local/bin", "--bind-ro="+dir+":/opt/new",
		"systemd.unit=basic.target", "systemd.mask=systemd-firstboot.service")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Skipf("systemd-nspawn: %v", err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	m := &machine{t: t}
	t.Cleanup(func() {
		cmd.Process.Kill()
		if m.leader != "" {
			exec.Command("kill", "-KILL", m.leader).Run()
		}
		<-ended
	})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		select {
		case <-ended:
			t.Skipf("no container can be started here: %s", said.String())
		default:
		}
		if m.leader == "" {
			out, _ := exec.Command("pgrep", "--parent", fmt.Sprint(cmd.Process.Pid)).Output()
			m.leader = strings.TrimSpace(string(out))
			continue
		}
		if _, exit := m.try("systemctl", "--quiet", "is-active", "basic.target"); exit == 0 {
			return m
		}
	}
	state, _ := m.try("systemctl", "list-jobs", "--no-pager")
	t.Skipf("systemd does not come up in a container here: %s\n%s", said.String(), state)
	return nil
}

// try runs a command in the machine.
func (m *machine) try(args ...string) (out string, exit int) {
	m.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--target", m.leader, "--all", "--wdns=/"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	b, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		m.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// run runs a command that must succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, exit := m.try(args...)
	if exit != 0 {
		journal, _ := m.try("journalctl", "--unit", "telltale", "--lines", "30", "--no-pager")
		m.t.Fatalf("%q: exit status %d\n%s\n%s", args, exit, out, journal)
	}
	return out
}

func (m *machine) sh(line string) string {
	m.t.Helper()
	return m.run("sh", "-c", line)
}

// want waits until a command's output has text in it.
func (m *machine) want(text string, args ...string) {
	m.t.Helper()
	var out string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if out, _ = m.try(args...); strings.Contains(out, text) {
			return
		}
	}
	m.t.Errorf("%q: got %q, want %q in it", args, out, text)
}

// page runs the shell lines of a page as they are written, in a checkout where
// the program is built. A question is answered yes.
func (m *machine) page(name string) {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		m.t.Fatal(err)
	}
	script := "set -e\nsudo() { \"$@\"; }\ncd /tmp && rm -f bin && ln -s /opt/new/bin bin\n"
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			switch {
			case strings.HasPrefix(line, "make "), strings.HasPrefix(line, "git "): // done already
			case strings.Contains(line, " install"):
				script += strings.TrimSpace(line) + " --yes\n"
			default:
				script += line
			}
		}
	}
	m.sh(script)
}

func TestE2EInstall(t *testing.T) {
	t.Parallel()
	m := startMachine(t)

	// A port that is taken ends it before anything is changed.
	m.run("systemd-run", "--unit=other", "/opt/new/bin/telltale", "serve", "--data-dir", "/tmp/other", "--lists-dir", "/tmp/other/lists")
	m.want("Telltale answers", "/opt/new/bin/telltale", "healthcheck", "--data-dir", "/tmp/other")
	if out, exit := m.try("/opt/new/bin/telltale", "install", "--yes"); exit != 1 || !strings.Contains(out, "port 53") && !strings.Contains(out, ":53") {
		t.Errorf("with port 53 taken: exit status %d, %q", exit, out)
	}
	if out, exit := m.try("test", "-e", installedUnit); exit == 0 {
		t.Errorf("the unit was written though port 53 is taken: %s", out)
	}
	m.run("systemctl", "stop", "other")
	if out, exit := m.try("/opt/new/bin/telltale", "install"); exit != 1 || !strings.Contains(out, "--yes") {
		t.Errorf("without a terminal: exit status %d, %q, want --yes named", exit, out)
	}
	m.run("/opt/new/bin/telltale", "install", "--dry-run")
	if _, exit := m.try("id", "telltale"); exit == 0 {
		t.Error("--dry-run made a user")
	}

	m.page("install.md")
	m.want("Telltale answers", "telltale", "healthcheck")
	m.want("telltale", "stat", "-c", "%U:%G", settingsDir+"/lists.d")
	m.want("telltale", "stat", "-c", "%U", dataDir)
	m.want("enabled", "systemctl", "is-enabled", "telltale")

	// As README and docs say.
	m.run("telltale", "block", "ads.example")
	m.want("ads.example", "cat", settingsDir+"/lists.d/own.txt")
	m.want("telltale:telltale", "stat", "-c", "%U:%G", settingsDir+"/lists.d/own.txt")
	m.want("block", "telltale", "explain", "ads.example")
	m.run("telltale", "log")
	m.run("telltale", "lists")
	m.sh("groupadd -f people && setpriv --reuid 65534 --regid 65534 --groups $(getent group telltale | cut -d: -f3) sh -c 'echo more.example > " + settingsDir + "/lists.d/more.txt'")
	m.want("block", "telltale", "explain", "more.example")

	// Who may not ask the server is told so, and nothing that is not known.
	out, _ := m.try("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "telltale", "doctor")
	if !strings.Contains(out, "another user") || strings.Contains(out, "nothing") && strings.Contains(out, "logged") {
		t.Errorf("doctor of another user: got\n%s", out)
	}

	m.page("backup.md")
	m.want("Telltale answers", "telltale", "healthcheck")
	m.want("block", "telltale", "explain", "ads.example")
	m.want("telltale:telltale", "stat", "-c", "%U:%G", settingsDir+"/lists.d/own.txt")

	// A reload keeps the process, and so does a broken settings file.
	pid := m.run("systemctl", "show", "--property=MainPID", "--value", "telltale")
	m.sh("printf 'blocking:\\n  mode: nxdomain\\n' > " + settingsDir + "/telltale.yaml && systemctl reload telltale")
	m.want("nxdomain", "telltale", "explain", "ads.example")
	if again := m.run("systemctl", "show", "--property=MainPID", "--value", "telltale"); again != pid {
		t.Errorf("after a reload the process is %s, was %s", again, pid)
	}
	m.sh("echo nonsense > " + settingsDir + "/telltale.yaml && systemctl restart telltale")
	m.want("active", "systemctl", "is-active", "telltale")
	m.sh("printf 'blocking:\\n  mode: nodata\\n' > " + settingsDir + "/telltale.yaml")

	// It never gives up, however often it is killed.
	m.want("0", "systemctl", "show", "--property=StartLimitIntervalUSec", "--value", "telltale")
	for range 8 {
		m.run("systemctl", "kill", "--signal=KILL", "telltale")
		m.want("active\n", "systemctl", "is-active", "telltale")
		m.want("Telltale answers", "telltale", "healthcheck")
	}

	// Updating keeps what is a person's; the page's last line removes the service.
	m.run("/opt/new/bin/telltale", "install", "--yes")
	m.want("nodata", "cat", settingsDir+"/telltale.yaml")
	m.page("update.md")
	if out, _ := m.try("systemctl", "is-active", "telltale"); strings.HasPrefix(out, "active") {
		t.Error("it runs after --uninstall")
	}
	m.run("test", "-e", settingsDir+"/telltale.yaml")
	m.run("/opt/new/bin/telltale", "install", "--uninstall", "--purge", "--yes")
	for _, path := range []string{settingsDir, dataDir, installedUnit, installedBinary, installedUsers} {
		if _, exit := m.try("test", "-e", path); exit == 0 {
			t.Errorf("%s is there after --purge", path)
		}
	}
	if _, exit := m.try("id", "telltale"); exit == 0 {
		t.Error("the user is there after --purge")
	}
}

// TestE2EInstallAsks installs below a directory, answering each question.
func TestE2EInstallAsks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("files of another user need root")
	}
	for _, program := range []string{"systemd-sysusers", "systemctl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	root := t.TempDir()
	there := func(path string) bool {
		_, err := os.Lstat(filepath.Join(root, path))
		return err == nil
	}
	answer := func(typed string, args ...string) (string, int) {
		var out bytes.Buffer
		exit := commandWith(t.Context(), strings.NewReader(typed), append([]string{"install", "--root", root}, args...), &out, &out, nil)
		return out.String(), exit
	}
	if out, exit := answer("maybe\nno\nyes\n\n\n"); exit != 0 || there(installedBinary) || !there(installedUsers) || !there(settingsDir+"/telltale.yaml") || !there(installedUnit) {
		t.Errorf("no to the program, yes to all others: exit status %d\n%s", exit, out)
	}
	if !there("/etc/systemd/system/multi-user.target.wants/telltale.service") {
		t.Error("it is not started at a boot")
	}
	if out, exit := answer("yes\n"); exit != 1 || !strings.Contains(out, "no answer") {
		t.Errorf("the answers end: exit status %d\n%s", exit, out)
	}
	if out, exit := answer("\n\n\n\n\n", "--uninstall"); exit != 0 || there(installedUnit) || !there(settingsDir+"/telltale.yaml") {
		t.Errorf("uninstall, the answers as suggested: exit status %d\n%s", exit, out)
	}
	if out, exit := answer("", "--purge"); exit != 2 {
		t.Errorf("--purge alone: exit status %d\n%s", exit, out)
	}
}
