package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/passcode"
)

var deviceColumns = columns("name", "user", "platform", "VERSION=osVersion", "CAN RESET=eligibility.answer", "LAST SYNC=lastSync", "PENDING=pendingReset", "id")

func (p *process) deviceCommand() *cobra.Command {
	var search string
	list := p.verb("list", "List devices, live from Intune", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return printList(p, deviceColumns, s.Devices(ctx, s.tenant, search), "no device found")
	})
	list.Flags().StringVar(&search, "search", "", "exact device name, user principal name or serial number")
	show := p.verb("show DEVICE", "Show a device, whether its passcode can be reset, and its resets", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		d, err := s.device(ctx, p, args[0])
		if err != nil {
			return err
		}
		cols := columns("name", "user", "platform", "VERSION=osVersion", "model", "serial", "LAST SYNC=lastSync", "id",
			"CAN RESET=eligibility.answer", "EFFECT=eligibility.effect", "EXPLAINED=eligibility.text", "PENDING=pendingReset")
		return printOne(p, cols, d, func(w io.Writer) {
			if len(d.Resets) > 0 {
				fmt.Fprintln(w)
				t := p.table(resetColumns)
				t.out = w
				for _, r := range d.Resets {
					_ = t.add(r) // a struct of strings and times always encodes
				}
				_ = t.end()
			}
		})
	})
	show.ValidArgsFunction = p.completeDevices
	return p.noun("device", "Devices: find them, reset their passcodes, and let them report", list, show, p.deviceReadiness(), p.deviceReset(), p.deviceCaller(), p.deviceBulk(), p.deviceKeyCommand(), p.deviceReport())
}

func (p *process) deviceReset() *cobra.Command {
	var reason, ticket string
	var w watch
	var many bulkFlags
	c := p.verb("reset [DEVICE]", "Reset a device's passcode, or those of many devices", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		switch {
		case many.on() == (len(args) > 0):
			return &mistake{"name a device, or --group, or --all"}
		case many.plan && many.group == "" && !many.all:
			return &mistake{"--dry-run needs --group or --all"}
		case reason == "" && !many.plan:
			return errNoReason
		case many.on():
			return p.bulkReset(ctx, many, reason, ticket, w)
		}
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		d, err := s.device(ctx, p, args[0])
		if err != nil {
			return err
		}
		p.note("%s %s · %s · last contact %s", d.Platform, d.OSVersion, orNobody(d.User), p.stamp(d.LastSync))
		p.note("%s", d.Eligibility.Text)
		if d.PendingReset == "" {
			if err := p.confirmReset(ctx, d); err != nil {
				return err
			}
		}
		r, existing, err := s.StartReset(ctx, s.tenant, d.ID, reason, ticket)
		if err != nil {
			return err
		}
		if existing {
			p.note("a reset asked for at %s by %s has not ended: this is that one", p.stamp(r.RequestedAt), r.By.Name)
		}
		return p.followReset(ctx, s, r, w)
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	c.Flags().StringVar(&ticket, "ticket", "", "number of the ticket, for the audit log")
	w.flags(c)
	many.flags(c)
	c.ValidArgsFunction = p.completeDevices
	return c
}

func orNobody(user string) string {
	if user == "" {
		return "no user"
	}
	return user
}

// confirmReset asks for the device's name. Nobody is asked to confirm what can't work; with --yes it is sent all the same, and
// its failure gets a page that explains it.
func (p *process) confirmReset(ctx context.Context, d client.Device) error {
	if d.Eligibility.Answer == passcode.No && !p.yes {
		e := fault.Lookup(d.Eligibility.Code)
		return &failure{text: e.Title + ": nothing was sent", code: e.Code, next: e.Fix}
	}
	return p.confirm(ctx, "Resetting the passcode of "+d.Name, d.Name)
}

var resetColumns = columns("id", "state", "DEVICE=deviceName", "user", "WHY=whyText", "REQUESTED=requestedAt", "EXPIRES=expiresAt", "DIAG=diagnostics")

// followReset watches a reset if asked to, prints it, and says how it has ended.
func (p *process) followReset(ctx context.Context, s scope, r client.Reset, w watch) error {
	last := r
	err := w.run(ctx, p, func(ctx context.Context, line *progress) error {
		_, err := s.WaitReset(ctx, s.tenant, r.ID, func(seen client.Reset) {
			last = seen
			line.show(resetLine(seen))
		})
		return err
	})
	if err != nil && !errors.Is(err, errStillPending) {
		return err
	}
	last.Timeline = nil
	if err := printList(p, resetColumns, one(last), ""); err != nil {
		return err
	}
	return p.resetEnd(s, last)
}

func one[T any](v T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) { yield(v, nil) }
}

func resetLine(r client.Reset) string {
	text := string(r.State)
	if r.WhyText != "" {
		text += " · " + r.WhyText
	}
	return text
}

// resetEnd is nil for a reset that worked, and says why for any other.
func (p *process) resetEnd(s scope, r client.Reset) error {
	switch r.State {
	case passcode.Issued:
		p.note("a code can be revealed until %s", p.stamp(r.ExpiresAt))
		p.note("next: %s", p.hint("passcode show %s --reveal --reason TEXT", r.ID))
		return nil
	case passcode.Removed:
		p.note("the passcode was removed; there is no code")
		return nil
	case passcode.Observed:
		p.note("it was started in Intune's own portal, and its code is shown there")
		return nil
	case passcode.Failed:
		e := fault.Lookup(r.FailureCode)
		f := &failure{text: e.Title, code: e.Code, page: s.Link(r.Diagnostics)}
		if r.Diagnostics != "" {
			f.next = []string{p.hint("diag show %s", diagID(r.Diagnostics))}
		}
		return f
	case passcode.Unapproved:
		return &failure{
			text: "The reset waits for a second person until " + p.stamp(r.Deadline), code: r.Why, exit: exitPending,
			next: []string{"a colleague: " + p.hint("approval approve %s", r.Approval), p.hint("passcode show %s --watch", r.ID)},
		}
	case passcode.Cancelled:
		return &failure{text: "The reset was cancelled", code: fault.StateConflict, next: []string{p.hint("passcode show %s", r.ID)}}
	case passcode.Expired:
		return &failure{text: "The code of this reset has expired and was destroyed", code: fault.NotRevealable, next: []string{p.hint("device reset %s --reason TEXT", r.DeviceID)}}
	}
	return &failure{
		text: fmt.Sprintf("The reset has not ended; it is %s", resetLine(r)), code: r.Why, exit: exitPending,
		next: []string{p.hint("passcode show %s --watch", r.ID)},
	}
}
