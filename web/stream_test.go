package web

import (
	"context"
	"net/http/httptest"
	"testing"

	"telltale/querylog"
)

// Each row is an event; those that are closed and were recorded here say where to go on.
func TestRowsAreEvents(t *testing.T) {
	var got Which
	var begun int64
	handler := Handler(Options{Reading: Reading{FollowLog: func(_ context.Context, w Which, after int64) (LogFollower, error) {
		got, begun = w, after
		return func(_ context.Context, send func(*Row) error) error {
			send(&Row{Row: querylog.Row{ID: 7, Name: "a\nb.example"}})
			send(nil)
			send(&Row{Row: querylog.Row{ID: 8, Open: true}})
			return send(&Row{Row: querylog.Row{ID: 3, Imported: "pihole"}})
		}, nil
	}}})
	r := httptest.NewRequest("GET", Prefix+"/log/stream?after=4&verdict=block", nil)
	r.Header.Set("Last-Event-ID", "6")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/event-stream" || begun != 6 || got.Verdict != "block" {
		t.Errorf("got %d %v, begun at %d with %+v", w.Code, w.Header(), begun, got)
	}
	want := "retry: 2000\n\n" +
		"event: row\nid: 7\ndata: " + rowText(`"a\nb.example"`, "", "", 7) + "\n\n" +
		": nothing new\n\n" +
		"event: row\ndata: " + rowText(`""`, "", `"open":true,`, 8) + "\n\n" +
		"event: row\ndata: " + rowText(`""`, `"imported":"pihole",`, "", 3) + "\n\n"
	if w.Body.String() != want {
		t.Errorf("got\n%s\nwant\n%s", w.Body.String(), want)
	}
}

func rowText(name, imported, open string, id int64) string {
	return `{"time":"0001-01-01T00:00:00.000Z","last":"0001-01-01T00:00:00.000Z","count":0,"node":"","device":"","client":"","name":` + name + `,"type":"","verdict":"","list":"","line":0,"rule":"","vendor":"","product":"","purpose":"","tier":"","source":"","rcode":"","answered_from":"","transport":"","ttl":0,"elapsed":0,` +
		imported + open + `"store":"","id":` + string(rune('0'+id)) + `}`
}
