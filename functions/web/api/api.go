package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// Options are the parts of the API. All are required.
type Options struct {
	Desk    *desk.Desk
	Auth    identity.Authenticator
	Now     func() time.Time
	Version string
}

// api is what the calls share.
type api struct {
	Options
	huma huma.API
}

// Mount adds the API's routes to mux.
func Mount(mux *http.ServeMux, o Options) {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "pinreset", Version: o.Version,
				Description: "Consent to Microsoft's PIN reset service and reset of device passcodes, for many tenants. " +
					"Every answer has a header X-Correlation-Id. Lists are paged by an opaque cursor. " +
					"A changing POST takes an Idempotency-Key and may be repeated with it for eight days.",
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		// A misspelt filter would otherwise be ignored and everything be listed.
		RejectUnknownQueryParameters: true,
	}
	a := &api{Options: o, huma: humago.New(mux, config)}
	a.tenants()
	a.devices()
	a.resets()
	a.approvals()
	a.callers()
	a.bulk()
	a.policies()
	a.failures()
	a.events()
	a.tokens()
	a.grants()
	a.suspensions()
	a.audits()
	a.groupPolicy()
	a.notifications()

	// The framework's own route encodes the description lazily and without a lock.
	description, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		panic(fmt.Sprintf("api: describe: %v", err))
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(description)
	})
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		problem.New(r.Context(), fault.NotFound, "").Write(w)
	})
}

// The framework keeps how it makes errors in a variable of its package, the same for every API of a process.
func init() {
	huma.NewErrorWithContext = func(ctx huma.Context, status int, text string, errs ...error) huma.StatusError {
		return refusal(ctx.Context(), status, text, errs)
	}
	huma.NewError = func(status int, text string, errs ...error) huma.StatusError {
		return refusal(context.Background(), status, text, errs)
	}
}

// refusal is a request that the framework refused, for a reason that is its own fixed text. It quotes the places that are
// wrong and never the values.
func refusal(ctx context.Context, status int, text string, errs []error) *problem.Problem {
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return problem.New(ctx, fault.RequestTooLarge, "")
	case status >= http.StatusInternalServerError:
		problem.Note(ctx, errors.Join(errs...))
		return problem.New(ctx, fault.Internal, "")
	}
	fields := make([]problem.Field, 0, len(errs))
	for _, err := range errs {
		field := problem.Field{Message: "is not valid"}
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			field = problem.Field{Location: d.Location, Message: d.Message}
		}
		fields = append(fields, field)
	}
	if len(fields) == 0 {
		return problem.New(ctx, fault.InvalidRequest, text)
	}
	p := problem.Invalid(ctx, fields)
	if status != http.StatusUnprocessableEntity {
		p.Status = http.StatusBadRequest
	}
	return p
}

// operation is one line of the route table.
type operation struct {
	method, path string
	permission   identity.Permission // "": the call asks by itself
	everywhere   bool                // the call reaches beyond one tenant
	status       int                 // of success, where it is not 200
	summary      string
	tag          string
}

// outcome is what a call answers: an [answer] or what was [changed].
type outcome interface{ reply() *reply }

// reply is each outcome as the framework gets it. It makes all its code anew for each type of what it sends, several kilobytes of it; so
// it sends one type, and what it would have learnt of the others is said by add.
type reply struct {
	Status   int
	Location string `header:"Location"`
	Body     any
}

// add registers a call. The middleware answers who asks, the tenant and the permission before the body is read; the desk asks
// for the permission again, because it is the desk that must be safe.
func add[I any, O outcome](a *api, op operation, call func(context.Context, *I) (O, error)) {
	if op.status == 0 {
		op.status = http.StatusOK
	}
	sent := reflect.TypeFor[O]().Elem()
	body, _ := sent.FieldByName("Body")
	_, located := sent.FieldByName("Location")
	humaOp := a.describe(op)
	status := strconv.Itoa(op.status)
	humaOp.Responses = map[string]*huma.Response{status: {Content: map[string]*huma.MediaType{
		"application/json": {Schema: huma.SchemaFromField(a.huma.OpenAPI().Components.Schemas, body, humaOp.OperationID+"Response")},
	}}}
	register(a, humaOp, func(ctx context.Context, in *I) (*reply, error) {
		out, err := call(ctx, in)
		if err != nil {
			return nil, err
		}
		r := out.reply()
		r.Status = cmp.Or(r.Status, op.status)
		return r, nil
	})
	if described := a.described(op); !located {
		delete(described.Responses[status].Headers, "Location")
	}
}

// describe is the operation as the framework wants it described.
func (a *api) describe(op operation) huma.Operation {
	o := huma.Operation{
		Method: op.method, Path: op.path, Summary: op.summary, Tags: []string{op.tag}, DefaultStatus: op.status,
		OperationID: huma.GenerateOperationID(op.method, op.path, (*reply)(nil)), MaxBodyBytes: maxBody + 1,
		Middlewares: huma.Middlewares{a.admit(op)},
	}
	if op.permission != "" {
		o.Description = "Permission: `" + string(op.permission) + "`"
		if op.everywhere {
			o.Description += " on all tenants"
		}
	}
	return o
}

// register is huma.Register, for calls that answer errors as this program does.
func register[I, O any](a *api, op huma.Operation, call func(context.Context, *I) (*O, error)) {
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := call(ctx, in)
		if err != nil {
			problem.Note(ctx, err)
			return nil, problem.Of(ctx, err, a.Now())
		}
		return out, nil
	})
	for _, p := range a.described(operation{method: op.Method, path: op.Path}).Parameters {
		p.Required = p.Required || p.Name == "Idempotency-Key" // refused by the desk, under a code of its own
	}
}

// described is what the framework has made of the operation.
func (a *api) described(op operation) *huma.Operation {
	item := a.huma.OpenAPI().Paths[op.path]
	switch op.method {
	case http.MethodGet:
		return item.Get
	case http.MethodPatch:
		return item.Patch
	case http.MethodDelete:
		return item.Delete
	default:
		return item.Post
	}
}

type (
	principalKey struct{}
	roomKey      struct{}
)

// admit answers 401, 404 and 403.
func (a *api) admit(op operation) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		ctx := r.Context()
		refuse := func(err error) {
			problem.Note(ctx, err)
			problem.Of(ctx, err, a.Now()).Write(w)
		}
		w.Header().Set("Cache-Control", "no-store")
		who, err := a.Auth.Authenticate(r)
		if err != nil {
			refuse(err)
			return
		}
		problem.Asked(ctx, who.ID)
		hc = huma.WithValue(hc, principalKey{}, who)
		if id := hc.Param("tenant"); id != "" {
			room, err := a.Desk.Enter(ctx, who, id)
			if err != nil {
				refuse(err)
				return
			}
			hc = huma.WithValue(hc, roomKey{}, room)
			who = room.Who()
		} else if who.Person != nil && op.permission != "" && !op.everywhere && who.CanSomewhere(op.permission) {
			next(hc) // the desk shows of each tenant what may be seen there
			return
		}
		if op.permission != "" && !who.Can(op.permission) {
			refuse(problem.Refuse(fault.Forbidden, "The permission "+string(op.permission)+" is missing."))
			return
		}
		if op.everywhere && !who.All {
			refuse(problem.Refuse(fault.Forbidden, "This needs a token for all tenants."))
			return
		}
		next(hc)
	}
}

func principal(ctx context.Context) identity.Principal {
	return ctx.Value(principalKey{}).(identity.Principal)
}

func room(ctx context.Context) *desk.Room { return ctx.Value(roomKey{}).(*desk.Room) }

// Parts of inputs and outputs.
type (
	InTenant struct {
		Tenant string `path:"tenant" doc:"The tenant's id"`
	}
	ByID struct {
		InTenant
		ID string `path:"id"`
	}
	Paging struct {
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Most items of a page"`
		Cursor string `query:"cursor" maxLength:"8192" doc:"Where to go on: next of the page before"`
	}
	Keyed struct {
		Key string `header:"Idempotency-Key" doc:"A fresh random value; the same for a repeated request. 1 to 128 printable ASCII characters"`
	}
	answer[T any] struct {
		Body T
	}
	changed[T any] struct {
		Status   int
		Location string `header:"Location"`
		Body     T
	}
)

func (p Paging) page() desk.Page { return desk.Page{Limit: p.Limit, Cursor: p.Cursor} }

func answered[T any](body T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{body}, nil
}

func (a *answer[T]) reply() *reply { return &reply{Body: a.Body} }

func committed[T any](a desk.Answer[T], err error) (*changed[T], error) {
	if err != nil {
		return nil, err
	}
	return &changed[T]{Status: a.Status, Location: a.Location, Body: a.Body}, nil
}

func (c *changed[T]) reply() *reply {
	return &reply{Status: c.Status, Location: c.Location, Body: c.Body}
}
