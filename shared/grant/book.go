package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/shared/identity"
	"pinreset/shared/work"
)

// Book finds a person's grants. It is safe for concurrent use.
type Book struct {
	store work.Store
	now   func() time.Time
}

// NewBook returns the book of the store.
func NewBook(store work.Store, now func() time.Time) *Book { return &Book{store: store, now: now} }

// entry is a grant as it is found by the person.
type entry struct {
	Permissions []identity.Permission `json:"permissions"`
	ExpiresAt   time.Time             `json:"expiresAt"`
}

func personRow(person, tenant, id string) string {
	return PersonPrefix + person + "|" + tenant + "|" + id
}

// Publish lets the person find the tenant's grant. It may be repeated.
func (b *Book) Publish(ctx context.Context, tenant string, g Grant) error {
	value, err := json.Marshal(entry{g.Permissions, g.ExpiresAt})
	if err != nil {
		return fmt.Errorf("encode grant %s: %w", g.ID, err)
	}
	err = b.store.Commit(ctx, work.Batch{Partition: PeoplePartition, Writes: []work.Write{{Row: personRow(g.PersonID, tenant, g.ID), Value: value}}})
	if err != nil {
		return fmt.Errorf("publish grant %s: %w", g.ID, err)
	}
	return nil
}

// Withdraw undoes Publish. It may be repeated.
func (b *Book) Withdraw(ctx context.Context, tenant string, g Grant) error {
	err := b.store.Commit(ctx, work.Batch{Partition: PeoplePartition, Writes: []work.Write{{Row: personRow(g.PersonID, tenant, g.ID), Delete: true}}})
	if err != nil && !errors.Is(err, work.ErrNotFound) {
		return fmt.Errorf("withdraw grant %s: %w", g.ID, err)
	}
	return nil
}

// Principal returns what the person may do, as far as the person's own list says. Before anything is done on a tenant,
// [Book.Enter] asks the tenant.
func (b *Book) Principal(ctx context.Context, p identity.Person) (identity.Principal, error) {
	granted := map[string][]identity.Permission{}
	err := b.each(ctx, PersonPrefix+p.ID()+"|", func(tenant, _ string, e entry) error {
		granted[tenant] = append(granted[tenant], e.Permissions...)
		return nil
	})
	if err != nil {
		return identity.Principal{}, err
	}
	return identity.NewPrincipal(p, granted), nil
}

// Enter returns the principal as it is on the tenant: a person has what the tenant's own grants say at this moment.
func (b *Book) Enter(ctx context.Context, who identity.Principal, tenant string) (identity.Principal, error) {
	if who.Person == nil {
		return who, nil
	}
	granted := map[string][]identity.Permission{}
	err := b.each(ctx, PersonPrefix+who.Person.ID()+"|"+tenant+"|", func(tenant, id string, _ entry) error {
		row, err := b.store.Get(ctx, work.Key{Partition: tenant, Row: Prefix + id})
		if errors.Is(err, work.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read grant %s: %w", id, err)
		}
		var g Grant
		if err := json.Unmarshal(row.Value, &g); err != nil {
			return fmt.Errorf("decode grant %s: %w", id, err)
		}
		if g.PersonID == who.Person.ID() && g.Holds(b.now()) {
			granted[tenant] = append(granted[tenant], g.Permissions...)
		}
		return nil
	})
	if err != nil {
		return identity.Principal{}, err
	}
	return identity.NewPrincipal(*who.Person, granted).In(tenant), nil
}

// each calls fn for the entries with the prefix that have not expired.
func (b *Book) each(ctx context.Context, prefix string, fn func(tenant, id string, e entry) error) error {
	seen := 0
	for page := ""; seen < maxOfPerson; {
		p, err := b.store.List(ctx, work.Query{Partition: PeoplePartition, Prefix: prefix, Limit: 500, Page: page})
		if err != nil {
			return fmt.Errorf("list grants of a person: %w", err)
		}
		for _, row := range p.Rows {
			seen++
			var e entry
			if err := json.Unmarshal(row.Value, &e); err != nil {
				return fmt.Errorf("decode %s: %w", row.Row, err)
			}
			parts := strings.Split(row.Row, "|")
			if len(parts) != 4 || !b.now().Before(e.ExpiresAt) {
				continue
			}
			if err := fn(parts[2], parts[3], e); err != nil {
				return err
			}
		}
		if page = p.Next; page == "" {
			return nil
		}
	}
	return nil
}

// Close withdraws every grant of everybody. After a restore from a backup nobody knows which of them were revoked since.
func (b *Book) Close(ctx context.Context) (closed int, err error) {
	for {
		p, err := b.store.List(ctx, work.Query{Partition: PeoplePartition, Prefix: PersonPrefix, Limit: work.MaxOperations})
		if err != nil || len(p.Rows) == 0 {
			return closed, err
		}
		batch := work.Batch{Partition: PeoplePartition}
		for _, row := range p.Rows {
			batch.Writes = append(batch.Writes, work.Write{Row: row.Row, Delete: true})
		}
		if err := b.store.Commit(ctx, batch); err != nil {
			return closed, fmt.Errorf("withdraw grants: %w", err)
		}
		closed += len(batch.Writes)
	}
}

// Forget withdraws the tenant's grants, where the tenant is let go.
func (b *Book) Forget(ctx context.Context, tenant string) (int, error) {
	n := 0
	for page := ""; ; {
		grants, next, err := List(ctx, b.store, tenant, 0, page)
		if err != nil {
			return n, err
		}
		for _, g := range slices.DeleteFunc(grants, func(g Grant) bool { return !g.Holds(b.now()) }) {
			if err := b.Withdraw(ctx, tenant, g); err != nil {
				return n, err
			}
			n++
		}
		if page = next; page == "" {
			return n, nil
		}
	}
}
