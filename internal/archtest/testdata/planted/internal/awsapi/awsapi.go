// Package awsapi shows what it should hide.
package awsapi

// want: Open shows github.com/aws/aws-sdk-go-v2.Config
// want: Client shows github.com/aws/aws-sdk-go-v2.Config
// want: Get shows github.com/aws/aws-sdk-go-v2.Config
import aws "github.com/aws/aws-sdk-go-v2"

// Client has one field too many for others to see.
type Client struct {
	Config aws.Config
	hidden aws.Config
}

// Open asks for a type of the SDK.
func Open(c aws.Config) *Client { return &Client{hidden: c} }

// Get returns one.
func (c *Client) Get() aws.Config { return c.hidden }

func (c *Client) get() aws.Config { return c.hidden }

type inner struct{}

// Get is no one's to call.
func (inner) Get() aws.Config { return aws.Config{} }
