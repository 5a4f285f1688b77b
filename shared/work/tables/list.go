package tables

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"pinreset/shared/work"
)

// maxPage is how many entities the service returns at once (Query timeout and pagination).
const maxPage = 1000

// List returns rows in the byte order of their keys. A page may be shorter than asked for, or empty, and still have a next one: the
// service ends its answer after some time, at a border between its own ranges, and at 4 MiB.
func (t *Table) List(ctx context.Context, q work.Query) (work.Page, error) {
	if err := ctx.Err(); err != nil {
		return work.Page{}, err
	}
	last := ""
	if q.Page != "" {
		var err error
		if last, err = openPage(q); err != nil {
			return work.Page{}, err
		}
	}
	if !storable(q.Partition) || q.Prefix != "" && !storable(q.Prefix) {
		return work.Page{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	filter, format, top := filterOf(q, last), aztables.MetadataFormatFull, int32(min(cmp.Or(max(q.Limit, 0), 100), maxPage))
	pager := t.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{
		Filter: &filter, Top: &top,
		Format: &format, // the only one that is sure to tell the versions
	})
	var page work.Page
	for len(page.Rows) == 0 && pager.More() {
		answer, err := pager.NextPage(ctx)
		if err != nil {
			return work.Page{}, fmt.Errorf("query entities: %w", err)
		}
		for _, entity := range answer.Entities {
			row, err := decode(entity)
			if err != nil {
				return work.Page{}, err
			}
			if row.ETag == "" || !strings.HasPrefix(row.Row, q.Prefix) || row.Partition != q.Partition {
				return work.Page{}, errors.New("query entities: the answer has an entity without a version, or one that was not asked for")
			}
			page.Rows = append(page.Rows, row)
		}
	}
	if pager.More() && len(page.Rows) > 0 {
		// The service's own token names the row that comes next, and would step over one that is written in front of it
		// meanwhile. Going on behind the last row seen steps over nothing.
		page.Next = sealPage(q, page.Rows[len(page.Rows)-1].Row)
	}
	return page, nil
}

func filterOf(q work.Query, last string) string {
	filter := "PartitionKey eq " + quote(q.Partition)
	if last != "" {
		filter += " and RowKey gt " + quote(last)
	} else if q.Prefix != "" {
		filter += " and RowKey ge " + quote(q.Prefix)
	}
	end := after(q.Prefix)
	if q.Before != "" && (end == "" || q.Before < end) {
		end = q.Before
	}
	if end != "" {
		filter += " and RowKey lt " + quote(end)
	}
	return filter
}

// quote is the text as a string of a filter, where a quote is written twice.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// after is the least text that is greater than every key with the prefix; "" when there is none.
func after(prefix string) string {
	prefix = strings.TrimRight(prefix, "~") // no key has a greater character
	if prefix == "" {
		return ""
	}
	end := len(prefix) - 1
	return prefix[:end] + string(prefix[end]+1)
}

// sealPage makes the token of the page behind the row. The sum binds it to its list. It is no secret: a token tells where to go on
// in a list that its holder may read anyhow, and so it is good in every process and after a restart.
func sealPage(q work.Query, last string) string {
	return base64.RawURLEncoding.EncodeToString(append(pageSum(q, last), last...))
}

const sumBytes = 12

func openPage(q work.Query) (last string, err error) {
	data, err := base64.RawURLEncoding.DecodeString(q.Page)
	if err != nil || len(data) <= sumBytes || subtle.ConstantTimeCompare(data[:sumBytes], pageSum(q, string(data[sumBytes:]))) != 1 {
		return "", work.ErrBadPage
	}
	return string(data[sumBytes:]), nil
}

func pageSum(q work.Query, last string) []byte {
	sum := sha256.New()
	for _, part := range []string{"page", q.Partition, q.Prefix, last} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return sum.Sum(nil)[:sumBytes]
}
