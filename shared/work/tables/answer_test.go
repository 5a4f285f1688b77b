package tables

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"pinreset/shared/work"
)

// answerOf is an answer with the parts, each a whole HTTP response, in the form of Microsoft's page "Performing entity group
// transactions".
func answerOf(parts ...string) (contentType, body string) {
	var b strings.Builder
	b.WriteString("--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_2\r\n\r\n")
	for _, p := range parts {
		b.WriteString("--changesetresponse_2\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + p + "\r\n")
	}
	b.WriteString("--changesetresponse_2--\r\n--batchresponse_1--\r\n")
	return "multipart/mixed; boundary=batchresponse_1", b.String()
}

func failed(status, code, message string) string {
	return "HTTP/1.1 " + status + "\r\nX-Content-Type-Options: nosniff\r\nContent-Type: application/json;odata=minimalmetadata;charset=utf-8\r\n\r\n" +
		`{"odata.error":{"code":"` + code + `","message":{"lang":"en-US","value":"` + message + `\nRequestId:1\nTime:2026-05-04T03:02:01Z"}}}` + "\r\n"
}

const written = "HTTP/1.1 204 No Content\r\nPreference-Applied: return-no-content\r\nETag: W/\"datetime'2026'\"\r\n\r\n"

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		parts      []string
		operations int
		want       answer
		missing    bool
		refused    bool
		passing    bool
		tooLarge   bool
	}{
		"made":       {parts: []string{written, written}, operations: 2, want: answer{http.StatusAccepted, "", -1}},
		"exists":     {parts: []string{failed("409 Conflict", "EntityAlreadyExists", "1:The specified entity already exists.")}, operations: 3, want: answer{409, "EntityAlreadyExists", 1}, refused: true},
		"changed":    {parts: []string{failed("412 Precondition Failed", "UpdateConditionNotSatisfied", "2:The update condition was not satisfied.")}, operations: 3, want: answer{412, "UpdateConditionNotSatisfied", 2}, refused: true},
		"missing":    {parts: []string{failed("404 Not Found", "ResourceNotFound", "0:The specified resource does not exist.")}, operations: 3, want: answer{404, "ResourceNotFound", 0}, missing: true},
		"no table":   {parts: []string{failed("404 Not Found", "TableNotFound", "0:The table specified does not exist.")}, operations: 3, want: answer{404, "TableNotFound", 0}},
		"being gone": {parts: []string{failed("409 Conflict", "TableBeingDeleted", "0:The table is being deleted.")}, operations: 3, want: answer{409, "TableBeingDeleted", 0}},
		"large":      {parts: []string{failed("400 Bad Request", "EntityTooLarge", "10:The entity is larger than allowed.")}, operations: 30, want: answer{400, "EntityTooLarge", 10}, tooLarge: true},
		"busy":       {parts: []string{failed("503 Service Unavailable", "ServerBusy", "The server is busy.")}, operations: 3, want: answer{503, "ServerBusy", -1}, passing: true},
		"one":        {parts: []string{failed("412 Precondition Failed", "UpdateConditionNotSatisfied", "The update condition was not satisfied.")}, operations: 1, want: answer{412, "UpdateConditionNotSatisfied", 0}, refused: true},
		"no reason":  {parts: []string{"HTTP/1.1 500 Internal Server Error\r\n\r\n"}, operations: 2, want: answer{500, "", -1}, passing: true},
	} {
		contentType, body := answerOf(test.parts...)
		got, err := readAnswer(contentType, []byte(body), test.operations)
		if err != nil || got != test.want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, test.want)
		}
		if got.missing() != test.missing || got.refused() != test.refused || got.passing() != test.passing || errors.Is(got, work.ErrTooLarge) != test.tooLarge {
			t.Errorf("%s: missing %v, refused %v, passing %v, too large %v", name, got.missing(), got.refused(), got.passing(), errors.Is(got, work.ErrTooLarge))
		}
	}
}

// FuzzReadAnswer: whatever comes back, it is not read as a transaction that was made unless it has an answer for every operation.
func FuzzReadAnswer(f *testing.F) {
	for _, parts := range [][]string{{written, written}, {failed("409 Conflict", "EntityAlreadyExists", "1:exists")}, {}} {
		contentType, body := answerOf(parts...)
		f.Add(contentType, []byte(body))
	}
	f.Add("multipart/mixed; boundary=b", []byte("--b\r\n\r\n--b--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		a, err := readAnswer(contentType, body, 2)
		if err == nil && a.status < http.StatusBadRequest && strings.Count(string(body), "HTTP/") < 2 {
			t.Errorf("%q of %s is read as success", body, contentType)
		}
		if a.index < -1 {
			t.Errorf("index %d", a.index)
		}
	})
}

func TestAfter(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{"": "", "~": "", "a": "b", "a~": "b", "a~~": "b", "r&": "r'", "r-": "r.", "rz": "r{"} {
		if got := after(prefix); got != want {
			t.Errorf("after %q is %q, want %q", prefix, got, want)
		}
	}
	if got := filterOf(work.Query{Partition: "p", Prefix: "r&"}, "r&1"); got != "PartitionKey eq 'p' and RowKey gt 'r&1' and RowKey lt 'r'''" {
		t.Errorf("the filter is %s", got)
	}
}
