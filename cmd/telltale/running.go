package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// A runningServer is what a server leaves for the other commands of the same user
// to find its settings by. It is a file that the server holds a lock on: one
// without a lock was left by a server that was killed.
type runningServer struct {
	PID     int                 `json:"pid"`
	Config  string              `json:"config"`   // what --config or TELLTALE_CONFIG said; "" for neither
	Flags   map[string][]string `json:"flags"`    // other settings of its command line
	Env     []string            `json:"env"`      // and of its environment
	DataDir string              `json:"data_dir"` // in use; a broken settings file does not tell it
}

// settingsFrom are the flags and variables that say where a server is: with one
// of them on a command, no running server is looked for.
var settingsFrom = []string{"config", "data-dir", "control-socket"}

// announce leaves word of the server that runs with these settings, until the
// returned function is called.
func (cl *cli) announce(dataDir string) (withdraw func(), err error) {
	flags := cl.root.PersistentFlags()
	s := runningServer{PID: os.Getpid(), Flags: map[string][]string{}}
	if s.DataDir, err = filepath.Abs(dataDir); err != nil {
		return nil, err
	}
	config, err := flags.GetString("config")
	if err != nil {
		return nil, err
	}
	if config != "" {
		if s.Config, err = filepath.Abs(config); err != nil {
			return nil, err
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || !f.Changed {
			return
		}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			s.Flags[f.Name] = many.GetSlice()
		} else {
			s.Flags[f.Name] = []string{absolute(f.Name, f.Value.String())}
		}
	})
	for _, v := range cl.env {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "TELLTALE_") {
			s.Env = append(s.Env, name+"="+absolute(name, value))
		}
	}
	return leave(&s, cl.env)
}

// absolute makes a path absolute, where a flag or variable is one: the other
// command may run in another directory.
func absolute(name, value string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	if value == "" || !strings.HasSuffix(name, "-dir") && !strings.HasSuffix(name, "-socket") && !strings.HasSuffix(name, "-config") {
		return value
	}
	path, err := filepath.Abs(value)
	if err != nil {
		return value
	}
	return path
}

// leave writes the file, and locks it.
func leave(s *runningServer, env []string) (withdraw func(), err error) {
	dir := runningDir(env)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := onlyOurs(dir); err != nil {
		return nil, err
	}
	removeStale(dir)
	f, err := os.CreateTemp(dir, "server-*.json")
	if err != nil {
		return nil, err
	}
	withdraw = func() {
		os.Remove(f.Name())
		f.Close()
	}
	if err := errors.Join(lockFile(f), json.NewEncoder(f).Encode(s)); err != nil {
		withdraw()
		return nil, err
	}
	return withdraw, nil
}

func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// runningDir is a directory of this user alone.
func runningDir(env []string) string {
	dirs := map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		dirs[name] = value
	}
	if dir := dirs["XDG_RUNTIME_DIR"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "telltale")
	}
	tmp := dirs["TMPDIR"]
	if !filepath.IsAbs(tmp) {
		tmp = "/tmp"
	}
	return filepath.Join(tmp, fmt.Sprintf("telltale-%d", os.Getuid()))
}

// onlyOurs fails where somebody else could have made or could change what is in dir.
func onlyOurs(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of this user alone", dir)
	}
	return nil
}

// removeStale removes what killed servers left.
func removeStale(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "server-*.json")) // the pattern is valid
	for _, path := range files {
		if f, err := os.Open(path); err == nil {
			if lockFile(f) == nil {
				os.Remove(path)
			}
			f.Close()
		}
	}
}

// running returns the servers of this user that run now.
func running(env []string) (all []runningServer) {
	dir := runningDir(env)
	if onlyOurs(dir) != nil {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(dir, "server-*.json")) // the pattern is valid
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		var s runningServer
		if errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK) && json.NewDecoder(f).Decode(&s) == nil {
			all = append(all, s)
		}
		f.Close()
	}
	return all
}

// follow takes over the settings of the server that this user runs, where the
// command line and the environment do not say which are meant. It returns the
// environment to read settings with.
func (cl *cli) follow() (env []string, err error) {
	flags := cl.root.PersistentFlags()
	for _, name := range settingsFrom {
		variable := "TELLTALE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if flags.Changed(name) || isSet(cl.env, variable) {
			return cl.env, nil
		}
	}
	servers := running(cl.env)
	switch len(servers) {
	case 0:
		return cl.env, nil
	case 1:
	default:
		var which []string
		for i := range servers {
			which = append(which, fmt.Sprintf("process %d with %s", servers[i].PID, servers[i].where()))
		}
		return nil, fmt.Errorf("you run several servers (%s): say which is meant by --config or --data-dir", strings.Join(which, ", "))
	}
	s := &servers[0]
	if s.Config != "" {
		if err := flags.Set("config", s.Config); err != nil {
			return nil, err
		}
	}
	for name, values := range s.Flags {
		if f := flags.Lookup(name); f == nil || f.Changed {
			continue // of another version; or said on the command line
		}
		for _, v := range values {
			if err := flags.Set(name, v); err != nil {
				return nil, err
			}
		}
	}
	return slices.Concat(s.Env, cl.env), nil
}

// dataDirInUse returns the data.dir of the server of this user that was started with
// a settings file; "" for none.
func (cl *cli) dataDirInUse(path string) string {
	if path != "" {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
	}
	for _, s := range running(cl.env) {
		if s.Config == path {
			return s.DataDir
		}
	}
	return ""
}

// where says where a server has its settings from.
func (s *runningServer) where() string {
	if s.Config != "" {
		return s.Config
	}
	if dir := s.Flags["data-dir"]; len(dir) > 0 {
		return "--data-dir " + dir[0]
	}
	return "settings of its own"
}
