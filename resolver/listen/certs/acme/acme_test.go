package acme

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody is there")
}

// An authority counts failures: after each one the next try comes later.
func TestTriesThatFailComeLaterAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		begun := time.Now()
		var tries []time.Duration
		c := New(Options{
			Directory: "https://acme.example/directory", Names: []string{"dns.example"}, Dir: t.TempDir(), Transport: nowhere{},
			Logger: slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
				if strings.Contains(string(p), "is asked for") {
					tries = append(tries, time.Since(begun))
				}
				return said.Write(p)
			}), nil)),
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		c.Run(ctx)
		if want := []time.Duration{0, 10 * time.Minute, 30 * time.Minute, 70 * time.Minute, 150 * time.Minute}; !slices.Equal(tries, want) {
			t.Errorf("tried after %v, want %v", tries, want)
		}
		if !strings.Contains(said.String(), "next_try=10m0s") || !strings.Contains(said.String(), "next_try=1h20m0s") || c.Err() == nil {
			t.Errorf("said %s, the last error is %v", said.String(), c.Err())
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
