package graph

import (
	"context"
	"fmt"
	"iter"
	"net/http"
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
	Enrolled          time.Time `json:"enrolledDateTime"`
	LastSync          time.Time `json:"lastSyncDateTime"`
}

const deviceFields = "id,azureADDeviceId,deviceName,operatingSystem,osVersion,deviceEnrollmentType,managedDeviceOwnerType," +
	"managementAgent,managementState,deviceRegistrationState,complianceState,isSupervised,model,serialNumber," +
	"userId,userPrincipalName,enrolledDateTime,lastSyncDateTime"

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
		r := get(devicesPath + query("$filter", filter.expression(), "$select", deviceFields))
		for d, err := range pages[ManagedDevice](ctx, c.general, tenant, r) {
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

// ManagedDevice reads one device.
func (c *Client) ManagedDevice(ctx context.Context, tenant, id string) (ManagedDevice, error) {
	if err := checkIDs("tenant", tenant, "device", id); err != nil {
		return ManagedDevice{}, err
	}
	d, err := one[ManagedDevice](ctx, c.general, tenant, get(devicesPath+"/"+id+query("$select", deviceFields)))
	if err != nil {
		return ManagedDevice{}, fmt.Errorf("read device %s: %w", id, err)
	}
	return d.inUTC(), nil
}

const devicesPath = "/deviceManagement/managedDevices"

// Prove shows that the app has access to the tenant now: it forgets the tokens, gets a new one, reads the organization
// with it and compares its id with the tenant's. Of the privileged app it gets a new token, and no more: it may read
// nothing that names the tenant, and its actions are no test.
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
