package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Links are those at the end of a page of a collection. Embed them in the struct that a page is decoded into.
type Links struct {
	Next  string `json:"@odata.nextLink"`
	Delta string `json:"@odata.deltaLink"` // on the last page of a delta query only
}

// Pages goes through a collection whose first page a batch of the version has answered: that page, and those that follow it, each
// by a call of its own. visit gets a function that decodes the page into a value, and returns the page's links. Pages
// returns the target of the delta query that goes on from here, "" where the collection was none.
func (c *Client) Pages(ctx context.Context, tenant, version string, first BatchResponse, visit func(decode func(any) error) (Links, error)) (delta string, err error) {
	if first.Err != nil {
		return "", first.Err
	}
	if err := checkIDs("tenant", tenant); err != nil {
		return "", err
	}
	a, seen := first.answer, map[string]bool{}
	for {
		links, err := visit(func(v any) error { return a.decode(a.body, v) })
		if err != nil {
			return "", err
		}
		broken := func(err error) error {
			return &Error{Method: http.MethodGet, Path: a.path, RequestID: a.header.Get("request-id"), Date: a.date, Err: err}
		}
		if links.Next == "" {
			if links.Delta == "" {
				return "", nil
			}
			if delta, err = c.nextTarget(version, links.Delta); err != nil {
				return "", broken(err)
			}
			return delta, nil
		}
		target, err := c.nextTarget(version, links.Next)
		if err == nil && seen[target] {
			err = errors.New("next link leads in a circle")
		}
		if err != nil {
			return "", broken(err)
		}
		seen[target] = true
		r := get(target)
		r.version = version
		if a, _, err = c.general.send(ctx, tenant, r); err != nil {
			return "", fmt.Errorf("read on: %w", err)
		}
	}
}
