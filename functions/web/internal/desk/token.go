package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/work"
)

// NewToken asks for a token.
type NewToken struct {
	Name        string                `json:"name" doc:"What people call it"`
	Tenants     []string              `json:"tenants" nullable:"false" doc:"Ids of tenants, or \"*\" alone for all"`
	Permissions []identity.Permission `json:"permissions" nullable:"false" doc:"What it allows on them"`
	Days        int                   `json:"days" doc:"How long it is valid, 1 to 366"`
}

// MadeToken is a token that was made. Its text is in the first answer and nowhere else: a repeated request gets the id
// alone, and who lost the text revokes the token and makes another one.
type MadeToken struct {
	identity.Token
	Text string `json:"token,omitempty" doc:"The token itself; shown this once"`
}

// Tokens lists the tokens there are, in the order they were made.
func (d *Desk) Tokens(ctx context.Context, who identity.Principal, page Page) (List[identity.Token], error) {
	if err := needEverywhere(who, identity.GrantWrite); err != nil {
		return List[identity.Token]{}, err
	}
	const list = "tokens"
	place, err := d.cursors.open(who.ID, identity.Partition, list, page.Cursor)
	if err != nil {
		return List[identity.Token]{}, err
	}
	tokens, next, err := d.o.Tokens.List(ctx, page.limit(), place)
	if err != nil {
		return List[identity.Token]{}, err
	}
	out := listOf(tokens)
	out.Next = d.cursors.seal(who.ID, identity.Partition, list, next)
	return out, nil
}

// MakeToken makes a token. Nobody gives away a permission that he does not have.
func (d *Desk) MakeToken(ctx context.Context, who identity.Principal, key string, in NewToken) (Answer[MadeToken], error) {
	var none Answer[MadeToken]
	if err := needEverywhere(who, identity.GrantWrite); err != nil {
		return none, err
	}
	for _, p := range in.Permissions {
		if !who.Can(p) && isPermission(p) {
			return none, problem.Refuse(fault.Forbidden, "A token can only get permissions that you have; you lack "+string(p)+".")
		}
	}
	c, err := callBy(who.ID, key, "make token", in)
	if err != nil {
		return none, err
	}
	made, text := "", "" // of the last attempt, which may not be the one that holds
	answer, err := once(ctx, d, identity.Partition, c, func(u *work.Unit) (Answer[MadeToken], error) {
		var token identity.Token
		var err error
		token, text, err = d.o.Tokens.Create(u, identity.Grant{
			Name: in.Name, Tenants: in.Tenants, Permissions: in.Permissions, Days: in.Days,
		}, who.Operator())
		if err != nil {
			return none, wrong(err)
		}
		made = token.ID
		return Answer[MadeToken]{Status: http.StatusCreated, Location: "/v1/tokens/" + token.ID, Body: MadeToken{Token: token}}, nil
	})
	if err != nil {
		return none, err
	}
	if answer.Body.ID == made {
		answer.Body.Text = text
	}
	return answer, nil
}

func isPermission(p identity.Permission) bool {
	for _, known := range identity.Permissions() {
		if p == known {
			return true
		}
	}
	return false
}

// RevokeToken ends a token, from the next request on.
func (d *Desk) RevokeToken(ctx context.Context, who identity.Principal, key, id string) (Answer[identity.Token], error) {
	var none Answer[identity.Token]
	if err := needEverywhere(who, identity.GrantWrite); err != nil {
		return none, err
	}
	c, err := callBy(who.ID, key, "revoke token "+id, nil)
	if err != nil {
		return none, err
	}
	return once(ctx, d, identity.Partition, c, func(u *work.Unit) (Answer[identity.Token], error) {
		token, err := d.o.Tokens.Revoke(ctx, u, id, who.Operator())
		if errors.Is(err, work.ErrNotFound) {
			return none, missing(err)
		}
		if err != nil {
			return none, fmt.Errorf("revoke token %s: %w", id, err)
		}
		return Answer[identity.Token]{Status: http.StatusOK, Body: token}, nil
	})
}
