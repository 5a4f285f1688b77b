package client

import (
	"context"
	"iter"
	"maps"
	"net/url"
)

// pageSize is the most that the API gives at once.
const pageSize = "200"

// pages reads a list page after page, as far as it is ranged over. A cursor that repeats ends the list with the rows it gave:
// a server that never ends must not make a caller that never ends.
func pages[T any](ctx context.Context, c *Client, query url.Values, path ...string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		k := get(path...)
		k.query = maps.Clone(query)
		if k.query == nil {
			k.query = url.Values{}
		}
		if !k.query.Has("limit") {
			k.query.Set("limit", pageSize)
		}
		for {
			var page struct {
				Items []T    `json:"items"`
				Next  string `json:"next"`
			}
			if _, err := c.do(ctx, k, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == "" || page.Next == k.query.Get("cursor") {
				return
			}
			k.query.Set("cursor", page.Next)
		}
	}
}
