package view

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

// asset is a file that pages load: a stylesheet or a script.
type asset struct {
	name, kind  string
	plain, gzip []byte
}

// library are the assets by the path that they are served under, and those paths by the file's name. A path has the file's hash in it:
// a browser keeps the file for ever and loads another one as soon as it has changed.
type library struct {
	served map[string]asset
	paths  map[string]string
}

var assets = sync.OnceValue(func() library {
	all := library{map[string]asset{}, map[string]string{}}
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, file := range names {
		plain, err := files.ReadFile(file)
		if err != nil {
			panic(err) // it is embedded
		}
		sum, packed := sha256.Sum256(plain), compressed(plain)
		a := asset{name: path.Base(file), kind: mime.TypeByExtension(path.Ext(file)), plain: plain, gzip: packed.Bytes()}
		at := "/assets/" + hex.EncodeToString(sum[:6]) + "/" + a.name
		all.served[at], all.paths[a.name] = a, at
	}
	return all
})

// AssetPath is where the asset with the file's name is served. It panics for one that does not exist.
func AssetPath(name string) string {
	at, ok := assets().paths[name]
	if !ok {
		panic("view: no asset " + name)
	}
	return at
}

// Assets serves what pages load, at [AssetPath].
func Assets(w http.ResponseWriter, r *http.Request) {
	a, ok := assets().served[r.URL.Path]
	if !ok {
		NotFound(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	if TakesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = a.gzip
	}
	_, _ = w.Write(body) // a browser that went away is not told
}

// worthwhile is from how many bytes on an answer is compressed: below, it would save no packet.
const worthwhile = 1024

// TakesGzip reports whether the browser takes an answer that is compressed.
func TakesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(name, "gzip") && strings.TrimSpace(quality) != "q=0" {
			return true
		}
	}
	return false
}

var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compressed(plain []byte) (packed bytes.Buffer) {
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	w.Reset(&packed)
	_, _ = w.Write(plain) // a buffer takes everything
	_ = w.Close()
	return packed
}
