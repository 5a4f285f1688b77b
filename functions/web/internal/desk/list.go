package desk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"pinreset/shared/work"
)

// Limits of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Page asks for one page of a list.
type Page struct {
	Limit  int // 0 is DefaultLimit
	Cursor string
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return DefaultLimit
	}
	return min(p.Limit, MaxLimit)
}

// List is one page. It may be shorter than was asked for and still have a next one.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false" doc:"At most as many as were asked for; a page may be shorter and still have a next one"`
	Next  string `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
}

func listOf[T any](items []T) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{Items: items}
}

// cursors makes places in a list opaque, and binds them to the list and to who read it: a cursor tells a stranger nothing
// and opens nothing for him.
type cursors struct{ key []byte }

// seal makes the cursor of a place; an empty place, the end, has none.
func (c cursors) seal(who, partition, list, place string) string {
	if place == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(c.mac(who, partition, list, place), place...))
}

// open returns the place of a cursor, or work.ErrBadPage.
func (c cursors) open(who, partition, list, cursor string) (place string, err error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) <= macBytes || !hmac.Equal(raw[:macBytes], c.mac(who, partition, list, string(raw[macBytes:]))) {
		return "", fmt.Errorf("open cursor of %s: %w", list, work.ErrBadPage)
	}
	return string(raw[macBytes:]), nil
}

const macBytes = 16

func (c cursors) mac(parts ...string) []byte {
	h := hmac.New(sha256.New, c.key)
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum(nil)[:macBytes]
}

// paged reads one page of a list of the room: read gets the place and returns the next one.
func paged[T any](r *Room, list string, page Page, read func(limit int, place string) (items []T, next string, err error)) (List[T], error) {
	place, err := r.desk.cursors.open(r.who.ID, r.tenant.ID, list, page.Cursor)
	if err != nil {
		return List[T]{}, err
	}
	items, next, err := read(page.limit(), place)
	if err != nil {
		return List[T]{}, err
	}
	out := listOf(items)
	out.Next = r.desk.cursors.seal(r.who.ID, r.tenant.ID, list, next)
	return out, nil
}
