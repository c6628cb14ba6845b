package watch

import (
	"os"
	"path/filepath"
	"strings"
)

// mostLinks is how many symbolic links on a path are followed, as the kernel does.
const mostLinks = 40

// directories returns the directories in which a change can concern one of paths:
// those of the files, the paths that are directories themselves, and those of
// every symbolic link on the way. For what is not there it is the lowest
// directory above it that is: there it will come back.
func directories(paths []string) map[string]bool {
	dirs := map[string]bool{}
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			continue // there is no working directory any more
		}
		addDirectories(dirs, abs)
	}
	return dirs
}

func addDirectories(dirs map[string]bool, path string) {
	rest := components(path)
	at := "/"
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(next)
		if err != nil {
			at = next
			continue
		}
		if links++; links > mostLinks {
			return
		}
		dirs[at] = true
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(components(target), rest...)
	}
	dirs[existingDirectory(at)] = true
}

func components(path string) []string {
	clean := strings.Trim(filepath.Clean(path), "/")
	if clean == "" {
		return nil
	}
	return strings.Split(clean, "/")
}

// existingDirectory returns path, or the lowest directory above it that is there.
func existingDirectory(path string) string {
	for {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
