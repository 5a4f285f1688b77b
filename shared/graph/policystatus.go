package graph

import (
	"context"
	"time"
)

// DeviceStatus is how one device took a device configuration: the resource deviceConfigurationDeviceStatus. It has no id of the
// device: join by name and user, and take two that fit for unknown.
type DeviceStatus struct {
	DeviceName        string    `json:"deviceDisplayName"`
	UserName          string    `json:"userName"`
	UserPrincipalName string    `json:"userPrincipalName"`
	Model             string    `json:"deviceModel"`
	State             string    `json:"status"` // unknown, notApplicable, compliant, remediated, nonCompliant, error, conflict, notAssigned, or another
	Reported          time.Time `json:"lastReportedDateTime"`
}

// StatusOverview counts devices by how they took a device configuration: the resource deviceConfigurationDeviceOverview. Phones
// of targeted users are NotApplicable; they belong in no denominator.
type StatusOverview struct {
	Pending       int       `json:"pendingCount"`
	NotApplicable int       `json:"notApplicableCount"`
	Success       int       `json:"successCount"`
	Error         int       `json:"errorCount"`
	Failed        int       `json:"failedCount"`
	Updated       time.Time `json:"lastUpdateDateTime"`
	Version       int       `json:"configurationVersion"`
}

// ConfigurationState is how a device took one configuration, read from the device's side: the resource
// deviceConfigurationState. It names the configuration only by its name.
type ConfigurationState struct {
	DisplayName string `json:"displayName"`
	Platform    string `json:"platformType"`
	State       string `json:"state"` // as DeviceStatus.State
	Version     int    `json:"version"`
	Settings    int    `json:"settingCount"`
}

const configurationsPath = "/deviceManagement/deviceConfigurations"

// ReadDeviceStatuses reads how each device took a device configuration. Other stores have no such list.
func ReadDeviceStatuses(policyID string) Read[[]DeviceStatus] {
	target := configurationsPath + "/" + policyID + "/deviceStatuses" +
		query("$select", "id,deviceDisplayName,userName,userPrincipalName,deviceModel,status,lastReportedDateTime")
	r := readAll[DeviceStatus]("read device statuses of policy "+policyID, V1, target)
	return of(then(r, func(_ context.Context, _ *Client, _ string, all []DeviceStatus) ([]DeviceStatus, error) {
		for i := range all {
			all[i].Reported = all[i].Reported.UTC()
		}
		return all, nil
	}), "policy", policyID)
}

// DeviceStatuses reads how each device took a device configuration.
func (c *Client) DeviceStatuses(ctx context.Context, tenant, policyID string) ([]DeviceStatus, error) {
	return ReadDeviceStatuses(policyID).Do(ctx, c, tenant)
}

// ReadStatusOverview reads how many devices took a device configuration.
func ReadStatusOverview(policyID string) Read[StatusOverview] {
	target := configurationsPath + "/" + policyID + "/deviceStatusOverview" +
		query("$select", "pendingCount,notApplicableCount,successCount,errorCount,failedCount,lastUpdateDateTime,configurationVersion")
	r := readOne[StatusOverview]("read status overview of policy "+policyID, V1, target)
	return of(then(r, func(_ context.Context, _ *Client, _ string, o StatusOverview) (StatusOverview, error) {
		o.Updated = o.Updated.UTC()
		return o, nil
	}), "policy", policyID)
}

// StatusOverview reads how many devices took a device configuration.
func (c *Client) StatusOverview(ctx context.Context, tenant, policyID string) (StatusOverview, error) {
	return ReadStatusOverview(policyID).Do(ctx, c, tenant)
}

// ReadConfigurationStates reads how a device took its configurations; id is Intune's.
func ReadConfigurationStates(deviceID string) Read[[]ConfigurationState] {
	target := devicesPath + "/" + deviceID + "/deviceConfigurationStates" +
		query("$select", "id,displayName,platformType,state,version,settingCount")
	return of(readAll[ConfigurationState]("read configuration states of device "+deviceID, V1, target), "device", deviceID)
}

// ConfigurationStates reads how a device took its configurations.
func (c *Client) ConfigurationStates(ctx context.Context, tenant, deviceID string) ([]ConfigurationState, error) {
	return ReadConfigurationStates(deviceID).Do(ctx, c, tenant)
}
