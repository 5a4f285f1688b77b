package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/work"
)

// Partition is where tokens are. They are a list that spans tenants, as the register of tenants is.
const Partition = "tokens"

const (
	// TokenPrefix is the row prefix of tokens.
	TokenPrefix = "token|"
	clearPrefix = "pr_" // so that a token that leaked is found by a search
	secretBytes = 32
	// MaxDays is the longest life of a token that somebody makes.
	MaxDays = 366
)

// Token is a token as it is stored: everything but the token itself, of which there is only a hash.
type Token struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Tenants     []string     `json:"tenants"` // ids in lower case, or "*" alone for every tenant
	Permissions []Permission `json:"permissions"`
	CreatedAt   time.Time    `json:"createdAt"`
	CreatedBy   events.Actor `json:"createdBy"`
	ExpiresAt   time.Time    `json:"expiresAt,omitzero"` // zero: never, as only the local administrator's
	RevokedAt   time.Time    `json:"revokedAt,omitzero"`
}

type tokenRow struct {
	Token
	Hash []byte `json:"hash"` // SHA-256 of the random part
}

// principal is who holds the token, or ErrUnauthenticated when it has ended.
func (t Token) principal(now time.Time) (Principal, error) {
	switch {
	case !t.RevokedAt.IsZero():
		return Principal{}, fmt.Errorf("token %s was revoked: %w", t.ID, ErrUnauthenticated)
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return Principal{}, fmt.Errorf("token %s has expired: %w", t.ID, ErrUnauthenticated)
	}
	return Principal{
		ID: t.ID, Name: t.Name, All: slices.Contains(t.Tenants, "*"), Tenants: t.Tenants, Permissions: t.Permissions,
	}, nil
}

// Grant is what a new token allows.
type Grant struct {
	Name        string
	Tenants     []string
	Permissions []Permission
	Days        int // 1 to MaxDays
}

// normal checks the grant and returns it as it is stored. Its error is an *events.FieldError.
func (g Grant) normal() (Grant, error) {
	// The name is that of an actor in events and in the audit log, so it obeys their rule.
	if err := events.CheckText("name", g.Name, events.MaxActorName, true); err != nil {
		return g, err
	}
	if len(g.Tenants) == 0 || len(g.Tenants) > 1000 {
		return g, &events.FieldError{Field: "tenants", Problem: `must be 1 to 1000 tenant ids, or "*"`}
	}
	g.Tenants = slices.Clone(g.Tenants)
	for i, id := range g.Tenants {
		if id == "*" && len(g.Tenants) == 1 {
			break
		}
		if !events.IsGUID(id) {
			return g, &events.FieldError{Field: fmt.Sprintf("tenants[%d]", i), Problem: `must be a GUID, or "*" alone`}
		}
		g.Tenants[i] = strings.ToLower(id)
	}
	slices.Sort(g.Tenants)
	g.Tenants = slices.Compact(g.Tenants)
	if len(g.Permissions) == 0 {
		return g, &events.FieldError{Field: "permissions", Problem: "is missing"}
	}
	for i, p := range g.Permissions {
		if !slices.Contains(Permissions(), p) {
			return g, &events.FieldError{Field: fmt.Sprintf("permissions[%d]", i), Problem: "is not a permission"}
		}
	}
	g.Permissions = slices.Compact(slices.Sorted(slices.Values(g.Permissions)))
	if g.Days < 1 || g.Days > MaxDays {
		return g, &events.FieldError{Field: "days", Problem: fmt.Sprintf("must be 1 to %d", MaxDays)}
	}
	return g, nil
}

// Tokens keeps tokens in a store. It is an [Authenticator] for bearer tokens. It is safe for concurrent use.
type Tokens struct {
	store work.Store
	now   func() time.Time
	newID func() string
}

// NewTokens returns the tokens of the store.
func NewTokens(store work.Store, now func() time.Time, newID func() string) *Tokens {
	return &Tokens{store: store, now: now, newID: newID}
}

// Create stages a token and its audit entry on a unit of [Partition], and returns it with its text, which is stored
// nowhere. Its error is an *events.FieldError where the grant is wrong.
func (t *Tokens) Create(u *work.Unit, g Grant, by events.Actor) (token Token, text string, err error) {
	if g, err = g.normal(); err != nil {
		return Token{}, "", err
	}
	return t.create(u, g, by)
}

func (t *Tokens) create(u *work.Unit, g Grant, by events.Actor) (Token, string, error) {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // crypto/rand never fails: it ends the program instead
	hash := sha256.Sum256(random)
	row := tokenRow{Hash: hash[:], Token: Token{
		ID: u.NewID(), Name: g.Name, Tenants: g.Tenants, Permissions: g.Permissions, CreatedAt: u.Now(), CreatedBy: by,
	}}
	if g.Days > 0 {
		row.ExpiresAt = u.Now().AddDate(0, 0, g.Days)
	}
	err := errors.Join(
		u.Create(TokenPrefix+row.ID, row),
		audit.Append(u, audit.Entry{Actor: by, Action: audit.TokenCreated, RequestID: row.ID, Change: map[string]string{"name": row.Name}}))
	return row.Token, clearPrefix + row.ID + "_" + base64.RawURLEncoding.EncodeToString(random), err
}

// Revoke stages the end of a token on a unit of [Partition]: from its commit on the token opens nothing. A token that is
// revoked already stays as it is; one that does not exist is work.ErrNotFound.
func (t *Tokens) Revoke(ctx context.Context, u *work.Unit, id string, by events.Actor) (Token, error) {
	var row tokenRow
	err := u.Get(ctx, TokenPrefix+id, &row)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	if err != nil {
		return Token{}, fmt.Errorf("read token %s: %w", id, err)
	}
	if !row.RevokedAt.IsZero() {
		return row.Token, nil
	}
	row.RevokedAt = u.Now()
	return row.Token, errors.Join(
		u.Put(TokenPrefix+id, row),
		audit.Append(u, audit.Entry{Actor: by, Action: audit.TokenRevoked, RequestID: id, Change: map[string]string{"name": row.Name}}))
}

// Forget stages what takes a tenant from a token, on a unit of [Partition]: a token for it alone is revoked, one for others too
// loses it, and one for every tenant stays. changed tells whether anything was staged.
func (t *Tokens) Forget(ctx context.Context, u *work.Unit, id, tenant string, by events.Actor) (changed bool, err error) {
	var row tokenRow
	if err := u.Get(ctx, TokenPrefix+id, &row); err != nil {
		return false, fmt.Errorf("read token %s: %w", id, err)
	}
	if !row.RevokedAt.IsZero() || !slices.Contains(row.Tenants, tenant) {
		return false, nil
	}
	if len(row.Tenants) == 1 {
		_, err := t.Revoke(ctx, u, id, by)
		return true, err
	}
	row.Tenants = slices.DeleteFunc(row.Tenants, func(other string) bool { return other == tenant })
	return true, errors.Join(u.Put(TokenPrefix+id, row), audit.Append(u, audit.Entry{
		Actor: by, Action: audit.TokenNarrowed, RequestID: id, Change: map[string]string{"name": row.Name},
	}))
}

// List returns a page of tokens in the order they were made.
func (t *Tokens) List(ctx context.Context, limit int, page string) (tokens []Token, next string, err error) {
	p, err := t.store.List(ctx, work.Query{Partition: Partition, Prefix: TokenPrefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list tokens: %w", err)
	}
	for _, row := range p.Rows {
		var stored tokenRow
		if err := json.Unmarshal(row.Value, &stored); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		tokens = append(tokens, stored.Token)
	}
	return tokens, p.Next, nil
}

// Authenticate implements Authenticator for `Authorization: Bearer TOKEN`.
func (t *Tokens) Authenticate(r *http.Request) (Principal, error) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Principal{}, ErrUnauthenticated
	}
	return t.Check(r.Context(), strings.TrimSpace(text))
}

// Check returns who holds the token. The token names its row, so one read answers, and all that is compared against what
// was sent is a hash, in constant time.
func (t *Tokens) Check(ctx context.Context, text string) (Principal, error) {
	id, random, ok := splitToken(text)
	if !ok {
		return Principal{}, ErrUnauthenticated
	}
	row, err := t.read(ctx, id)
	if err != nil {
		return Principal{}, err
	}
	hash := sha256.Sum256(random)
	if subtle.ConstantTimeCompare(hash[:], row.Hash) != 1 {
		return Principal{}, fmt.Errorf("token %s: %w", id, ErrUnauthenticated)
	}
	return row.principal(t.now())
}

// Holder returns who holds the token with the id, for a session that was opened with it.
func (t *Tokens) Holder(ctx context.Context, id string) (Principal, error) {
	row, err := t.read(ctx, id)
	if err != nil {
		return Principal{}, err
	}
	return row.principal(t.now())
}

func (t *Tokens) read(ctx context.Context, id string) (tokenRow, error) {
	var row tokenRow
	got, err := t.store.Get(ctx, work.Key{Partition: Partition, Row: TokenPrefix + id})
	if errors.Is(err, work.ErrNotFound) || errors.Is(err, work.ErrBadKey) {
		return row, fmt.Errorf("no token %q: %w", id, ErrUnauthenticated)
	}
	if err != nil {
		return row, fmt.Errorf("read token %s: %w", id, err)
	}
	if err := json.Unmarshal(got.Value, &row); err != nil {
		return row, fmt.Errorf("decode token %s: %w", id, err)
	}
	return row, nil
}

// splitToken takes "pr_ID_RANDOM" apart. Ids have no underscore; the random part may.
func splitToken(text string) (id string, random []byte, ok bool) {
	rest, ok := strings.CutPrefix(text, clearPrefix)
	if !ok {
		return "", nil, false
	}
	id, encoded, ok := strings.Cut(rest, "_")
	if !ok || id == "" || len(id) > 64 || len(encoded) > 64 {
		return "", nil, false
	}
	random, err := base64.RawURLEncoding.DecodeString(encoded)
	return id, random, err == nil && len(random) == secretBytes
}
