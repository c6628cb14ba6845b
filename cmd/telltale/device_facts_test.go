package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"telltale/config"
	"telltale/devices/kinds"
)

// The settings take the kinds that there are.
func TestTheSettingsHaveEachKind(t *testing.T) {
	f, _ := reflect.TypeFor[config.Device]().FieldByName("Kind")
	if got := strings.Fields(f.Tag.Get("words")); !slices.Equal(got, kinds.Words) {
		t.Errorf("the settings have %v, and there are %v", got, kinds.Words)
	}
}
