package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pinreset/shared/client"
)

// TestTokenFirst: the first call makes the administrator's token in the tables, before any server has run; the next one makes none; and a
// server that starts then takes the token, and makes none of its own.
func TestTokenFirst(t *testing.T) {
	t.Parallel()
	s, dir := startServices(t), t.TempDir()
	first := func(file string) ended {
		return runBinary(t, s.settings, nil, "token", "first", "--save", file)
	}
	file, other := filepath.Join(dir, "admin"), filepath.Join(dir, "other")
	if got := first(file); got.exit != 0 {
		t.Fatalf("%+v", got)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v: %v", info.Mode(), err)
	}
	if got := first(other); got.exit == 0 || !strings.Contains(got.err, "administrator already") {
		t.Errorf("a second call: %+v", got)
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a call that was refused left a file")
	}

	cloud := startCloud(t)
	listen := freeAddress(t)
	startBinaryAt(t, t.TempDir(), listen, slices.Concat(quickPace, s.settings), "--sim-at", cloud.dir)
	api, err := client.New(client.Options{Server: "http://" + listen, Token: strings.TrimSpace(string(text))})
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for token, err := range api.Tokens(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if token.ID != "" {
			made++
		}
	}
	if made != 1 {
		t.Errorf("there are %d tokens", made)
	}
}
