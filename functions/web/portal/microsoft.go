package portal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"

	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/identity/entra"
	"pinreset/shared/tenant"
)

const (
	microsoftPath = "/sign-in/microsoft"
	// ReturnPath is where Microsoft Entra ID sends the browser back to. It is registered there, behind the public address.
	ReturnPath = "/sign-in/return"
)

// pending is a sign-in that a browser began.
type pending struct {
	entra.Attempt
	Return string `json:"return"`
}

// attempts seals what a browser keeps between leaving for Microsoft and coming back. It is in the browser's own cookie, so that only
// the browser that began a sign-in can finish it, and so that visitors make us store nothing.
type attempts struct{ sealer cipher.AEAD }

func newAttempts(root []byte) attempts {
	key, err := hkdf.Key(sha256.New, root, nil, "pinreset/sign-in/1", 32)
	if err != nil {
		panic(err) // 32 bytes are always to be had
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // of 32 bytes there is always one
	}
	sealer, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return attempts{sealer}
}

func (a attempts) seal(p pending) (string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, a.sealer.NonceSize())
	_, _ = rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(a.sealer.Seal(nonce, nonce, text, nil)), nil
}

func (a attempts) open(sealed string) (p pending, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(data) < a.sealer.NonceSize() {
		return p, false
	}
	nonce, data := data[:a.sealer.NonceSize()], data[a.sealer.NonceSize():]
	text, err := a.sealer.Open(nil, nonce, data, nil)
	return p, err == nil && json.Unmarshal(text, &p) == nil
}

// pendingCookie is the name of the cookie of a browser that is signing in.
func pendingCookie(r *http.Request) (name string, secure bool) {
	name, secure = cookieOf(r)
	return name + "-signin", secure
}

func (p *pages) setPending(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	name, secure := pendingCookie(r)
	http.SetCookie(w, &http.Cookie{
		// Lax, because the browser comes back from another site; the path is / as the prefix of the name demands.
		Name: name, Value: value, Path: "/", MaxAge: maxAge, Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// toMicrosoft sends the browser to sign in.
func (p *pages) toMicrosoft(w http.ResponseWriter, r *http.Request) {
	if p.SignIn == nil {
		p.fail(w, r, problem.Refuse(fault.NotFound, ""))
		return
	}
	// Whoever asks for less than is needed is asked again.
	authContext := r.URL.Query().Get("context")
	if !tenant.IsStepUpContext(authContext) {
		authContext = ""
	}
	attempt, to, err := p.SignIn.Begin(r.Context(), "", authContext)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	sealed, err := p.attempt.seal(pending{Attempt: attempt, Return: safeReturn(r.URL.Query().Get("return"))})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.setPending(w, r, sealed, int(entra.AttemptLife.Seconds()))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// fromMicrosoft ends the sign-in. Whoever it is gets a new session; the one that the browser had is closed.
func (p *pages) fromMicrosoft(w http.ResponseWriter, r *http.Request) {
	if p.SignIn == nil {
		p.fail(w, r, problem.Refuse(fault.NotFound, ""))
		return
	}
	name, _ := pendingCookie(r)
	var began pending
	if cookie, err := r.Cookie(name); err == nil {
		began, _ = p.attempt.open(cookie.Value)
	}
	p.setPending(w, r, "", -1) // an attempt is good once
	person, err := p.SignIn.Finish(r.Context(), began.Attempt, r.URL.Query())
	d := signInData{Return: safeReturn(began.Return)}
	switch {
	case errors.Is(err, entra.ErrDeclined):
		problem.Note(r.Context(), err)
		d.Problem = "The sign-in was not finished. Nothing has changed."
		p.showSignIn(w, http.StatusForbidden, d)
		return
	case errors.Is(err, identity.ErrUnauthenticated):
		problem.Note(r.Context(), err)
		d.Problem = "The sign-in could not be used: it was begun in another browser, took longer than ten minutes, or was used before. Sign in again."
		p.showSignIn(w, http.StatusUnauthorized, d)
		return
	case err != nil:
		p.fail(w, r, err)
		return
	}
	who, err := p.People.Principal(r.Context(), person)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	problem.Asked(r.Context(), who.ID)
	if len(who.Tenants) == 0 && d.Return != callerPath {
		p.showStranger(w, person)
		return
	}
	session, err := p.Sessions.Start(r.Context(), identity.Holder{Person: &person})
	if err == nil {
		err = p.endSession(r)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.setCookie(w, r, session, int(identity.SessionLife.Seconds()))
	http.Redirect(w, r, d.Return, http.StatusSeeOther)
}

// showStepUp asks for a stronger sign-in, after which the browser is back where the form was. It is a link, because a form may not lead
// to another site.
func (p *pages) showStepUp(w http.ResponseWriter, r *http.Request, authContext string, said *problem.Problem) {
	back := path.Dir(r.URL.Path)
	view.Render(w, said.Status, "message", view.Page{
		Chrome: view.Chrome{Title: said.Title, Notice: p.Notice, NoticeLink: p.NoticeLink},
		Data: view.Message{
			Lines: []string{said.Detail}, Fix: said.Fix[:1], Code: said.Code, BackText: "Sign in again",
			Back: microsoftPath + "?" + url.Values{"context": {authContext}, "return": {back}}.Encode(),
		},
	})
}

// showStranger tells somebody whom nothing was granted to what an administrator needs to know.
func (p *pages) showStranger(w http.ResponseWriter, person identity.Person) {
	lines := []string{
		"You are " + person.Name + ", and nothing here is open to you yet.",
		"Your tenant: " + person.Tenant,
		"Your object id there: " + person.Object,
	}
	if person.Guest {
		lines = append(lines, "You are a guest of that tenant, so its roles don't count for you.")
	}
	view.Render(w, http.StatusForbidden, "message", view.Page{
		Chrome: view.Chrome{Title: "You have no access", Notice: p.Notice, NoticeLink: p.NoticeLink},
		Data: view.Message{Lines: lines, Fix: []string{
			"Ask an administrator of the tenant to grant you access, and give both ids.",
			"Or ask an administrator of your own tenant for one of the application's roles, and sign in again.",
		}},
	})
}
