package lambdahost

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// maxRequest is the most that a request may be, as JSON.
const maxRequest = 6 << 20

// ServeHTTP is the function URL: the request becomes payload 2.0, and its answer HTTP.
func (f *Function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	payload := URLEvent(r, body)
	if len(payload) > maxRequest {
		http.Error(w, "Request Too Long", http.StatusRequestEntityTooLarge)
		return
	}
	result, err := f.Invoke(r.Context(), payload)
	if err != nil || result.Failed {
		http.Error(w, "Internal Server Error", http.StatusBadGateway)
		return
	}
	var answer struct {
		StatusCode      int
		Headers         map[string]string
		Cookies         []string
		Body            string
		IsBase64Encoded bool
	}
	if err := json.Unmarshal(result.Payload, &answer); err != nil || answer.StatusCode < 100 || answer.StatusCode > 999 {
		f.problem("the answer to a request is %s", result.Payload)
		http.Error(w, "Internal Server Error", http.StatusBadGateway)
		return
	}
	content := []byte(answer.Body)
	if answer.IsBase64Encoded {
		if content, err = base64.StdEncoding.DecodeString(answer.Body); err != nil {
			f.problem("the answer's body is not in base64: %v", err)
		}
	}
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	for _, cookie := range answer.Cookies {
		w.Header().Add("Set-Cookie", cookie)
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(content)
}

// URLEvent is the payload for a request: names of headers in small letters, values of one name joined, cookies apart, and a body that
// is no text in base64.
func URLEvent(r *http.Request, body []byte) []byte {
	headers := map[string]string{"host": r.Host, "x-forwarded-proto": "https", "x-forwarded-port": "443", "x-amzn-trace-id": "Root=1-00000000-000000000000000000000001"}
	var cookies []string
	for name, values := range r.Header {
		if name == "Cookie" {
			for _, line := range values {
				cookies = append(cookies, strings.Split(line, "; ")...)
			}
			continue
		}
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	source, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		source = "192.0.2.1"
	}
	headers["x-forwarded-for"] = source
	query := map[string]string{}
	for name, values := range r.URL.Query() {
		query[name] = strings.Join(values, ",")
	}
	now := time.Now().UTC()
	event := map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": r.URL.EscapedPath(), "rawQueryString": r.URL.RawQuery, "headers": headers, "isBase64Encoded": false,
		"requestContext": map[string]any{
			"accountId": "anonymous", "apiId": "modelurlid", "domainName": "modelurlid.lambda-url." + region + ".on.aws", "domainPrefix": "modelurlid",
			"requestId": newID(), "routeKey": "$default", "stage": "$default", "time": now.Format("02/Jan/2006:15:04:05 -0700"), "timeEpoch": now.UnixMilli(),
			"http": map[string]any{"method": r.Method, "path": r.URL.Path, "protocol": "HTTP/1.1", "sourceIp": source, "userAgent": r.UserAgent()},
		},
	}
	if len(cookies) > 0 {
		event["cookies"] = cookies
	}
	if len(query) > 0 {
		event["queryStringParameters"] = query
	}
	switch {
	case len(body) == 0:
	case isText(r.Header.Get("Content-Type")) && utf8.Valid(body):
		event["body"] = string(body)
	default:
		event["body"], event["isBase64Encoded"] = base64.StdEncoding.EncodeToString(body), true
	}
	payload, err := json.Marshal(event)
	if err != nil {
		panic(err) // text and numbers
	}
	return payload
}

func isText(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.HasPrefix(kind, "text/") || kind == "application/json" || kind == "application/xml" || kind == "application/javascript"
}

// Tick invokes the function as a schedule of EventBridge Scheduler does, with the input that the template gives it.
func (f *Function) Tick(ctx context.Context, schedule string) (Result, error) {
	return f.Invoke(ctx, fmt.Appendf(nil, `{"schedule":%q}`, schedule))
}

// TickByRule invokes the function as a rule of EventBridge does, whose name ends with the schedule's.
func (f *Function) TickByRule(ctx context.Context, schedule string) (Result, error) {
	payload, err := json.Marshal(map[string]any{
		"version": "0", "id": newID(), "detail-type": "Scheduled Event", "source": "aws.events", "account": account, "time": time.Now().UTC().Format(time.RFC3339),
		"region": region, "resources": []string{"arn:aws:events:" + region + ":" + account + ":rule/pinreset-" + schedule}, "detail": map[string]any{},
	})
	if err != nil {
		return Result{}, err
	}
	return f.Invoke(ctx, payload)
}
