package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"pinreset/events/jsoncut"
)

// decodeOne reads a single entity, plain or wrapped in {"value":{…}} as on Microsoft's example pages.
func (a *answer) decodeOne(v any) error {
	body := a.body
	_ = jsoncut.Members(a.body, func(name, value []byte) error { // what is wrong with it decode finds
		if string(name) == "value" && value[0] == '{' {
			body = value
		}
		return nil
	})
	return a.decode(body, v)
}

// decode reads JSON; its errors quote nothing of it.
func (a *answer) decode(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return a.unreadable(err)
	}
	return nil
}

// unreadable is the error of an answer that could not be decoded, without what it says.
func (a *answer) unreadable(err error) error {
	cause := errors.New("answer is not the JSON that was expected")
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		cause = fmt.Errorf("answer has the wrong type in %q", wrong.Field)
	}
	return &Error{Method: a.method, Path: a.path, RequestID: a.header.Get("request-id"), ClientRequestID: a.clientRequestID, Date: a.date, Err: cause}
}

// page is one page of a collection.
type page[T any] struct {
	Value    []T    `json:"value"`
	NextLink string `json:"@odata.nextLink"`
}

// pages reads a collection page by page, as the caller consumes it. An error ends it.
func pages[T any](ctx context.Context, id *identity, tenant string, r request) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seen := map[string]bool{}
		for {
			values, next, err := onePage[T](ctx, id, tenant, r, seen)
			for _, v := range values {
				if !yield(v, nil) {
					return
				}
			}
			if err != nil {
				yield(none, err)
				return
			}
			if next == "" {
				return
			}
			seen[next] = true
			r.target = next
		}
	}
}

// onePage reads one page of a collection, and the target of the next one, "" on the last. A next link that can't be followed,
// because it leads to one of the targets seen or away from our Graph, is an error beside the page's values.
func onePage[T any](ctx context.Context, id *identity, tenant string, r request, seen map[string]bool) (values []T, next string, err error) {
	a, _, err := id.send(ctx, tenant, r)
	if err != nil {
		return nil, "", err
	}
	var p page[T]
	if err := a.decode(a.body, &p); err != nil {
		return nil, "", err
	}
	if p.NextLink == "" {
		return p.Value, "", nil
	}
	next, err = id.client.nextTarget(r.version, p.NextLink)
	if err == nil && seen[next] {
		err = errors.New("next link leads in a circle")
	}
	if err != nil {
		return p.Value, "", &Error{Method: http.MethodGet, Path: r.path(), RequestID: a.header.Get("request-id"), Date: a.date, Err: err}
	}
	return p.Value, next, nil
}

// nextTarget is the target of a next link, which is taken as it is, but only if it leads to our Graph: the token
// goes with it.
func (c *Client) nextTarget(version, link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", errors.New("next link is no address")
	}
	if u.Scheme != c.base.Scheme || !strings.EqualFold(u.Host, c.base.Host) || u.User != nil {
		return "", errors.New("next link leads to another host")
	}
	rest, ok := strings.CutPrefix(link[strings.Index(link, "://")+3:], u.Host+c.base.EscapedPath()+"/"+version+"/")
	if !ok {
		return "", errors.New("next link leads out of the version")
	}
	return "/" + rest, nil
}

func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// equal is the OData expression field eq 'value'.
func equal(field, value string) string {
	return field + " eq '" + strings.ReplaceAll(value, "'", "''") + "'"
}

// query builds a query string from names and values in turn; empty values are left out.
func query(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if b.Len() == 0 {
			b.WriteByte('?')
		} else {
			b.WriteByte('&')
		}
		b.WriteString(pairs[i] + "=" + strings.ReplaceAll(url.QueryEscape(pairs[i+1]), "+", "%20"))
	}
	return b.String()
}

// bare is the name of a type without the leading # that is sometimes there.
func bare(odataType string) string {
	return strings.TrimPrefix(odataType, "#")
}
