package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/passcode"
)

func (p *process) passcodeCommand() *cobra.Command {
	var state string
	list := p.verb("list", "List resets, newest first", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return printList(p, resetColumns, s.Resets(ctx, s.tenant, passcode.State(state)), "no reset yet")
	})
	list.Flags().StringVar(&state, "state", "", "only those in this state, or \"open\" for those that have not ended")
	complete(list, "state", fixed("open", string(passcode.Accepted), string(passcode.Calling), string(passcode.Waiting), string(passcode.Issued),
		string(passcode.Removed), string(passcode.Failed), string(passcode.Cancelled), string(passcode.Expired), string(passcode.Observed)))
	return p.noun("passcode", "Resets and their codes: list, show, reveal, cancel", list, p.passcodeShow(), p.passcodeCaller(), p.passcodeCancel())
}

func (p *process) passcodeCancel() *cobra.Command {
	var reason string
	c := p.verb("cancel ID", "Give a pending reset up; the device may still carry it out", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		r, err := s.Reset(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		word := r.DeviceName
		if word == "" {
			word = r.ID
		}
		if err := p.confirm(ctx, "Giving up the reset of "+word, word); err != nil {
			return err
		}
		if r, err = s.CancelReset(ctx, s.tenant, r.ID, reason); err != nil {
			return err
		}
		return printList(p, resetColumns, one(r), "")
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	require(c, "reason")
	return c
}

func (p *process) passcodeShow() *cobra.Command {
	var reveal bool
	var reason, ticket, approved string
	var w watch
	c := p.verb("show ID", "Show a reset; with --reveal, its code", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		if reveal {
			if err := p.mayReveal(reason, w); err != nil {
				return err
			}
		} else if reason != "" || ticket != "" || approved != "" {
			return &mistake{"--reason, --ticket and --approval need --reveal"}
		}
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		if reveal {
			return p.reveal(ctx, s, args[0], reason, ticket, approved)
		}
		r, err := s.Reset(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		if w.on {
			return p.followReset(ctx, s, r, w)
		}
		cols := columns("id", "state", "WHY=whyText", "DEVICE=deviceName", "user", "platform", "serial", "effect", "origin", "bulk", "CROSSED BY=crossed.by", "CROSSED AT=crossed.at", "reason", "ticket",
			"BY=by.name", "REQUESTED=requestedAt", "deadline", "NEXT CHECK=nextCheck", "ISSUED=issuedAt", "EXPIRES=expiresAt", "readable",
			"SUPERSEDED BY=supersededBy", "views", "VIEWED=viewedAt", "VIEWED BY=viewedBy", "FAILURE=failureCode", "DIAG=diagnostics")
		return printOne(p, cols, r, func(out io.Writer) { p.printTimeline(out, r.Timeline) })
	})
	c.Flags().BoolVar(&reveal, "reveal", false, "show the code; needs --reason and a terminal, and is recorded")
	c.Flags().StringVar(&reason, "reason", "", "why the code is looked at, for the audit log")
	c.Flags().StringVar(&ticket, "ticket", "", "number of the ticket, for the audit log")
	c.Flags().StringVar(&approved, "approval", "", "id of the approval that was asked for with the same reason and ticket, where two people are needed")
	w.flags(c)
	return c
}

// mayReveal refuses before anything is sent: each reveal is a view, and a code belongs on a screen and nowhere else.
func (p *process) mayReveal(reason string, w watch) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return &mistake{"--reveal needs --reason TEXT"}
	case w.on:
		return &mistake{"--reveal can't be used with --watch"}
	case p.format != tableFormat || len(p.fields) > 0:
		return &mistake{"--reveal shows the code to a person: it can't be used with --output or --fields"}
	case !terminal(p.stdout):
		return &mistake{"--reveal shows the code to a person: standard output must be a terminal, not a file or a pipe"}
	}
	return nil
}

func (p *process) reveal(ctx context.Context, s scope, id, reason, ticket, approved string) error {
	r, err := s.RevealApproved(ctx, s.tenant, id, reason, ticket, approved)
	if err != nil {
		return err
	}
	p.note("%s · %s · seen %s · expires %s", r.DeviceName, orNobody(r.User), times(r.Views), p.stamp(r.ExpiresAt))
	p.note("this view is recorded with your reason; Intune keeps its own copy of the code")
	return printCode(p.stdout, r.Passcode)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// printCode prints a code as it is, in groups, and as words to read aloud.
func printCode(w io.Writer, code client.Secret) error {
	clear := code.Clear()
	_, err := fmt.Fprintf(w, "passcode  %s\ngroups    %s\nspelled   %s\n", clean(clear), clean(groups(clear)), clean(strings.Join(passcode.Spelled(clear, passcode.English), ", ")))
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// groups puts a space after every fourth character.
func groups(code string) string {
	var b strings.Builder
	for i, r := range []rune(code) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
