package gpo_test

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/gpo"
)

var made = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// recoveryOn is HKLM\SOFTWARE\Policies\Microsoft\PassportForWork!EnablePinRecovery = DWORD 1, written out by hand.
var recoveryOn = []byte{
	'P', 'R', 'e', 'g', // signature
	0x01, 0x00, 0x00, 0x00, // version
	'[', 0,
	'S', 0, 'O', 0, 'F', 0, 'T', 0, 'W', 0, 'A', 0, 'R', 0, 'E', 0, '\\', 0,
	'P', 0, 'o', 0, 'l', 0, 'i', 0, 'c', 0, 'i', 0, 'e', 0, 's', 0, '\\', 0,
	'M', 0, 'i', 0, 'c', 0, 'r', 0, 'o', 0, 's', 0, 'o', 0, 'f', 0, 't', 0, '\\', 0,
	'P', 0, 'a', 0, 's', 0, 's', 0, 'p', 0, 'o', 0, 'r', 0, 't', 0, 'F', 0, 'o', 0, 'r', 0, 'W', 0, 'o', 0, 'r', 0, 'k', 0,
	0, 0, // end of the key
	';', 0,
	'E', 0, 'n', 0, 'a', 0, 'b', 0, 'l', 0, 'e', 0, 'P', 0, 'i', 0, 'n', 0, 'R', 0, 'e', 0, 'c', 0, 'o', 0, 'v', 0, 'e', 0, 'r', 0, 'y', 0,
	0, 0, // end of the value's name
	';', 0,
	0x04, 0x00, 0x00, 0x00, // REG_DWORD
	';', 0,
	0x04, 0x00, 0x00, 0x00, // four bytes
	';', 0,
	0x01, 0x00, 0x00, 0x00,
	']', 0,
}

// recoveryOff differs in one byte.
func recoveryOff() []byte {
	off := slices.Clone(recoveryOn)
	off[len(off)-6] = 0
	return off
}

func files(t *testing.T, on bool) []gpo.File {
	t.Helper()
	all, err := gpo.ForPinRecovery(on, made).Files()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func find(t *testing.T, all []gpo.File, name string) gpo.File {
	t.Helper()
	i := slices.IndexFunc(all, func(f gpo.File) bool { return strings.HasSuffix(f.Path, name) })
	if i < 0 {
		t.Fatalf("no %s", name)
	}
	return all[i]
}

func TestPolicyFileByteForByte(t *testing.T) {
	t.Parallel()
	for on, want := range map[bool][]byte{true: recoveryOn, false: recoveryOff()} {
		f := find(t, files(t, on), "/DomainSysvol/GPO/Machine/registry.pol")
		if !bytes.Equal(f.Data, want) {
			t.Errorf("recovery %t:\n%s, want\n%s", on, hex.Dump(f.Data), hex.Dump(want))
		}
		entries, err := gpo.ParsePol(f.Data)
		if err != nil || len(entries) != 1 {
			t.Fatalf("read back: %v, %v", entries, err)
		}
		e := entries[0]
		n, ok := e.Uint32()
		if !ok || (n == 1) != on || e.Key != `SOFTWARE\Policies\Microsoft\PassportForWork` || e.Value != "EnablePinRecovery" {
			t.Errorf("read back: %+v", e)
		}
	}
}

func TestPolicyFileOfEveryType(t *testing.T) {
	t.Parallel()
	want := []gpo.Entry{
		{Key: `Software\Policies\A b`, Value: "a", Type: gpo.String, Data: []byte{'x', 0, 0, 0}},
		{Key: `Software\Policies`, Value: "**del.b;c]", Type: gpo.ExpandString, Data: []byte{' ', 0, 0, 0}},
		{Key: "Software", Value: "c", Type: gpo.Binary},
		gpo.Number("Software", "d", 0xfffffffe),
		{Key: "Software", Value: "e", Type: gpo.BigDWORD, Data: []byte{0, 0, 0, 1}},
		{Key: "Software", Value: strings.Repeat("f", 259), Type: gpo.MultiString, Data: []byte{']', 0, 0, 0, 0, 0}},
		{Key: "Software", Value: "g", Type: gpo.QWORD, Data: bytes.Repeat([]byte{';', 0}, 0x7fff)},
	}
	raw, err := gpo.EncodePol(want...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := gpo.ParsePol(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i, e := range got {
		if e.Key != want[i].Key || e.Value != want[i].Value || e.Type != want[i].Type || !bytes.Equal(e.Data, want[i].Data) {
			t.Errorf("entry %d: %+v, want %+v", i, e, want[i])
		}
	}
	if got, err := gpo.ParsePol(raw[:8]); err != nil || len(got) != 0 {
		t.Errorf("a file without entries: %v, %v", got, err)
	}
}

func TestPolicyFileThatIsNone(t *testing.T) {
	t.Parallel()
	for _, e := range []gpo.Entry{
		{Key: "", Value: "a", Type: gpo.DWORD}, {Key: `\a`, Value: "a", Type: gpo.DWORD}, {Key: `a\`, Value: "a", Type: gpo.DWORD},
		{Key: "a\x00b", Value: "a", Type: gpo.DWORD}, {Key: "ä", Value: "a", Type: gpo.DWORD}, {Key: "a", Value: "", Type: gpo.DWORD},
		{Key: "a", Value: strings.Repeat("a", 260), Type: gpo.DWORD}, {Key: "a", Value: "a\x00", Type: gpo.DWORD},
		{Key: "a", Value: "a"}, {Key: "a", Value: "a", Type: 6}, {Key: "a", Value: "a", Type: 12},
		{Key: "a", Value: "a", Type: gpo.Binary, Data: make([]byte, 0x10000)},
	} {
		if raw, err := gpo.EncodePol(e); !errors.Is(err, gpo.ErrFormat) {
			t.Errorf("encode %.40q!%.40q of type %d: %d bytes, %v", e.Key, e.Value, e.Type, len(raw), err)
		}
	}
	if len(recoveryOn) < 100 {
		t.Fatal("nothing to cut")
	}
	for i := range recoveryOn { // cut anywhere but after the header, it is not whole
		if entries, err := gpo.ParsePol(recoveryOn[:i]); i != 8 && !errors.Is(err, gpo.ErrFormat) {
			t.Errorf("%d bytes of it: %v, %v", i, entries, err)
		}
	}
	for i := range recoveryOn[:8] { // signature and version
		wrong := slices.Clone(recoveryOn)
		wrong[i] ^= 2
		if _, err := gpo.ParsePol(wrong); !errors.Is(err, gpo.ErrFormat) {
			t.Errorf("byte %d wrong: %v", i, err)
		}
	}
	huge := slices.Clone(recoveryOn)
	copy(huge[len(huge)-12:], []byte{0xff, 0xff, 0xff, 0xff}) // a size beyond the file, and beyond any
	if _, err := gpo.ParsePol(huge); !errors.Is(err, gpo.ErrFormat) {
		t.Errorf("size of 4 GiB: %v", err)
	}
}

func FuzzParsePol(f *testing.F) {
	f.Add(recoveryOn)
	f.Add(recoveryOff())
	f.Add(append(slices.Clone(recoveryOn), recoveryOn[8:]...))
	f.Add([]byte("PReg\x01\x00\x00\x00[\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := gpo.ParsePol(raw)
		if err != nil {
			if !errors.Is(err, gpo.ErrFormat) || entries != nil {
				t.Fatalf("%v with %v", err, entries)
			}
			return
		}
		again, err := gpo.EncodePol(entries...)
		if err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("what was read does not write the same file: %v", err)
		}
	})
}

// element is a part of an XML document as a reader that knows namespaces sees it.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

func parse(t *testing.T, f gpo.File) element {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(f.Data))
	d.Strict = true
	var root element
	if err := d.Decode(&root); err != nil {
		t.Fatalf("%s: %v", f.Path, err)
	}
	if _, err := d.Token(); err != io.EOF {
		for { // nothing but blanks may follow
			if tok, err := d.Token(); err == io.EOF {
				break
			} else if text, ok := tok.(xml.CharData); err != nil || !ok || strings.TrimSpace(string(text)) != "" {
				t.Fatalf("%s: %v after its root, %v", f.Path, tok, err)
			}
		}
	}
	return root
}

func (e element) at(t *testing.T, path ...string) element {
	t.Helper()
	for _, name := range path {
		i := slices.IndexFunc(e.Children, func(c element) bool { return c.XMLName.Local == name })
		if i < 0 {
			t.Fatalf("%s has no %s", e.XMLName.Local, name)
		}
		e = e.Children[i]
	}
	return e
}

func (e element) attr(space, name string) string {
	for _, a := range e.Attrs {
		if a.Name == (xml.Name{Space: space, Local: name}) {
			return a.Value
		}
	}
	return ""
}

func TestBackupNamesTheExtensions(t *testing.T) {
	t.Parallel()
	const ns = "http://www.microsoft.com/GroupPolicy/GPOOperations"
	all := files(t, true)
	root := parse(t, find(t, all, "/Backup.xml"))
	if root.XMLName != (xml.Name{Space: ns, Local: "GroupPolicyBackupScheme"}) || root.attr(ns, "version") != "2.0" || root.attr(ns, "type") != "GroupPolicyBackupTemplate" {
		t.Errorf("root %v %v", root.XMLName, root.Attrs)
	}
	core := root.at(t, "GroupPolicyObject", "GroupPolicyCoreSettings")
	for name, want := range map[string]string{
		"MachineExtensionGuids": "[{35378EAC-683F-11D2-A89A-00C04FBBCFA2}{D02B1F72-3407-48AE-BA88-E8213C6761F1}]",
		"UserExtensionGuids":    "", "MachineVersionNumber": "65537", "UserVersionNumber": "0", "Options": "0",
		"DisplayName": "pinreset PIN recovery on", "WMIFilter": "",
	} {
		if got := core.at(t, name).Text; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	extension := root.at(t, "GroupPolicyObject", "GroupPolicyExtension")
	if extension.attr(ns, "ID") != "{35378EAC-683F-11D2-A89A-00C04FBBCFA2}" || extension.attr(ns, "DescName") != "Registry" {
		t.Errorf("extension %v", extension.Attrs)
	}
	file := extension.at(t, "FSObjectFile")
	if file.attr(ns, "Path") != `%GPO_MACH_FSPATH%\registry.pol` {
		t.Errorf("file %v", file.Attrs)
	}
	// What the XML names is there.
	folder, _, _ := strings.Cut(find(t, all, "/Backup.xml").Path, "/")
	find(t, all, folder+"/"+strings.ReplaceAll(file.attr(ns, "Location"), `\`, "/"))
}

// TestPermissionsAddUp reads the security descriptor as Windows lays one out: its list's size and count must be those of the
// entries, and each entry's those of its parts.
func TestPermissionsAddUp(t *testing.T) {
	t.Parallel()
	core := parse(t, find(t, files(t, true), "/Backup.xml")).at(t, "GroupPolicyObject", "GroupPolicyCoreSettings")
	raw, err := hex.DecodeString(strings.ReplaceAll(core.at(t, "SecurityDescriptor").Text, " ", ""))
	if err != nil || len(raw) < 28 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	if raw[0] != 1 || raw[16] != 20 || raw[2]&4 == 0 {
		t.Fatalf("header % x", raw[:20])
	}
	list := raw[20:]
	if size := int(list[2]) | int(list[3])<<8; size != len(list) {
		t.Errorf("the list says %d bytes and has %d", size, len(list))
	}
	count := 0
	for rest := list[8:]; len(rest) > 0; count++ {
		size := int(rest[2]) | int(rest[3])<<8
		sid := 8 // after the header and the mask
		if rest[0] == 5 {
			sid += 20 // flags and the id of what is allowed
		}
		if size > len(rest) || size != sid+8+4*int(rest[sid+1]) {
			t.Fatalf("entry %d says %d bytes: % x", count, size, rest)
		}
		rest = rest[size:]
	}
	if count != 5 || int(list[4]) != count {
		t.Errorf("%d entries, the list says %d", count, list[4])
	}
}

func TestFilesAgreeWithEachOther(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		all := files(t, on)
		manifest := parse(t, find(t, all, "manifest.xml"))
		if manifest.attr("http://www.microsoft.com/GroupPolicy/GPOOperations/Manifest", "version") != "1.0" {
			t.Errorf("manifest %v", manifest.Attrs)
		}
		info := parse(t, find(t, all, "/bkupInfo.xml"))
		listed := manifest.at(t, "BackupInst")
		for i, c := range info.Children {
			if listed.Children[i].XMLName != c.XMLName || listed.Children[i].Text != c.Text {
				t.Errorf("manifest has %+v, bkupInfo %+v", listed.Children[i], c)
			}
		}
		core := parse(t, find(t, all, "/Backup.xml")).at(t, "GroupPolicyObject", "GroupPolicyCoreSettings")
		report := parse(t, find(t, all, "/gpreport.xml"))
		object := info.at(t, "GPOGuid").Text
		if core.at(t, "ID").Text != object || report.at(t, "Identifier", "Identifier").Text != object {
			t.Errorf("object %s, %s and %s", object, core.at(t, "ID").Text, report.at(t, "Identifier", "Identifier").Text)
		}
		id := info.at(t, "ID").Text
		if !strings.HasPrefix(find(t, all, "/Backup.xml").Path, id+"/") || id == object {
			t.Errorf("backup %s of %s in %s", id, object, find(t, all, "/Backup.xml").Path)
		}
		if info.at(t, "BackupTime").Text != "2026-11-22T08:00:00" {
			t.Errorf("made %s", info.at(t, "BackupTime").Text)
		}
		want := map[bool]string{true: "1", false: "0"}[on]
		if got := report.at(t, "Computer", "ExtensionData", "Extension", "RegistrySetting", "Value", "Number").Text; got != want {
			t.Errorf("recovery %t is reported as %s", on, got)
		}
	}
	if !reflect.DeepEqual(files(t, true), files(t, true)) {
		t.Error("two exports of the same differ")
	}
	on, off := find(t, files(t, true), "/Backup.xml").Path, find(t, files(t, false), "/Backup.xml").Path
	if on == off {
		t.Errorf("on and off are both %s: they could not lie in one folder of backups", on)
	}
}

// TestHostileName proves that a name can't get out of its element.
func TestHostileName(t *testing.T) {
	t.Parallel()
	b := gpo.ForPinRecovery(true, made)
	b.Name = `]]></GPODisplayName><ID>x</ID><![CDATA[ & "ä"`
	all, err := b.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/bkupInfo.xml", "/Backup.xml", "/gpreport.xml", "manifest.xml"} {
		root := parse(t, find(t, all, name))
		var got string
		switch name {
		case "/Backup.xml":
			got = root.at(t, "GroupPolicyObject", "GroupPolicyCoreSettings", "DisplayName").Text
		case "/gpreport.xml":
			got = root.at(t, "Name").Text
		case "manifest.xml":
			got = root.at(t, "BackupInst", "GPODisplayName").Text
		default:
			got = root.at(t, "GPODisplayName").Text
		}
		if got != b.Name {
			t.Errorf("%s: name %q", name, got)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "export")
	b := gpo.ForPinRecovery(true, made)
	if err := b.Write(dir); err != nil {
		t.Fatal(err)
	}
	want := files(t, true)
	seen := 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		seen++
		got, err := os.ReadFile(filepath.Join(dir, path))
		if i := slices.IndexFunc(want, func(f gpo.File) bool { return f.Path == path }); i < 0 || !bytes.Equal(got, want[i].Data) {
			return fmt.Errorf("%s is not as it should be", path)
		}
		return err
	})
	if err != nil || seen != len(want) || seen != 5 {
		t.Errorf("%d files, want %d: %v", seen, len(want), err)
	}
	if err := gpo.ForPinRecovery(false, made).Write(dir); !errors.Is(err, gpo.ErrNotEmpty) {
		t.Errorf("into a directory that is not empty: %v", err)
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) != 2 {
		t.Errorf("afterwards: %v, %v", there, err)
	}
	empty := t.TempDir()
	if err := b.Write(empty); err != nil {
		t.Errorf("into an empty directory: %v", err)
	}
	file := filepath.Join(empty, "manifest.xml")
	if err := b.Write(file); err == nil {
		t.Error("a file was taken for a directory")
	}
	b.Settings[0].Type = 99
	if err := b.Write(filepath.Join(empty, "never")); !errors.Is(err, gpo.ErrFormat) {
		t.Errorf("settings that do not fit: %v", err)
	}
	if _, err := os.Stat(filepath.Join(empty, "never")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of a refused export: %v", err)
	}
}

func TestZip(t *testing.T) {
	t.Parallel()
	var raw, again bytes.Buffer
	b := gpo.ForPinRecovery(false, made)
	if err := errors.Join(b.Zip(&raw), b.Zip(&again)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw.Bytes(), again.Bytes()) {
		t.Error("two archives of the same differ")
	}
	z, err := zip.NewReader(bytes.NewReader(raw.Bytes()), int64(raw.Len()))
	if err != nil {
		t.Fatal(err)
	}
	want := files(t, false)
	if len(z.File) != len(want) {
		t.Fatalf("%d files, want %d", len(z.File), len(want))
	}
	for i, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || f.Name != want[i].Path || !bytes.Equal(data, want[i].Data) {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	on, off := gpo.Steps("export", true), gpo.Steps("export", false)
	if on.State != "Enabled" || off.State != "Disabled" || on.Policy != "Use PIN Recovery" || reflect.DeepEqual(on.Conditions, off.Conditions) {
		t.Errorf("on %+v, off %+v", on, off)
	}
	if !strings.Contains(strings.Join(on.Conditions, " "), "hybrid") || !strings.Contains(strings.Join(on.Computer, " "), `LGPO.exe /g "export"`) {
		t.Errorf("on %+v", on)
	}
	for in, b := range map[*gpo.Instructions]gpo.Backup{&on: gpo.ForPinRecovery(true, made), &off: gpo.ForPinRecovery(false, made)} {
		if !strings.Contains(strings.Join(in.Domain, " "), b.Name) {
			t.Errorf("the steps do not name %q: %v", b.Name, in.Domain)
		}
	}
}
