//go:build unix

package querylog

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What is in the place of the lock is neither followed nor waited for.
func TestAStrangeLockFileIsRefused(t *testing.T) {
	for name, make := range map[string]func(path, victim string) error{
		"a link":           func(path, victim string) error { return os.Symlink(victim, path) },
		"a link to naught": func(path, victim string) error { return os.Symlink(victim+"-new", path) },
		"a FIFO":           func(path, _ string) error { return syscall.Mkfifo(path, 0o666) },
		"a directory":      func(path, _ string) error { return os.Mkdir(path, 0o755) },
	} {
		dir := t.TempDir()
		victim := filepath.Join(dir, "victim")
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := make(filepath.Join(data, "lock"), victim); err != nil {
			t.Fatal(err)
		}
		done := time.AfterFunc(20*time.Second, func() { panic(name + ": the lock is waited for") })
		lock, _, err := lockDir(data, time.Now())
		done.Stop()
		if err == nil {
			lock.release(time.Now())
			t.Errorf("%s: taken", name)
		}
		if text, _ := os.ReadFile(victim); string(text) != "precious" {
			t.Errorf("%s: the file behind it has %q", name, text)
		}
		if _, err := os.Lstat(victim + "-new"); err == nil {
			t.Errorf("%s: a file was made behind it", name)
		}
	}
}

// A process that is being started has a copy of each open file until it becomes another
// program: a lock that was given back is free all the same.
func TestALockGivenBackIsFree(t *testing.T) {
	dir := t.TempDir()
	lock, _, err := lockDir(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	copied, err := syscall.Dup(int(lock.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	if err := lock.release(time.Now()); err != nil {
		t.Fatal(err)
	}
	again, _, err := lockDir(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.release(time.Now()); err != nil {
		t.Error(err)
	}
}
