package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"telltale/blocklists"
	"telltale/config"
	"telltale/web"
)

// settings returns every setting, and the version of the overlay that commands write.
func (a *app) settings() (web.AllSettings, string) {
	a.applying.Lock()
	loaded := a.loaded
	cfg := a.cfg.Load()
	a.applying.Unlock()
	out := settingsOf(cfg, loaded)
	out.Refused = a.refusal()
	return out, blocklists.VersionOf(loaded.SettingsText())
}

// settingsOf returns every setting of cfg, with what is in force after a restart by loaded.
func settingsOf(cfg, loaded *config.Config) web.AllSettings {
	out := web.AllSettings{File: cfg.File, Overlay: loaded.SettingsOverlay, Settings: []web.Setting{}}
	next := loaded.Values()
	for i, v := range cfg.Values() {
		s := web.Setting{
			Key: v.Key, Type: v.Type, Words: v.Words, Value: v.Value, Default: v.Default, Source: v.Source, Where: v.Where, Live: v.Live, Secret: v.Secret, Refused: v.Refused,
		}
		if !reflect.DeepEqual(v.Value, next[i].Value) {
			s.Pending, s.Source, s.Where = next[i].Value, next[i].Source, next[i].Where
		}
		out.Settings = append(out.Settings, s)
	}
	return out
}

// changeSettings writes a change into the overlay, if that is of the version ("" for any), and
// puts it in force.
func (a *app) changeSettings(_ context.Context, change web.SettingsChange, version string) (out web.SettingsChanged, now string, err error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg, err := a.load() // as it is on disk now: it may have been edited a moment ago
	if err != nil {
		return out, "", fmt.Errorf("the settings have mistakes, which must be put right first: %w", err)
	}
	if now := blocklists.VersionOf(cfg.SettingsText()); version != "" && version != "*" && version != now {
		return out, "", &web.StaleError{
			Err:  fmt.Errorf("%s was changed meanwhile, by somebody else or in an editor: look at it again, and change that", cfg.SettingsOverlay),
			ETag: now, Text: strings.ToValidUTF8(string(cfg.SettingsText()), "\ufffd"),
		}
	}
	text, would, err := settingsWith(cfg, change)
	if err == nil {
		_, err = checkParts(would)
		err = settingsProblem(err)
	}
	if err != nil {
		return out, "", err
	}
	out, err = saveSettings(cfg, text, would)
	if err != nil {
		return out, "", mayNotWrite(filepath.Dir(cfg.SettingsOverlay), err)
	}
	is, err := a.load()
	if err == nil {
		err = a.applyLocked(is)
	}
	if err != nil {
		return out, "", fmt.Errorf("nothing is changed: %w", errors.Join(err, cfg.RestoreSettings()))
	}
	a.refused.Store("")
	return out, blocklists.VersionOf(text), nil
}

// settingsWith returns the text of the overlay with a change, and the settings that come
// of it.
func settingsWith(cfg *config.Config, change web.SettingsChange) (text []byte, would *config.Config, err error) {
	if len(change.Set)+len(change.Unset) == 0 {
		return nil, nil, web.Invalid(errors.New("nothing is to be set or unset"))
	}
	text, err = cfg.WithSettings(change.Set, change.Unset)
	if err == nil {
		would, err = cfg.With(text)
	}
	if err == nil {
		err = errors.Join(localMistakes(would), listNameMistakes(would))
	}
	return text, would, settingsProblem(err)
}

// saveSettings writes the text of the overlay, and says what it changes.
func saveSettings(cfg *config.Config, text []byte, would *config.Config) (out web.SettingsChanged, err error) {
	live, restart := config.Diff(cfg, would)
	out = web.SettingsChanged{File: cfg.SettingsOverlay, Live: append([]string{}, live...), Restart: append([]string{}, restart...)}
	return out, cfg.SaveSettings(text)
}

// settingsProblem returns mistakes of settings as the API tells them.
func settingsProblem(err error) error {
	if err == nil {
		return nil
	}
	keys := []web.KeyMistake{}
	if mistakes, ok := errors.AsType[config.Mistakes](err); ok {
		for _, m := range mistakes {
			says := config.Mistake{Found: m.Found, Expected: m.Expected, Nearest: m.Nearest}
			keys = append(keys, web.KeyMistake{Key: m.Key, Where: m.Where, Says: says.String()})
		}
	}
	return &web.KeysError{Err: fmt.Errorf("nothing is changed: %w", err), Keys: keys}
}
