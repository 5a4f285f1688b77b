package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ErrStartOver says that Graph does not know a delta token any more, because it is too old or the directory was moved. Read
// everything again, with the token "".
var ErrStartOver = errors.New("delta token is no longer good")

// Latest is a token in place of one: nothing that is there, and a token for what changes from now on.
const Latest = "latest"

// Changes are what changed in a collection since a token was given. The same object may be in it more than once; the last
// counts.
type Changes[T any] struct {
	Changed []T       // as they are now, new ones included
	Removed []Removed // those that are gone
	Token   string    // for the next time; keep it with what was made of the changes, in one commit
}

// Removed is an object that is gone.
type Removed struct {
	ID       string
	Restored bool // it may come back: the reason was changed, not deleted
}

// Delta reads the changes in one collection.
type Delta[T any] struct {
	path   string
	target string // of the first round
}

// PrincipalDelta reads the changes of service principals. Give it their object ids; without any it reads all that the
// tenant has.
func PrincipalDelta(ids ...string) Delta[ServicePrincipal] {
	return newDelta[ServicePrincipal]("/servicePrincipals/delta", servicePrincipalFields, ids)
}

// GrantDelta reads the changes of delegated permissions.
func GrantDelta() Delta[PermissionGrant] {
	return newDelta[PermissionGrant]("/oauth2PermissionGrants/delta", "id,clientId,consentType,principalId,resourceId,scope", nil)
}

// GroupChange is a group that changed, or whose members did.
type GroupChange struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Members     []struct {
		ID      string    `json:"id"`
		Removed *struct{} `json:"@removed"`
	} `json:"members@delta"`
}

// GroupDelta reads the changes of groups and of their direct members. Give it their ids; without any it reads all groups.
func GroupDelta(ids ...string) Delta[GroupChange] {
	return newDelta[GroupChange]("/groups/delta", "id,displayName,members", ids)
}

func newDelta[T any](path, fields string, ids []string) Delta[T] {
	var filter []string
	for _, id := range ids {
		filter = append(filter, equal("id", id))
	}
	return Delta[T]{path, path + query("$select", fields, "$filter", strings.Join(filter, " or "))}
}

// Since reads what changed since the token was given: "" reads everything, [Latest] nothing but a token. It reads all pages
// of the round. An error for which errors.Is(err, ErrStartOver) holds asks for everything.
func (d Delta[T]) Since(ctx context.Context, c *Client, tenant, token string) (Changes[T], error) {
	if err := checkIDs("tenant", tenant); err != nil {
		return Changes[T]{}, err
	}
	changes, err := d.round(ctx, c, tenant, token)
	if err != nil {
		return Changes[T]{}, fmt.Errorf("read changes of %s: %w", strings.TrimSuffix(strings.TrimPrefix(d.path, "/"), "/delta"), err)
	}
	return changes, nil
}

func (d Delta[T]) round(ctx context.Context, c *Client, tenant, token string) (changes Changes[T], err error) {
	target := d.target
	switch {
	case token == Latest:
		target += "&$deltaToken=latest"
	case token != "":
		if target = token; !d.place(token) {
			return changes, invalidf("%q is no delta token of this collection", bounded(token))
		}
	}
	seen := map[string]bool{target: true}
	for {
		a, _, err := c.general.send(ctx, tenant, get(target))
		if err != nil {
			if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusGone {
				err = fmt.Errorf("%w: %w", ErrStartOver, e)
			}
			return changes, err
		}
		var p struct {
			Value     []raw  `json:"value"`
			NextLink  string `json:"@odata.nextLink"`
			DeltaLink string `json:"@odata.deltaLink"`
		}
		if err := a.decode(a.body, &p); err != nil {
			return changes, err
		}
		for _, element := range p.Value {
			if err := changes.add(a, element); err != nil {
				return changes, err
			}
		}
		link := p.NextLink
		if link == "" {
			link = p.DeltaLink
		}
		next, err := c.nextTarget(V1, link)
		switch {
		case err == nil && !d.place(next):
			err = errors.New("link leads to another collection")
		case err == nil && p.NextLink == "":
			changes.Token = next
			return changes, nil
		case err == nil && seen[next]:
			err = errors.New("next link leads in a circle")
		}
		if err != nil {
			return changes, &Error{Method: http.MethodGet, Path: d.path, RequestID: a.header.Get("request-id"), Date: a.date, Err: err}
		}
		seen[next] = true
		target = next
	}
}

func (changes *Changes[T]) add(a *answer, element raw) error {
	var gone struct {
		ID      string `json:"id"`
		Removed *struct {
			Reason string `json:"reason"`
		} `json:"@removed"`
	}
	if err := a.decode(element, &gone); err != nil {
		return err
	}
	if gone.Removed != nil {
		changes.Removed = append(changes.Removed, Removed{ID: gone.ID, Restored: gone.Removed.Reason == "changed"})
		return nil
	}
	var v T
	if err := a.decode(element, &v); err != nil {
		return err
	}
	changes.Changed = append(changes.Changed, v)
	return nil
}

// place reports whether a target is a place in this collection's changes.
func (d Delta[T]) place(target string) bool {
	u, err := url.Parse(target)
	return err == nil && u.Scheme == "" && u.Host == "" && u.Fragment == "" && u.RawPath == "" &&
		strings.EqualFold(strings.TrimSuffix(strings.Replace(u.Path, "microsoft.graph.", "", 1), "()"), d.path)
}

var errNoID = errors.New("answer has no id")
