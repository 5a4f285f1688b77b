package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/readiness"
	"pinreset/shared/tenant"
)

func (p *process) tenantReadiness() *cobra.Command {
	c := p.verb("readiness [TENANT]", "Say whether users can reset a forgotten PIN, and why not", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		r, err := s.TenantReadiness(ctx, s.tenant)
		if err != nil {
			return err
		}
		cols := columns("TENANT=tenantId", "state", "VERDICT=text", "reason", "AUDITED=readAt", "ALLOW LIST=allowList")
		return printOne(p, cols, r, func(w io.Writer) {
			p.printPaths(w, r.Paths, r.Checks)
			if r.Kind == tenant.OnPremises {
				p.note("nothing is audited on premises: what is known comes from reports of devices")
			} else if r.ReadAt.IsZero() {
				p.note("no audit of this tenant has ended")
			}
		})
	})
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

func (p *process) deviceReadiness() *cobra.Command {
	c := p.verb("readiness DEVICE", "Say by which paths a device's PIN or passcode can be reset, and why not by the others", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		id := args[0]
		if !events.IsGUID(id) { // a device that only reports has no name in Intune
			d, err := s.device(ctx, p, id)
			if err != nil {
				return err
			}
			id = d.ID
		}
		r, err := s.DeviceReadiness(ctx, s.tenant, id)
		if err != nil {
			return err
		}
		cols := columns("DEVICE=deviceId", "name", "user", "AUDITED=auditedAt", "REPORTED=reportedAt")
		return printOne(p, cols, r, func(w io.Writer) {
			p.printPaths(w, r.Paths, nil)
			p.noteGaps(r)
		})
	})
	c.ValidArgsFunction = p.completeDevices
	return c
}

// noteGaps says which of the two sources beside Graph is missing.
func (p *process) noteGaps(r client.DeviceReadiness) {
	if r.AuditedAt.IsZero() && r.Kind != tenant.OnPremises {
		p.note("no audit of this tenant has ended: what it allows is not known")
	}
	if r.ReportedAt.IsZero() {
		p.note("the device has not reported: what only it can tell is not known")
	}
}

// printPaths prints one line a path, and with --verbose every check.
func (p *process) printPaths(w io.Writer, paths []readiness.Verdict, checks []readiness.Check) {
	fmt.Fprintln(w)
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tabs, "PATH\tPOSSIBLE\tFIRST FIX")
	for _, v := range paths {
		fix := v.FirstFix()
		if fix == "" {
			fix = "-"
		}
		fmt.Fprintf(tabs, "%s\t%s\t%s\n", clean(string(v.Path)), clean(string(v.Answer)), clean(fix))
	}
	_ = tabs.Flush() // the process reports a broken output by itself
	if !p.verbose {
		return
	}
	if len(checks) > 0 {
		fmt.Fprintln(w)
		printChecks(w, checks)
	}
	for _, v := range paths {
		fmt.Fprintf(w, "\n%s: %s\n%s\n", clean(string(v.Path)), clean(string(v.Answer)), clean(v.Text))
		printChecks(w, v.Checks)
		for _, ask := range v.Before {
			fmt.Fprintf(w, "   before  %s\n", clean(ask))
		}
		for i, step := range v.Steps {
			fmt.Fprintf(w, "   %d. %s\n", i+1, clean(step))
		}
		for _, after := range v.After {
			fmt.Fprintf(w, "   after   %s\n", clean(after))
		}
	}
}

// printChecks prints checks with what mends them. What mends several at once, as a report of the device does, is said once.
func printChecks(w io.Writer, checks []readiness.Check) {
	said := map[string]string{} // fix → id of the check
	for _, c := range checks {
		outcome := string(c.Outcome)
		if c.Advice && c.Outcome != readiness.Passed && c.Outcome != readiness.NotApplicable {
			outcome += ", advice"
		}
		fmt.Fprintf(w, "   %s [%s] %s: %s\n", clean(c.ID), clean(outcome), clean(c.Title), clean(c.Evidence))
		all := strings.Join(c.Fix, "\n")
		if first, ok := said[all]; ok && len(c.Fix) > 0 {
			fmt.Fprintf(w, "      fix   as for %s\n", clean(first))
			continue
		}
		said[all] = c.ID
		for _, fix := range c.Fix {
			fmt.Fprintf(w, "      fix   %s\n", clean(fix))
		}
		if c.Link != "" && len(c.Fix) > 0 {
			fmt.Fprintf(w, "      page  %s\n", clean(c.Link))
		}
	}
}
