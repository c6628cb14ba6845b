package witness

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"
	"unicode/utf8"

	"telltale/atomicfile"
	"telltale/evidence/post"
)

const (
	maxAnswer   = post.MaxAnswer // octets; a longer answer is no statement on a checkpoint
	keptAnswers = 100
)

// An Answer is what a server said to a checkpoint: a line of a bundle's witnesses.jsonl.
// Nothing of it is checked.
type Answer struct {
	Time    int64  `json:"time"` // Unix milliseconds
	Witness string `json:"witness"`
	Leaves  int64  `json:"leaves"`
	Note    string `json:"note"` // the checkpoint that it is about
	Answer  string `json:"answer"`
}

// keepAnswer keeps what a server said, beside the last ones before. Nothing, and what is
// long or no text, is not kept.
func (o *Options) keepAnswer(c *Checkpoint, said []byte) error {
	if o.Answers == "" || len(said) == 0 || len(said) > maxAnswer || !utf8.Valid(said) {
		return nil
	}
	line, err := json.Marshal(Answer{time.Now().UnixMilli(), post.Shown(o.URL), c.Leaves, string(c.Note), string(said)})
	if err != nil {
		return err
	}
	before, err := ReadAnswers(o.Answers)
	if err != nil {
		return err
	}
	lines := bytes.SplitAfter(before, []byte("\n")) // the last one is empty
	lines = lines[max(0, len(lines)-keptAnswers):]
	return atomicfile.Write(o.Answers, append(append(bytes.Join(lines, nil), line...), '\n'), 0o600)
}

// ReadAnswers returns the lines of the file of answers, whole ones alone. A file that is
// not there has none.
func ReadAnswers(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return text[:bytes.LastIndexByte(text, '\n')+1], nil
}
