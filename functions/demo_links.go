package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// allLinks follows each diagnostics link, as JSON with the token and as a page with a session.
func (d *demo) allLinks(ctx context.Context) (string, string, error) {
	if len(d.links) == 0 {
		return "", "", errors.New("no failure was shown")
	}
	browser, err := d.signedIn(ctx)
	if err != nil {
		return "", "", err
	}
	for _, link := range d.links {
		if _, err := d.api.Diagnostics(ctx, demoTenant, link[strings.LastIndex(link, "/")+1:]); err != nil {
			return "", link, fmt.Errorf("as JSON: %w", err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+link, nil)
		if err != nil {
			return "", link, err
		}
		req.Header.Set("Accept", "text/html")
		res, err := browser.Do(req)
		if err != nil {
			return "", link, err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			return "", link, fmt.Errorf("as a page: %s, %s", res.Status, res.Header.Get("Content-Type"))
		}
	}
	return fmt.Sprintf("%d links, each as a page and as JSON: 200", len(d.links)), "", nil
}

// signedIn is a browser that has signed in with a one-time link, as `up` prints one.
func (d *demo) signedIn(ctx context.Context) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Timeout: 10 * time.Second, Jar: jar}
	form := url.Values{"code": {d.session.OneTimeCode(d.admin)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/sign-in", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", d.url)
	res, err := browser.Do(req)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sign in: %s", res.Status)
	}
	return browser, nil
}
