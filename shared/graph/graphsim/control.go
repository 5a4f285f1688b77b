package graphsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// controlRoutes serves the control plane. It is a thin layer: one path, one
// method of Cloud.
func (c *Cloud) controlRoutes(mux *http.ServeMux) {
	do := func(pattern string, h func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := h(r)
			switch {
			case errors.Is(err, ErrUnknown):
				writeJSON(w, http.StatusNotFound, map[string]string{"error": err.Error()})
			case errors.Is(err, ErrInvalid):
				writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			case err != nil:
				c.log.ErrorContext(r.Context(), "control plane", "path", r.URL.Path, "err", err)
				writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "the simulated cloud could not do it; see its log"})
			case body == nil:
				w.WriteHeader(http.StatusNoContent)
			default:
				writeJSON(w, http.StatusOK, body)
			}
		})
	}
	const tenant = "/sim/v1/tenants/{tenant}"
	const dev = tenant + "/devices/{device}"
	const app = tenant + "/apps/{app}"

	do("GET /sim/v1/tenants", func(r *http.Request) (any, error) {
		list, err := c.Tenants(r.Context())
		return map[string]any{"tenants": list}, err
	})
	do("GET "+tenant, func(r *http.Request) (any, error) { return c.Tenant(r.PathValue("tenant")) })
	do("PATCH "+tenant, func(r *http.Request) (any, error) {
		var in struct {
			ReplicationLag   *duration `json:"replicationLag"`
			ApprovalRequired *bool     `json:"approvalRequired"`
			ActionHistory    *bool     `json:"actionHistory"`
			Slow             *duration `json:"slow"`
			SlowAnswer       *duration `json:"slowAnswer"`
		}
		if err := decodeStrict(r, &in); err != nil {
			return nil, err
		}
		return nil, c.AdjustTenant(r.PathValue("tenant"), TenantKnobs{
			(*time.Duration)(in.ReplicationLag), in.ApprovalRequired, in.ActionHistory, (*time.Duration)(in.Slow), (*time.Duration)(in.SlowAnswer),
		})
	})
	do("POST "+tenant+"/faults", func(r *http.Request) (any, error) {
		var f Fault
		if err := decodeStrict(r, &f); err != nil {
			return nil, err
		}
		return nil, c.Inject(r.PathValue("tenant"), f)
	})
	do("DELETE "+tenant+"/faults", func(r *http.Request) (any, error) {
		return nil, c.ClearFaults(r.PathValue("tenant"))
	})

	do("POST "+app+"/consent", func(r *http.Request) (any, error) {
		return nil, c.Consent(r.PathValue("tenant"), r.PathValue("app"))
	})
	do("PATCH "+app, func(r *http.Request) (any, error) {
		var in struct {
			Enabled *bool `json:"enabled"`
		}
		if err := decodeStrict(r, &in); err != nil {
			return nil, err
		}
		if in.Enabled == nil {
			return nil, fmt.Errorf("body without enabled: %w", ErrInvalid)
		}
		return nil, c.EnableServicePrincipal(r.PathValue("tenant"), r.PathValue("app"), *in.Enabled)
	})
	do("DELETE "+app, func(r *http.Request) (any, error) {
		return nil, c.DeleteServicePrincipal(r.PathValue("tenant"), r.PathValue("app"))
	})
	do("POST "+app+"/roles", func(r *http.Request) (any, error) {
		roles, err := decodeRoles(r)
		if err != nil {
			return nil, err
		}
		return nil, c.Grant(r.PathValue("tenant"), r.PathValue("app"), roles...)
	})
	do("DELETE "+app+"/roles", func(r *http.Request) (any, error) {
		roles, err := decodeRoles(r)
		if err != nil {
			return nil, err
		}
		return nil, c.Revoke(r.PathValue("tenant"), r.PathValue("app"), roles...)
	})

	do("PATCH "+dev, func(r *http.Request) (any, error) {
		var in struct {
			Online    *bool    `json:"online"`
			Outcome   *Outcome `json:"outcome"`
			ErrorCode *int32   `json:"errorCode"`
		}
		if err := decodeStrict(r, &in); err != nil {
			return nil, err
		}
		return nil, c.AdjustDevice(r.PathValue("tenant"), r.PathValue("device"), DeviceKnobs(in))
	})
	do("POST "+tenant+"/checkIn", func(r *http.Request) (any, error) {
		return nil, c.CheckInAll(r.PathValue("tenant"))
	})
	do("POST "+dev+"/checkIn", func(r *http.Request) (any, error) {
		return nil, c.CheckIn(r.PathValue("tenant"), r.PathValue("device"))
	})
	do("POST "+dev+"/reenrol", func(r *http.Request) (any, error) {
		user, err := decodeUser(r)
		if err != nil {
			return nil, err
		}
		return nil, c.Reenrol(r.PathValue("tenant"), r.PathValue("device"), user)
	})
	do("POST "+dev+"/changeUser", func(r *http.Request) (any, error) {
		user, err := decodeUser(r)
		if err != nil {
			return nil, err
		}
		return nil, c.ChangeUser(r.PathValue("tenant"), r.PathValue("device"), user)
	})
	do("DELETE "+dev, func(r *http.Request) (any, error) {
		return nil, c.Retire(r.PathValue("tenant"), r.PathValue("device"))
	})

	c.policyControls(do, tenant, dev)
	do("GET /sim/v1/counters", func(*http.Request) (any, error) { return c.Counters(), nil })
	do("DELETE /sim/v1/counters", func(*http.Request) (any, error) { return nil, c.ResetCounters() })
	do("POST /sim/v1/redirects", func(r *http.Request) (any, error) {
		var in struct {
			URI string `json:"uri"`
		}
		if err := decodeStrict(r, &in); err != nil {
			return nil, err
		}
		return nil, c.RegisterRedirect(in.URI)
	})
	do("/sim/v1/", func(r *http.Request) (any, error) {
		return nil, fmt.Errorf("%s %s is not part of the control plane: %w", r.Method, r.URL.Path, ErrUnknown)
	})
}

// policyControls are what an administrator does behind our back.
func (c *Cloud) policyControls(do func(string, func(*http.Request) (any, error)), tenant, dev string) {
	const one = "/policies/{policy}"
	do("GET "+tenant+"/policies", func(r *http.Request) (any, error) {
		list, err := c.Policies(r.PathValue("tenant"))
		return map[string]any{"policies": list}, err
	})
	do("POST "+tenant+"/policies", func(r *http.Request) (any, error) {
		var spec PolicySpec
		if err := decodeStrict(r, &spec); err != nil {
			return nil, err
		}
		id, err := c.AddPolicy(r.PathValue("tenant"), spec)
		return map[string]string{"id": id}, err
	})
	do("PATCH "+tenant+one, func(r *http.Request) (any, error) {
		var in struct {
			Value *bool  `json:"value"`
			URI   string `json:"uri"`
		}
		if err := decodeStrict(r, &in); err != nil {
			return nil, err
		}
		if in.Value == nil {
			return nil, fmt.Errorf("body without value: %w", ErrInvalid)
		}
		return nil, c.ChangePolicy(r.PathValue("tenant"), r.PathValue("policy"), *in.Value, in.URI)
	})
	do("POST "+tenant+one+"/unassign", func(r *http.Request) (any, error) {
		return nil, c.UnassignPolicy(r.PathValue("tenant"), r.PathValue("policy"))
	})
	do("DELETE "+tenant+one, func(r *http.Request) (any, error) {
		return nil, c.DeletePolicy(r.PathValue("tenant"), r.PathValue("policy"))
	})
	do("POST "+tenant+"/groups/{group}/members", func(r *http.Request) (any, error) {
		var in struct {
			Join  []string `json:"join"`
			Leave []string `json:"leave"`
		}
		if err := decodeStrict(r, &in); err != nil {
			return nil, err
		}
		return nil, c.ChangeMembers(r.PathValue("tenant"), r.PathValue("group"), in.Join, in.Leave)
	})
	do("POST "+tenant+"/groups/{group}/lifecycle", func(r *http.Request) (any, error) {
		var in struct {
			Event string `json:"event"`
		}
		if err := decodeStrict(r, &in); err != nil {
			return nil, err
		}
		return nil, c.TellLifecycle(r.PathValue("tenant"), r.PathValue("group"), in.Event)
	})
	do("POST "+dev+"/resetPasscode", func(r *http.Request) (any, error) {
		return nil, c.ResetInPortal(r.PathValue("tenant"), r.PathValue("device"))
	})
	do("GET "+dev+"/report", func(r *http.Request) (any, error) {
		return c.DeviceReport(r.PathValue("tenant"), r.PathValue("device"))
	})
}

// A duration is written as Go writes it: "10s", "1m30s".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// decodeStrict reads a JSON object; an empty body is an empty object, an unknown
// name an error.
func decodeStrict(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && err != io.EOF {
		return fmt.Errorf("body: %w: %w", ErrInvalid, err)
	}
	return nil
}

func decodeRoles(r *http.Request) ([]string, error) {
	var in struct {
		Roles []string `json:"roles"`
	}
	err := decodeStrict(r, &in)
	return in.Roles, err
}

func decodeUser(r *http.Request) (string, error) {
	var in struct {
		User string `json:"user"`
	}
	err := decodeStrict(r, &in)
	return in.User, err
}
