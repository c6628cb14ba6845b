package main

import "github.com/spf13/cobra"

func (cl *cli) newEvidence() *cobra.Command {
	c := &cobra.Command{
		Use:   "evidence",
		Short: "Hand on what the log says so that others can check it, and check what others hand on",
		Long: `The log is sealed: whoever keeps one of its checkpoints can tell later whether a row
was changed, taken out, put in or moved. docs/seals.md says how, docs/bundles.md how
a finding is handed to somebody who does not believe it.`,
	}
	c.AddCommand(cl.newEvidenceCheckpoint(), cl.newEvidenceAudit(), cl.newEvidenceKey(), cl.newEvidenceExport(), cl.newEvidenceVerify())
	return c
}
