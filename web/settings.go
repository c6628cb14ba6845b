package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// AllSettings are the settings, each with what is in force and whence.
type AllSettings struct {
	File     string    `json:"file,omitempty" doc:"The settings file, which is a person's and never written; none where there is none."`
	Overlay  string    `json:"overlay" doc:"The file of what is set here. It may not be there."`
	Refused  string    `json:"refused,omitempty" doc:"Why the settings on disk are not in force."`
	Settings []Setting `json:"settings"`
}

// A Setting is one of them.
type Setting struct {
	Key     string   `json:"key"`
	Type    string   `json:"type" doc:"bool, integer, duration, size, text, list (of texts) or entries (of a list, each with keys of its own)."`
	Words   []string `json:"words,omitempty" doc:"The only values."`
	Value   any      `json:"value" doc:"In force, as it was written: a text, a list of texts, or a list of objects. Of a secret URL without its path."`
	Default any      `json:"default"`
	Pending any      `json:"pending,omitempty" doc:"What is in force with the next start."`
	Source  string   `json:"source" doc:"default, file, overlay (which commands and this API write), environment or flag."`
	Where   string   `json:"where,omitempty" doc:"FILE:LINE, the variable or the flag."`
	Live    bool     `json:"live" doc:"A change is in force at once; else with the next start."`
	Secret  bool     `json:"secret,omitempty" doc:"It is not shown whole."`
	Refused string   `json:"refused,omitempty" doc:"Why it can be set in the settings file alone: what is expected instead."`
}

// A SettingsChange says what is to be set. All of it is checked together with all else, and
// put in force, or nothing is.
type SettingsChange struct {
	Set   map[string]any `json:"set,omitempty" doc:"Values by key, such as blocking.ttl: a text, a number, true or false, a list of texts, or a list of objects."`
	Unset []string       `json:"unset,omitempty" maxItems:"500" doc:"Keys that are to be as the settings file has them."`
}

// SettingsChanged says what became of a change.
type SettingsChanged struct {
	File    string   `json:"file" doc:"The file that was written."`
	Live    []string `json:"live" doc:"Keys whose value is another one now."`
	Restart []string `json:"restart" doc:"Keys whose value will be another one with the next start."`
}

type settingsChangeRequest struct {
	IfMatch string `header:"If-Match" doc:"Where one version of the overlay alone is meant: its ETag."`
	Body    SettingsChange
}

func registerSettings(api huma.API, o *Options) {
	add(api, operation(http.MethodGet, "/settings", "get-settings", "Every setting: what is in force, the default, and whence it is", http.StatusOK),
		func(context.Context, *nothing) (tagged[AllSettings], error) {
			s, tag := o.Settings()
			return tagged[AllSettings]{tag, s}, nil
		})
	patch := changing(operation(http.MethodPatch, "/settings", "change-settings", "Set and unset keys, in the overlay; in force when this returns, but for what needs a restart", http.StatusOK))
	patch.MaxBodyBytes = 512 << 10
	add(api, patch, func(ctx context.Context, r *settingsChangeRequest) (tagged[SettingsChanged], error) {
		v, err := version(r.IfMatch)
		if err != nil {
			return tagged[SettingsChanged]{}, err
		}
		c, tag, err := o.ChangeSettings(ctx, r.Body, v)
		return tagged[SettingsChanged]{tag, c}, err
	})
}
