// Package portal is pinreset in a browser: plain pages made on the server, each change a POST of a form.
//
// A browser signs in with a one-time code or a token and then holds a cookie that names a session. The session's token is
// read again at every request, so revoking the token ends it. A change is refused when the browser says that it comes from
// another site, and when it says nothing at all.
//
// The pages call package desk as the API does and hold no rule of their own. A code is shown only as the answer to a POST;
// no link, no reload and no preview of a page shows one.
package portal
