package main

import (
	"context"

	"github.com/spf13/cobra"

	"pinreset/shared/approval"
	"pinreset/shared/client"
)

var approvalColumns = columns("id", "action", "state", "DEVICE=deviceName", "user", "BY=by.name", "reason", "ticket", "EXPIRES=expiresAt", "DECIDED BY=decidedBy.name")

func (p *process) approvalCommand() *cobra.Command {
	var all bool
	list := p.verb("list", "List what waits for a second person", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		state := approval.Waiting
		if all {
			state = ""
		}
		return printList(p, approvalColumns, s.Approvals(ctx, s.tenant, state), "nothing waits for a second person")
	})
	list.Flags().BoolVar(&all, "all", false, "also those that were decided or have expired")
	show := p.verb("show ID", "Show a request, who can decide it, and until when", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		a, err := s.Approval(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		return printOne(p, columns("id", "action", "state", "why", "DEVICE=deviceName", "user", "DEVICE ID=deviceId", "RESET=resetId", "group", "expected", "PLAN=planHash", "reason", "ticket",
			"BY=by.name", "ASKED=askedAt", "EXPIRES=expiresAt", "DECIDERS=deciders", "YOU CAN DECIDE=mayDecide", "DECIDED BY=decidedBy.name", "DECIDED=decidedAt", "note", "USED=usedAt", "hash"), a, nil)
	})
	return p.noun("approval", "What a second person has to approve: list, show, ask, approve, decline", list, show, p.approvalAsk(), p.approvalDecide(true), p.approvalDecide(false))
}

func (p *process) approvalAsk() *cobra.Command {
	var reason, ticket string
	c := p.verb("ask RESET", "Ask for a second person, to see the code of a reset", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		a, err := s.AskReveal(ctx, s.tenant, args[0], reason, ticket)
		if err != nil {
			return err
		}
		p.note("once approved: %s", p.hint("passcode show %s --reveal --approval %s with the same --reason and --ticket", a.ResetID, a.ID))
		return printList(p, approvalColumns, one(a), "")
	})
	c.Flags().StringVar(&reason, "reason", "", "why the code is looked at, for the audit log")
	c.Flags().StringVar(&ticket, "ticket", "", "number of the ticket, for the audit log")
	require(c, "reason")
	return c
}

// approvalDecide shows the request before it asks, and sends the hash of what it showed.
func (p *process) approvalDecide(approve bool) *cobra.Command {
	var reason string
	use, short, what := "decline ID", "Decline what somebody else asked for", "Declining"
	if approve {
		use, short, what = "approve ID", "Approve what somebody else asked for; a reset begins at once", "Approving"
	}
	c := p.verb(use, short, func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		a, err := s.Approval(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		p.note("%s · asked for by %s: %s · until %s", approvalText(a), a.By.Name, a.Reason, p.stamp(a.ExpiresAt))
		if err := p.confirm(ctx, what+" the request "+a.ID, a.ID); err != nil {
			return err
		}
		if a, err = s.Decide(ctx, s.tenant, a.ID, approve, a.Hash, reason); err != nil {
			return err
		}
		return printList(p, approvalColumns, one(a), "")
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	if !approve {
		require(c, "reason")
	}
	return c
}

func approvalText(a client.Approval) string {
	switch {
	case a.Action == approval.Bulk && a.Group == "":
		return "bulk reset of all devices"
	case a.Action == approval.Bulk:
		return "bulk reset of the group " + a.Group
	case a.Action == approval.Reveal:
		return "the code of " + a.DeviceName + " · " + orNobody(a.User)
	}
	return "reset of " + a.DeviceName + " · " + orNobody(a.User)
}
