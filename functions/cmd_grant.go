package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/grant"
)

var grantColumns = columns("id", "name", "PERSON'S TENANT=personTenant", "PERSON=personObject", "permissions", "EXPIRES=expiresAt", "REVOKED=revokedAt")

func (p *process) tenantGrants() *cobra.Command {
	c := p.verb("grants [TENANT]", "List the people who were let in to a tenant", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		return printList(p, grantColumns, s.Grants(ctx, s.tenant), "no grant")
	})
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

func (p *process) tenantGrant() *cobra.Command {
	var n client.NewGrant
	var person string
	c := p.verb("grant [TENANT]", "Let a person act on a tenant, for at most 90 days", func(ctx context.Context, args []string) error {
		home, object, ok := strings.Cut(person, "/")
		if !ok {
			return &mistake{"--person must be TENANT-ID/OBJECT-ID, as the page shows them to somebody who has no access"}
		}
		n.PersonTenant, n.PersonObject = home, object
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		g, err := s.GiveGrant(ctx, s.tenant, n)
		if err != nil {
			return err
		}
		return printOne(p, grantColumns, g, nil)
	})
	f := c.Flags()
	f.StringVar(&person, "person", "", "who: TENANT-ID/OBJECT-ID, the tenant that the person signs in to and the person's object id there")
	f.StringVar(&n.Name, "name", "", "what people call the person")
	f.StringSliceVar(&n.Permissions, "permission", nil, "what the person may do; may be repeated")
	f.IntVar(&n.Days, "days", 30, "days until it expires, at most 90")
	f.StringVar(&n.Reason, "reason", "", "why, for the audit log")
	require(c, "person", "name", "permission", "reason")
	complete(c, "permission", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, permission := range grant.Grantable() {
			names = append(names, string(permission))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

func (p *process) tenantRevoke() *cobra.Command {
	return p.verb("revoke GRANT", "End a grant, with effect on the person's next request", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		if err := s.RevokeGrant(ctx, s.tenant, args[0]); err != nil {
			return err
		}
		p.note("the grant is revoked")
		return nil
	})
}
