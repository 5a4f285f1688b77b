package graphsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSubscriptions subscribes a webhook to a group, changes the group and counts
// what arrives: the second attempt where the first is refused, nothing where it
// is lost, nothing after the end.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	group := s.groupID(Contoso, "PIN recovery pilot")
	arrived := make(chan string, 10)
	var refuse atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := r.URL.Query().Get("validationToken"); token != "" {
			if r.URL.Path == "/deaf" {
				token = "what?"
			}
			io.WriteString(w, token)
			return
		}
		if refuse.CompareAndSwap(true, false) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		text, _ := io.ReadAll(r.Body)
		arrived <- string(text)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer hook.Close()
	body := func(url, resource string, life time.Duration) string {
		return fmt.Sprintf(`{"changeType":"updated","notificationUrl":%q,"resource":%q,"expirationDateTime":%q,"clientState":"secret"}`, url, resource, stamp(s.clock.Now().Add(life)))
	}
	members := "/groups/" + group + "/members"
	for what, b := range map[string]string{
		"no echo": body(hook.URL+"/deaf", members, time.Hour), "too long": body(hook.URL, members, longestGroup+time.Minute), "past": body(hook.URL, members, -time.Minute),
		"elsewhere": body("https://pinreset.example/hook", members, time.Hour), "another resource": body(hook.URL, "/devices", time.Hour),
	} {
		if r, err := s.send("POST", "/v1.0/subscriptions", token, b); err != nil || r.status != 400 {
			t.Errorf("%s: %d %s", what, r.status, r.text)
		}
	}
	s.want(404, "POST", "/v1.0/subscriptions", token, body(hook.URL, "/groups/"+newID()+"/members", time.Hour))
	made := s.want(201, "POST", "/v1.0/subscriptions", token, body(hook.URL, members, time.Hour)).body
	id := made["id"].(string)
	if made["clientState"] != "secret" {
		t.Errorf("made %v", made)
	}
	if rows := s.want(200, "GET", "/v1.0/subscriptions", token, "").rows(); len(rows) != 1 || rows[0]["clientState"] != nil {
		t.Errorf("subscriptions %v", rows)
	}
	s.want(200, "GET", "/v1.0/subscriptions/"+id, token, "")

	refuse.Store(true)
	s.must(s.ChangeMembers(Contoso, group, []string{"sam@contoso.example"}, nil))
	var said struct {
		Value []struct {
			ClientState, SubscriptionID, TenantID, Resource string
			ResourceData                                    map[string]any
		}
	}
	if err := json.Unmarshal([]byte(<-arrived), &said); err != nil || len(said.Value) != 1 {
		t.Fatalf("%v, %v", said, err)
	}
	if n := said.Value[0]; n.ClientState != "secret" || n.SubscriptionID != id || n.TenantID != Contoso || n.ResourceData["id"] != group || len(n.ResourceData["members@delta"].([]any)) != 1 {
		t.Errorf("notification %+v", n)
	}
	if refuse.Load() {
		t.Error("the first attempt was not refused")
	}

	s.must(s.Inject(Contoso, Fault{Kind: LostNotification}))
	s.must(s.ChangeMembers(Contoso, group, nil, []string{"sam@contoso.example"}))
	s.must(s.ChangeMembers(Contoso, "Field staff", nil, []string{"sam@contoso.example"}))
	renewed := s.want(200, "PATCH", "/v1.0/subscriptions/"+id, token, `{"expirationDateTime":"`+stamp(s.clock.Now().Add(2*time.Hour))+`"}`).body
	if renewed["expirationDateTime"] == made["expirationDateTime"] {
		t.Error("not renewed")
	}
	s.want(400, "PATCH", "/v1.0/subscriptions/"+id, token, `{"expirationDateTime":"2020-01-01T00:00:00Z"}`)
	s.clock.Advance(30 * time.Minute)
	s.must(s.ChangeMembers(Contoso, group, []string{"ines@contoso.example"}, nil))
	if text := <-arrived; !strings.Contains(text, "members@delta") {
		t.Error(text)
	}
	s.want(204, "DELETE", "/v1.0/subscriptions/"+id, token, "")
	s.want(404, "DELETE", "/v1.0/subscriptions/"+id, token, "")
	s.must(s.ChangeMembers(Contoso, group, nil, []string{"ines@contoso.example"}))
	s.deliveries.Wait()
	if len(arrived) != 0 {
		t.Errorf("also arrived: %s", <-arrived)
	}
}
