package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (p *process) auditCommand() *cobra.Command {
	show := p.verb("show", "Show who did what, when and why, newest first", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		cols := columns("at", "action", "BY=actor.name", "DEVICE=deviceId", "REQUEST=requestId", "reason", "ticket", "change")
		return printList(p, cols, s.Audit(ctx, s.tenant), "no entry yet")
	})
	return p.noun("audit", "The audit log", show)
}
