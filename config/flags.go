package config

import (
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// AddFlags adds --config and a flag for each setting that has one: listen.dns
// is --listen-dns. Load takes the same set.
func AddFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "settings file (default "+DefaultFile+")")
	for _, s := range leaves() {
		if !s.is("flag") {
			continue
		}
		usage := s.key + " of the settings file"
		if shapeOf(s.typ) == scalar {
			flags.String(flagName(s.key), "", usage)
		} else {
			flags.StringSlice(flagName(s.key), nil, usage+" (comma-separated)")
		}
	}
}

// FlagWords returns the values of each flag that takes none but those.
func FlagWords() map[string][]string {
	all := make(map[string][]string)
	for _, s := range leaves() {
		if s.is("flag") && len(s.words) > 0 {
			all[flagName(s.key)] = s.words
		}
	}
	return all
}

func flagName(key string) string { return strings.ReplaceAll(key, ".", "-") }

// bindFlags lays the flags that were given over the other layers.
func bindFlags(layers *viper.Viper, flags *pflag.FlagSet, given map[string]string) error {
	if flags == nil {
		return nil
	}
	for _, s := range leaves() {
		flag := flags.Lookup(flagName(s.key))
		if !s.is("flag") || flag == nil || !flag.Changed {
			continue
		}
		given[s.key] = "--" + flag.Name
		if err := layers.BindPFlag(s.key, flag); err != nil {
			return err
		}
	}
	return nil
}
