package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"pinreset/events/jsoncut"
)

// Pages goes through a collection whose first page a batch of the version has answered: that page, and those that follow it, each
// by a call of its own. visit gets each element, a slice of the answer, which it decodes. Pages returns how many pages it called
// for, and the target of the delta query that goes on from here, "" where the collection was none.
func (c *Client) Pages(ctx context.Context, tenant, version string, first BatchResponse, visit func(element []byte) error) (called int, delta string, err error) {
	if first.Err != nil {
		return 0, "", first.Err
	}
	if err := checkIDs("tenant", tenant); err != nil {
		return 0, "", err
	}
	a, seen := first.answer, map[string]bool{}
	for {
		next, last, err := a.page(visit)
		if err != nil {
			return called, "", err
		}
		broken := func(err error) error {
			return &Error{Method: http.MethodGet, Path: a.path, RequestID: a.header.Get("request-id"), Date: a.date, Err: err}
		}
		if next == "" {
			if last == "" {
				return called, "", nil
			}
			if delta, err = c.nextTarget(version, last); err != nil {
				return called, "", broken(err)
			}
			return called, delta, nil
		}
		target, err := c.nextTarget(version, next)
		if err == nil && seen[target] {
			err = errors.New("next link leads in a circle")
		}
		if err != nil {
			return called, "", broken(err)
		}
		seen[target] = true
		r := get(target)
		r.version = version
		if a, _, err = c.general.send(ctx, tenant, r); err != nil {
			return called, "", fmt.Errorf("read on: %w", err)
		}
		called++
	}
}

// page gives each element of a page to visit, and returns the links at its end.
func (a *answer) page(visit func(element []byte) error) (next, delta string, err error) {
	err = jsoncut.Members(a.body, func(name, value []byte) (err error) {
		switch string(name) {
		case "value":
			if string(value) != "null" {
				err = jsoncut.Entries(value, visit)
			}
		case "@odata.nextLink":
			next, err = jsoncut.Text(value)
		case "@odata.deltaLink":
			delta, err = jsoncut.Text(value)
		}
		return err
	})
	if err != nil {
		return "", "", a.unreadable(err)
	}
	return next, delta, nil
}
