package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pinreset/events"
	"pinreset/shared/fault"
)

func (p *process) eventCommand() *cobra.Command {
	list := p.verb("list", "List what has happened in a tenant, newest first", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return printList(p, columns("time", "type", "subject", "REQUEST=data.requestId", "id"), s.Events(ctx, s.tenant), "no event yet")
	})
	send := p.verb("send FILE", "Send one CloudEvent; FILE - is standard input", func(ctx context.Context, args []string) error {
		event, err := p.readEvent(args[0])
		if err != nil {
			return err
		}
		c, err := p.api()
		if err != nil {
			return err
		}
		a, err := c.SendEvent(ctx, event)
		if err != nil {
			return err
		}
		return printList(p, columns("id", "REQUEST=requestId", "location"), one(a), "")
	})
	send.ValidArgsFunction = nil // a file's name
	return p.noun("event", "CloudEvents: send, list, schemas", list, send, p.eventSchema())
}

func (p *process) readEvent(name string) ([]byte, error) {
	in := p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &mistake{err.Error()}
		}
		defer f.Close()
		in = f
	}
	event, err := io.ReadAll(io.LimitReader(in, events.MaxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read event: %w", err)
	case len(event) > events.MaxBytes:
		return nil, &failure{text: events.ErrTooLarge.Error(), code: fault.RequestTooLarge}
	case len(strings.TrimSpace(string(event))) == 0:
		return nil, &mistake{"the event is empty"}
	}
	return event, nil
}

// kind is a row of the list of kinds.
type kind struct {
	Kind        string `json:"kind"`
	FromOutside bool   `json:"fromOutside"` // a system beside pinreset may send it
	DataSchema  string `json:"dataSchema"`
}

func (p *process) eventSchema() *cobra.Command {
	var example bool
	c := p.verb("schema [KIND]", "List the kinds of events, or print the JSON Schema of one", func(_ context.Context, args []string) error {
		if len(args) == 0 {
			if example {
				return &mistake{"--example needs KIND"}
			}
			return printList(p, columns("kind", "FROM OUTSIDE=fromOutside", "SCHEMA=dataSchema"), func(yield func(kind, error) bool) {
				for _, name := range events.Kinds() {
					if !yield(kind{name, events.FromOutside(name), events.SchemaID(name)}, nil) {
						return
					}
				}
			}, "")
		}
		find := events.Schema
		if example {
			find = events.Example
		}
		text, ok := find(strings.TrimPrefix(args[0], events.TypePrefix))
		if !ok {
			return &failure{
				text: fmt.Sprintf("There is no kind of event %q", args[0]), code: fault.NotFound, next: []string{"pinreset event schema"},
			}
		}
		_, err := p.stdout.Write(text)
		return err
	})
	c.Flags().BoolVar(&example, "example", false, "print a whole event of the kind instead")
	c.ValidArgsFunction = fixed(events.Kinds()...)
	return c
}
