package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"pinreset/shared/fault"
)

// Read is a read of one thing, or of a whole list, that can be made by itself or as a part of a batch: [Read.Do], or
// [Read.Part] and then [Read.From]. What a page of a list leaves is read on beside the batch.
type Read[T any] struct {
	what    string // for errors: "read domains"
	version string
	target  string
	invalid error // of the ids that it was made with
	finish  func(ctx context.Context, c *Client, tenant string, a *answer) (T, error)
}

// Version is the version of Graph that the read goes to. A batch has one version for all its parts.
func (r Read[T]) Version() string { return r.version }

// Part is the read as a part of a batch; id is the caller's name for it. A read that was made with an id that is none makes
// the batch fail.
func (r Read[T]) Part(id string) BatchRequest {
	if r.invalid != nil {
		return BatchRequest{id: id}
	}
	return BatchGet(id, r.target)
}

// From takes what was read out of the answer to the part, and reads further pages, if there are any.
func (r Read[T]) From(ctx context.Context, c *Client, tenant string, part BatchResponse) (T, error) {
	if part.Err != nil {
		return r.failed(part.Err)
	}
	if part.answer == nil {
		return r.failed(errors.New("no answer"))
	}
	return r.from(ctx, c, tenant, part.answer)
}

// Do makes the read by itself.
func (r Read[T]) Do(ctx context.Context, c *Client, tenant string) (T, error) {
	if err := checkIDs("tenant", tenant); err != nil {
		return r.failed(err)
	}
	if r.invalid != nil {
		return r.failed(r.invalid)
	}
	a, _, err := c.general.send(ctx, tenant, r.request())
	if err != nil {
		return r.failed(err)
	}
	return r.from(ctx, c, tenant, a)
}

func (r Read[T]) from(ctx context.Context, c *Client, tenant string, a *answer) (T, error) {
	v, err := r.finish(ctx, c, tenant, a)
	if err != nil {
		return r.failed(err)
	}
	return v, nil
}

func (r Read[T]) failed(err error) (none T, _ error) { return none, fmt.Errorf("%s: %w", r.what, err) }

func (r Read[T]) request() request {
	req := get(r.target)
	req.version = r.version
	return req
}

// readOne is the read of a single entity.
func readOne[T any](what, version, target string) Read[T] {
	return Read[T]{what: what, version: version, target: target, finish: func(_ context.Context, _ *Client, _ string, a *answer) (v T, err error) {
		err = a.decodeOne(&v)
		return v, err
	}}
}

// readAll is the read of a list, with all its pages.
func readAll[T any](what, version, target string) Read[[]T] {
	return Read[[]T]{what: what, version: version, target: target, finish: func(ctx context.Context, c *Client, tenant string, a *answer) ([]T, error) {
		return following[T](ctx, c, tenant, version, target, a)
	}}
}

// following decodes the first page of a list and reads the others.
func following[T any](ctx context.Context, c *Client, tenant, version, target string, a *answer) ([]T, error) {
	var p page[T]
	if err := a.decode(a.body, &p); err != nil {
		return nil, err
	}
	if p.NextLink == "" {
		return p.Value, nil
	}
	next, err := c.nextTarget(version, p.NextLink)
	if err == nil && next == target {
		err = errors.New("next link leads in a circle")
	}
	if err != nil {
		return nil, &Error{Method: http.MethodGet, Path: a.path, RequestID: a.header.Get("request-id"), Date: a.date, Err: err}
	}
	r := get(next)
	r.version = version
	rest, err := collect(pages[T](ctx, c.general, tenant, r))
	if err != nil {
		return nil, err
	}
	return append(p.Value, rest...), nil
}

// then is the read with a step after it.
func then[T, U any](r Read[T], step func(ctx context.Context, c *Client, tenant string, v T) (U, error)) Read[U] {
	return Read[U]{what: r.what, version: r.version, target: r.target, invalid: r.invalid,
		finish: func(ctx context.Context, c *Client, tenant string, a *answer) (none U, _ error) {
			v, err := r.finish(ctx, c, tenant, a)
			if err != nil {
				return none, err
			}
			return step(ctx, c, tenant, v)
		}}
}

// of is the read, unless one of the ids that it was made with, names and ids in turn, is none.
func of[T any](r Read[T], ids ...string) Read[T] {
	r.invalid = checkIDs(ids...)
	return r
}

// batched makes reads of one version, as many batches as it takes, and returns what each gave, in their order. The first that
// fails is the error.
func batched[T any](ctx context.Context, c *Client, tenant string, reads []Read[T]) ([]T, error) {
	results := make([]T, 0, len(reads))
	for start := 0; start < len(reads); start += MaxBatch {
		some := reads[start:min(start+MaxBatch, len(reads))]
		if len(some) == 1 {
			v, err := some[0].Do(ctx, c, tenant)
			if err != nil {
				return nil, err
			}
			results = append(results, v)
			continue
		}
		parts := make([]BatchRequest, len(some))
		for i, r := range some {
			if r.invalid != nil {
				return nil, r.invalid
			}
			parts[i] = r.Part(fmt.Sprint(i + 1))
		}
		answers, err := c.Batch(ctx, tenant, some[0].version, parts)
		if err != nil {
			return nil, err
		}
		for i, r := range some {
			v, err := r.From(ctx, c, tenant, answers[i])
			if err != nil {
				return nil, err
			}
			results = append(results, v)
		}
	}
	return results, nil
}

// raw is an element of a list that is decoded later, by those who know its type.
type raw = json.RawMessage

func invalidf(format string, args ...any) error {
	return fault.Permanentf(fault.InvalidRequest, format, args...)
}
