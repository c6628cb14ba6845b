package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/packaging"
	"telltale/resolver/listen/certs"
)

// Where things go, below the root.
const (
	installedBinary = "/usr/local/bin/telltale"
	installedUnit   = "/etc/systemd/system/telltale.service"
	installedUsers  = "/etc/sysusers.d/telltale.conf"
	settingsDir     = "/etc/telltale"
	dataDir         = "/var/lib/telltale"
	serviceUser     = "telltale"
)

func (cl *cli) newInstall() *cobra.Command {
	in := &installer{cl: cl}
	uninstall := false
	c := &cobra.Command{
		Use:   "install",
		Short: "Make Telltale a service of this machine (systemd), or remove it",
		Long: `Copy this program to ` + installedBinary + `, make a user and a group telltale, the
directories and a settings file, write the service's unit, and start it. Each step
is explained and asked for before it is done; what is there already is kept. Run it
again with a newer program to update.

With --uninstall, stop and remove the service. Settings, lists and the query log
are asked for one by one, and kept with --yes unless --purge is said too.

With --root, all goes below a directory, such as that of an image, and nothing is
started.`,
		Example: `  sudo ./telltale install
  sudo telltale install --yes
  sudo telltale install --uninstall
  sudo telltale install --dry-run`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			in.questions = questioner{in: cl.in, out: cl.out}
			if err := in.check(uninstall); err != nil {
				return err
			}
			if uninstall {
				return in.uninstall(c.Context())
			}
			return in.install(c.Context())
		},
	}
	f := c.Flags()
	f.BoolVar(&uninstall, "uninstall", false, "remove it")
	f.BoolVar(&in.purge, "purge", false, "with --uninstall: settings, lists and the query log, too")
	f.BoolVarP(&in.yes, "yes", "y", false, "ask nothing")
	f.BoolVar(&in.dry, "dry-run", false, "only say what would be done")
	f.StringVar(&in.root, "root", "", "the directory that stands for /; nothing is started")
	return c
}

// An installer does the steps one by one.
type installer struct {
	cl              *cli
	root            string // "" for this machine
	yes, dry, purge bool
	questions       questioner
}

// A step is something that is explained, asked for and done.
type step struct {
	ask  string // as a question
	keep bool   // not done unless a person says so
	do   func(context.Context) error
}

func (in *installer) check(uninstall bool) error {
	switch {
	case in.purge && !uninstall:
		return usage("--purge belongs to --uninstall")
	case in.dry:
		return nil
	case os.Getuid() != 0:
		return errors.New("this changes the system: run it as root, such as by sudo")
	case !in.yes && !isTerminalInput(in.cl.in):
		return errors.New("there is no terminal to ask on: say --yes to do all steps, or --dry-run to see them")
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil && in.root == "" {
		return errors.New("systemd does not run this machine: docs/install.md says how to start Telltale by another init")
	}
	return nil
}

func (in *installer) install(ctx context.Context) error {
	active := in.active(ctx)
	if in.root == "" && !active {
		if err := in.portsFree(); err != nil {
			return err
		}
	}
	steps := []step{
		{"Copy this program to " + installedBinary + "?", false, func(context.Context) error { return in.copyProgram() }},
		{"Make a system user and group named telltale, which the service runs as?", false, in.makeUser},
		{"Make " + settingsDir + " with a settings file that changes nothing yet, and " + settingsDir + "/lists.d for lists, which the group telltale may edit?", false,
			func(context.Context) error { return in.makeSettings() }},
	}
	if url := in.lanAddress(); url != "" {
		steps = append(steps, step{"Let browsers on your network reach the console at http://" + url + "/ (nobody gets in without an account)?", true,
			func(context.Context) error { return in.offerConsole(url) }})
	}
	steps = append(steps, step{"Write the service's unit to " + installedUnit + ", and start it now and at each boot?", false,
		func(ctx context.Context) error { return in.start(ctx, active) }})
	if err := in.run(ctx, steps); err != nil || in.dry || in.root != "" {
		return err
	}
	return in.waitUntilItAnswers(ctx)
}

func (in *installer) uninstall(ctx context.Context) error {
	return in.run(ctx, []step{
		{"Stop the service, and remove its unit?", false, in.stop},
		{"Remove " + installedBinary + "?", false, func(context.Context) error { return in.remove(installedBinary) }},
		{"Remove your settings and lists (" + settingsDir + ")?", true, func(context.Context) error { return in.remove(settingsDir) }},
		{"Remove the query log (" + dataDir + ")? It cannot be brought back.", true, func(context.Context) error { return in.remove(dataDir) }},
		{"Remove the user and group telltale?", true, in.removeUser},
	})
}

// run explains, asks for and does each step.
func (in *installer) run(ctx context.Context, steps []step) error {
	for _, s := range steps {
		done := !s.keep || in.purge
		answer := map[bool]string{true: "yes", false: "no"}[done]
		if in.dry || in.yes {
			fmt.Fprintf(in.cl.out, "%s %s\n", s.ask, answer)
		} else {
			var err error
			if done, err = in.questions.ask(s.ask, done); err != nil {
				return err
			}
		}
		if !done || in.dry {
			continue
		}
		if err := s.do(ctx); err != nil {
			return err
		}
	}
	if in.dry {
		fmt.Fprintln(in.cl.out, "Nothing was done (--dry-run).")
	}
	return nil
}

func (in *installer) path(p string) string { return filepath.Join("/", in.root, p) }

// portsFree fails where the service could not listen.
func (in *installer) portsFree() error {
	file := filepath.Join(settingsDir, "telltale.yaml")
	var env []string
	if _, err := os.Stat(file); err == nil {
		env = []string{"TELLTALE_CONFIG=" + file}
	}
	cfg, err := config.Load("", nil, env)
	if err != nil {
		return err
	}
	if err := canListen(cfg); err != nil {
		return fmt.Errorf("%w\nTelltale needs this port, since routers and devices cannot be told another one. "+
			"README.md (\"Port 53 is taken?\") says what to do", err)
	}
	return nil
}

func (in *installer) copyProgram() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	to := in.path(installedBinary)
	if same, err := sameFile(exe, to); same || err != nil {
		return err
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	return in.write(installedBinary, program, 0o755)
}

func sameFile(a, b string) (bool, error) {
	first, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	second, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(first, second), err
}

// write puts a file in place whole, under its name only when all of it is there.
func (in *installer) write(path string, text []byte, mode fs.FileMode) error {
	path = in.path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, text, mode)
}

func (in *installer) makeUser(ctx context.Context) error {
	if err := in.write(installedUsers, []byte(packaging.Users), 0o644); err != nil {
		return err
	}
	return in.system(ctx, "systemd-sysusers", in.path(installedUsers))
}

// makeSettings makes the directories, and the settings file if there is none.
func (in *installer) makeSettings() error {
	uid, gid, err := in.ids()
	if err != nil {
		return err
	}
	lists := in.path(settingsDir + "/lists.d")
	if err := os.MkdirAll(lists, 0o755); err != nil {
		return err
	}
	if err := giveAll(lists, uid, gid); err != nil {
		return err
	}
	// What a member of the group, or root, makes here belongs to the group.
	if err := os.Chmod(lists, 0o775|fs.ModeSetgid); err != nil {
		return err
	}
	file := settingsDir + "/telltale.yaml"
	if _, err := os.Stat(in.path(file)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return in.write(file, config.Example(), 0o644)
}

// consoleSettings are the lines of the example that offerConsole puts in force.
const consoleSettings = `  #listen: ["127.0.0.1:5380"]`

// lanAddress returns the address and port at which the console is offered; "" where the
// settings are a person's already, there is no such address, or it is not known yet.
func (in *installer) lanAddress() string {
	if in.root != "" {
		return ""
	}
	text, err := os.ReadFile(in.path(settingsDir + "/telltale.yaml"))
	if err == nil && !bytes.Equal(text, config.Example()) {
		return "" // it is theirs
	}
	for _, a := range certs.MachineAddresses() {
		if a.Is4() && a.IsPrivate() {
			return netip.AddrPortFrom(a, config.WebPort).String()
		}
	}
	return ""
}

// offerConsole turns the console on in a settings file that is still the example.
func (in *installer) offerConsole(addr string) error {
	file := settingsDir + "/telltale.yaml"
	text, err := os.ReadFile(in.path(file))
	if err != nil || !bytes.Equal(text, config.Example()) {
		return err
	}
	text = bytes.Replace(text, []byte(consoleSettings), []byte(`  listen: ["`+addr+`"]`), 1)
	return in.write(file, text, 0o644)
}

// giveAll gives a directory and what is in it to the service: an earlier
// version's lists may be root's.
func giveAll(dir string, uid, gid int) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink == 0 {
			err = os.Lchown(path, uid, gid)
		}
		if path != dir && errors.Is(err, fs.ErrNotExist) {
			return nil // a program that runs removed it meanwhile
		}
		return err
	})
}

// ids returns the numbers of the service's user and group in the root's own files.
func (in *installer) ids() (uid, gid int, err error) {
	text, err := os.ReadFile(in.path("/etc/passwd"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 || fields[0] != serviceUser {
			continue
		}
		uid, err = strconv.Atoi(fields[2])
		if err == nil {
			gid, err = strconv.Atoi(fields[3])
		}
		return uid, gid, err
	}
	return 0, 0, fmt.Errorf("there is no user %s: the step that makes it must come first", serviceUser)
}

func (in *installer) start(ctx context.Context, active bool) error {
	if err := in.write(installedUnit, []byte(packaging.Unit), 0o644); err != nil {
		return err
	}
	if in.root != "" {
		return in.system(ctx, "systemctl", "enable", "telltale.service")
	}
	if err := in.system(ctx, "systemctl", "daemon-reload"); err != nil {
		return err
	}
	if err := in.system(ctx, "systemctl", "enable", "telltale.service"); err != nil {
		return err
	}
	return in.system(ctx, "systemctl", map[bool]string{true: "restart", false: "start"}[active], "telltale.service")
}

func (in *installer) stop(ctx context.Context) error {
	if _, err := os.Stat(in.path(installedUnit)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	args := []string{"disable", "--now", "telltale.service"}
	if in.root != "" {
		args = []string{"disable", "telltale.service"}
	}
	if err := in.system(ctx, "systemctl", args...); err != nil {
		return err
	}
	if err := in.remove(installedUnit); err != nil || in.root != "" {
		return err
	}
	return in.system(ctx, "systemctl", "daemon-reload")
}

func (in *installer) removeUser(ctx context.Context) error {
	if _, _, err := in.ids(); err != nil {
		return in.remove(installedUsers) // it is gone
	}
	var err error
	if in.root == "" {
		err = in.system(ctx, "userdel", serviceUser)
	} else {
		err = in.system(ctx, "userdel", "--prefix", in.root, serviceUser)
	}
	return cmp.Or(err, in.remove(installedUsers))
}

func (in *installer) remove(path string) error { return os.RemoveAll(in.path(path)) }

// active reports whether the service runs.
func (in *installer) active(ctx context.Context) bool {
	return in.root == "" && exec.CommandContext(ctx, "systemctl", "is-active", "--quiet", "telltale.service").Run() == nil
}

// system runs a program of the system on the root.
func (in *installer) system(ctx context.Context, program string, args ...string) error {
	if in.root != "" && program != "userdel" {
		args = append([]string{"--root=" + in.root}, args...)
	}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// waitUntilItAnswers says how the service does, and what comes next.
func (in *installer) waitUntilItAnswers(ctx context.Context) error {
	cfg, err := config.Load(filepath.Join(settingsDir, "telltale.yaml"), nil, nil)
	if err != nil {
		return err
	}
	var addr netip.AddrPort
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if addr, err = health(ctx, cfg); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("the service was started but does not answer: %w\n'journalctl --unit telltale' shows what it says", err)
	}
	fmt.Fprintf(in.cl.out, `Telltale runs as a service, and answers on %s.

Settings:          %s/telltale.yaml
Your own rules:    %s/lists.d/own.txt
See how it does:   sudo telltale status
What is wrong:     sudo telltale doctor%s

Now let your router hand out this machine's address as DNS server (docs/router.md).
`, addr, settingsDir, settingsDir, in.setUpHint(cfg))
	return nil
}

// setUpHint says how the first account of the console is made, where that is on.
func (in *installer) setUpHint(cfg *config.Config) string {
	if len(cfg.Web.Listen) == 0 {
		return ""
	}
	return "\nThe console:       sudo telltale web link"
}
