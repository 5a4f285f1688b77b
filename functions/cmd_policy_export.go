package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pinreset/shared/gpo"
)

// exportedPolicy is a Group Policy export with what to do with it.
type exportedPolicy struct {
	Directory string `json:"directory"`
	gpo.Instructions
}

func (p *process) policyExport() *cobra.Command {
	var dir string
	var off bool
	c := p.verb("export", "Write the policy as a Group Policy backup, for the console and LGPO", func(_ context.Context, _ []string) error {
		err := gpo.ForPinRecovery(!off, p.now()).Write(dir)
		switch {
		case errors.Is(err, gpo.ErrNotEmpty):
			return &failure{text: fmt.Sprintf("%s is not empty; an export is never mixed with what is there", dir), next: []string{"the same command with another --gpo DIR"}}
		case err != nil:
			return err
		}
		out := exportedPolicy{Directory: dir, Instructions: gpo.Steps(dir, !off)}
		return printOne(p, columns("directory", "policy", "state", "where"), out, func(w io.Writer) {
			p.printLines(w, "before you use it", out.Conditions)
			p.printLines(w, "in a domain, with the Group Policy Management Console", out.Domain)
			p.printLines(w, "on one computer, as administrator", out.Computer)
		})
	})
	c.Long = "Write the policy \"" + gpo.PolicyName + "\" as a Group Policy backup, for the Group Policy Management Console and LGPO.\n\n" +
		"It needs no server, and changes nothing but the directory. The folder follows backups that the console made;\n" +
		"no real console has been given one of these yet, so look at the result in the editor before you link it."
	c.Flags().StringVar(&dir, "gpo", "", "directory to write; made where it is not there, and must be empty")
	c.Flags().BoolVar(&off, "off", false, "switch PIN recovery off instead of on")
	require(c, "gpo")
	return c
}
