package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

var letterColumns = columns("id", "at", "queue", "kind", "reason", "deliveries", "bytes", "REQUEST=requestId", "DIAG=diagnostics")

func (p *process) deadletterCommand() *cobra.Command {
	list := p.verb("list", "List messages that were set aside", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return printList(p, letterColumns, s.DeadLetters(ctx, s.tenant), "no dead letter")
	})
	show := p.verb("show ID", "Show a message that was set aside", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		l, err := s.DeadLetter(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		cols := append(letterColumns[:len(letterColumns):len(letterColumns)], columns("MESSAGE=messageId", "title", "detail")...)
		return printOne(p, cols, l, func(w io.Writer) {
			if len(l.Body) > 0 {
				fmt.Fprintf(w, "\nevent\n  %s\n", clean(string(l.Body)))
			}
		})
	})
	return p.noun("deadletter", "Messages that were set aside: show, replay, drop", list, show,
		p.settle("replay ID", "Send the message to its queue again", "", func(ctx context.Context, s scope, id, reason string) error {
			_, err := s.ReplayDeadLetter(ctx, s.tenant, id, reason)
			return err
		}, "the message is in its queue again"),
		p.settle("drop ID", "Remove the message for good", "drop", func(ctx context.Context, s scope, id, reason string) error {
			return s.DropDeadLetter(ctx, s.tenant, id, reason)
		}, "the message is dropped"))
}

// settle is a verb that ends a dead letter. ask is the word to type before, "" when nothing is lost by it.
func (p *process) settle(use, short, ask string, do func(ctx context.Context, s scope, id, reason string) error, done string) *cobra.Command {
	var reason string
	c := p.verb(use, short, func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		if ask != "" {
			l, err := s.DeadLetter(ctx, s.tenant, args[0])
			if err != nil {
				return err
			}
			if err := p.confirm(ctx, fmt.Sprintf("Dropping the message %s (%s)", l.ID, l.Kind), ask); err != nil {
				return err
			}
		}
		if err := do(ctx, s, args[0], reason); err != nil {
			return err
		}
		p.note("%s", done)
		return nil
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	require(c, "reason")
	return c
}
