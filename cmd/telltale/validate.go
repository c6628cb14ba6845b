package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"telltale/config"
)

func (cl *cli) newValidate() *cobra.Command {
	example := false
	c := cl.addJSON(&cobra.Command{
		Use:   "validate",
		Short: "Check the settings, as the server would at its start",
		Long: `Check the settings that the file, the environment and the flags give together.
Every mistake is reported by its key, with what was expected. Exit status 1 if
there is one.`,
		Example: `  telltale validate
  telltale validate --config ./telltale.yaml
  telltale validate --example > telltale.yaml`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if example {
				_, err := cl.out.Write(config.Example())
				return err
			}
			return cl.validate()
		},
	})
	c.Flags().BoolVar(&example, "example", false, "print a settings file with every key and its default, to begin with")
	return c
}

func (cl *cli) validate() error {
	cfg, err := cl.loadStrictly()
	if err == nil {
		err = listNameMistakes(cfg)
	}
	if err == nil {
		err = certificateMistakes(cfg)
	}
	if err == nil {
		_, err = ownSignatures(cfg)
	}
	if err == nil {
		err = checkCenterStore(cfg.Center.Store)
	}
	mistakes, many := errors.AsType[config.Mistakes](err)
	switch {
	case cl.json:
		report := struct {
			File     string   `json:"file"`
			Mistakes []string `json:"mistakes"`
		}{Mistakes: []string{}}
		for _, m := range mistakes {
			report.Mistakes = append(report.Mistakes, m.String())
		}
		if err == nil {
			report.File = cfg.File
		} else if !many {
			report.Mistakes = append(report.Mistakes, err.Error())
		}
		if e := cl.encoder().Encode(report); e != nil || err == nil {
			return e
		}
		return errSilent
	case err != nil:
		return err
	case cfg.File == "":
		fmt.Fprintln(cl.out, "no settings file: the defaults, the environment and the flags are valid")
	default:
		fmt.Fprintf(cl.out, "%s is valid\n", cfg.File)
	}
	return nil
}
