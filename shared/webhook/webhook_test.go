package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pinreset/shared/webhook"
)

const (
	// The specification's own example.
	specKey       = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	specID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	specTime      = 1614265330
	specBody      = `{"test": 2432232314}`
	specSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var at = time.Unix(specTime, 0).UTC()

func signer(t testing.TB, text string) webhook.Signer {
	t.Helper()
	s, err := webhook.ParseSigner(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpecificationsExample(t *testing.T) {
	t.Parallel()
	key := signer(t, specKey)
	h := webhook.Sign(key, specID, at, []byte(specBody))
	if got := h.Get(webhook.HeaderSignature); got != specSignature {
		t.Errorf("signature %s, want %s", got, specSignature)
	}
	h = http.Header{}
	h.Set("Webhook-Id", specID)
	h.Set("Webhook-Timestamp", fmt.Sprint(specTime))
	h.Set("Webhook-Signature", specSignature)
	m, err := webhook.Check(h, []byte(specBody), at.Add(webhook.Tolerance), key.Checker())
	if err != nil || m.ID != specID || !m.At.Equal(at) {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestEd25519 computes the signature beside the package, with the key of RFC 8032, section 7.1, test 1.
func TestEd25519(t *testing.T) {
	t.Parallel()
	seed := []byte{0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
		0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60}
	private := ed25519.NewKeyFromSeed(seed)
	want := "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, fmt.Appendf(nil, "%s.%d.%s", specID, specTime, specBody)))
	const public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" // the RFC's, in base64
	for what, text := range map[string]string{
		"seed": "whsk_" + base64.StdEncoding.EncodeToString(seed), "whole": "whsk_" + base64.StdEncoding.EncodeToString(private),
	} {
		key := signer(t, text)
		if key.Checker().Clear() != public {
			t.Errorf("%s: public key %s", what, key.Checker().Clear())
		}
		h := webhook.Sign(key, specID, at, []byte(specBody))
		if got := h.Get(webhook.HeaderSignature); got != want {
			t.Errorf("%s: signature %s, want %s", what, got, want)
		}
		check, err := webhook.ParseChecker(public)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := webhook.Check(h, []byte(specBody), at, check); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, key := range []webhook.Signer{webhook.NewShared(), webhook.NewPair()} {
		good := func() http.Header { return webhook.Sign(key, "msg_1", at, []byte(specBody)) }
		resigned := func(id string) http.Header { return webhook.Sign(key, id, at, []byte(specBody)) }
		set := func(h http.Header, name, value string) http.Header { h.Set(name, value); return h }
		without := func(h http.Header, name string) http.Header { h.Del(name); return h }
		twice := func(h http.Header, name string) http.Header { h.Add(name, h.Get(name)); return h }
		var many []string
		for range 8 {
			many = append(many, "v9,AAAA")
		}
		for what, c := range map[string]struct {
			header http.Header
			body   string
			now    time.Time
			want   error
		}{
			"good":                       {good(), specBody, at, nil},
			"five minutes late":          {good(), specBody, at.Add(5 * time.Minute), nil},
			"five minutes early":         {good(), specBody, at.Add(-5 * time.Minute), nil},
			"too late":                   {good(), specBody, at.Add(5*time.Minute + time.Second), webhook.ErrTime},
			"too early":                  {good(), specBody, at.Add(-5*time.Minute - time.Second), webhook.ErrTime},
			"another body":               {good(), specBody + " ", at, webhook.ErrSignature},
			"no body":                    {good(), "", at, webhook.ErrSignature},
			"another id":                 {set(good(), webhook.HeaderID, "msg_2"), specBody, at, webhook.ErrSignature},
			"another time":               {set(good(), webhook.HeaderTimestamp, fmt.Sprint(specTime+1)), specBody, at, webhook.ErrSignature},
			"no id":                      {without(good(), webhook.HeaderID), specBody, at, webhook.ErrHeader},
			"no timestamp":               {without(good(), webhook.HeaderTimestamp), specBody, at, webhook.ErrHeader},
			"no signature":               {without(good(), webhook.HeaderSignature), specBody, at, webhook.ErrHeader},
			"id twice":                   {twice(good(), webhook.HeaderID), specBody, at, webhook.ErrHeader},
			"timestamp twice":            {twice(good(), webhook.HeaderTimestamp), specBody, at, webhook.ErrHeader},
			"signature header twice":     {twice(good(), webhook.HeaderSignature), specBody, at, webhook.ErrHeader},
			"id with a dot":              {resigned("msg.1"), specBody, at, webhook.ErrHeader},
			"id with a space":            {resigned("msg 1"), specBody, at, webhook.ErrHeader},
			"long id":                    {resigned(strings.Repeat("m", 129)), specBody, at, webhook.ErrHeader},
			"timestamp in words":         {set(good(), webhook.HeaderTimestamp, "now"), specBody, at, webhook.ErrHeader},
			"timestamp with a sign":      {set(good(), webhook.HeaderTimestamp, fmt.Sprintf("+%d", specTime)), specBody, at, webhook.ErrHeader},
			"timestamp as a float":       {set(good(), webhook.HeaderTimestamp, fmt.Sprintf("%d.0", specTime)), specBody, at, webhook.ErrHeader},
			"huge timestamp":             {set(good(), webhook.HeaderTimestamp, "9223372036854775807"), specBody, at, webhook.ErrHeader},
			"signature without scheme":   {set(good(), webhook.HeaderSignature, "AAAA"), specBody, at, webhook.ErrSignature},
			"signature of other schemes": {set(good(), webhook.HeaderSignature, "v2,AAAA v1b,AAAA"), specBody, at, webhook.ErrSignature},
			"empty signature":            {set(good(), webhook.HeaderSignature, "v1, v1a,"), specBody, at, webhook.ErrSignature},
			"not base64":                 {set(good(), webhook.HeaderSignature, "v1,%%% v1a,%%%"), specBody, at, webhook.ErrSignature},
			"after unknown ones":         {set(good(), webhook.HeaderSignature, "v9,AAAA "+good().Get(webhook.HeaderSignature)), specBody, at, nil},
			"nine signatures":            {set(good(), webhook.HeaderSignature, strings.Join(many, " ")+" "+good().Get(webhook.HeaderSignature)), specBody, at, webhook.ErrSignature},
		} {
			if _, err := webhook.Check(c.header, []byte(c.body), c.now, key.Checker()); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%s, %s: %v, want %v", key.Scheme(), what, err, c.want)
			}
		}
		if _, err := webhook.Check(good(), []byte(specBody), at); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("no keys: %v", err)
		}
		if _, err := webhook.Check(good(), []byte(specBody), at, webhook.Checker{}); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("the zero key: %v", err)
		}
		if _, err := webhook.Check(good(), []byte(specBody), at, webhook.NewShared().Checker(), webhook.NewPair().Checker()); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("other keys: %v", err)
		}
		if _, err := webhook.Check(good(), []byte(specBody), at, webhook.NewShared().Checker(), key.Checker()); err != nil {
			t.Errorf("the second of two keys: %v", err)
		}
	}
}

// TestPublicKeyIsNoSharedKey signs by HMAC with the bytes of a public key, which everybody may know.
func TestPublicKeyIsNoSharedKey(t *testing.T) {
	t.Parallel()
	check := webhook.NewPair().Checker()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(check.Clear(), webhook.PublicPrefix))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "m.%d.%s", specTime, specBody)
	for _, scheme := range []string{"v1", "v1a"} {
		h := http.Header{}
		h.Set(webhook.HeaderID, "m")
		h.Set(webhook.HeaderTimestamp, fmt.Sprint(specTime))
		h.Set(webhook.HeaderSignature, scheme+","+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		if _, err := webhook.Check(h, []byte(specBody), at, check); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	long := base64.StdEncoding.EncodeToString(make([]byte, 65))
	for what, text := range map[string]string{
		"empty": "", "prefix alone": "whsec_", "short": "whsec_AAAA", "long": "whsec_" + long, "no base64": "whsec_%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%",
		"other prefix": "secret_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "short private": "whsk_AAAA", "short public": "whpk_AAAA",
		"halves of two": "whsk_" + base64.StdEncoding.EncodeToString(make([]byte, 64)), "spaces": " " + specKey,
	} {
		if _, err := webhook.ParseSigner(text); !errors.Is(err, webhook.ErrKey) {
			t.Errorf("%s signs: %v", what, err)
		}
		if _, err := webhook.ParseChecker(text); !errors.Is(err, webhook.ErrKey) {
			t.Errorf("%s checks: %v", what, err)
		}
	}
	if _, err := webhook.ParseChecker(webhook.NewPair().Clear()); !errors.Is(err, webhook.ErrKey) {
		t.Errorf("a private key checks: %v", err)
	}
	for _, key := range []webhook.Signer{webhook.NewShared(), webhook.NewPair()} {
		again := signer(t, key.Clear())
		if again.Clear() != key.Clear() || again.Checker().Clear() != key.Checker().Clear() {
			t.Errorf("%s does not survive its text form", key.Scheme())
		}
		for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%+v", key), fmt.Sprintf("%#v", key), fmt.Sprintf("%s", key.Checker()), fmt.Sprintf("%#v", key.Checker())} {
			if strings.Contains(text, strings.TrimPrefix(key.Clear(), webhook.SharedPrefix)) || strings.Contains(text, "wh") && strings.Contains(text, "_") {
				t.Errorf("printed: %s", text)
			}
		}
	}
}

func FuzzCheck(f *testing.F) {
	key := signer(f, specKey)
	f.Add(specID, fmt.Sprint(specTime), specSignature, specBody)
	f.Add("", "", "v1,", "")
	f.Add("a.b", "-1", "v1a,AAAA v1,AAAA", "x")
	f.Fuzz(func(t *testing.T, id, stamp, signature, body string) {
		h := http.Header{}
		h.Set(webhook.HeaderID, id)
		h.Set(webhook.HeaderTimestamp, stamp)
		h.Set(webhook.HeaderSignature, signature)
		m, err := webhook.Check(h, []byte(body), at, key.Checker())
		if err != nil {
			return
		}
		want := webhook.Sign(key, m.ID, m.At, []byte(body)).Get(webhook.HeaderSignature)
		if !strings.Contains(signature, strings.TrimSuffix(want, "=")) {
			t.Errorf("believed %q, which is not %q", signature, want)
		}
	})
}
