package gpo

import (
	"bytes"
	"encoding/xml"
	"time"
)

// Client-side extension that reads registry.pol, and the tool that edits it for computers: [MS-GPREG] 1.9.
const (
	registryExtension = "{35378EAC-683F-11D2-A89A-00C04FBBCFA2}"
	registryTool      = "{D02B1F72-3407-48AE-BA88-E8213C6761F1}"
)

// machinePol is where a backup has the settings for computers.
const machinePol = "DomainSysvol/GPO/Machine/registry.pol"

const (
	operations = "http://www.microsoft.com/GroupPolicy/GPOOperations"
	manifests  = operations + "/Manifest"
	settings   = "http://www.microsoft.com/GroupPolicy/Settings"
	types      = "http://www.microsoft.com/GroupPolicy/Types"
)

// firstVersion is version 1 in the directory (upper half) and in SYSVOL (lower half).
const firstVersion = "65537"

// permissions is the self-relative security descriptor that a backup carries: a list of access control entries for authenticated
// users (apply, read), enterprise domain controllers (read), the system (all) and the creator (all, inherited). An import
// leaves the permissions of its target as they are.
const permissions = "01 00 04 9c 00 00 00 00 00 00 00 00 00 00 00 00 14 00 00 00 " + // header; the list begins at byte 20
	"04 00 80 00 05 00 00 00 " + // 128 bytes, five entries
	"05 02 28 00 00 01 00 00 01 00 00 00 8f fd ac ed b3 ff d1 11 b4 1d 00 a0 c9 68 f9 39 01 01 00 00 00 00 00 05 0b 00 00 00 " +
	"00 02 14 00 94 00 02 00 01 01 00 00 00 00 00 05 0b 00 00 00 " +
	"00 02 14 00 94 00 02 00 01 01 00 00 00 00 00 05 09 00 00 00 " +
	"00 02 14 00 ff 00 0f 00 01 01 00 00 00 00 00 05 12 00 00 00 " +
	"00 0a 14 00 ff 00 0f 00 01 01 00 00 00 00 00 03 00 00 00 00"

// document is a backup with its ids, as the XML files tell it.
type document struct {
	Backup
	object string // id of the Group Policy object
	id     string // of this backup of it
	origin string // of the domain
}

func (b Backup) document(pol []byte) document {
	if b.Domain == "" {
		b.Domain = noDomain
	}
	return document{
		Backup: b, object: guid("object", b.Domain, b.Name),
		id:     guid("backup", b.Domain, b.Name, string(pol)),
		origin: guid("domain", b.Domain),
	}
}

func (d document) controller() string { return "dc." + d.Domain }

// time is how GPMC writes one: UTC, to the second, without a zone.
func (d document) time() string { return d.At.UTC().Format("2006-01-02T15:04:05") }

// cdata is text in a CDATA section, as GPMC writes nearly all text.
type cdata struct {
	Text string `xml:",cdata"`
}

// Elements of manifest.xml and bkupInfo.xml.
type (
	manifestXML struct {
		XMLName   xml.Name `xml:"Backups"`
		Namespace string   `xml:"xmlns,attr"`
		Prefix    string   `xml:"xmlns:mfst,attr"`
		Version   string   `xml:"mfst:version,attr"`
		Instance  instanceXML
	}
	instanceXML struct {
		XMLName          xml.Name `xml:"BackupInst"`
		Namespace        string   `xml:"xmlns,attr,omitempty"`
		Object           cdata    `xml:"GPOGuid"`
		Domain           cdata    `xml:"GPODomain"`
		DomainID         cdata    `xml:"GPODomainGuid"`
		DomainController cdata    `xml:"GPODomainController"`
		Time             cdata    `xml:"BackupTime"`
		ID               cdata    `xml:"ID"`
		Comment          cdata    `xml:"Comment"`
		Name             cdata    `xml:"GPODisplayName"`
	}
)

func (d document) instance(namespace string) instanceXML {
	return instanceXML{
		Namespace: namespace, Object: cdata{d.object}, Domain: cdata{d.Domain}, DomainID: cdata{d.origin},
		DomainController: cdata{d.controller()}, Time: cdata{d.time()}, ID: cdata{d.id}, Name: cdata{d.Name},
	}
}

func (d document) manifest() ([]byte, error) {
	return render(false, manifestXML{Namespace: manifests, Prefix: manifests, Version: "1.0", Instance: d.instance("")})
}

func (d document) info() ([]byte, error) { return render(false, d.instance(manifests)) }

// Elements of Backup.xml.
type (
	schemeXML struct {
		XMLName   xml.Name  `xml:"GroupPolicyBackupScheme"`
		Version   string    `xml:"bkp:version,attr"`
		Type      string    `xml:"bkp:type,attr"`
		Prefix    string    `xml:"xmlns:bkp,attr"`
		Namespace string    `xml:"xmlns,attr"`
		Object    objectXML `xml:"GroupPolicyObject"`
	}
	objectXML struct {
		SecurityGroups struct{} `xml:"SecurityGroups"`
		FilePaths      struct{} `xml:"FilePaths"`
		Core           coreXML  `xml:"GroupPolicyCoreSettings"`
		Extension      extensionXML
	}
	coreXML struct {
		ID                cdata    `xml:"ID"`
		Domain            cdata    `xml:"Domain"`
		Permissions       string   `xml:"SecurityDescriptor"`
		Name              cdata    `xml:"DisplayName"`
		Options           cdata    `xml:"Options"` // 0: both halves are in force
		UserVersion       cdata    `xml:"UserVersionNumber"`
		MachineVersion    cdata    `xml:"MachineVersionNumber"`
		MachineExtensions cdata    `xml:"MachineExtensionGuids"`
		UserExtensions    struct{} `xml:"UserExtensionGuids"`
		WMIFilter         struct{} `xml:"WMIFilter"`
	}
	extensionXML struct {
		XMLName xml.Name `xml:"GroupPolicyExtension"`
		ID      string   `xml:"bkp:ID,attr"`
		Name    string   `xml:"bkp:DescName,attr"`
		File    fileXML  `xml:"FSObjectFile"`
	}
	fileXML struct {
		Path     string `xml:"bkp:Path,attr"`
		Source   string `xml:"bkp:SourceExpandedPath,attr"`
		Location string `xml:"bkp:Location,attr"`
	}
)

func (d document) scheme() ([]byte, error) {
	return render(true, schemeXML{
		Version: "2.0", Type: "GroupPolicyBackupTemplate", Prefix: operations, Namespace: operations,
		Object: objectXML{
			Core: coreXML{
				ID: cdata{d.object}, Domain: cdata{d.Domain}, Permissions: permissions, Name: cdata{d.Name}, Options: cdata{"0"},
				UserVersion: cdata{"0"}, MachineVersion: cdata{firstVersion}, MachineExtensions: cdata{"[" + registryExtension + registryTool + "]"},
			},
			Extension: extensionXML{ID: registryExtension, Name: "Registry", File: fileXML{
				Path:     `%GPO_MACH_FSPATH%\registry.pol`,
				Source:   `\\` + d.controller() + `\sysvol\` + d.Domain + `\Policies\` + d.object + `\Machine\registry.pol`,
				Location: `DomainSysvol\GPO\Machine\registry.pol`,
			}},
		},
	})
}

// Elements of gpreport.xml: what GPMC shows under "View Settings". Nothing is imported out of it.
type (
	reportXML struct {
		XMLName    xml.Name `xml:"GPO"`
		Instance   string   `xml:"xmlns:xsi,attr"`
		Namespace  string   `xml:"xmlns,attr"`
		Identifier struct {
			ID     typedXML `xml:"Identifier"`
			Domain typedXML `xml:"Domain"`
		} `xml:"Identifier"`
		Name     string  `xml:"Name"`
		Created  string  `xml:"CreatedTime"`
		Modified string  `xml:"ModifiedTime"`
		Read     string  `xml:"ReadTime"`
		Computer halfXML `xml:"Computer"`
		User     halfXML `xml:"User"`
	}
	typedXML struct {
		Namespace string `xml:"xmlns,attr"`
		Text      string `xml:",chardata"`
	}
	halfXML struct {
		Directory int              `xml:"VersionDirectory"`
		Sysvol    int              `xml:"VersionSysvol"`
		Enabled   bool             `xml:"Enabled"`
		Extension *reportedExtsXML `xml:"ExtensionData"`
	}
	reportedExtsXML struct {
		Registry struct {
			Prefix   string        `xml:"xmlns:q1,attr"`
			Type     string        `xml:"xsi:type,attr"`
			Settings []reportedXML `xml:"q1:RegistrySetting"`
		} `xml:"Extension"`
		Name string `xml:"Name"`
	}
	reportedXML struct {
		KeyPath string           `xml:"q1:KeyPath"`
		Value   reportedValueXML `xml:"q1:Value"`
	}
	reportedValueXML struct {
		Name   string  `xml:"q1:Name"`
		Number *uint32 `xml:"q1:Number"`
	}
)

func (d document) report() ([]byte, error) {
	at := d.At.UTC().Format(time.RFC3339)
	out := reportXML{Instance: "http://www.w3.org/2001/XMLSchema-instance", Namespace: settings, Name: d.Name, Created: at, Modified: at, Read: at}
	out.Identifier.ID, out.Identifier.Domain = typedXML{types, d.object}, typedXML{types, d.Domain}
	out.User.Enabled = true
	shown := &reportedExtsXML{Name: "Registry"}
	shown.Registry.Prefix, shown.Registry.Type = settings+"/Registry", "q1:RegistrySettings"
	for _, e := range d.Settings {
		line := reportedXML{KeyPath: e.Key, Value: reportedValueXML{Name: e.Value}}
		if n, ok := e.Uint32(); ok {
			line.Value.Number = &n
		}
		shown.Registry.Settings = append(shown.Registry.Settings, line)
	}
	out.Computer = halfXML{Directory: 1, Sysvol: 1, Enabled: true, Extension: shown}
	return render(true, out)
}

// render encodes a document. GPMC puts the declaration before some of its files and not before others.
func render(declared bool, v any) ([]byte, error) {
	var out bytes.Buffer
	if declared {
		out.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n")
	}
	if err := xml.NewEncoder(&out).Encode(v); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
