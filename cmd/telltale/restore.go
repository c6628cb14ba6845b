package main

import (
	"archive/tar"
	"bufio"
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
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/querylog"
)

// maxSettings bounds what is read of the settings of an archive.
const maxSettings = 1 << 20

func (cl *cli) newRestore() *cobra.Command {
	check := false
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Bring back what 'telltale backup' copied",
		Long: `Put the query log, settings and lists of a backup in place of those here. The server
must be stopped. The whole file is checked first; what was here is kept in data.dir,
in a directory that is named at the end. The settings go where they were, or to
--config; the settings themselves say where the rest goes.

The log that comes back is another one from then on, and says so in its ledger: the
one that was copied may go on elsewhere.`,
		Example: "  sudo telltale restore telltale-2026-05-01.tar.gz\n  telltale restore --check telltale-2026-05-01.tar.gz",
		Args:    oneArg("file"),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := openBackup(c.Context(), args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			m := &b.manifest
			fmt.Fprintf(cl.out, "A backup of %s, made by version %s on %s: %s, whole.\n",
				printable(m.Node), printable(m.Version), m.Taken.Local().Format(time.DateTime), number(uint64(b.files), "file"))
			if check {
				return nil
			}
			return cl.restore(c.Context(), b)
		},
	}
	c.Flags().BoolVar(&check, "check", false, "only see whether the file is whole")
	return c
}

// A backupFile is an archive that was found to be whole.
type backupFile struct {
	path     string
	manifest manifest
	settings []byte // nil where there is no file of them
	files    int    // beside manifest and sums
}

// openBackup reads an archive from its beginning to its end.
func openBackup(ctx context.Context, file string) (*backupFile, error) {
	b := &backupFile{path: file}
	sums := map[string]string{}
	var said []byte
	err := b.each(ctx, func(name string, h *tar.Header, r io.Reader) (err error) {
		sum := sha256.New()
		r = io.TeeReader(r, sum)
		switch {
		case name == sumsName:
			said, err = io.ReadAll(r)
			return err
		case said != nil:
			return fmt.Errorf("%q is behind %s", name, sumsName)
		case name == manifestName:
			err = b.readManifest(r)
		case b.manifest.Format == 0:
			return fmt.Errorf("this is no backup of Telltale: it does not begin with %s", manifestName)
		case path.Dir(name) == settingsFolder:
			if h.Size > maxSettings {
				return fmt.Errorf("%s: %d octets of settings", name, h.Size)
			}
			b.settings, err = io.ReadAll(r)
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if _, twice := sums[name]; twice && err == nil {
			err = fmt.Errorf("%q is in it twice", name)
		}
		sums[name] = fmt.Sprintf("%x", sum.Sum(nil))
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case said == nil:
		return nil, errors.New("it is cut off: " + sumsName + ", its last part, is not there")
	}
	for lines := bufio.NewScanner(bytes.NewReader(said)); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		if sums[name] != sum {
			return nil, fmt.Errorf("it is damaged: %q is not what %s says", name, sumsName)
		}
		delete(sums, name)
		b.files++
	}
	for name := range sums {
		return nil, fmt.Errorf("it was changed: %s does not know %q", sumsName, name)
	}
	b.files-- // the manifest
	return b, nil
}

func (b *backupFile) readManifest(r io.Reader) error {
	if err := json.NewDecoder(io.LimitReader(r, maxSettings)).Decode(&b.manifest); err != nil {
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	if f := b.manifest.Format; f != manifestFormat {
		return fmt.Errorf("it has the form %d, and this version of Telltale reads %d: use version %s or a later one", f, manifestFormat, b.manifest.Version)
	}
	return nil
}

// each calls do with each file of the archive.
func (b *backupFile) each(ctx context.Context, do func(name string, h *tar.Header, r io.Reader) error) error {
	f, err := os.Open(b.path)
	if err != nil {
		return errors.Unwrap(err) // the path is said by who asked
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("this is no backup of Telltale: %w", err)
	}
	for t := tar.NewReader(packed); ; {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("it is cut off")
		case err != nil:
			return fmt.Errorf("it is damaged: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || path.Clean(h.Name) != h.Name:
			return fmt.Errorf("%q is nothing that a backup has", h.Name)
		}
		if err := do(h.Name, h, t); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return errors.New("it is cut off")
			}
			return err
		}
	}
}

// A restoring is a backup on its way back.
type restoring struct {
	*backupFile
	cfg    *config.Config // of the backup
	file   string         // where the settings go; "" for nowhere
	staged string         // directory in data.dir with what comes
	aside  string         // directory in data.dir for what was there
}

// restore puts what a backup has in place.
func (cl *cli) restore(ctx context.Context, b *backupFile) error {
	r := &restoring{backupFile: b}
	if err := r.findPlaces(cl); err != nil {
		return err
	}
	data := r.cfg.Data.Dir
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		if err := checkSameUser(data); err != nil {
			return err
		}
	}
	r.aside = filepath.Join(data, asidePrefix+time.Now().Format("20060102-150405"))
	staged, err := atomicfile.CreateDir(data)
	if err != nil {
		return err
	}
	r.staged = staged
	defer os.RemoveAll(staged)
	if err := r.unpack(ctx); err != nil {
		return err
	}
	if err := r.putLog(); err != nil {
		return err
	}
	if err := errors.Join(r.putData(), r.putLists(), r.putCache(), r.putKeys(), r.putSettings()); err != nil {
		return fmt.Errorf("%w: not all is in place; what was here is in %s", err, r.aside)
	}
	if _, err := os.Stat(r.aside); err == nil {
		fmt.Fprintf(cl.out, "What was here is kept in %s: remove it when all is well.\n", r.aside)
	}
	where := "the default settings"
	if r.file != "" {
		where = r.file
	}
	fmt.Fprintf(cl.out, "Restored: %s, lists in %s, the query log in %s. Start Telltale now.\n", where, r.cfg.Lists.Dir, data)
	return nil
}

// findPlaces reads the settings of the backup as they will be read from where they go.
func (r *restoring) findPlaces(cl *cli) (err error) {
	flags := cl.root.PersistentFlags()
	given, err := flags.GetString("config")
	if err != nil {
		return err
	}
	if r.settings == nil {
		r.cfg, err = config.Load(given, flags, cl.env)
		return err
	}
	if r.file = given; r.file == "" {
		r.file = r.manifest.Settings
	}
	if r.file, err = filepath.Abs(r.file); err != nil {
		return err
	}
	dir := filepath.Dir(r.file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := atomicfile.Create(dir) // there, since paths in it begin there
	if err != nil {
		return err
	}
	defer atomicfile.Discard(f)
	if _, err := f.Write(r.settings); err != nil {
		return err
	}
	if r.cfg, err = config.Load(f.Name(), flags, cl.env); err != nil {
		return fmt.Errorf("the settings of the backup cannot be used here: %w", err)
	}
	return nil
}

// unpack writes all files of the backup into the staged directory.
func (r *restoring) unpack(ctx context.Context) error {
	return r.each(ctx, func(name string, h *tar.Header, from io.Reader) error {
		if !strings.Contains(name, "/") || path.Dir(name) == settingsFolder {
			return nil
		}
		to := filepath.Join(r.staged, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.FileInfo().Mode().Perm()&^0o022|0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, from)
		return errors.Join(err, f.Sync(), f.Close())
	})
}

// putLog puts the query log in place.
func (r *restoring) putLog() error {
	from := filepath.Join(r.staged, dataFolder)
	if err := os.MkdirAll(from, 0o700); err != nil {
		return err
	}
	aside := filepath.Join(r.aside, dataFolder)
	err := querylog.Restore(r.cfg.Data.Dir, from, aside, r.manifest.Taken.Time, nodeName(r.cfg))
	var used *querylog.InUseError
	if errors.As(err, &used) {
		return fmt.Errorf("%w: stop the server first (such as by 'sudo systemctl stop telltale')", err)
	}
	if err != nil {
		return err
	}
	return giveToOwner(r.cfg.Data.Dir, r.cfg.Data.Dir)
}

// putData puts the other files of data.dir in place.
func (r *restoring) putData() error {
	return r.replace(dataFolder, r.cfg.Data.Dir, nil)
}

// putLists makes lists.dir what it was: a list that came later goes, too.
func (r *restoring) putLists() error {
	var all []string
	err := filepath.WalkDir(r.cfg.Lists.Dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(r.cfg.Lists.Dir, file)
			all = append(all, rel)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.replace(listsFolder, r.cfg.Lists.Dir, all)
}

func (r *restoring) putCache() error { return r.replace(cacheFolder, r.cfg.Cache.Dir, nil) }

// replace puts the files of a folder of the backup into dir. Those of the same names,
// and others, go aside first.
func (r *restoring) replace(folder, dir string, others []string) error {
	staged, aside := filepath.Join(r.staged, folder), filepath.Join(r.aside, folder)
	for _, name := range others {
		if err := move(filepath.Join(dir, name), filepath.Join(aside, name)); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(staged, func(from string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(staged, from)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if _, err := os.Lstat(to); err == nil {
			if err := move(to, filepath.Join(aside, name)); err != nil {
				return err
			}
		}
		return move(from, to)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return giveToOwner(dir, dir)
}

// putKeys puts the files of keys where they were.
func (r *restoring) putKeys() error {
	for i, to := range r.manifest.Keys {
		from := filepath.Join(r.staged, keysFolder, fmt.Sprint(i))
		if _, err := os.Stat(from); err != nil {
			continue // it was not there
		}
		if !filepath.IsAbs(to) {
			return fmt.Errorf("the backup has a key of %q, which is no absolute path", to)
		}
		if _, err := os.Lstat(to); err == nil {
			if err := move(to, filepath.Join(r.aside, keysFolder, fmt.Sprint(i))); err != nil {
				return err
			}
		}
		if err := move(from, to); err != nil {
			return err
		}
		if err := giveToOwner(to, filepath.Dir(to)); err != nil {
			return err
		}
	}
	return nil
}

// putSettings puts the settings file in place, last of all.
func (r *restoring) putSettings() error {
	if r.file == "" {
		return nil
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(r.file); err == nil {
		mode = info.Mode().Perm()
		was, err := os.ReadFile(r.file)
		if err != nil {
			return err
		}
		aside := filepath.Join(r.aside, settingsFolder, filepath.Base(r.file))
		if err := os.MkdirAll(filepath.Dir(aside), 0o700); err != nil {
			return err
		}
		if err := atomicfile.Write(aside, was, 0o600); err != nil {
			return err
		}
	}
	return atomicfile.Replace(r.file, r.settings, mode)
}

// move moves a file, to another file system by copying it.
func move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if os.Rename(from, to) == nil {
		return nil
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	copied, err := atomicfile.Create(filepath.Dir(to))
	if err != nil {
		return err
	}
	if _, err = io.Copy(copied, f); err == nil {
		err = copied.Chmod(info.Mode().Perm())
	}
	if err != nil {
		atomicfile.Discard(copied)
		return err
	}
	if err := atomicfile.Commit(copied, to); err != nil {
		return err
	}
	return os.Remove(from)
}
