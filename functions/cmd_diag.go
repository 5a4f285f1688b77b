package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pinreset/shared/diag"
)

func (p *process) diagCommand() *cobra.Command {
	list := p.verb("list", "List what has failed, newest first", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return printList(p, columns("id", "at", "code", "title", "DEVICE=deviceId", "REQUEST=requestId"), s.Failures(ctx, s.tenant), "nothing has failed")
	})
	show := p.verb("show ID", "Show what happened and what to do; ID may be a diagnostics link", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		page, err := s.Diagnostics(ctx, s.tenant, diagID(args[0]))
		if err != nil {
			return err
		}
		page.Link = s.Link(page.Link)
		return printOne(p, columns("id", "at", "code", "title", "cause", "detail", "DEVICE=deviceId", "REQUEST=requestId", "PAGE=link"), page, func(w io.Writer) {
			p.printLines(w, "what to do", page.Fix)
			p.printTimeline(w, page.Timeline)
			if page.Truncated {
				fmt.Fprintln(w, "\nThe timeline has more attempts: these are the first and the last.")
			}
			p.printLines(w, "learn more", page.LearnMore)
		})
	})
	return p.noun("diag", "Failures: what happened and what to do", list, show)
}

func (p *process) printLines(w io.Writer, title string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n%s\n", title)
	}
	for i, text := range lines {
		fmt.Fprintf(w, "  %d. %s\n", i+1, clean(text))
	}
}

// printTimeline prints the attempts of a request with what happened in each.
func (p *process) printTimeline(w io.Writer, attempts []diag.Attempt) {
	if len(attempts) > 0 {
		fmt.Fprintln(w, "\ntimeline (UTC)")
	}
	for _, a := range attempts {
		fmt.Fprintf(w, "  %s  %s  %s%s, %s\n", a.StartedAt.UTC().Format(time.DateTime), clean(a.Function), clean(a.Verdict), in(a.Code), milliseconds(a.Milliseconds))
		if a.Detail != "" {
			fmt.Fprintf(w, "      %s\n", clean(a.Detail))
		}
		for _, s := range a.Steps {
			p.printStep(w, s)
		}
		if a.Dropped > 0 {
			fmt.Fprintf(w, "      and %s more\n", count(a.Dropped, "step"))
		}
	}
}

func (p *process) printStep(w io.Writer, s diag.Step) {
	facts := []string{s.Text}
	if s.Kind == diag.KindCall && s.Status == 0 {
		facts = append(facts, "no answer")
	} else if s.Status != 0 {
		facts = append(facts, fmt.Sprint(s.Status))
	}
	for _, fact := range []string{s.ErrorCode, labelled("Retry-After", s.RetryAfter), labelled("throttled by", s.Throttle)} {
		if fact != "" {
			facts = append(facts, fact)
		}
	}
	if s.Milliseconds > 0 {
		facts = append(facts, milliseconds(s.Milliseconds))
	}
	fmt.Fprintf(w, "      %s  %s\n", s.At.UTC().Format(time.TimeOnly), clean(strings.Join(facts, " · ")))
	if p.verbose && s.RequestID+s.ClientRequestID != "" {
		fmt.Fprintf(w, "                request-id %s, client-request-id %s\n", clean(s.RequestID), clean(s.ClientRequestID))
	}
}

func in(code string) string {
	if code == "" {
		return ""
	}
	return " (" + clean(code) + ")"
}

func labelled(label, text string) string {
	if text == "" {
		return ""
	}
	return label + " " + text
}

func milliseconds(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
