package sqstest

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// Topic is a model of one standard topic of Amazon SNS and of its one operation Publish, by the query protocol. It was made from the
// published documentation and never compared with the service.
type Topic struct {
	URL, ARN string

	mu        sync.Mutex
	published []Message
	broken    int
}

// NewTopic starts one that ends with the test.
func NewTopic(t testing.TB, name string) *Topic {
	topic := &Topic{ARN: "arn:aws:sns:" + Region + ":" + Account + ":" + name}
	server := httptest.NewServer(topic)
	t.Cleanup(server.Close)
	topic.URL = server.URL + "/"
	return topic
}

// Break lets the next n calls fail before anything is done.
func (t *Topic) Break(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = n
}

// Published are the messages in their order.
func (t *Topic) Published() []Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.published)
}

var signedForSNS = regexp.MustCompile(`/` + Region + `/sns/aws4_request, ?SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, ?Signature=[0-9a-f]{64}$`)

// ServeHTTP answers one call.
func (t *Topic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	m, attributes := Message{Body: r.FormValue("Message")}, map[string]Attribute{}
	for i := 1; ; i++ {
		prefix := "MessageAttributes.entry." + strconv.Itoa(i) + "."
		name := r.FormValue(prefix + "Name")
		if name == "" {
			break
		}
		attributes[name] = Attribute{r.FormValue(prefix + "Value.DataType"), r.FormValue(prefix + "Value.StringValue")}
	}
	refuse := func(status int, code, message string) {
		w.WriteHeader(status)
		type fault struct{ Type, Code, Message string }
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			Error   fault
		}{Error: fault{"Sender", code, message}})
	}
	switch {
	case t.broken > 0:
		t.broken--
		refuse(http.StatusInternalServerError, "InternalError", "try again")
		return
	case !signedForSNS.MatchString(r.Header.Get("Authorization")):
		refuse(http.StatusForbidden, "MissingAuthenticationToken", "the request is not signed")
		return
	case r.FormValue("Action") != "Publish" || r.FormValue("Version") != "2010-03-31":
		refuse(http.StatusBadRequest, "InvalidAction", "not modelled")
		return
	case r.FormValue("TopicArn") != t.ARN:
		refuse(http.StatusNotFound, "NotFound", "Topic does not exist")
		return
	case size(m.Body, attributes) > 256<<10 || unfit(m.Body, 0, nil) != "":
		refuse(http.StatusBadRequest, "InvalidParameter", "the message is empty, too long, or has characters that are not allowed")
		return
	}
	m.ID, m.Attributes = strconv.Itoa(len(t.published)+1), map[string]string{}
	for name, a := range maps.All(attributes) {
		m.Attributes[name] = a.StringValue
	}
	t.published = append(t.published, m)
	_, _ = w.Write([]byte(`<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>` + m.ID + `</MessageId></PublishResult></PublishResponse>`))
}
