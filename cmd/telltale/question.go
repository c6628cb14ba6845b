package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// A questioner asks a person for yes or no.
type questioner struct {
	in      io.Reader
	out     io.Writer
	answers *bufio.Reader // of in
}

// ask asks until there is an answer; none is otherwise.
func (q *questioner) ask(text string, otherwise bool) (bool, error) {
	if q.answers == nil {
		q.answers = bufio.NewReader(q.in)
	}
	for {
		fmt.Fprintf(q.out, "%s [%s] ", text, map[bool]string{true: "Y/n", false: "y/N"}[otherwise])
		typed, err := q.answers.ReadString('\n')
		if err != nil {
			return false, fmt.Errorf("no answer: %w", err)
		}
		switch strings.ToLower(strings.TrimSpace(typed)) {
		case "":
			return otherwise, nil
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		}
	}
}

// insist asks until the answer is yes or no, or ctx ends: who is asked may take long, and
// end it by a signal.
func (q *questioner) insist(ctx context.Context, text string) (yes bool, err error) {
	if q.answers == nil {
		q.answers = bufio.NewReader(q.in)
	}
	for {
		fmt.Fprintf(q.out, "%s [yes/no] ", text)
		type line struct {
			typed string
			err   error
		}
		typed := make(chan line, 1)
		go func() {
			text, err := q.answers.ReadString('\n')
			typed <- line{text, err}
		}()
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case l := <-typed:
			switch strings.ToLower(strings.TrimSpace(l.typed)) {
			case "y", "yes":
				return true, nil
			case "n", "no":
				return false, nil
			}
			if l.err != nil {
				return false, fmt.Errorf("no answer: %w", l.err)
			}
		}
	}
}
