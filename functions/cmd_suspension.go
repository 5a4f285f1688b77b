package main

import (
	"context"

	"github.com/spf13/cobra"
)

var suspensionColumns = columns("id", "name", "active", "SUSPENDED=at", "asked", "minutes", "LIFTED=liftedAt", "LIFTED BY=liftedBy.name")

func (p *process) tenantSuspended() *cobra.Command {
	c := p.verb("suspended [TENANT]", "List who was stopped for asking for too many resets and codes too fast", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		return printList(p, suspensionColumns, s.Suspensions(ctx, s.tenant), "nobody was suspended")
	})
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

func (p *process) tenantLift() *cobra.Command {
	var reason string
	c := p.verb("lift PERSON", "Let somebody who was suspended go on, by the id that the list shows", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		lifted, err := s.LiftSuspension(ctx, s.tenant, args[0], reason)
		if err != nil {
			return err
		}
		return printOne(p, suspensionColumns, lifted, nil)
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	require(c, "reason")
	return c
}
