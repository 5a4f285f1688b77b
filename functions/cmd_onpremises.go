package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/tenant"
	"pinreset/shared/userreset"
)

// addOnPremises adds a tenant that has no Microsoft Entra ID. There is no consent to follow.
func (p *process) addOnPremises(ctx context.Context, name string, n client.NewTenant, w watch) error {
	switch {
	case n.Domain == "":
		return &mistake{"--on-premises needs --domain"}
	case events.IsGUID(strings.ToLower(name)):
		return &mistake{"--on-premises takes a name, and this is a tenant id: a tenant that has one is in Entra ID, and is added without --on-premises"}
	case n.DisplayName != "":
		return &mistake{"--on-premises takes the name as its argument and no --name"}
	case n.CreateServicePrincipals:
		return &mistake{"--create-service-principals is not for --on-premises"}
	case w.on:
		return &mistake{"--watch is not for --on-premises: nothing is consented there"}
	}
	c, err := p.api()
	if err != nil {
		return err
	}
	n.Kind, n.DisplayName = tenant.OnPremises, name
	t, err := c.AddTenant(ctx, n)
	if err != nil {
		return err
	}
	p.note("%s is added; it is on premises, so there is nothing to consent to", t.DisplayName)
	return printOne(p, columns("id", "NAME=displayName", "kind", "domain", "ADDED=addedAt"), t, func(w io.Writer) { printWays(w, t.Ways) })
}

// printWays prints which ways to a new PIN or passcode a tenant has.
func printWays(w io.Writer, ways []tenant.Way) {
	if len(ways) > 0 {
		fmt.Fprintln(w, "\nwhat applies")
	}
	for _, way := range ways {
		fmt.Fprintf(w, "  %s: %s\n     %s\n", clean(way.Title), clean(way.Answer), clean(way.Text))
	}
}

// printOnPremises prints what a tenant on premises is, what a reset there needs, and what to read aloud to a user.
func (p *process) printOnPremises(w io.Writer, domain string) {
	fmt.Fprintf(w, "\non premises: Active Directory domain %s, without Microsoft Entra ID\n", clean(domain))
	fmt.Fprintln(w, "\nwhat a reset needs")
	for _, r := range userreset.Requirements() {
		how := "ask"
		if r.Source == userreset.Reported {
			how = "the device reports it"
		}
		fmt.Fprintf(w, "  %s (%s): %s\n", r.Title, how, r.Text)
	}
	for _, place := range userreset.Places() {
		g := userreset.Destructive(place, userreset.OnPremises, 0)
		title := "read aloud, from Settings"
		if place == userreset.LockScreen {
			title = "read aloud, above the lock screen"
		}
		fmt.Fprintf(w, "\n%s\n  %s\n", title, g.Text)
		p.printLines(w, "before", g.Before)
		p.printLines(w, "steps", g.Steps)
		p.printLines(w, "afterwards", g.After)
	}
}
