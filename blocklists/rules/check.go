package rules

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/matcher"
)

// A fileState is what of a file changes when its content is written to.
type fileState struct {
	size, modified, changed int64
}

func stateOf(f *os.File) (fileState, error) {
	info, err := f.Stat()
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.Size(), info.ModTime().UnixNano(), changeTime(info)}, nil
}

// ErrDamaged means that a file of compiled rules is not as it was written.
var ErrDamaged = errors.New("the compiled list was changed or cut on disk")

// Check reads the records again, a block at a time, and says whether they are as
// they were written. Where only looks are asked for, it does so only if somebody has
// written to the file. pause is called between two blocks; its error ends the check.
func (s *Set) Check(looks bool, pause func() error) error {
	if s.file == nil {
		return nil
	}
	state, err := stateOf(s.file)
	if err != nil {
		return err
	}
	if looks && state == s.checked {
		return nil
	}
	sum := xxhash.New()
	for at := int64(0); at < s.recordsSize; at += checkBlock {
		n, err := io.Copy(sum, io.NewSectionReader(s.body, at, min(checkBlock, s.recordsSize-at)))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if n == 0 {
			return ErrDamaged
		}
		if err := pause(); err != nil {
			return err
		}
	}
	if sum.Sum64() != s.recordsSum {
		return ErrDamaged
	}
	s.checked = state
	return nil
}

const checkBlock = 256 << 10

// An ImageCheck remembers when the image of an index was last found to be whole.
type ImageCheck struct {
	image   *matcher.Image
	checked fileState
}

// Check is Set.Check for the image of an index; nil is whole.
func (c *ImageCheck) Check(image *matcher.Image, looks bool, pause func() error) error {
	if image == nil || image.File() == nil {
		return nil
	}
	state, err := stateOf(image.File())
	if err != nil {
		return err
	}
	if looks && image == c.image && state == c.checked {
		return nil
	}
	if err := image.Check(pause); err != nil {
		return err
	}
	c.image, c.checked = image, state
	return nil
}
