package web

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// Files serves the console: a directory of files that are compressed already, NAME.br or
// NAME.gz, or are there as they are. Its pages are all index.html, with what is shown
// behind a #. Files below assets have a hash in their names, and browsers keep them.
// Without a directory it says that there is no console.
func Files(dir fs.FS) http.Handler { return &files{dir} }

type files struct{ dir fs.FS }

func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only GET is possible here")
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" {
		name = "index.html"
	}
	if f.dir == nil {
		send(w, r, "text/plain; charset=utf-8", fmt.Appendf(nil, "Telltale answers here, by its API at %s. This program was built without the console.\n", Prefix))
		return
	}
	kind := mime.TypeByExtension(path.Ext(name))
	text, encoding := []byte(nil), ""
	if kind != "" && fs.ValidPath(name) {
		text, encoding = f.read(name, r.Header.Get("Accept-Encoding"))
	}
	if text == nil {
		refuse(w, http.StatusNotFound, "there is no such page: the console begins at "+`"/"`)
		return
	}
	if strings.HasPrefix(name, "assets/") {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		w.Header().Set("Cache-Control", "no-cache")
	}
	w.Header().Set("Vary", "Accept-Encoding")
	if encoding != "" {
		w.Header().Set("Content-Encoding", encoding)
	}
	send(w, r, kind, text)
}

// read returns a file in a form that the client takes, and how that is compressed. nil:
// there is none.
func (f *files) read(name, accepts string) (text []byte, encoding string) {
	for _, form := range []struct{ ending, encoding string }{{".br", "br"}, {".gz", "gzip"}, {"", ""}} {
		if form.encoding != "" && !takes(accepts, form.encoding) {
			continue
		}
		if text, err := fs.ReadFile(f.dir, name+form.ending); err == nil {
			return text, form.encoding
		}
	}
	text, err := fs.ReadFile(f.dir, name+".gz")
	if err != nil {
		return nil, ""
	}
	unzip, err := gzip.NewReader(bytes.NewReader(text)) // no browser comes here
	if err != nil {
		return nil, ""
	}
	text, err = io.ReadAll(unzip)
	if err != nil {
		return nil, ""
	}
	return text, ""
}

// takes reports whether a client takes an encoding (RFC 9110, 12.5.3).
func takes(accepts, encoding string) bool {
	for part := range strings.SplitSeq(accepts, ",") {
		name, q, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), encoding) {
			weight, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(q), "q="), 64)
			return err != nil || weight > 0
		}
	}
	return false
}

func send(w http.ResponseWriter, r *http.Request, kind string, text []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(text)
	}
}
