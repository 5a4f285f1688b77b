package graph

import "context"

// DeviceEdition is what beta alone says of a managed device. Values are kept as they come; "" and 0 are not known.
type DeviceEdition struct {
	JoinType  string `json:"joinType"`  // azureADJoined, hybridAzureADJoined, azureADRegistered, unknown, or another
	SKUFamily string `json:"skuFamily"` // of Windows, such as Enterprise; its values are not published
	SKUNumber int    `json:"skuNumber"` // Windows' product type, as Microsoft's page "GetProductInfo" numbers them
}

// ReadDeviceEdition reads the edition and the join type of a managed device; id is Intune's.
func ReadDeviceEdition(id string) Read[DeviceEdition] {
	return of(readOne[DeviceEdition]("read edition of device "+id, Beta, devicesPath+"/"+id+query("$select", "id,joinType,skuFamily,skuNumber")), "device", id)
}

// DeviceEdition reads the edition and the join type of a managed device.
func (c *Client) DeviceEdition(ctx context.Context, tenant, id string) (DeviceEdition, error) {
	return ReadDeviceEdition(id).Do(ctx, c, tenant)
}
