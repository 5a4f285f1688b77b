package graphsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	azpolicy "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"pinreset/shared/clocktest"
	"pinreset/shared/graph/graphschema"
)

func newClock() *clocktest.Clock { return clocktest.New(time.Now().UTC()) }

// noLag lets the directory show changes at once; the rest keeps its defaults.
var noLag = Timing{ReplicationLag: -1}

// sim is a cloud with a recorder in front of it, which checks every v1.0
// exchange against the published schema.
type sim struct {
	*Cloud
	t        *testing.T
	clock    *clocktest.Clock
	recorder *graphschema.Recorder
	client   *http.Client // does not follow redirects
	tokens   sync.Map
}

func start(t *testing.T, o Options) *sim {
	t.Helper()
	clock := newClock()
	if o.Now == nil {
		o.Now = clock.Now
	}
	c, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &sim{Cloud: c, t: t, clock: clock}
	s.connect()
	t.Cleanup(func() {
		c.Close()
		if wrong := s.recorder.Tally().Violations; len(wrong) > 0 {
			t.Errorf("the simulator breaks the published schema:\n%s", strings.Join(wrong, "\n"))
		}
	})
	return s
}

func (s *sim) connect() {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = s.RootCAs()
	s.recorder = &graphschema.Recorder{Base: transport}
	s.client = &http.Client{
		Transport:     s.recorder,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.t.Cleanup(transport.CloseIdleConnections)
}

// credentialOptions point an unmodified credential at the cloud.
func (s *sim) credentialOptions() azpolicy.ClientOptions {
	return azpolicy.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: s.URL() + "/"},
		Transport: s.client,
		Retry:     azpolicy.RetryOptions{MaxRetries: -1},
	}
}

func (s *sim) credential(tenant string, app App) azcore.TokenCredential {
	s.t.Helper()
	cred, err := azidentity.NewClientSecretCredential(tenant, app.ClientID, app.Secret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: s.credentialOptions(), DisableInstanceDiscovery: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return cred
}

func signIn(ctx context.Context, cred azcore.TokenCredential) (string, error) {
	token, err := cred.GetToken(ctx, azpolicy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	return token.Token, err
}

// token signs in once per tenant and app.
func (s *sim) token(tenant string, app App) string {
	s.t.Helper()
	key := tenant + app.ClientID
	if token, ok := s.tokens.Load(key); ok {
		return token.(string)
	}
	token, err := signIn(s.t.Context(), s.credential(tenant, app))
	if err != nil {
		s.t.Fatal(err)
	}
	s.tokens.Store(key, token)
	return token
}

// reply is an HTTP answer with its JSON body.
type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (r reply) rows() []map[string]any {
	var rows []map[string]any
	list, _ := r.body["value"].([]any)
	for _, row := range list {
		rows = append(rows, row.(map[string]any))
	}
	return rows
}

func (r reply) code() string {
	e, _ := r.body["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

func (s *sim) send(method, target, token, body string, header ...string) (reply, error) {
	s.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.URL() + target
	}
	target = strings.ReplaceAll(target, " ", "%20")
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, target, in)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		if err := json.Unmarshal(text, &r.body); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, target, err, text)
		}
	}
	return r, nil
}

// want sends and expects a status.
func (s *sim) want(status int, method, target, token, body string, header ...string) reply {
	s.t.Helper()
	r, err := s.send(method, target, token, body, header...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	if r.status != status {
		s.t.Fatalf("%s %s: status %d, want %d: %s", method, target, r.status, status, r.text)
	}
	return r
}

// postForm submits a page's form as a script would.
func (s *sim) postForm(target string, form url.Values) reply {
	s.t.Helper()
	r, err := s.send(http.MethodPost, s.PagesURL()+target, "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// deviceID returns the id of a device by name.
func (s *sim) deviceID(tenant, name string) string {
	s.t.Helper()
	info, err := s.Tenant(tenant)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range info.Devices {
		if d.Name == name {
			return d.ID
		}
	}
	s.t.Fatalf("tenant %s has no device %s", tenant, name)
	return ""
}

const devicesPath = "/v1.0/deviceManagement/managedDevices/"

// reset posts a passcode reset.
func (s *sim) reset(tenant, device string) reply {
	s.t.Helper()
	_, privileged := s.Apps()
	r, err := s.send(http.MethodPost, devicesPath+s.deviceID(tenant, device)+"/resetPasscode", s.token(tenant, privileged), "")
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// results reads a device's action results.
func (s *sim) results(version, tenant, device string) []map[string]any {
	s.t.Helper()
	_, privileged := s.Apps()
	r := s.want(200, "GET", "/"+version+"/deviceManagement/managedDevices/"+s.deviceID(tenant, device)+"?$select=id,deviceName,deviceActionResults", s.token(tenant, privileged), "")
	var list []map[string]any
	for _, entry := range r.body["deviceActionResults"].([]any) {
		list = append(list, entry.(map[string]any))
	}
	return list
}

// state is the newest entry as "state/passcode/errorCode", "" without an entry.
func (s *sim) state(version, tenant, device string) string {
	s.t.Helper()
	list := s.results(version, tenant, device)
	if len(list) == 0 {
		return ""
	}
	passcode, _ := list[0]["passcode"].(string)
	return fmt.Sprintf("%s/%s/%v", list[0]["actionState"], passcode, list[0]["errorCode"])
}

// must fails the test on an error.
func (s *sim) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
