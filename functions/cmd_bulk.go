package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/passcode"
)

// bulkFlags say which devices a bulk reset is of.
type bulkFlags struct {
	group string
	all   bool
	plan  bool
}

func (b *bulkFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&b.group, "group", "", "reset the devices of this group's members, by the group's object id")
	c.Flags().BoolVar(&b.all, "all", false, "reset all devices of the tenant")
	c.Flags().BoolVar(&b.plan, "dry-run", false, "with --group or --all: find and count the devices, and send nothing")
	c.MarkFlagsMutuallyExclusive("group", "all")
}

func (b *bulkFlags) on() bool { return b.group != "" || b.all || b.plan }

var (
	bulkColumns = columns("id", "state", "TOTAL=counts.total", "DONE=counts.done", "WAITING=counts.waiting", "PLANNED=counts.planned", "QUEUED=counts.queued",
		"THROTTLED=counts.throttled", "FAILED=counts.failed", "SKIPPED=counts.skipped", "CANCELLED=counts.cancelled", "CALLED BY=calledBy", "DIAG=diagnostics")
	bulkItemColumns = columns("DEVICE=deviceName", "user", "state", "outcome", "code", "RESET=resetId", "DIAG=diagnostics", "ID=deviceId")
)

// bulkReset finds the devices first and shows how many they are; what is confirmed and sent is that plan and no other devices.
func (p *process) bulkReset(ctx context.Context, many bulkFlags, reason, ticket string, w watch) error {
	s, err := p.in(ctx, "")
	if err != nil {
		return err
	}
	ask := client.NewBulk{Group: many.group, All: many.all, PlanOnly: true, Reason: reason, Ticket: ticket}
	plan, err := s.StartBulk(ctx, s.tenant, ask)
	if err == nil {
		plan, err = s.WaitBulk(ctx, s.tenant, plan.ID, nil)
	}
	if err != nil {
		return err
	}
	if plan.State == passcode.BulkFailed {
		return p.bulkEnd(s, plan)
	}
	p.note("%d devices can be reset, %d have no passcode reset; the last one will have been called %s", plan.Counts.Total, plan.Counts.Ineligible, p.stamp(plan.CalledBy))
	if many.plan || plan.Counts.Total == 0 {
		return printList(p, bulkItemColumns, s.BulkItems(ctx, s.tenant, plan.ID), "no device can be reset")
	}
	if err := p.confirm(ctx, fmt.Sprintf("Resetting the passcodes of %d devices", plan.Counts.Total), strconv.Itoa(plan.Counts.Total)); err != nil {
		return err
	}
	ask.PlanOnly, ask.PlanHash, ask.Expected = false, plan.PlanHash, plan.Counts.Total
	b, err := s.StartBulk(ctx, s.tenant, ask)
	if err != nil {
		return err
	}
	return p.followBulk(ctx, s, b, w)
}

// followBulk watches a bulk reset if asked to, prints its devices, and says how it has ended.
func (p *process) followBulk(ctx context.Context, s scope, b client.Bulk, w watch) error {
	last := b
	err := w.run(ctx, p, func(ctx context.Context, line *progress) error {
		_, err := s.WaitBulk(ctx, s.tenant, b.ID, func(seen client.Bulk) {
			last = seen
			line.show(p.bulkLine(seen))
		})
		return err
	})
	if err != nil && !errors.Is(err, errStillPending) {
		return err
	}
	if last.Open || last.Counts.Total == 0 {
		err = printList(p, bulkColumns, one(last), "")
	} else {
		err = printList(p, bulkItemColumns, s.BulkItems(ctx, s.tenant, last.ID), "no device")
	}
	if err != nil {
		return err
	}
	return p.bulkEnd(s, last)
}

func (p *process) bulkLine(b client.Bulk) string {
	c := b.Counts
	text := fmt.Sprintf("%s · %d of %d ended · %d waiting · %d to call · %d failed", b.State, c.Ended(), c.Total, c.Waiting, c.Uncalled(), c.Failed)
	if c.Uncalled() > 0 {
		text += " · all called " + p.stamp(b.CalledBy)
	}
	return text
}

// bulkEnd is nil for a bulk reset all of whose devices were reset.
func (p *process) bulkEnd(s scope, b client.Bulk) error {
	next := []string{p.hint("device bulk show %s", b.ID)}
	switch {
	case b.State == passcode.BulkFailed:
		return &failure{text: fault.Lookup(b.FailureCode).Title, code: b.FailureCode, page: s.Link(b.Diagnostics), next: fault.Lookup(b.FailureCode).Fix}
	case b.State == passcode.BulkUnapproved:
		return &failure{text: "The bulk reset waits for a second person", code: fault.WaitingForApproval, exit: exitPending,
			next: []string{"a colleague: " + p.hint("approval approve %s", b.Approval), p.hint("device bulk show %s --watch", b.ID)}}
	case b.Open:
		return &failure{text: fmt.Sprintf("The bulk reset has not ended; %s", p.bulkLine(b)), exit: exitPending, next: []string{p.hint("device bulk show %s --watch", b.ID)}}
	case b.Counts.Failed > 0 || b.Counts.Cancelled > 0:
		return &failure{text: fmt.Sprintf("%d of %d devices failed, %d were cancelled", b.Counts.Failed, b.Counts.Total, b.Counts.Cancelled), next: next}
	}
	return nil
}

func (p *process) deviceBulk() *cobra.Command {
	list := p.verb("list", "List bulk resets, newest first", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return printList(p, bulkColumns, s.Bulks(ctx, s.tenant), "no bulk reset yet")
	})
	var w watch
	show := p.verb("show ID", "Show the devices of a bulk reset, with what has become of each", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		b, err := s.Bulk(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		return p.followBulk(ctx, s, b, w)
	})
	w.flags(show)
	var reason string
	cancel := p.verb("cancel ID", "Give a bulk reset up; devices that were called already may still carry it out", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		if err := p.confirm(ctx, "Giving up the bulk reset "+args[0], args[0]); err != nil {
			return err
		}
		b, err := s.CancelBulk(ctx, s.tenant, args[0], reason)
		if err != nil {
			return err
		}
		return printList(p, bulkColumns, one(b), "")
	})
	cancel.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	require(cancel, "reason")
	return p.noun("bulk", "Bulk resets: list, show, cancel", list, show, cancel)
}
