package main

import (
	"context"

	"github.com/spf13/cobra"

	"pinreset/shared/callercheck"
	"pinreset/shared/client"
)

var callerColumns = columns("state", "code", "TRIES LEFT=triesLeft", "EXPIRES=expiresAt")

func (p *process) deviceCaller() *cobra.Command {
	c := p.verb("caller DEVICE", "Make a code with which the caller confirms a reset, or show whether that was done", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		d, err := s.device(ctx, p, args[0])
		if err != nil {
			return err
		}
		return p.checkCaller(ctx, s, callercheck.Reset, d.ID)
	})
	c.ValidArgsFunction = p.completeDevices
	return c
}

func (p *process) passcodeCaller() *cobra.Command {
	return p.verb("caller ID", "Make a code with which the caller confirms that a code is shown, or show whether that was done", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return p.checkCaller(ctx, s, callercheck.Reveal, args[0])
	})
}

// checkCaller shows the check, and begins one where none is going on.
func (p *process) checkCaller(ctx context.Context, s scope, action callercheck.Action, id string) error {
	check, err := s.CallerCheck(ctx, s.tenant, action, id)
	if err == nil && (check.State == callercheck.None || check.State == callercheck.Locked) {
		if check.State == callercheck.Locked {
			p.note("a wrong code was typed too often; make sure whom you are talking to")
		}
		check, err = s.AskCaller(ctx, s.tenant, action, id)
	}
	if err != nil {
		return err
	}
	switch check.State {
	case callercheck.Waiting:
		p.note("the device's user signs in with Microsoft and types the code at %s; run this again to see whether it was", s.Link("/me/confirm"))
	case callercheck.Confirmed:
		p.note("the user has confirmed the call")
	default:
		p.note("this tenant asks for no such check")
	}
	return printOne[client.CallerCheck](p, callerColumns, check, nil)
}
