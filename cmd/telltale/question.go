package main

import (
	"bufio"
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
