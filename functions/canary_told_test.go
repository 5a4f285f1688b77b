package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// outside are those who are told of resets: a program, a workflow of Teams and a mail server. It keeps every byte that they are sent.
type outside struct {
	*httptest.Server
	mail net.Listener
	mu   sync.Mutex
	told map[string][]byte
}

func canaryOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{told: map[string][]byte{}}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // its sender was killed
		}
		for name, values := range r.Header {
			body = append(body, "\n"+name+": "+strings.Join(values, " ")...)
		}
		o.keep(r.URL.Path, append(body, '\n'))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(o.Close)
	var err error
	if o.mail, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := o.mail.Accept()
			if err != nil {
				return
			}
			talks.Go(func() { o.take(conn) })
		}
	})
	t.Cleanup(func() { _ = o.mail.Close(); talks.Wait() })
	return o
}

func (o *outside) keep(name string, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told[name] = append(o.told[name], data...)
}

// take says yes to all that a sender of mail says.
func (o *outside) take(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	in, text := bufio.NewReader(conn), false
	_, _ = io.WriteString(conn, "220 post.example\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		o.keep("mail", []byte(line))
		answer := "250 ok\r\n"
		switch {
		case text && line != ".\r\n":
			continue
		case text:
			text = false
		case strings.HasPrefix(line, "DATA"):
			text, answer = true, "354 go on\r\n"
		case strings.HasPrefix(line, "QUIT"):
			answer = "221 bye\r\n"
		}
		_, _ = io.WriteString(conn, answer)
	}
}

// wait waits until somebody was told what has the text in it.
func (o *outside) wait(t *testing.T, name, text string) {
	t.Helper()
	has := func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return strings.Contains(string(o.told[name]), text)
	}
	for limit := time.Now().Add(20 * time.Second); !has(); pass(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s was not told %q", name, text)
		}
	}
}
