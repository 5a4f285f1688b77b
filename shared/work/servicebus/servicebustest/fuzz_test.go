package servicebustest_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"pinreset/shared/work/servicebus/servicebustest"
)

// FuzzConnection: whatever a peer says, its connection ends when it has said it, and the server goes on.
func FuzzConnection(f *testing.F) {
	server := servicebustest.New(f, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q", MaxBytes: 1 << 20}}})
	f.Fuzz(func(t *testing.T, said []byte) {
		conn, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(said); err == nil {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		var timeout net.Error
		if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("the server did not end the connection")
		}
	})
}
