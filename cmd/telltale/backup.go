package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/querylog"
)

// A backup is a tar archive, packed by gzip: first the manifest, then the settings
// file, then the rest, each below a folder that says what it is, and last the SHA-256
// sums of all.
const (
	manifestName   = "telltale-backup.json"
	sumsName       = "SHA256SUMS"
	settingsFolder = "settings"
	listsFolder    = "lists"
	dataFolder     = "data"
	cacheFolder    = "cache"
	keysFolder     = "keys"
)

// manifestFormat is raised when an earlier version could not restore an archive.
const manifestFormat = 1

// A manifest says what a backup is of.
type manifest struct {
	Format   int           `json:"format"`
	Version  string        `json:"version"` // of the program
	Taken    querylog.Time `json:"taken"`
	Node     string        `json:"node"`
	Store    string        `json:"store"`              // of the query log; "" where it had none yet
	Settings string        `json:"settings,omitempty"` // where the file was; "" for none
	Keys     []string      `json:"keys,omitempty"`     // where the files of the folder keys were, by their numbers
	Secrets  bool          `json:"secrets"`            // private keys are in it
}

// asidePrefix begins the name of the directory, in data.dir, where a restore puts what
// was there.
const asidePrefix = "before-restore-"

// kept are what of cache.dir is worth keeping: copies of what was fetched.
var kept = []string{filepath.Base(subscriptionDir(&config.Config{})), catalogueName, "upstream-addresses.json"}

func (cl *cli) newBackup() *cobra.Command {
	secrets, force := false, false
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the query log, settings and lists into one file",
		Long: `Copy the query log, the settings, the lists and the copies of fetched lists into one
file (.tar.gz), as they are at one moment. The server goes on meanwhile. Where FILE
is a directory, the file in it is called by the day. docs/backup.md says what is in
it and what is not; 'telltale restore' brings it back.

The file says who asked for what. Only its owner can read it.`,
		Example: "  telltale backup /mnt/usb\n  telltale backup telltale.tar.gz --keys",
		Args:    oneArg("file"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			to := args[0]
			if info, err := os.Stat(to); err == nil && info.IsDir() {
				to = filepath.Join(to, "telltale-"+time.Now().Format(time.DateOnly)+".tar.gz")
			}
			if err := checkNew(to, force); err != nil {
				return err
			}
			for _, dir := range []string{cfg.Data.Dir, cfg.Lists.Dir, cfg.Cache.Dir} {
				if isBelow(to, dir) {
					return fmt.Errorf("%s is in %s, which is what is copied: take a directory elsewhere", to, dir)
				}
			}
			return cl.backup(c.Context(), cfg, to, secrets)
		},
	}
	c.Flags().BoolVar(&secrets, "keys", false, "private keys of certificates, too")
	c.Flags().BoolVar(&force, "force", false, "replace FILE if it is there")
	return c
}

// isBelow reports whether a file would be in a directory, or one below it.
func isBelow(file, dir string) bool {
	parent, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return false
	}
	parent, _ = filepath.Abs(parent)
	rel, err := filepath.Rel(dir, parent)
	return err == nil && filepath.IsLocal(rel)
}

// backup writes an archive.
func (cl *cli) backup(ctx context.Context, cfg *config.Config, to string, secrets bool) error {
	dir := filepath.Dir(to)
	copied, err := atomicfile.CreateDir(dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)
	r, err := querylog.OpenReader(cfg.Data.Dir)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run this as the server's user, or by sudo", err)
	}
	if err != nil {
		return err
	}
	bar := cl.newProgress("Copying the query log")
	log, err := r.Backup(ctx, copied, func(done, all int) { bar.show(float64(done)/float64(max(all, 1)), "") })
	bar.end()
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(dir)
	if err != nil {
		return err
	}
	packed := gzip.NewWriter(f)
	a := &archiver{tar: tar.NewWriter(packed), ctx: ctx}
	a.all(cfg, copied, &manifest{
		Format: manifestFormat, Version: buildVersion(), Taken: log.Taken, Node: nodeName(cfg), Store: log.Store, Secrets: secrets,
	})
	if err := errors.Join(a.err, a.tar.Close(), packed.Close()); err != nil {
		atomicfile.Discard(f)
		return err
	}
	if err := atomicfile.Commit(f, to); err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	fmt.Fprintf(cl.out, "%s: %s. It says who asked for what; keep it private.\n", to, bytesText(info.Size()))
	for _, s := range a.skipped {
		fmt.Fprintf(cl.out, "Not in it: %s\n", s)
	}
	return nil
}

// An archiver writes an archive. After an error it writes nothing more.
type archiver struct {
	ctx     context.Context
	tar     *tar.Writer
	sums    bytes.Buffer
	secret  []fs.FileInfo // files that no folder brings along, wherever they are
	skipped []string      // what was left out, and why
	err     error
}

// all writes all of an archive. log has the copy of the query log.
func (a *archiver) all(cfg *config.Config, log string, m *manifest) {
	outside := secretFiles(cfg)
	for _, path := range outside {
		if info, err := os.Stat(path); err == nil {
			a.secret = append(a.secret, info)
		}
	}
	if cfg.File != "" {
		m.Settings = cfg.File
	}
	if m.Secrets {
		m.Keys = outside
	} else {
		for _, path := range append(outside, filepath.Join(cfg.Data.Dir, authorityFile), acmeDir(cfg), querylog.SealKeyPath(cfg.Data.Dir)) {
			if _, err := os.Stat(path); err == nil {
				a.skipped = append(a.skipped, path+" (a private key: --keys)")
			}
		}
	}
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		a.err = err
	}
	a.write(manifestName, 0o600, int64(len(text)), bytes.NewReader(text))
	if cfg.File != "" {
		a.file(settingsFolder+"/"+filepath.Base(cfg.File), cfg.File)
	}
	a.folder(dataFolder, log, nil)
	a.folder(dataFolder, cfg.Data.Dir, func(path string, d fs.DirEntry) bool {
		name, _ := filepath.Rel(cfg.Data.Dir, path)
		switch {
		case querylog.IsSetAside(d.Name()):
			a.skipped = append(a.skipped, path+" (damaged, and set aside)")
			return false
		case path == filepath.Clean(cfg.Cache.Dir), querylog.IsLogFile(name), strings.HasPrefix(name, asidePrefix):
			return false
		}
		return m.Secrets || path != acmeDir(cfg) && name != authorityFile && path != filepath.Dir(querylog.SealKeyPath(cfg.Data.Dir))
	})
	for _, name := range kept {
		path := filepath.Join(cfg.Cache.Dir, name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			a.folder(cacheFolder+"/"+name, path, nil)
		} else if err == nil {
			a.file(cacheFolder+"/"+name, path)
		}
	}
	a.folder(listsFolder, cfg.Lists.Dir, nil)
	for i, path := range m.Keys {
		a.file(fmt.Sprintf("%s/%d", keysFolder, i), path)
	}
	sums := slices.Clone(a.sums.Bytes())
	a.write(sumsName, 0o600, int64(len(sums)), bytes.NewReader(sums))
}

// secretFiles are the files named by settings that have keys, and certificates with them.
func secretFiles(cfg *config.Config) (all []string) {
	for _, c := range cfg.TLS.Certificates {
		all = append(all, c.Certificate, c.Key)
	}
	for _, file := range []string{cfg.TLS.ACME.UpdateKey, cfg.TLS.ACME.AcmeDNS} {
		if file != "" {
			all = append(all, file)
		}
	}
	return all
}

// folder adds the files below a directory that is there, but for those that take says no
// to: a directory with all that is in it.
func (a *archiver) folder(name, dir string, take func(string, fs.DirEntry) bool) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // it is gone meanwhile
			return nil
		case err != nil:
			return err
		case path == dir:
			return nil
		case atomicfile.IsUnfinished(d.Name()), take != nil && !take(path, d):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir(), a.isSecret(path):
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			a.file(name+"/"+filepath.ToSlash(rel), path)
			err = a.err
		}
		return err
	})
	if a.err == nil {
		a.err = err
	}
}

// isSecret reports whether a file is one of those that no folder brings along.
func (a *archiver) isSecret(path string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(a.secret, func(s fs.FileInfo) bool { return os.SameFile(s, info) })
}

// file adds a file. What is none, such as a socket, is left out.
func (a *archiver) file(name, path string) {
	if a.err != nil {
		return
	}
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		a.skipped = append(a.skipped, path+" (it is not there)")
		return
	} else if err == nil && !info.Mode().IsRegular() { // opening it might wait for somebody
		return
	}
	f, err := os.Open(path)
	if err != nil {
		a.err = err
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		a.err = err
		return
	}
	a.write(name, info.Mode().Perm(), info.Size(), f)
	if errors.Is(a.err, io.ErrUnexpectedEOF) || errors.Is(a.err, io.EOF) {
		a.err = fmt.Errorf("%s became shorter while it was read: run this again", path)
	}
}

// write adds an entry, and its sum.
func (a *archiver) write(name string, mode fs.FileMode, size int64, from io.Reader) {
	if a.err == nil {
		a.err = a.ctx.Err()
	}
	if a.err != nil {
		return
	}
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(mode), Size: size, ModTime: time.Now(), Format: tar.FormatPAX}
	if a.err = a.tar.WriteHeader(h); a.err != nil {
		return
	}
	sum := sha256.New()
	if _, a.err = io.CopyN(io.MultiWriter(a.tar, sum), from, size); a.err == nil {
		fmt.Fprintf(&a.sums, "%x  %s\n", sum.Sum(nil), name)
	}
}
