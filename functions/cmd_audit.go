package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
)

func (p *process) auditCommand() *cobra.Command {
	var f client.AuditFilter
	log := p.verb("log", "Show who did what, when and why, newest first", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		cols := columns("at", "action", "BY=actor.name", "DEVICE=deviceId", "REQUEST=requestId", "reason", "ticket", "change")
		return printList(p, cols, s.Audit(ctx, s.tenant, f), "no entry")
	})
	log.Flags().StringVar(&f.Person, "person", "", "only what this person or program did: an id, or a part of the name")
	log.Flags().StringVar(&f.Action, "action", "", "only this action, or those that begin so, as passcode. does")
	log.Flags().StringVar(&f.Device, "device", "", "only what was done to the device with this id")
	log.Flags().StringVar(&f.Day, "day", "", "only what was done on this day, such as 2026-11-22, in UTC")
	return p.noun("audit", "Audits of tenants: run, show, export; and the log of who did what", p.auditRun(), p.auditShow(), p.auditExport(), log)
}

var auditColumns = columns("id", "outcome", "state", "WHY=code", "DRIFT=drifted", "TARGETED=targeted", "SUCCEEDED=succeeded", "cause", "at")

// auditLine is an audit as a row of a list shows it.
type auditLine struct {
	client.TenantAudit
	Drifted   []string `json:"drifted,omitempty"`   // codes
	Targeted  *int     `json:"targeted,omitempty"`  // devices that the policy applies to; absent where nothing tells
	Succeeded *int     `json:"succeeded,omitempty"` // of those: took it
}

func lineOf(a client.TenantAudit) auditLine {
	l := auditLine{TenantAudit: a}
	for _, d := range a.Drift {
		l.Drifted = append(l.Drifted, string(d.Code))
	}
	if a.Status != nil {
		targeted := a.Status.Targeted()
		l.Targeted, l.Succeeded = &targeted, &a.Status.Succeeded
	}
	return l
}

func linesOf(all iter.Seq2[client.TenantAudit, error]) iter.Seq2[auditLine, error] {
	return func(yield func(auditLine, error) bool) {
		for a, err := range all {
			if !yield(lineOf(a), err) {
				return
			}
		}
	}
}

func (p *process) auditRun() *cobra.Command {
	var reason string
	var all bool
	var w watch
	c := p.verb("run [TENANT]", "Read a tenant now and compare it with the audit before; with --all, every tenant", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		if all {
			if len(args) > 0 || p.tenant != "" {
				return &mistake{"--all audits every tenant: name none"}
			}
			return p.auditEverybody(ctx, reason, w)
		}
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		a, err := s.StartAudit(ctx, s.tenant, reason)
		if err != nil {
			return err
		}
		err = w.run(ctx, p, func(ctx context.Context, line *progress) error {
			line.show("reading the tenant")
			var err error
			a, err = s.WaitAudit(ctx, s.tenant, a.ID)
			return err
		})
		if err != nil && !errors.Is(err, errStillPending) {
			return err
		}
		if err := p.printAudit(a); err != nil {
			return err
		}
		return p.auditEnd(a)
	})
	c.Flags().BoolVar(&all, "all", false, "audit every tenant; needs a token for all tenants")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	w.flags(c)
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

// auditEnd is the error of an audit that has not ended, or could not read the tenant.
func (p *process) auditEnd(a client.TenantAudit) error {
	switch a.Outcome {
	case survey.Pending:
		return &failure{text: "The audit has not ended", exit: exitPending, next: []string{p.hint("audit show %s", a.ID)}}
	case events.AuditNot:
	default:
		return nil
	}
	return &failure{text: "The tenant was not audited: " + a.CodeTitle, code: a.Code, next: []string{p.hint("diag show %s", a.Diagnostics[strings.LastIndex(a.Diagnostics, "/")+1:])}}
}

func (p *process) auditEverybody(ctx context.Context, reason string, w watch) error {
	c, err := p.api()
	if err != nil {
		return err
	}
	run, err := c.StartAudits(ctx, reason)
	if err != nil {
		return err
	}
	p.note("run %s: every tenant is audited", run.ID)
	if !w.on {
		return &failure{text: "The audits have not ended", exit: exitPending, next: []string{"pinreset audit show"}}
	}
	err = w.run(ctx, p, func(ctx context.Context, line *progress) error {
		return c.WaitAudits(ctx, run.ID, func(done, of int) { line.show(auditProgress(done, of)) })
	})
	if err != nil {
		return err
	}
	notRead := 0
	for t, err := range c.LatestAudits(ctx) {
		if err != nil {
			return err
		}
		if t.Audit != nil && t.Audit.Outcome == events.AuditNot {
			notRead++
		}
	}
	if err := p.printLatest(ctx, c, ""); err != nil || notRead == 0 {
		return err
	}
	return &failure{text: count(notRead, "tenant") + " could not be read", next: []string{"pinreset audit show"}}
}

// auditProgress draws how many tenants were audited.
func auditProgress(done, of int) string {
	full := min(barWidth, done*barWidth/max(of, 1))
	return fmt.Sprintf("[%s%s] %d of %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, count(of, "tenant"))
}

// latestLine is a tenant with its last audit as a row of a list shows it.
type latestLine struct {
	Tenant   string      `json:"tenant"`
	TenantID string      `json:"tenantId"`
	Kind     tenant.Kind `json:"kind"`
	Audit    *auditLine  `json:"audit,omitempty"`
}

var latestColumns = columns("tenant", "kind", "OUTCOME=audit.outcome", "STATE=audit.state", "WHY=audit.code", "DRIFT=audit.drifted", "TARGETED=audit.targeted", "SUCCEEDED=audit.succeeded", "AT=audit.at")

// printLatest prints the last audit of the tenant with the id, or of each where that is "".
func (p *process) printLatest(ctx context.Context, c *client.Client, only string) error {
	return printList(p, latestColumns, func(yield func(latestLine, error) bool) {
		for t, err := range c.LatestAudits(ctx) {
			if err == nil && only != "" && t.TenantID != only {
				continue
			}
			l := latestLine{Tenant: t.Tenant, TenantID: t.TenantID, Kind: t.Kind}
			if t.Audit != nil {
				a := lineOf(*t.Audit)
				l.Audit = &a
			}
			if !yield(l, err) {
				return
			}
		}
	}, "no tenant yet: pinreset tenant add TENANT-ID --name NAME")
}

func (p *process) auditShow() *cobra.Command {
	var history bool
	c := p.verb("show [ID]", "Show the last audit of each tenant, or of that of --tenant; with --history all of its audits; or one audit", func(ctx context.Context, args []string) error {
		if len(args) == 0 && !history {
			c, err := p.api()
			if err != nil {
				return err
			}
			if p.tenant == "" {
				return p.printLatest(ctx, c, "")
			}
			s, err := p.in(ctx, "")
			if err != nil {
				return err
			}
			return p.printLatest(ctx, s.Client, s.tenant)
		}
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return printList(p, auditColumns, linesOf(s.TenantAudits(ctx, s.tenant)), "no audit yet: pinreset audit run")
		}
		a, err := s.TenantAudit(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		return p.printAudit(a)
	})
	c.Flags().BoolVar(&history, "history", false, "list all audits of the tenant, newest first")
	return c
}

// printAudit prints one audit: for people with its parts, drift and differences below.
func (p *process) printAudit(a client.TenantAudit) error {
	cols := append(auditColumns[:len(auditColumns):len(auditColumns)], columns("REQUESTS=requests", "THROTTLED=throttled", "since", "DIAG=diagnostics")...)
	return printOne(p, cols, lineOf(a), func(w io.Writer) {
		for _, part := range a.Parts {
			if !part.Read {
				fmt.Fprintf(w, "could not be read: %s (%s) %s\n", clean(part.Name), part.Code, clean(part.Text))
			}
		}
		for _, d := range a.Drift {
			fmt.Fprintf(w, "drift: %s: %s\n", d.Code, clean(d.Detail))
			if d.RemedyID != "" {
				fmt.Fprintf(w, "  put right by rollout %s\n", clean(d.RemedyID))
			}
		}
		for _, c := range a.Changes {
			fmt.Fprintf(w, "changed: %s: %s → %s\n", clean(c.What), clean(c.Before), clean(c.After))
		}
		for _, l := range a.Lost {
			fmt.Fprintf(w, "too much to keep for the next audit: %d %s\n", l.Count, clean(l.What))
		}
	})
}

// auditRow is a line of an export.
type auditRow struct {
	Tenant    string    `json:"tenant"`
	TenantID  string    `json:"tenantId"`
	Outcome   string    `json:"outcome"`
	State     string    `json:"state"`
	Code      string    `json:"code"`
	Unread    []string  `json:"unread"`
	Drift     []string  `json:"drift"`
	Devices   *int      `json:"devices"` // null: could not be read
	Windows   *int      `json:"windows"`
	Targeted  *int      `json:"targeted"`
	Succeeded *int      `json:"succeeded"`
	At        time.Time `json:"at,omitzero"`
}

func (p *process) auditExport() *cobra.Command {
	var form string
	c := p.verb("export", "Write the last audit of each tenant to standard output, for a spreadsheet or a program", func(ctx context.Context, _ []string) error {
		if form != "csv" && form != "jsonl" {
			return &mistake{fmt.Sprintf("--format is csv or jsonl, not %q", form)}
		}
		c, err := p.api()
		if err != nil {
			return err
		}
		if form == "jsonl" {
			for t, err := range c.LatestAudits(ctx) {
				if err != nil {
					return err
				}
				if err := encode(p.stdout, rowOfAudit(t), ""); err != nil {
					return err
				}
			}
			return nil
		}
		return exportCSV(p.stdout, c.LatestAudits(ctx))
	})
	c.Flags().StringVar(&form, "format", "csv", "csv or jsonl")
	complete(c, "format", fixed("csv", "jsonl"))
	return c
}

func rowOfAudit(t client.LatestAudit) auditRow {
	r := auditRow{Tenant: t.Tenant, TenantID: t.TenantID, Outcome: "never", Unread: []string{}, Drift: []string{}}
	if t.Kind == tenant.OnPremises {
		r.Outcome = string(t.Kind) // nothing to read, and nothing that failed to be read
	}
	if t.Audit == nil {
		return r
	}
	a := lineOf(*t.Audit)
	r.Outcome, r.State, r.Code, r.At = a.Outcome, string(a.State), string(a.Code), a.At
	for _, part := range a.Parts {
		if !part.Read {
			r.Unread = append(r.Unread, part.Name)
		}
	}
	r.Drift = append(r.Drift, a.Drifted...)
	if a.Coverage != nil {
		r.Devices, r.Windows = &a.Coverage.Devices, &a.Coverage.Windows
	}
	r.Targeted, r.Succeeded = a.Targeted, a.Succeeded
	return r
}

// exportCSV writes a line for each tenant. What could not be read is an empty cell and never a zero.
func exportCSV(w io.Writer, all iter.Seq2[client.LatestAudit, error]) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"tenant", "tenantId", "outcome", "state", "code", "unread", "drift", "devices", "windows", "targeted", "succeeded", "at"}); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	number := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	for t, err := range all {
		if err != nil {
			out.Flush()
			return err
		}
		r := rowOfAudit(t)
		at := ""
		if !r.At.IsZero() {
			at = r.At.UTC().Format(time.RFC3339)
		}
		cells := []string{unformula(r.Tenant), r.TenantID, r.Outcome, r.State, r.Code, strings.Join(r.Unread, " "), strings.Join(r.Drift, " "),
			number(r.Devices), number(r.Windows), number(r.Targeted), number(r.Succeeded), at}
		if err := out.Write(cells); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// unformula keeps a spreadsheet from taking a tenant's name for a formula.
func unformula(s string) string {
	if s = clean(s); strings.ContainsAny(s[:min(1, len(s))], "=+-@\t") {
		return "'" + s
	}
	return s
}
