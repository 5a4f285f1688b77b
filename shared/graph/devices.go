package graph

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pinreset/shared/fault"
)

// ManagedDevice is a device as Intune knows it: the resource managedDevice. Members of enums are kept as they come, unknown ones too. A time
// that Intune does not know is the zero time. The fields of one that came with a passcode reading are those of
// [PasscodeReading].
type ManagedDevice struct {
	ID                string    `json:"id"`              // Intune's
	AzureADDeviceID   string    `json:"azureADDeviceId"` // the directory's deviceId
	DeviceName        string    `json:"deviceName"`
	OperatingSystem   string    `json:"operatingSystem"`
	OSVersion         string    `json:"osVersion"`
	EnrollmentType    string    `json:"deviceEnrollmentType"`
	OwnerType         string    `json:"managedDeviceOwnerType"`
	ManagementAgent   string    `json:"managementAgent"`
	ManagementState   string    `json:"managementState"`
	RegistrationState string    `json:"deviceRegistrationState"`
	ComplianceState   string    `json:"complianceState"`
	Supervised        bool      `json:"isSupervised"`
	Model             string    `json:"model"`
	SerialNumber      string    `json:"serialNumber"`
	UserID            string    `json:"userId"`
	UserPrincipalName string    `json:"userPrincipalName"`
	Email             string    `json:"emailAddress"` // of its user; Intune's resource may hold several, with a blank or a comma between them
	Enrolled          time.Time `json:"enrolledDateTime"`
	LastSync          time.Time `json:"lastSyncDateTime"`
	// ReadAt is the server's time of the answer, of a single device only; zero where the answer had no Date.
	ReadAt time.Time `json:"-"`
}

const deviceFields = "id,azureADDeviceId,deviceName,operatingSystem,osVersion,deviceEnrollmentType,managedDeviceOwnerType," +
	"managementAgent,managementState,deviceRegistrationState,complianceState,isSupervised,model,serialNumber," +
	"userId,userPrincipalName,emailAddress,enrolledDateTime,lastSyncDateTime"

func (d ManagedDevice) inUTC() ManagedDevice {
	d.Enrolled, d.LastSync = d.Enrolled.UTC(), d.LastSync.UTC()
	return d
}

// DeviceFilter chooses devices whose fields equal all that are set.
type DeviceFilter struct {
	Name   string // deviceName
	User   string // userPrincipalName
	Serial string // serialNumber
}

func (f DeviceFilter) expression() string {
	var all []string
	for _, p := range [][2]string{{"deviceName", f.Name}, {"userPrincipalName", f.User}, {"serialNumber", f.Serial}} {
		if p[1] != "" {
			all = append(all, equal(p[0], p[1]))
		}
	}
	return strings.Join(all, " and ")
}

// ManagedDevices reads devices page by page, as the caller consumes them. An error is the last element.
func (c *Client) ManagedDevices(ctx context.Context, tenant string, filter DeviceFilter) iter.Seq2[ManagedDevice, error] {
	return func(yield func(ManagedDevice, error) bool) {
		if err := checkIDs("tenant", tenant); err != nil {
			yield(ManagedDevice{}, err)
			return
		}
		for d, err := range pages[ManagedDevice](ctx, c.general, tenant, get(filter.target())) {
			if err != nil {
				yield(ManagedDevice{}, fmt.Errorf("list devices: %w", err))
				return
			}
			if !yield(d.inUTC(), nil) {
				return
			}
		}
	}
}

// DevicePage reads one page of devices, of the size that Graph chooses, so that a reader can go on later without beginning
// again. after is "" for the first page, and the next of the page before; next is "" on the last page. A next is Graph's
// own place in the list and good for as long as Graph keeps it; one that is not a place in a list of devices is refused, and
// nothing is sent.
func (c *Client) DevicePage(ctx context.Context, tenant string, filter DeviceFilter, after string) (devices []ManagedDevice, next string, err error) {
	if err := checkIDs("tenant", tenant); err != nil {
		return nil, "", err
	}
	target := filter.target()
	if after != "" {
		if target = after; !isDevicePlace(after) {
			return nil, "", fault.Permanentf(fault.InvalidRequest, "list devices: %q is no place in the list", bounded(after))
		}
	}
	devices, next, err = onePage[ManagedDevice](ctx, c.general, tenant, get(target), map[string]bool{target: true})
	if err == nil && next != "" && !isDevicePlace(next) {
		err = &Error{Method: http.MethodGet, Path: devicesPath, Err: errors.New("next link leads to another list")}
	}
	if err != nil {
		return nil, "", fmt.Errorf("list devices: %w", err)
	}
	for i, d := range devices {
		devices[i] = d.inUTC()
	}
	return devices, next, nil
}

func (f DeviceFilter) target() string {
	return devicesPath + query("$filter", f.expression(), "$select", deviceFields)
}

// isDevicePlace reports whether the target is the list of devices, with whatever query Graph gave it.
func isDevicePlace(target string) bool {
	u, err := url.Parse(target)
	return err == nil && u.Scheme == "" && u.Host == "" && u.Fragment == "" && u.RawPath == "" && strings.EqualFold(u.Path, devicesPath)
}

// ManagedDevice reads one device.
func (c *Client) ManagedDevice(ctx context.Context, tenant, id string) (ManagedDevice, error) {
	if err := checkIDs("tenant", tenant, "device", id); err != nil {
		return ManagedDevice{}, err
	}
	a, _, err := c.general.send(ctx, tenant, get(devicesPath+"/"+id+query("$select", deviceFields)))
	if err != nil {
		return ManagedDevice{}, fmt.Errorf("read device %s: %w", id, err)
	}
	var d ManagedDevice
	if err := a.decodeOne(&d); err != nil {
		return ManagedDevice{}, fmt.Errorf("read device %s: %w", id, err)
	}
	d.ReadAt = a.date
	return d.inUTC(), nil
}

const devicesPath = "/deviceManagement/managedDevices"

// Prove shows that the app has access to the tenant now: it forgets the tokens, gets a new one, reads the organization
// with it and compares its id with the tenant's.
func (c *Client) Prove(ctx context.Context, tenant string) error {
	if err := checkIDs("tenant", tenant); err != nil {
		return err
	}
	c.general.forget(tenant, nil)
	org, err := c.Organization(ctx, tenant)
	if err != nil {
		return fmt.Errorf("prove access to tenant %s: %w", tenant, err)
	}
	if !strings.EqualFold(org.ID, tenant) {
		return fmt.Errorf("prove access to tenant %s: %w", tenant, c.wrongTenant(org.ID))
	}
	return nil
}

// ProvePrivileged gets a new token for the privileged app in the tenant, and no more: the app may read nothing that names the
// tenant, and its actions are no test. Without a second app there is nothing to prove.
func (c *Client) ProvePrivileged(ctx context.Context, tenant string) error {
	if err := checkIDs("tenant", tenant); err != nil {
		return err
	}
	if !c.privileged.own {
		return nil
	}
	c.privileged.identity.forget(tenant, nil)
	if err := c.privileged.signIn(ctx, tenant); err != nil {
		return fmt.Errorf("prove privileged access to tenant %s: %w", tenant, err)
	}
	return nil
}

func (c *Client) wrongTenant(id string) error {
	e := &Error{Method: http.MethodGet, Path: "/organization", Err: fmt.Errorf("answer is of tenant %s", bounded(id))}
	return fault.Permanent(fault.GraphUnauthorized, e)
}
