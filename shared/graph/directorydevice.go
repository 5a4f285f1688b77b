package graph

import "context"

// DirectoryDevice is a device as Entra knows it: the resource device.
type DirectoryDevice struct {
	ID              string `json:"id"`       // object id, which groups know
	DeviceID        string `json:"deviceId"` // ManagedDevice.AzureADDeviceID
	DisplayName     string `json:"displayName"`
	TrustType       string `json:"trustType"` // Workplace: registered; AzureAd: joined; ServerAd: hybrid joined; or another
	AccountEnabled  *bool  `json:"accountEnabled"`
	OperatingSystem string `json:"operatingSystem"`
	OSVersion       string `json:"operatingSystemVersion"`
}

// ReadDirectoryDevice reads a device of the directory by its device id, which is [ManagedDevice.AzureADDeviceID].
func ReadDirectoryDevice(deviceID string) Read[DirectoryDevice] {
	target := "/devices(deviceId='" + deviceID + "')" + query("$select", "id,deviceId,displayName,trustType,accountEnabled,operatingSystem,operatingSystemVersion")
	return of(readOne[DirectoryDevice]("read directory device "+deviceID, V1, target), "device", deviceID)
}

// DirectoryDevice reads a device of the directory by its device id. ErrNotFound means that the directory has none.
func (c *Client) DirectoryDevice(ctx context.Context, tenant, deviceID string) (DirectoryDevice, error) {
	return ReadDirectoryDevice(deviceID).Do(ctx, c, tenant)
}
